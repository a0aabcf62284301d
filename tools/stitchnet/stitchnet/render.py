"""Rendered rigs to train on: a textured far plane and near cards, seen by two cameras that shake. All of it is synthetic."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .config import NetConfig
from .geometry import apply
from .pictures import texture

CARDS = 3
"""Near things in a scene, which no single homography aligns."""


@dataclass(frozen=True)
class Scene:
    """`frames` pictures of two cameras, each [frames, 3, h, w]."""

    reference: Tensor
    target: Tensor


class Renderer:
    """Makes scenes from a seed; the same seed gives the same scenes."""

    def __init__(self, config: NetConfig, seed: int) -> None:
        self.config = config
        self.generator = torch.Generator().manual_seed(seed)

    def _uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self.generator) * (high - low) + low

    def scene(self, frames: int) -> Scene:
        """A new world, and both cameras' pictures of it."""
        h, w = self.config.height, self.config.width
        world = texture(2 * h, 3 * w, self.generator)
        cards = [self._card(h, w) for _ in range(CARDS)]
        shared = float(self._uniform(0.35, 0.75, 1))
        exposure = self._uniform(0.85, 1.15, 2)
        views: list[list[Tensor]] = [[], []]
        walks = torch.cumsum(self._uniform(-0.004, 0.004, 2, frames, 8) * w, dim=1)
        still = self._uniform(-0.01, 0.01, 2, 8) * w
        for camera in range(2):
            left = w * (0.4 + camera * (1.0 - shared))
            for frame in range(frames):
                matrix = self._pose(left, 0.5 * h, still[camera] + walks[camera, frame])
                picture = self._look(world, matrix)
                for near, (card, mask) in enumerate(cards):
                    # The nearer, the more it is displaced between the cameras.
                    nearer = matrix.clone()
                    nearer[0, 0, 2] += camera * w * 0.02 * (near + 1)
                    shown = self._look(mask, nearer)
                    picture = picture * (1.0 - shown) + self._look(card, nearer) * shown
                views[camera].append((picture * exposure[camera]).clamp(-1.0, 1.0))
        return Scene(torch.cat(views[0]), torch.cat(views[1]))

    def _card(self, h: int, w: int) -> tuple[Tensor, Tensor]:
        mask = torch.zeros(1, 1, 2 * h, 3 * w)
        top, left = int(self._uniform(0.5, 1.3, 1) * h), int(self._uniform(0.5, 2.3, 1) * w)
        tall, wide = int(self._uniform(0.1, 0.4, 1) * h), int(self._uniform(0.05, 0.2, 1) * w)
        mask[:, :, top : top + tall, left : left + wide] = 1.0
        return texture(2 * h, 3 * w, self.generator), mask

    def _pose(self, left: float, top: float, shake: Tensor) -> Tensor:
        """From a picture's pixels to the world's: moved, and a little turned, scaled and tilted."""
        h, w = self.config.height, self.config.width
        a, b = float(shake[2]) / w, float(shake[3]) / w
        matrix = torch.tensor(
            [
                [1.0 + a, -b, left + float(shake[0])],
                [b, 1.0 + a, top + float(shake[1])],
                [float(shake[4]) / w / w * 0.2, float(shake[5]) / h / h * 0.2, 1.0],
            ]
        )
        return matrix.unsqueeze(0)

    def _look(self, world: Tensor, matrix: Tensor) -> Tensor:
        h, w = self.config.height, self.config.width
        rows, columns = torch.meshgrid(torch.arange(float(h)), torch.arange(float(w)), indexing="ij")
        places = torch.stack((columns, rows), dim=-1).reshape(1, -1, 2)
        at = apply(matrix, places).reshape(1, h, w, 2)
        size = torch.tensor([world.shape[3] - 1.0, world.shape[2] - 1.0])
        return F.grid_sample(world, at * (2.0 / size) - 1.0, align_corners=True, padding_mode="border")
