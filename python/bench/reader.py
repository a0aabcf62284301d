"""The reading end of `make bench NAME=shm`: one JSON object with rate and latency, for the way that is asked for.

    reader.py ours SOCKET COUNT
    reader.py pickle SOCKET COUNT        arrays as a pickle through a socket, from a process of its own
"""

from __future__ import annotations

import json
import pickle
import socket
import struct
import sys
import time
from typing import Callable, List

import numpy as np

Step = Callable[[], float]


def ours(path: str) -> Step:
    """Reads the daemon's packets and looks at one byte of each row; returns when a packet was written."""
    from synoptic import GroupReader

    reader = GroupReader(path, ring=2)

    def step() -> float:
        packet = reader.get(60)
        for frame in packet.values():
            if frame["frame"] is not None:
                touch(frame["frame"])
        assert reader.info is not None
        return reader.info.written

    return step


def pickled(path: str) -> Step:
    """The same packet as a pickle with a length before it."""
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    stream.connect(path)
    source = stream.makefile("rb", buffering=1 << 20)

    def step() -> float:
        (length,) = struct.unpack("<Q", source.read(8))
        packet = pickle.loads(source.read(length))
        for frame in packet.values():
            touch(frame["frame"])
        written: float = packet[0]["written"]
        return written

    return step


def touch(picture: "np.ndarray") -> int:
    """What any program does at least: look at the picture."""
    return int(picture[:, 0, 0].sum())


def serve_pickles(path: str, shape: str, cameras: str, period: str) -> None:
    """The baseline's sending end: ready-made BGR arrays, so that it is not charged for the conversion."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen(1)
    print("ready", flush=True)
    stream, _ = listener.accept()
    height, width = (int(n) for n in shape.split("x"))
    picture = np.random.default_rng(1).integers(0, 255, (height, width, 3), np.uint8)
    due = time.monotonic()
    try:
        while True:
            written = time.monotonic()
            packet = {i: {"frame_status": "FRAME_OKAY", "written": written, "frame": picture} for i in range(int(cameras))}
            data = pickle.dumps(packet, protocol=pickle.HIGHEST_PROTOCOL)
            stream.sendall(struct.pack("<Q", len(data)) + data)
            due += float(period)
            time.sleep(max(0.0, due - time.monotonic()))
    except (BrokenPipeError, ConnectionResetError):
        print(json.dumps({"cpu_s": time.process_time()}), flush=True)


def measure(step: Step, count: int) -> None:
    latency: List[float] = []
    step()
    begin, cpu = time.monotonic(), time.process_time()
    for _ in range(count):
        written = step()
        latency.append((time.monotonic() - written) * 1e3)
    took, cpu = time.monotonic() - begin, time.process_time() - cpu
    p50, p99 = np.percentile(latency, [50, 99])
    print(json.dumps({"rate": count / took, "p50_ms": p50, "p99_ms": p99, "cpu": cpu / took}), flush=True)


if __name__ == "__main__":
    way, path, *rest = sys.argv[1:]
    if way == "serve":
        serve_pickles(path, *rest)
    else:
        measure({"ours": ours, "pickle": pickled}[way](path), int(rest[0]))
