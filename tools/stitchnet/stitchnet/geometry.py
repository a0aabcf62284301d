"""Homographies and meshes in closed form: no matrix is inverted, so that all of it can be exported to ONNX.

Points are (x, y) in pixels. A mesh is [batch, 7, 9, 2]; a homography is [batch, 3, 3] and known up to scale only.
"""

import torch
from torch import Tensor

from .config import GRID_COLUMNS, GRID_ROWS

CORNERS = 4


def rigid_mesh(height: float, width: float) -> Tensor:
    """The mesh of a picture that is not warped, [1, 7, 9, 2]: from 0 to `width` and `height` inclusive."""
    x = torch.linspace(0.0, float(width), GRID_COLUMNS)
    y = torch.linspace(0.0, float(height), GRID_ROWS)
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    return torch.stack((columns, rows), dim=-1).unsqueeze(0)


def corners(height: float, width: float) -> Tensor:
    """Corners of a picture, [1, 4, 2]: top left, top right, bottom left, bottom right."""
    return torch.tensor([[[0.0, 0.0], [width, 0.0], [0.0, height], [width, height]]])


def quad_homography(quad: Tensor, height: float, width: float) -> Tensor:
    """The homography from the rectangle of `height` x `width` onto the corners `quad`, [batch, 4, 2].

    Heckbert, "Fundamentals of Texture Mapping and Image Warping", 1989, section 2.2.3: from the unit square, times
    the scale of the rectangle. It equals the 8 x 8 direct linear transform of four points.
    """
    p00, p10, p01, p11 = (quad[:, i] for i in range(CORNERS))
    right, below = p10 - p11, p01 - p11
    bend = p00 - p10 + p11 - p01
    area = right[:, 0] * below[:, 1] - below[:, 0] * right[:, 1]
    g = (bend[:, 0] * below[:, 1] - below[:, 0] * bend[:, 1]) / area
    h = (right[:, 0] * bend[:, 1] - bend[:, 0] * right[:, 1]) / area
    across = p10 - p00 + g.unsqueeze(1) * p10
    down = p01 - p00 + h.unsqueeze(1) * p01
    one = torch.ones_like(g)
    rows = (
        torch.stack((across[:, 0] / width, down[:, 0] / height, p00[:, 0]), dim=1),
        torch.stack((across[:, 1] / width, down[:, 1] / height, p00[:, 1]), dim=1),
        torch.stack((g / width, h / height, one), dim=1),
    )
    return torch.stack(rows, dim=1)


def adjugate(matrix: Tensor) -> Tensor:
    """The inverse of a homography up to scale: its adjugate, by cross products of its rows."""
    a, b, c = (matrix[:, i] for i in range(3))
    return torch.stack((_cross(b, c), _cross(c, a), _cross(a, b)), dim=2)


def _cross(a: Tensor, b: Tensor) -> Tensor:
    ax, ay, az = (a[:, i] for i in range(3))
    bx, by, bz = (b[:, i] for i in range(3))
    return torch.stack((ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx), dim=1)


def apply(matrix: Tensor, points: Tensor) -> Tensor:
    """`points`, [1 or batch, n, 2], moved by the homographies `matrix`; [batch, n, 2]."""
    ones = torch.ones_like(points[..., :1])
    moved = torch.matmul(torch.cat((points, ones), dim=2), matrix.transpose(1, 2))
    depth = moved[..., 2:]
    # The published warp keeps away from points at infinity in this way.
    depth = depth + 1e-6 * (depth.abs() < 1e-7).to(depth.dtype)
    return moved[..., :2] / depth


def scaled(matrix: Tensor, factor: float) -> Tensor:
    """The homography between the same pictures at `factor` times their size."""
    by = torch.tensor([[1.0, 1.0, factor], [1.0, 1.0, factor], [1.0 / factor, 1.0 / factor, 1.0]])
    return matrix * by.to(matrix.dtype)


def warp_mesh(inverse: Tensor, rigid: Tensor) -> Tensor:
    """The rigid mesh moved by `inverse`, the homography from the picture to where it is shown."""
    flat = rigid.reshape(1, -1, 2)
    return apply(inverse, flat).reshape(-1, GRID_ROWS, GRID_COLUMNS, 2)
