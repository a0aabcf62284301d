"""Checkpoints: `spatial_warp.pth`, `temporal_warp.pth` and `smooth_warp.pth` of a folder, each `{"model": state_dict}`."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from .config import PUBLISHED, NetConfig
from .smooth import SmoothNet, SmoothNetV1
from .spatial import SpatialNet, SpatialNetV1
from .temporal import TemporalNet, TemporalNetV1

FILES = {"spatial": "spatial_warp.pth", "temporal": "temporal_warp.pth", "smooth": "smooth_warp.pth"}
VERSIONS = (1, 2)


class CheckpointError(Exception):
    """A checkpoint that cannot be used, with the file and the reason."""


@dataclass(frozen=True)
class Networks:
    """The three networks of one version, in evaluation mode."""

    version: int
    config: NetConfig
    spatial: SpatialNet | SpatialNetV1
    temporal: TemporalNet | TemporalNetV1
    smooth: SmoothNet | SmoothNetV1

    def named(self) -> dict[str, nn.Module]:
        """By the names of their files."""
        return {"spatial": self.spatial, "temporal": self.temporal, "smooth": self.smooth}


def build(version: int, config: NetConfig = PUBLISHED) -> Networks:
    """Networks with fresh weights: 1 is StabStitch, 2 is StabStitch++."""
    if version not in VERSIONS:
        raise CheckpointError(f"version {version}: give 1 (StabStitch) or 2 (StabStitch++)")
    if version == 1:
        nets = Networks(1, config, SpatialNetV1(config), TemporalNetV1(config), SmoothNetV1(config))
    else:
        nets = Networks(2, config, SpatialNet(config), TemporalNet(config), SmoothNet(config))
    for net in nets.named().values():
        net.eval()
    return nets


def load(model_dir: Path, version: int, config: NetConfig = PUBLISHED) -> Networks:
    """Networks with the weights of `model_dir`, each key of each file used and none missing."""
    nets = build(version, config)
    for name, net in nets.named().items():
        path = model_dir / FILES[name]
        net.load_state_dict(_read(path))
    return nets


def read_all(model_dir: Path) -> dict[str, dict[str, Tensor]]:
    """The state dictionaries of a folder, by name."""
    return {name: _read(model_dir / file) for name, file in FILES.items()}


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise CheckpointError(f"there is no {path}: put {', '.join(FILES.values())} into the folder")
    # Weights only: a checkpoint from elsewhere must not run code.
    content = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(content, dict) or "model" not in content:
        raise CheckpointError(f"{path} has no entry `model`: it is no checkpoint of these networks")
    state: dict[str, Tensor] = content["model"]
    # Weights trained with DataParallel carry its name in front.
    return {key.removeprefix("module."): value for key, value in state.items()}


def save(nets: Networks, model_dir: Path) -> None:
    """Writes the three checkpoints."""
    model_dir.mkdir(parents=True, exist_ok=True)
    for name, net in nets.named().items():
        torch.save({"model": net.state_dict()}, model_dir / FILES[name])


def randomise(net: nn.Module, seed: int) -> None:
    """Weights that exercise every path: random statistics of the batch norms, and outputs of some pixels.

    By keys and shapes only, so that the published code's networks get the same numbers.
    """
    generator = torch.Generator().manual_seed(seed)
    state = net.state_dict()
    for key in sorted(state):
        value = state[key]
        if not value.dtype.is_floating_point:
            continue
        noise = torch.randn(value.shape, generator=generator)
        if key.endswith("running_var"):
            value.copy_(1.0 + 0.2 * noise.abs())
        elif key.endswith("running_mean"):
            value.copy_(0.1 * noise)
        elif value.dim() == 1:
            # Scales of batch norms lie about one, biases about zero.
            scale = key.endswith("weight")
            value.copy_(0.1 * noise + (1.0 if scale else 0.0))
        else:
            fan_in = value[0].numel() if len(value) else 1
            value.copy_(noise * (2.0 / fan_in) ** 0.5)
    net.load_state_dict(state)


def scale_last_layers(net: nn.Module, factor: float) -> None:
    """Scales what the heads give out."""
    state = net.state_dict()
    for key, value in state.items():
        if ("regressNet" in key and "part2" in key and ".4." in key) or "decoding" in key:
            value.mul_(factor)
    net.load_state_dict(state)
