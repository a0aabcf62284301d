"""The temporal networks: how one camera's picture moved since its last. They keep the last picture's features."""

from torch import Tensor, nn

from . import geometry, ops
from .config import STRIDE, NetConfig
from .layers import corner_head, mesh_head, stage1, stage2, to_mesh

REACH = 3
"""Of the fine cost volume: 49 channels."""
COARSE_REACH = 6
"""Of the coarse one, version 1 only: 169 channels."""


def _volume(reach: int) -> int:
    return (2 * reach + 1) ** 2


class _Temporal(nn.Module):
    def __init__(self, config: NetConfig) -> None:
        super().__init__()
        self.config = config
        self.regressNet2_part1, self.regressNet2_part2 = mesh_head(_volume(REACH), config)
        self.feature_extractor_stage1 = stage1(config.base)
        # Version 2's checkpoint has it too, and does not use it.
        self.feature_extractor_stage2 = stage2(config.base)

    def features(self, picture: Tensor) -> Tensor:
        """What is kept of a picture until the next, [batch, 2 base, h / 8, w / 8]."""
        features: Tensor = self.feature_extractor_stage1(picture)
        return features

    def _mesh(self, before: Tensor, now: Tensor) -> Tensor:
        h, w = self.config.features
        volume = ops.cost_volume(before, now, REACH, h, w)
        return to_mesh(self.regressNet2_part2(self.regressNet2_part1(volume).flatten(1)))


class TemporalNet(_Temporal):
    """StabStitch++: the mesh alone."""

    def forward(self, picture: Tensor, previous: Tensor) -> tuple[Tensor, Tensor]:
        """How control points move from the previous picture to this, in pixels; and this picture's features."""
        now = self.features(picture)
        return self._mesh(previous, now), now


class TemporalNetV1(_Temporal):
    """StabStitch: a homography first, then the mesh."""

    def __init__(self, config: NetConfig) -> None:
        super().__init__(config)
        self.regressNet1_part1, self.regressNet1_part2 = corner_head(_volume(COARSE_REACH), config)

    def forward(self, picture: Tensor, previous: Tensor) -> tuple[Tensor, Tensor]:
        """As of [`TemporalNet`]."""
        now = self.features(picture)
        h, w = self.config.coarse
        volume = ops.cost_volume(self.feature_extractor_stage2(previous), self.feature_extractor_stage2(now), COARSE_REACH, h, w)
        way = self.regressNet1_part2(self.regressNet1_part1(volume).flatten(1)).reshape(-1, 4, 2)
        height, width = self.config.height - 1.0, self.config.width - 1.0
        matrix = geometry.quad_homography(geometry.corners(height, width) + way, height, width)
        h, w = self.config.features
        warped = ops.warp_features(now, geometry.scaled(matrix, 1.0 / STRIDE), h, w)
        rigid = geometry.rigid_mesh(float(self.config.height), float(self.config.width))
        moved = geometry.warp_mesh(geometry.adjugate(matrix), rigid) - rigid
        return moved + self._mesh(previous, warped), now
