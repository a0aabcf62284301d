"""Milliseconds a frame of the exported networks in onnxruntime: one spatial, two temporal, one smoothing network.

It needs no torch, and also runs as a script: `bench.py MODELS THREADS FRAMES`.
"""

import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime

CALLS = {"spatial": 1, "temporal": 2, "smooth": 1}


def run(models: Path, threads: int, frames: int, out: Path | None) -> dict[str, float]:
    """Medians of `frames` runs after one to warm up; written to `out` as JSON by network, and in all as `frame`."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    found: dict[str, float] = {}
    for name in CALLS:
        session = onnxruntime.InferenceSession(str(models / f"{name}.onnx"), options, providers=["CPUExecutionProvider"])
        random = np.random.default_rng(1)
        feed = {i.name: random.random(i.shape, dtype=np.float32) for i in session.get_inputs()}
        times = []
        for _ in range(frames + 1):
            began = time.perf_counter()
            session.run(None, feed)
            times.append((time.perf_counter() - began) * 1e3)
        found[name] = statistics.median(times[1:])
    found["frame"] = sum(found[name] * calls for name, calls in CALLS.items())
    text = json.dumps({"onnxruntime": onnxruntime.__version__, "threads": threads, "ms": found})
    print(text)
    if out:
        out.write_text(text + "\n")
    return found


if __name__ == "__main__":
    run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), None)
