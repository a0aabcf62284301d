"""What the networks are trained for, without labels: pictures agree where both are shown, meshes keep their shape, paths
are smooth. After the papers (Nie et al., "Eliminating Warping Shakes for Unsupervised Online Video Stitching", 2024)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .geometry import rigid_mesh

FIELD = 8
"""The spline is evaluated every so many pixels, and bilinear between: 63 logarithms a pixel are too many."""
EPSILON = 1e-6
SHAPE_WEIGHT = 10.0
CLOSE_WEIGHT = 0.05
"""Of staying near the path that was, against its smoothness."""


def _radial(a: Tensor, b: Tensor) -> Tensor:
    d2 = (a.unsqueeze(2) - b.unsqueeze(1)).square().sum(dim=3)
    return d2 * torch.log(d2 + EPSILON)


def spline(sources: Tensor, targets: Tensor, points: Tensor) -> Tensor:
    """Where thin plate splines through `sources` to `targets`, [batch, n, 2] within about -1 to 1, bring `points`."""
    batch = sources.shape[0]
    affine = torch.cat((torch.ones_like(sources[..., :1]), sources), dim=2)
    top = torch.cat((affine, _radial(sources, sources)), dim=2)
    bottom = torch.cat((torch.zeros(batch, 3, 3, dtype=sources.dtype), affine.transpose(1, 2)), dim=2)
    wanted = torch.cat((targets, torch.zeros(batch, 3, 2, dtype=targets.dtype)), dim=1)
    # In double precision: the system is badly conditioned.
    factors = torch.linalg.solve(torch.cat((top, bottom), dim=1).double(), wanted.double()).to(sources.dtype)
    here = torch.cat((torch.ones_like(points[..., :1]), points), dim=2)
    return torch.matmul(torch.cat((here, _radial(points, sources)), dim=2), factors)


def warp(picture: Tensor, mesh: Tensor, spread: float = 1.0) -> tuple[Tensor, Tensor]:
    """`picture` shown by `mesh` on a plane `spread` times as large about the same middle; and where it is shown, 0 or 1."""
    batch, _, h, w = picture.shape
    size = torch.tensor([float(w), float(h)])
    unit = (mesh * 2.0 / size - 1.0).reshape(batch, -1, 2)
    still = (rigid_mesh(h, w) * 2.0 / size - 1.0).reshape(1, -1, 2).expand(batch, -1, -1)
    rows, columns = h // FIELD, w // FIELD
    y, x = torch.meshgrid(torch.linspace(-1, 1, rows), torch.linspace(-1, 1, columns), indexing="ij")
    points = (torch.stack((x, y), dim=-1).reshape(1, -1, 2) * spread).expand(batch, -1, -1)
    field = spline(unit, still, points).reshape(batch, rows, columns, 2).permute(0, 3, 1, 2)
    field = F.interpolate(field, size=(h, w), mode="bilinear", align_corners=True).permute(0, 2, 3, 1)
    inside = (field.abs() < 1.0).all(dim=3).unsqueeze(1).to(picture.dtype)
    shown = F.grid_sample(picture, field, padding_mode="border", align_corners=False)
    return shown, inside.detach()


def difference(first: Tensor, second: Tensor, shared: Tensor) -> Tensor:
    """Mean absolute difference where both are shown; exposure is taken out as one factor a picture."""
    weight = shared.sum(dim=(1, 2, 3)).clamp(min=1.0) * first.shape[1]
    mean = [(p * shared).sum(dim=(1, 2, 3), keepdim=True) / weight.reshape(-1, 1, 1, 1) for p in (first, second)]
    apart = ((first - mean[0]) - (second - mean[1])).abs() * shared
    return (apart.sum(dim=(1, 2, 3)) / weight).mean()


def shape(mesh: Tensor) -> Tensor:
    """Edges that follow each other point the same way, and none is turned over or very short."""
    total = mesh.new_zeros(())
    for axis in (1, 2):
        edges = mesh.diff(dim=axis)
        n = edges.shape[axis]
        total = total + (1.0 - F.cosine_similarity(edges.narrow(axis, 0, n - 1), edges.narrow(axis, 1, n - 1), dim=3)).mean()
        along = edges[..., 0 if axis == 2 else 1]
        total = total + F.relu(along.detach().mean() * 0.3 - along).mean() / along.detach().mean().abs().clamp(min=1.0)
    return total


def spatial(coarse: tuple[Tensor, Tensor], ways: tuple[Tensor, Tensor], reference: Tensor, target: Tensor) -> Tensor:
    """Of both stages of the spatial network."""
    total = reference.new_zeros(())
    for weight, meshes in ((0.3, coarse), (1.0, tuple(c + way for c, way in zip(coarse, ways, strict=True)))):
        first, seen = warp(reference, meshes[0], 1.5)
        second, also = warp(target, meshes[1], 1.5)
        shared = seen * also
        # Pictures that share nothing agree perfectly; that must not pay.
        lost = F.relu(0.15 - shared.mean(dim=(1, 2, 3))).mean()
        total = total + weight * (difference(first, second, shared) + 4.0 * lost)
        total = total + weight * SHAPE_WEIGHT * (shape(meshes[0]) + shape(meshes[1])) / 10.0
    return total


def temporal(motion: Tensor, picture: Tensor, previous: Tensor) -> Tensor:
    """Of the temporal network: the previous picture moved by the motion is this one."""
    _, _, h, w = picture.shape
    mesh = rigid_mesh(h, w) + motion
    # Points go with the motion from the previous picture to this.
    shown, seen = warp(previous, mesh)
    return difference(shown, picture, seen) + SHAPE_WEIGHT * shape(mesh) / 10.0


def smooth(paths: tuple[Tensor, Tensor], deltas: tuple[Tensor, Tensor]) -> Tensor:
    """Of the smoothing network: smooth paths near those that were, and both cameras moved alike."""
    total = paths[0].new_zeros(())
    for path, delta in zip(paths, deltas, strict=True):
        moved = path + delta
        total = total + moved.diff(n=2, dim=0).square().mean() + CLOSE_WEIGHT * delta.square().mean()
        total = total + (delta.diff(dim=1).square().mean() + delta.diff(dim=2).square().mean())
    return total + (deltas[0].mean(dim=(1, 2)) - deltas[1].mean(dim=(1, 2))).square().mean()
