"""The spatial networks: where two pictures of one instant meet. Pictures are BGR, [batch, 3, h, w], value / 127.5 - 1."""

import torch
from torch import Tensor, nn

from . import geometry, ops
from .config import STRIDE, NetConfig
from .layers import corner_head, mesh_head, stage1, stage2, to_mesh

REACH = 5
"""Of the cost volume, in pixels of the features: 121 channels."""
VOLUME = (2 * REACH + 1) ** 2


class _Spatial(nn.Module):
    """What both versions share: features, and the ways of the corners."""

    def __init__(self, config: NetConfig) -> None:
        super().__init__()
        self.config = config
        self.regressNet1_part1, self.regressNet1_part2 = corner_head(2, config)
        self.feature_extractor_stage1 = stage1(config.base)
        self.feature_extractor_stage2 = stage2(config.base)

    def _look(self, reference: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features of both pictures, and the way of the four corners, [batch, 4, 2] in pixels."""
        ours = self.feature_extractor_stage1(reference)
        theirs = self.feature_extractor_stage1(target)
        h, w = self.config.coarse
        flow = ops.contextual_flow(self.feature_extractor_stage2(ours), self.feature_extractor_stage2(theirs), h, w)
        numbers = self.regressNet1_part2(self.regressNet1_part1(flow).flatten(1))
        return ours, theirs, numbers.reshape(-1, 4, 2)

    def _volume(self, first: Tensor, second: Tensor) -> Tensor:
        h, w = self.config.features
        return ops.cost_volume(first, second, REACH, h, w)

    def _warp(self, features: Tensor, matrix: Tensor) -> Tensor:
        h, w = self.config.features
        return ops.warp_features(features, geometry.scaled(matrix, 1.0 / STRIDE), h, w)

    def _homography(self, way: Tensor, height: float, width: float) -> Tensor:
        return geometry.quad_homography(geometry.corners(height, width) + way, height, width)


class SpatialNet(_Spatial):
    """StabStitch++: both pictures are warped to a plane half-way between them."""

    def __init__(self, config: NetConfig) -> None:
        super().__init__(config)
        self.regressNet2_part1_ref, self.regressNet2_part2_ref = mesh_head(VOLUME, config)
        self.regressNet2_part1_tgt, self.regressNet2_part2_tgt = mesh_head(VOLUME, config)

    def forward(self, reference: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Where the control points of both pictures go, two meshes in pixels."""
        coarse, ways = self.stages(reference, target)
        return coarse[0] + ways[0], coarse[1] + ways[1]

    def stages(self, reference: Tensor, target: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """The meshes after the homography alone, and the ways of the control points that the second stage adds."""
        h, w = float(self.config.height), float(self.config.width)
        ours, theirs, way = self._look(reference, target)
        whole = self._homography(way, h, w)
        half = self._homography(way / 2.0, h, w)
        back = geometry.adjugate(whole)
        middle = torch.matmul(back, half)
        ours, theirs = self._warp(ours, middle), self._warp(theirs, half)
        left = self.regressNet2_part2_ref(self.regressNet2_part1_ref(self._volume(ours, theirs)).flatten(1))
        right = self.regressNet2_part2_tgt(self.regressNet2_part1_tgt(self._volume(theirs, ours)).flatten(1))
        rigid = geometry.rigid_mesh(h, w)
        coarse = (
            geometry.warp_mesh(geometry.adjugate(middle), rigid),
            geometry.warp_mesh(geometry.adjugate(half), rigid),
        )
        return coarse, (to_mesh(left), to_mesh(right))


class SpatialNetV1(_Spatial):
    """StabStitch: the target is warped onto the reference, which stays as it is."""

    def __init__(self, config: NetConfig) -> None:
        super().__init__(config)
        self.regressNet2_part1, self.regressNet2_part2 = mesh_head(VOLUME, config)

    def forward(self, reference: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """As of [`SpatialNet`]; the first mesh is rigid."""
        h, w = float(self.config.height), float(self.config.width)
        ours, theirs, way = self._look(reference, target)
        # Features go by corners at the last pixel, the mesh by corners one beyond it: so it is published.
        theirs = self._warp(theirs, self._homography(way, h - 1.0, w - 1.0))
        numbers = self.regressNet2_part2(self.regressNet2_part1(self._volume(ours, theirs)).flatten(1))
        rigid = geometry.rigid_mesh(h, w)
        moved = geometry.warp_mesh(geometry.adjugate(self._homography(way, h, w)), rigid)
        return rigid + way[:1, :1, None] * 0.0, moved + to_mesh(numbers)
