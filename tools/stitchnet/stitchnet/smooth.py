"""The smoothing networks: by how much the paths of control points in a window of frames are to be moved.

Meshes and paths are [frames, 7, 9, 2] in pixels. Smooth path = path + delta, and the mesh to warp with = mesh - delta.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import NetConfig

KERNEL = 5
"""Frames of a convolution."""
BEFORE = KERNEL // 2


class _MotionPre(nn.Module):
    """Embeddings of places, overlap and path, three convolutions in space and time, and a projection."""

    def __init__(self, mesh: int, overlap: int, path: int, channels: int, outputs: int) -> None:
        super().__init__()
        self.embedding1 = nn.Sequential(nn.Linear(2, mesh), nn.ReLU())
        self.embedding2 = nn.Sequential(nn.Linear(1, overlap), nn.ReLU())
        self.embedding3 = nn.Sequential(nn.Linear(2, path), nn.ReLU())
        kernel, pad = (KERNEL, 3, 3), (BEFORE, 1, 1)
        layers: list[nn.Module] = []
        for _ in range(3):
            layers += [nn.Conv3d(channels, channels, kernel, padding=pad), nn.ReLU()]
        self.MotionConv3D = nn.Sequential(*layers)
        self.decoding = nn.Sequential(nn.Linear(channels, outputs))

    def decode(self, hidden: Tensor, last_only: bool) -> Tensor:
        """From [frames, 7, 9, channels] to [frames, 7, 9, outputs], or of the last frame alone, [1, 7, 9, outputs].

        A convolution in space and time is one in space over the stacked frames of its kernel: engines without Conv3d run
        it, and for the last frame alone only the frames that it depends on are computed (1, 3, 5 of 7).
        """
        hidden = hidden.permute(0, 3, 1, 2)
        convolutions = [m for m in self.MotionConv3D if isinstance(m, nn.Conv3d)]
        for i, convolution in enumerate(convolutions):
            wanted = 1 + BEFORE * (len(convolutions) - 1 - i)
            hidden = _in_time(hidden, convolution, wanted if last_only else hidden.shape[0])
        decoded: Tensor = self.decoding(hidden.permute(0, 2, 3, 1))
        return decoded


def _in_time(frames: Tensor, convolution: nn.Conv3d, wanted: int) -> Tensor:
    """The last `wanted` frames of the convolution in space and time of `frames`, [frames, channels, 7, 9]."""
    n = frames.shape[0]
    padded = F.pad(frames, (0, 0, 0, 0, 0, 0, BEFORE, BEFORE))
    taps = [padded[n - wanted + k : n + k] for k in range(KERNEL)]
    weight = convolution.weight.permute(0, 2, 1, 3, 4).flatten(1, 2)
    return F.relu(F.conv2d(torch.cat(taps, dim=1), weight, convolution.bias, padding=1))


class SmoothNet(nn.Module):
    """StabStitch++: both cameras together."""

    def __init__(self, config: NetConfig) -> None:
        super().__init__()
        base = config.base
        self.config = config
        self.MotionPre = _MotionPre(base // 2, max(base // 8, 1), base // 2, 2 * base, 4)

    def forward(
        self, mesh_reference: Tensor, path_reference: Tensor, mesh_target: Tensor, path_target: Tensor, last_only: bool = True
    ) -> tuple[Tensor, Tensor]:
        """The deltas of both cameras, [frames or 1, 7, 9, 2]."""
        pre = self.MotionPre
        parts = (
            pre.embedding1(mesh_reference),
            pre.embedding3(path_reference),
            pre.embedding1(mesh_target),
            pre.embedding3(path_target),
        )
        delta = pre.decode(torch.cat(parts, dim=3), last_only)
        return delta[..., :2], delta[..., 2:]


class SmoothNetV1(nn.Module):
    """StabStitch: the target alone, told where it overlaps the reference."""

    def __init__(self, config: NetConfig) -> None:
        super().__init__()
        base = config.base
        self.config = config
        overlap = max(base // 8, 1)
        path = base // 2
        self.MotionPre = _MotionPre(base - overlap - path, overlap, path, base, 2)

    def forward(
        self, mesh_reference: Tensor, path_reference: Tensor, mesh_target: Tensor, path_target: Tensor, last_only: bool = True
    ) -> tuple[Tensor, Tensor]:
        """As of [`SmoothNet`]; the reference's is zero."""
        size = torch.tensor([float(self.config.width), float(self.config.height)])
        within = ((mesh_target >= 0.0) & (mesh_target < size)).to(mesh_target.dtype)
        overlap = within[..., :1] * within[..., 1:]
        pre = self.MotionPre
        parts = (pre.embedding1(mesh_target), pre.embedding2(overlap), pre.embedding3(path_target))
        delta = pre.decode(torch.cat(parts, dim=3), last_only)
        n = delta.shape[0]
        return (mesh_reference[-n:] + path_reference[-n:]) * 0.0, delta
