"""The online method around the networks, in double precision: what the daemon does in Rust, as its reference.

Only the last frame of each window of seven is used: one frame of latency, six frames to start, nothing looked ahead.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .config import GRID_COLUMNS, GRID_ROWS, WINDOW

Array = NDArray[np.float64]
EPSILON = 1e-6
"""Inside the logarithm of the radial function, as published."""
POINTS = GRID_ROWS * GRID_COLUMNS


class ThinPlate:
    """A thin plate spline through `sources`, [n, 2] (Bookstein, "Principal Warps", 1989)."""

    def __init__(self, sources: Array, targets: Array) -> None:
        n = len(sources)
        system = np.zeros((n + 3, n + 3))
        system[:n, 0] = 1.0
        system[:n, 1:3] = sources
        system[:n, 3:] = _radial(sources, sources)
        system[n:, 3:] = system[:n, :3].T
        wanted = np.zeros((n + 3, 2))
        wanted[:n] = targets
        self.sources = sources
        self.factors = np.linalg.solve(system, wanted)

    def __call__(self, points: Array) -> Array:
        """Where `points`, [m, 2], go."""
        affine = np.concatenate((np.ones((len(points), 1)), points), axis=1)
        moved: Array = affine @ self.factors[:3] + _radial(points, self.sources) @ self.factors[3:]
        return moved


def _radial(a: Array, b: Array) -> Array:
    d2 = np.square(a[:, None] - b[None]).sum(axis=2)
    radial: Array = d2 * np.log(d2 + EPSILON)
    return radial


def rigid(height: float, width: float) -> Array:
    """The mesh of a picture that is not warped, [7, 9, 2]."""
    y, x = np.meshgrid(np.linspace(0, height, GRID_ROWS), np.linspace(0, width, GRID_COLUMNS), indexing="ij")
    return np.stack((x, y), axis=-1)


@dataclass
class Camera:
    """One camera's window: meshes, and by how much the path steps at each frame."""

    meshes: deque[Array]
    steps: deque[Array]


class Window:
    """The last seven frames of two cameras whose pictures are `height` x `width`."""

    def __init__(self, height: int, width: int) -> None:
        self.size = np.array([width, height], dtype=np.float64)
        self.rigid = rigid(float(height), float(width))
        self.cameras = [Camera(deque(maxlen=WINDOW), deque(maxlen=WINDOW)) for _ in range(2)]

    def push(self, meshes: list[Array], motions: list[Array]) -> None:
        """Takes in a frame: each camera's spatial mesh and temporal motion, [7, 9, 2]. The first motion is not used."""
        for camera, mesh, motion in zip(self.cameras, meshes, motions, strict=True):
            step = np.zeros_like(mesh)
            if camera.meshes:
                spline = ThinPlate(self._unit(self.rigid), self._unit(camera.meshes[-1]))
                moved = spline(self._unit(self.rigid + motion))
                step = (moved + 1.0) * self.size / 2.0
                step = step.reshape(GRID_ROWS, GRID_COLUMNS, 2) - mesh
            camera.meshes.append(mesh)
            camera.steps.append(step)

    def _unit(self, mesh: Array) -> Array:
        scaled: Array = (mesh * 2.0 / self.size - 1.0).reshape(POINTS, 2)
        return scaled

    def full(self) -> bool:
        """Whether there are seven frames."""
        return len(self.cameras[0].meshes) == WINDOW

    def inputs(self) -> list[Array]:
        """What the smoothing network takes: mesh and path of the one camera, then of the other, each [7, 7, 9, 2]."""
        found = []
        for camera in self.cameras:
            steps = np.stack(camera.steps)
            steps[0] = 0.0
            found += [np.stack(camera.meshes), np.cumsum(steps, axis=0)]
        return found

    def smoothed(self, deltas: list[Array]) -> list[Array]:
        """The meshes to warp the newest frame with."""
        return [camera.meshes[-1] - delta for camera, delta in zip(self.cameras, deltas, strict=True)]
