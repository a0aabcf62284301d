"""Matching of features by plain operators: matrix products, slices and one GridSample.

The published code matches with convolutions whose weights are the other picture's patches, and with `unfold`; neither
exports well. Both are exact here up to rounding, and use fewer multiplications or less memory.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from . import geometry

SOFTMAX_SCALE = 10.0
"""Sharpness of the matching, as published."""
SLOPE = 0.1
"""Of the leaky ReLU after a cost volume, as published."""


def contextual_flow(first: Tensor, second: Tensor, height: int, width: int) -> Tensor:
    """Contextual correlation: [batch, 2, h, w], the expected (x, y) way from each place of `first` to its match in `second`.

    All 3 x 3 patches of unit features are compared. The product of the two pictures' pixels is taken once; a patch's
    correlation is the sum of nine of its entries, shifted in both pictures together.
    """
    n = height * width
    a = F.normalize(first, p=2.0, dim=1).flatten(2).transpose(1, 2)
    b = F.normalize(second, p=2.0, dim=1).flatten(2)
    product = torch.matmul(a, b)
    # Rows first, then columns: 3 + 3 shifted sums in place of 9.
    product = product.reshape(-1, height, width, height, width)
    product = _diagonal_sum(_diagonal_sum(product, (1, 3)), (2, 4))
    match = torch.softmax(product.reshape(-1, n, n) * SOFTMAX_SCALE, dim=2)
    rows, columns = torch.meshgrid(torch.arange(height, dtype=match.dtype), torch.arange(width, dtype=match.dtype), indexing="ij")
    places = torch.stack((columns, rows), dim=-1).reshape(n, 2)
    flow = torch.matmul(match, places) - places
    return flow.transpose(1, 2).reshape(-1, 2, height, width)


def _diagonal_sum(product: Tensor, axes: tuple[int, int]) -> Tensor:
    """Sums entries (i - 1, j - 1), (i, j) and (i + 1, j + 1) of two axes; beyond the edge is zero."""
    pads = [0, 0] * product.dim()
    for axis in axes:
        # Pads are listed from the last axis.
        at = 2 * (product.dim() - 1 - axis)
        pads[at : at + 2] = [1, 1]
    around = F.pad(product, pads)
    first, second = (product.shape[axis] for axis in axes)
    parts = [around.narrow(axes[0], d, first).narrow(axes[1], d, second) for d in range(3)]
    return parts[0] + parts[1] + parts[2]


def cost_volume(first: Tensor, second: Tensor, reach: int, height: int, width: int) -> Tensor:
    """Mean product of `first` with `second` shifted by up to `reach` each way: [batch, (2 reach + 1)^2, h, w].

    One product of each row with the rows about it of the other picture; the places wanted lie on a diagonal band, which a
    change of the row length makes upright: entry (x, x + d) of rows of length m is entry (x, d) of rows of length m + 1.
    """
    channels = first.shape[1]
    side = 2 * reach + 1
    wide = width + 2 * reach
    around = F.pad(second, (reach, reach, reach, reach))
    stacked = torch.stack([around[:, :, d : d + height] for d in range(side)], dim=3)
    # [batch, row, channel, shift down, column] against [batch, row, column, channel].
    right = stacked.permute(0, 2, 1, 3, 4).reshape(-1, height, channels, side * wide)
    left = first.permute(0, 2, 3, 1)
    product = torch.matmul(left, right).reshape(-1, height, width, side, wide)
    flat = product.permute(0, 1, 3, 2, 4).reshape(-1, height, side, width * wide)
    upright = F.pad(flat, (0, width)).reshape(-1, height, side, width, wide + 1)[..., :side]
    volume = upright.permute(0, 2, 4, 1, 3).reshape(-1, side * side, height, width)
    return F.leaky_relu(volume * (1.0 / channels), SLOPE)


def warp_features(features: Tensor, matrix: Tensor, height: int, width: int) -> Tensor:
    """`features` seen through `matrix`, the homography from output to input in pixels of the features.

    The published convention: the output's columns stand for 0 to `width` inclusive, samples are bilinear, and what lies
    beyond the first or from the last row or column is zero.
    """
    x = torch.linspace(0.0, float(width), width)
    y = torch.linspace(0.0, float(height), height)
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    places = torch.stack((columns, rows), dim=-1).reshape(1, -1, 2).to(features.dtype)
    at = geometry.apply(matrix, places)
    last = torch.tensor([width - 1.0, height - 1.0])
    within = ((at >= 0.0) & (at < last)).to(features.dtype)
    inside = (within[..., 0] * within[..., 1]).reshape(-1, 1, height, width)
    grid = (at * (2.0 / last) - 1.0).reshape(-1, height, width, 2)
    sampled = F.grid_sample(features, grid, mode="bilinear", padding_mode="zeros", align_corners=True)
    return sampled * inside
