"""Pictures for proofs: smooth random texture seen by two cameras that move. No files are needed."""

import torch
import torch.nn.functional as F
from torch import Tensor


def texture(height: int, width: int, generator: torch.Generator) -> Tensor:
    """Random texture on several scales, [1, 3, height, width], within -1 and 1."""
    total = torch.zeros(1, 3, height, width)
    for cells in (4, 12, 36, 90):
        noise = torch.rand(1, 3, cells, cells * 4 // 3, generator=generator) * 2.0 - 1.0
        total += F.interpolate(noise, size=(height, width), mode="bicubic", align_corners=False) / cells**0.35
    low, high = total.min(), total.max()
    return (total - low) / (high - low) * 2.0 - 1.0


def moving_pair(frames: int, height: int, width: int, seed: int) -> list[tuple[Tensor, Tensor]]:
    """Pictures of two cameras that share 60 % and shake, each [1, 3, height, width]."""
    generator = torch.Generator().manual_seed(seed)
    world = texture(height + 80, width * 2, generator)
    pairs = []
    for _ in range(frames):
        views = []
        for left in (20, int(width * 0.4) + 20):
            dx, dy = (int(v) for v in torch.randint(-8, 9, (2,), generator=generator))
            views.append(world[:, :, 40 + dy : 40 + dy + height, left + dx : left + dx + width].clone())
        pairs.append((views[0], views[1]))
    return pairs
