"""ONNX for the daemon: three files of one folder, which `synoptic models import stitch` takes in.

| file | inputs | outputs |
|---|---|---|
| spatial.onnx | `reference`, `target` [1, 3, h, w] | `mesh_reference`, `mesh_target` [7, 9, 2] |
| temporal.onnx | `picture` [1, 3, h, w], `previous` [1, c, h / 8, w / 8] | `motion` [7, 9, 2], `features` as `previous` |
| smooth.onnx | `mesh_…`, `path_…` of `reference`, then of `target` [7, 7, 9, 2] | `delta_reference`, `delta_target` [7, 9, 2] |

All float32; pictures are BGR, value / 127.5 - 1; meshes in pixels of h x w. Both versions have the same form: version 1 gives
a rigid reference and no delta for it.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from .checkpoint import Networks
from .config import GRID_COLUMNS, GRID_ROWS, WINDOW, NetConfig
from .pictures import moving_pair

OPSET = 17
"""The lowest with GridSample is 16; TensorRT 8.5 takes 17."""
FORBIDDEN = {"Inverse", "Det", "Einsum", "Loop", "If", "Scan", "NonZero", "Im2Col", "Col2Im"}
"""Operators that an engine lacks, or that hide a dynamic shape."""

Io = tuple[tuple[str, ...], tuple[str, ...]]
FORMS: dict[str, Io] = {
    "spatial": (("reference", "target"), ("mesh_reference", "mesh_target")),
    "temporal": (("picture", "previous"), ("motion", "features")),
    "smooth": (
        ("mesh_reference", "path_reference", "mesh_target", "path_target"),
        ("delta_reference", "delta_target"),
    ),
}


class _OneFrame(nn.Module):
    """Takes the batch off the meshes."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        mesh = (GRID_ROWS, GRID_COLUMNS, 2)
        return tuple(out.reshape(mesh) if out.shape[-1] == 2 else out for out in self.net(*inputs))


def examples(config: NetConfig, seed: int) -> dict[str, list[Tensor]]:
    """Inputs of the three networks."""
    generator = torch.Generator().manual_seed(seed)
    pictures = list(moving_pair(1, config.height, config.width, seed)[0])
    previous = torch.rand(1, 2 * config.base, *config.features, generator=generator)
    size = torch.tensor([config.width, config.height])
    meshes = [torch.rand(WINDOW, GRID_ROWS, GRID_COLUMNS, 2, generator=generator) * size for _ in range(4)]
    return {"spatial": pictures, "temporal": [pictures[0], previous], "smooth": meshes}


@dataclass(frozen=True)
class Exported:
    """One file, and how far onnxruntime's answers are from torch's."""

    name: str
    path: Path
    operators: set[str]
    largest_difference: float
    nodes: int


def export(nets: Networks, folder: Path, seed: int = 1) -> Iterator[Exported]:
    """Writes the three files and proves each with onnxruntime."""
    folder.mkdir(parents=True, exist_ok=True)
    inputs = examples(nets.config, seed)
    for name, net in nets.named().items():
        form = FORMS[name]
        wrapped = _OneFrame(net).eval()
        path = folder / f"{name}.onnx"
        torch.onnx.export(
            wrapped,
            tuple(inputs[name]),
            str(path),
            input_names=list(form[0]),
            output_names=list(form[1]),
            opset_version=OPSET,
            do_constant_folding=True,
            dynamo=False,
        )
        model = _folded(onnx.load(str(path)))
        onnx.checker.check_model(model, full_check=True)
        operators = {node.op_type for node in model.graph.node}
        if bad := operators & FORBIDDEN:
            raise ValueError(f"{path}: the graph has {', '.join(sorted(bad))}, which not every engine runs")
        onnx.save(model, path)
        difference = _difference(wrapped, path, form, inputs[name])
        yield Exported(name, path, operators, difference, len(model.graph.node))


def _folded(model: onnx.ModelProto) -> onnx.ModelProto:
    """What depends on no input is computed once, by onnxruntime's basic passes, which add no operators of its own."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = f"{folder}/folded.onnx"
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        folded = onnx.load(f"{folder}/folded.onnx")
    # It declares its own domains even where no operator is of them.
    del folded.opset_import[:]
    folded.opset_import.append(onnx.helper.make_opsetid("", OPSET))
    if own := {node.op_type for node in folded.graph.node if node.domain not in ("", "ai.onnx")}:
        raise ValueError(f"folding left operators of onnxruntime alone: {', '.join(sorted(own))}")
    _shorten(folded.graph)
    return folded


def _shorten(graph: onnx.GraphProto) -> None:
    """Short names, and no shapes in between: half of a small file is the exporter's long names."""
    keep = {value.name for value in (*graph.input, *graph.output)}
    short: dict[str, str] = {"": ""}
    for tensor in graph.initializer:
        tensor.name = short.setdefault(tensor.name, f"w{len(short)}")
    for node in graph.node:
        node.name = node.doc_string = ""
        node.output[:] = [name if name in keep else short.setdefault(name, f"t{len(short)}") for name in node.output]
    for node in graph.node:
        node.input[:] = [short.get(name, name) for name in node.input]
    del graph.value_info[:]


def _difference(net: nn.Module, path: Path, form: Io, inputs: list[Tensor]) -> float:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    feed = {name: value.numpy() for name, value in zip(form[0], inputs, strict=True)}
    have = session.run(list(form[1]), feed)
    with torch.no_grad():
        want = net(*inputs)
    return max(float(np.abs(a - b.numpy()).max()) for a, b in zip(have, want, strict=True))
