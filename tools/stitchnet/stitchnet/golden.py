"""Goldens for the daemon's tests: tiny networks of random weights, and what they answer, below 200 kB in all.

Pictures and window inputs are made by formulas, which the tests repeat, so that only answers need to be kept.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from . import checkpoint, export
from .config import GRID_COLUMNS, GRID_ROWS, TINY, WINDOW
from .online import Window, rigid

FRAMES = WINDOW + 1
SEED = 11
DIGITS = 4
LAST_LAYERS = 3.0
"""Factor on the heads' last layers, so that points move by pixels."""


def pattern(camera: int, frame: int, height: int, width: int) -> NDArray[np.uint8]:
    """A picture, [3, height, width], blue first."""
    c, y, x = np.meshgrid(np.arange(3), np.arange(height), np.arange(width), indexing="ij")
    values = (x * (3 + c) + y * 5 + frame * 7 + camera * 60) ^ ((x // 8) * (y // 8) * 13)
    return (values & 255).astype(np.uint8)


def tensor(camera: int, frame: int) -> torch.Tensor:
    """The same as the networks take it."""
    picture = pattern(camera, frame, TINY.height, TINY.width).astype(np.float32)
    return torch.from_numpy(picture / 127.5 - 1.0).unsqueeze(0)


def _numbers(mesh: Any) -> list[float]:
    return [round(float(v), DIGITS) for v in np.asarray(mesh).reshape(-1)]


def networks_answers(nets: checkpoint.Networks) -> dict[str, Any]:
    """Of eight frames: the first meshes, the second's motions, and the smoothed meshes of the seventh and the eighth."""
    window = Window(TINY.height, TINY.width)
    kept: list[torch.Tensor | None] = [None, None]
    found: dict[str, Any] = {"frames": FRAMES, "smoothed": []}
    with torch.no_grad():
        for frame in range(FRAMES):
            pictures = [tensor(camera, frame) for camera in range(2)]
            meshes = [m[0].double().numpy() for m in nets.spatial(*pictures)]
            motions = []
            for camera, picture in enumerate(pictures):
                before = kept[camera]
                zero = torch.zeros(1, 2 * TINY.base, *TINY.features)
                motion, kept[camera] = nets.temporal(picture, zero if before is None else before)
                motions.append(motion[0].double().numpy() * (before is not None))
            window.push(meshes, motions)
            if frame == 0:
                found["meshes"] = [_numbers(m) for m in meshes]
            if frame == 1:
                found["motions"] = [_numbers(m) for m in motions]
            if window.full():
                deltas = nets.smooth(*[torch.from_numpy(a).float() for a in window.inputs()])
                smoothed = window.smoothed([d[-1].double().numpy() for d in deltas])
                found["smoothed"].append([_numbers(m) for m in smoothed])
    return found


def window_answers() -> dict[str, Any]:
    """Of meshes and motions made by sines at 480 x 360: the paths of the newest frame after nine."""
    height, width = 360, 480
    still = rigid(height, width)
    point, axis = np.meshgrid(np.arange(GRID_ROWS * GRID_COLUMNS), np.arange(2), indexing="ij")
    window = Window(height, width)
    for frame in range(WINDOW + 2):
        meshes, motions = [], []
        for camera in range(2):
            mesh = 6.0 * np.sin(0.7 * frame + 0.31 * point + 1.3 * axis + 2.1 * camera)
            motion = 2.0 * np.cos(0.5 * frame + 0.17 * point + 0.9 * axis + camera)
            meshes.append(still + mesh.reshape(still.shape))
            motions.append(motion.reshape(still.shape))
        window.push(meshes, motions)
    inputs = window.inputs()
    return {"paths": [_numbers(inputs[1][-1]), _numbers(inputs[3][-1])]}


def write(folder: Path) -> None:
    """Writes the three networks and golden.json."""
    nets = checkpoint.build(2, TINY)
    for i, net in enumerate(nets.named().values()):
        checkpoint.randomise(net, SEED + i)
        checkpoint.scale_last_layers(net, LAST_LAYERS)
    for exported in export.export(nets, folder):
        print(f"{exported.path.name}: {exported.nodes} nodes, {exported.largest_difference:.1e} from torch")
    answers = {"networks": networks_answers(nets), "window": window_answers()}
    (folder / "golden.json").write_text(json.dumps(answers, separators=(",", ":")) + "\n")
