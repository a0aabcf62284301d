#!/usr/bin/env python3
"""Holds synoptic-mv against FFmpeg as PyAV brings it: check.py PROGRAM CLIP. Every frame: time, kind, all vectors.

The clip should have B pictures: then the frame that comes out is not the one whose unit went in.
"""

from __future__ import annotations

import struct
import subprocess
import sys

import av
import numpy as np

COLUMNS = ("source", "w", "h", "src_x", "src_y", "dst_x", "dst_y", "motion_x", "motion_y", "motion_scale")


def units(clip: str) -> list[tuple[int, bytes]]:
    """Access units in Annex B form with their presentation times."""
    with av.open(clip) as source:
        stream = source.streams.video[0]
        to_annexb = av.BitStreamFilterContext("h264_mp4toannexb", stream)
        return [(unit.pts, bytes(unit)) for packet in source.demux(stream) for unit in to_annexb.filter(packet)
                if unit.pts is not None]


def truth(clip: str) -> list[tuple[int, str, np.ndarray]]:
    with av.open(clip) as source:
        stream = source.streams.video[0]
        stream.codec_context.options = {"flags2": "+export_mvs"}
        stream.thread_type = "NONE"
        frames = []
        for frame in source.decode(stream):
            found = frame.side_data.get("MOTION_VECTORS")
            table = np.zeros((0, 10), np.int32)
            if found is not None:
                raw = found.to_ndarray()
                table = np.stack([raw[name].astype(np.int32) for name in COLUMNS], axis=1)
            frames.append((frame.pts, av.video.frame.PictureType(frame.pict_type).name, table))
        return frames


def told(program: str, clip: str) -> list[tuple[int, str, np.ndarray]]:
    data = b"".join(struct.pack("<Iq", len(unit), time) + unit for time, unit in units(clip))
    said = subprocess.run([program], input=data, stdout=subprocess.PIPE, check=True).stdout
    frames, at = [], 0
    while at < len(said):
        time, kind, count = struct.unpack_from("<qcI", said, at)
        table = np.frombuffer(said, "<i4", 10 * count, at + 13).reshape(-1, 10)
        frames.append((time, kind.decode(), table))
        at += 13 + 40 * count
    return frames


def main() -> None:
    program, clip = sys.argv[1:]
    wanted, got = truth(clip), told(program, clip)
    if [f[:2] for f in wanted] != [f[:2] for f in got]:
        sys.exit(f"times and kinds differ:\n{[f[:2] for f in wanted][:12]}\n{[f[:2] for f in got][:12]}")
    for (time, kind, table), (_, _, other) in zip(wanted, got):
        if not np.array_equal(table, other):
            sys.exit(f"vectors of the {kind} frame at {time} differ: {len(table)} and {len(other)}")
    kinds = "".join(kind for _, kind, _ in got)
    count = sum(len(table) for *_, table in got)
    future = sum(int((table[:, 0] > 0).sum()) for *_, table in got)
    if "B" not in kinds or not future:
        sys.exit(f"{clip} shows nothing: {kinds}, {future} vectors from the future")
    off = [np.abs(t[:, 3:5] - t[:, 5:7] - t[:, 7:9] / t[:, 9:10]).max() for *_, t in got if len(t)]
    print(f"{len(got)} frames ({kinds[:24]}...), {count} vectors, {future} from the future, all equal; "
          f"src - dst - motion / scale at most {max(off):.2f}")


if __name__ == "__main__":
    main()
