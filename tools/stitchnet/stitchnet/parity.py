"""Parity with the published code: both on equal random weights and pictures, theirs from a checkout, on the CPU.

Theirs is imported and run where it lies; nothing of it is copied. Only what binds it to a GPU or to the network is patched:
`.cuda()` gives the tensor itself, and the backbone starts without downloaded weights.
"""

import importlib
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from torch import Tensor

from . import checkpoint
from .config import PUBLISHED, WINDOW
from .online import Window
from .pictures import moving_pair

CODES = {1: "Codes", 2: "Full_model_inference/Codes"}
"""Where the code lies in the repositories nie-lang/StabStitch (1) and nie-lang/StabStitch2 (2)."""
COMMITS = {1: "bf33369c", 2: "646dad01"}
FRAMES = WINDOW + 2
LAST_LAYERS = 3.0
"""Factor on the last layers, so that random weights move control points by tens of pixels, as real ones do."""


def published(checkout: Path, version: int) -> dict[str, Any]:
    """Modules of the checkout, ready for the CPU."""
    folder = checkout / CODES[version]
    if not (folder / "spatial_network.py").is_file():
        raise FileNotFoundError(f"{folder} has no spatial_network.py: give a checkout of version {version}")
    torch.Tensor.cuda = lambda self, *_: self  # type: ignore[method-assign]
    resnet18 = torchvision.models.resnet.resnet18
    torchvision.models.resnet.resnet18 = lambda **_: resnet18(weights=None)
    # Imported there, never used.
    einops = types.ModuleType("einops")
    einops.rearrange = None  # type: ignore[attr-defined]
    sys.modules.setdefault("einops", einops)
    sys.path.insert(0, str(folder))
    names = ("spatial_network", "temporal_network", "smooth_network", "utils.torch_tps_transform_point")
    return {name.rsplit(".", 1)[-1]: importlib.import_module(name) for name in names}


def _numbers(mesh: Tensor) -> np.ndarray[Any, np.dtype[np.float64]]:
    return mesh.detach().numpy().astype(np.float64)


def compare(checkout: Path, version: int, seed: int) -> dict[str, float]:
    """Largest differences, in pixels of 480 x 360, of the three networks and of the whole online method."""
    theirs = published(checkout, version)
    nets = {
        "spatial": theirs["spatial_network"].SpatialNet(),
        "temporal": theirs["temporal_network"].TemporalNet(),
        "smooth": theirs["smooth_network"].SmoothNet(),
    }
    with tempfile.TemporaryDirectory() as folder:
        for i, (name, net) in enumerate(nets.items()):
            checkpoint.randomise(net, seed + i)
            checkpoint.scale_last_layers(net, LAST_LAYERS)
            net.eval()
            # By way of files of the published form: keys are proved too.
            torch.save({"model": net.state_dict()}, Path(folder) / checkpoint.FILES[name])
        ours = checkpoint.load(Path(folder), version)
    pairs = moving_pair(FRAMES, PUBLISHED.height, PUBLISHED.width, seed)
    with torch.no_grad():
        return _run(theirs, nets, ours, pairs, version)


def _run(
    theirs: dict[str, Any], nets: dict[str, Any], ours: checkpoint.Networks, pairs: list[tuple[Tensor, Tensor]], version: int
) -> dict[str, float]:
    size = (PUBLISHED.height, PUBLISHED.width)
    rigid = theirs["spatial_network"].get_rigid_mesh(1, *size)
    window = Window(*size)
    spatial_meshes: list[list[Tensor]] = []
    kept: list[Tensor | None] = [None, None]
    result = {"spatial_px": 0.0, "temporal_px": 0.0, "smooth_px": 0.0, "moved_px": 0.0}
    motions = _temporal(theirs, nets["temporal"], pairs)
    smoothed = []
    for k, pair in enumerate(pairs):
        answer = theirs["spatial_network"].build_SpatialNet(nets["spatial"], *pair)
        moves = [answer[key] for key in (("motion1", "motion2") if version == 2 else ("motion",))]
        wanted = [rigid + move for move in moves] if version == 2 else [rigid, rigid + moves[0]]
        spatial_meshes.append(wanted)
        meshes = list(ours.spatial(*pair))
        result["moved_px"] = max(result["moved_px"], *(float(move.abs().max()) for move in moves))
        result["spatial_px"] = max(result["spatial_px"], *_far(meshes, wanted))
        found = []
        for camera, picture in enumerate(pair):
            before = kept[camera]
            motion, features = ours.temporal(picture, torch.zeros(1, 128, 45, 60) if before is None else before)
            kept[camera] = features
            found.append(motion * 0.0 if before is None else motion)
            if camera == 1 or version == 2:
                result["temporal_px"] = max(result["temporal_px"], *_far([found[-1]], [motions[camera][k]]))
        window.push([_numbers(m[0]) for m in meshes], [_numbers(m[0]) for m in found])
        if window.full():
            inputs = [torch.from_numpy(a).float() for a in window.inputs()]
            deltas = [_numbers(d[-1]) for d in ours.smooth(*inputs)]
            smoothed.append(window.smoothed(deltas))
    wanted_smooth = _smooth(theirs, nets["smooth"], spatial_meshes, motions, version)
    for have, want in zip(smoothed, wanted_smooth, strict=True):
        cameras = range(2) if version == 2 else range(1, 2)
        result["smooth_px"] = max(result["smooth_px"], *(float(np.abs(have[c] - want[c]).max()) for c in cameras))
    result["mesh_relative"] = max(result[k] for k in ("spatial_px", "temporal_px", "smooth_px")) / PUBLISHED.width
    return result


def _far(have: list[Tensor], want: list[Tensor]) -> list[float]:
    return [float((a - b).abs().max()) for a, b in zip(have, want, strict=True)]


def _temporal(theirs: dict[str, Any], net: Any, pairs: list[tuple[Tensor, Tensor]]) -> list[list[Tensor]]:
    """Their motions of both cameras; the first of each is zero."""
    build = theirs["temporal_network"].build_TemporalNet
    return [build(net, [pair[camera] for pair in pairs])["motion_list"] for camera in range(2)]


def _smooth(
    theirs: dict[str, Any], net: Any, meshes: list[list[Tensor]], motions: list[list[Tensor]], version: int
) -> list[list[np.ndarray[Any, np.dtype[np.float64]]]]:
    """Their smoothed meshes of the last frame of each window."""
    size = (PUBLISHED.height, PUBLISHED.width)
    module = theirs["spatial_network"]
    rigid = module.get_rigid_mesh(1, *size)
    unit_rigid = module.get_norm_mesh(rigid, *size)
    transform = theirs["torch_tps_transform_point"].transformer
    scale = torch.tensor([size[1], size[0]]) / 2.0
    steps: list[list[Tensor]] = [[], []]
    for camera in range(2):
        for k, frame in enumerate(meshes):
            if k == 0:
                steps[camera].append(rigid * 0.0)
                continue
            before = module.get_norm_mesh(meshes[k - 1][camera], *size)
            moved = transform(module.get_norm_mesh(rigid + motions[camera][k], *size), unit_rigid, before)
            steps[camera].append(((moved + 1.0) * scale).reshape(rigid.shape) - frame[camera])
    found = []
    build = theirs["smooth_network"].build_SmoothNet
    for k in range(len(meshes) - WINDOW + 1):
        part = [[steps[camera][k] * 0.0, *steps[camera][k + 1 : k + WINDOW]] for camera in range(2)]
        windows = [[frame[camera] for frame in meshes[k : k + WINDOW]] for camera in range(2)]
        if version == 2:
            answer = build(net, part[0], part[1], windows[0], windows[1])
            pair = [answer["smooth_mesh1"], answer["smooth_mesh2"]]
        else:
            masks = [_overlap(mesh) for mesh in windows[1]]
            target = build(net, part[1], windows[1], masks)["target_mesh"]
            pair = [target, target]
        found.append([_numbers(mesh[0, -1]) for mesh in pair])
    return found


def _overlap(mesh: Tensor) -> Tensor:
    """Version 1 tells its smoothing network which control points lie in the reference."""
    inside = (mesh >= 0.0) & (mesh < torch.tensor([float(PUBLISHED.width), float(PUBLISHED.height)]))
    return inside.all(dim=-1, keepdim=True).float()
