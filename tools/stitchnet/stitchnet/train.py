"""Training from scratch, one network after the other, without labels, on rendered rigs. A run that was cut off goes on."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from . import checkpoint, losses
from .config import GRID_COLUMNS, GRID_ROWS, PUBLISHED, SMALL, TINY, WINDOW, NetConfig
from .geometry import rigid_mesh
from .render import Renderer
from .spatial import SpatialNet

SIZES = {"published": PUBLISHED, "small": SMALL, "tiny": TINY}
CLIP = 3.0
"""Norm that gradients are cut to."""
STATE = "training-{}.pt"


@dataclass(frozen=True)
class Plan:
    """What is trained, and how far."""

    work: Path
    stage: str
    size: str = "small"
    steps: int = 100_000
    batch: int = 8
    rate: float = 1e-4
    save_every: int = 1000
    device: str = "cpu"
    seed: int = 1

    @property
    def config(self) -> NetConfig:
        """Sizes of the network."""
        return SIZES[self.size]


def _trajectories(config: NetConfig, generator: torch.Generator) -> tuple[list[Tensor], list[Tensor]]:
    """Meshes and paths of two cameras that drift slowly and shake, each [7, 7, 9, 2]."""
    rigid = rigid_mesh(config.height, config.width)
    meshes, paths = [], []
    scale = config.width / 480.0
    for side in (-1.0, 1.0):
        drift = torch.randn(1, 1, 1, 2, generator=generator) * scale
        shake = torch.randn(WINDOW, 1, 1, 2, generator=generator) * 2.0 * scale
        bend = torch.randn(WINDOW, GRID_ROWS, GRID_COLUMNS, 2, generator=generator) * 0.3 * scale
        way = drift * torch.arange(WINDOW).reshape(-1, 1, 1, 1) + shake + bend
        away = side * config.width * (0.1 + 0.1 * torch.rand(1, generator=generator))
        meshes.append(rigid + way + torch.cat((away, torch.zeros(1))))
        paths.append(way - way[:1])
    return meshes, paths


class Trainer:
    """One network, its optimiser, and where it was."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        torch.manual_seed(plan.seed)
        self.nets = checkpoint.build(2, plan.config)
        self.net = self.nets.named()[plan.stage]
        self.net.to(plan.device)
        self.optimiser = torch.optim.Adam(self.net.parameters(), lr=plan.rate)
        self.step = 0
        self.path = plan.work / STATE.format(plan.stage)
        if self.path.is_file():
            state: dict[str, Any] = torch.load(self.path, map_location=plan.device, weights_only=True)
            self.net.load_state_dict(state["model"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.step = int(state["step"])

    def loss(self) -> Tensor:
        """Of one step; its scenes depend on the seed and the step alone, so that a run that goes on sees new ones."""
        plan = self.plan
        seed = plan.seed * 1_000_003 + self.step
        if plan.stage == "smooth":
            generator = torch.Generator().manual_seed(seed)
            total = torch.zeros(())
            for _ in range(plan.batch):
                meshes, paths = _trajectories(plan.config, generator)
                meshes, paths = [[t.to(plan.device) for t in ts] for ts in (meshes, paths)]
                deltas = self.nets.smooth(meshes[0], paths[0], meshes[1], paths[1], last_only=False)
                total = total + losses.smooth((paths[0], paths[1]), deltas)
            return total / plan.batch
        with torch.device("cpu"):
            renderer = Renderer(plan.config, seed)
            frames = 1 if plan.stage == "spatial" else 2
            scenes = [renderer.scene(frames) for _ in range(plan.batch)]
        if plan.stage == "spatial":
            reference = torch.cat([s.reference for s in scenes]).to(plan.device)
            target = torch.cat([s.target for s in scenes]).to(plan.device)
            net = self.nets.spatial
            if not isinstance(net, SpatialNet):
                raise TypeError("version 2 alone is trained")
            return losses.spatial(*net.stages(reference, target), reference, target)
        previous = torch.cat([s.reference[:1] for s in scenes]).to(plan.device)
        picture = torch.cat([s.reference[1:] for s in scenes]).to(plan.device)
        motion, _ = self.nets.temporal(picture, self.nets.temporal.features(previous))
        return losses.temporal(motion, picture, previous)

    def advance(self) -> float:
        """One step; its loss. A step without a finite loss changes nothing."""
        self.net.train()
        self.optimiser.zero_grad()
        loss = self.loss()
        if torch.isfinite(loss):
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self.net.parameters(), CLIP)
            self.optimiser.step()
        self.step += 1
        return float(loss.detach())

    def save(self) -> None:
        """Keeps the state, so that half a file is never taken for one, and the checkpoint of the published form."""
        self.plan.work.mkdir(parents=True, exist_ok=True)
        state = {"model": self.net.state_dict(), "optimiser": self.optimiser.state_dict(), "step": self.step}
        for path, content in (
            (self.path, state),
            (self.plan.work / checkpoint.FILES[self.plan.stage], {"model": self.net.state_dict()}),
        ):
            fresh = path.with_suffix(".new")
            torch.save(content, fresh)
            fresh.replace(path)


def run(plan: Plan) -> list[float]:
    """Trains to `plan.steps` in all; the losses of the steps made now."""
    torch.set_default_device(plan.device)
    trainer = Trainer(plan)
    log = plan.work / f"log-{plan.stage}.jsonl"
    plan.work.mkdir(parents=True, exist_ok=True)
    made: list[float] = []
    began = time.monotonic()
    while trainer.step < plan.steps:
        made.append(trainer.advance())
        if trainer.step % plan.save_every == 0 or trainer.step == plan.steps:
            trainer.save()
            recent = made[-plan.save_every :]
            line = {
                "step": trainer.step,
                "loss": sum(recent) / len(recent),
                "s_a_step": (time.monotonic() - began) / len(made),
            }
            with log.open("a") as file:
                file.write(json.dumps(line) + "\n")
            print(json.dumps(line), flush=True)
    return made
