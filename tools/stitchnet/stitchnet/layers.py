"""Backbone and heads. Attribute names are those of the published checkpoints' keys."""

from itertools import pairwise

from torch import Tensor, nn

from .config import GRID_COLUMNS, GRID_ROWS, NetConfig

MESH_NUMBERS = GRID_ROWS * GRID_COLUMNS * 2


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions with a shortcut (He et al., "Deep Residual Learning", 2015)."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.relu = nn.ReLU()
        self.downsample: nn.Sequential | None = None
        if stride != 1 or inside != outside:
            self.downsample = nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        out: Tensor = self.relu(self.bn2(self.conv2(x)) + shortcut)
        return out


def _layer(inside: int, outside: int, stride: int) -> nn.Sequential:
    return nn.Sequential(BasicBlock(inside, outside, stride), BasicBlock(outside, outside, 1))


def stage1(base: int) -> nn.Sequential:
    """ResNet-18 to its second layer: [batch, 3, h, w] to [batch, 2 base, h / 8, w / 8]."""
    return nn.Sequential(
        nn.Conv2d(3, base, 7, 2, 3, bias=False),
        nn.BatchNorm2d(base),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
        _layer(base, base, 1),
        _layer(base, 2 * base, 2),
    )


def stage2(base: int) -> nn.Sequential:
    """ResNet-18's third layer: [batch, 2 base, h / 8, w / 8] to [batch, 4 base, h / 16, w / 16]."""
    return nn.Sequential(_layer(2 * base, 4 * base, 2))


def _regress(inside: int, levels: list[int]) -> nn.Sequential:
    """Two 3 x 3 convolutions and a halving for each level."""
    layers: list[nn.Module] = []
    for outside in levels:
        for source in (inside, outside):
            layers += [nn.Conv2d(source, outside, 3, padding=1, bias=False), nn.ReLU()]
        layers.append(nn.MaxPool2d(2, 2))
        inside = outside
    return nn.Sequential(*layers)


def _dense(sizes: list[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inside, outside in pairwise(sizes):
        layers += [nn.Linear(inside, outside), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def corner_head(inside: int, config: NetConfig) -> tuple[nn.Sequential, nn.Sequential]:
    """Head "H": from [batch, inside, h / 16, w / 16] to the way of four corners, [batch, 8]."""
    base = config.base
    h, w = (n // 8 for n in config.coarse)
    return _regress(inside, [base, 2 * base, 2 * base]), _dense([2 * base * h * w, 8 * base, 2 * base, 8])


def mesh_head(inside: int, config: NetConfig) -> tuple[nn.Sequential, nn.Sequential]:
    """Head "mesh": from [batch, inside, h / 8, w / 8] to the way of 63 control points, [batch, 126]."""
    base = config.base
    h, w = (n // 16 for n in config.features)
    dense = [4 * base * h * w, 16 * base, 8 * base, MESH_NUMBERS]
    return _regress(inside, [base, 2 * base, 2 * base, 4 * base]), _dense(dense)


def to_mesh(numbers: Tensor) -> Tensor:
    """[batch, 126] as a mesh."""
    return numbers.reshape(-1, GRID_ROWS, GRID_COLUMNS, 2)
