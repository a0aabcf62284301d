#!/usr/bin/env python3
"""Shows the cameras side by side with their capture times drawn on them, or writes PNG files.

    python window.py rtsp://camera1/stream rtsp://camera2/stream
    python window.py --attach main
    python window.py --png out --count 20 clip1.mp4 clip2.mp4
"""

from __future__ import annotations

import argparse
import datetime
import pathlib

import cv2
import numpy as np
from synoptic import FRAME_OKAY, CameraFrame, EndOfStreams, FramePacket, StreamSynchronizer

HEIGHT = 360


def stamped(frame: CameraFrame) -> np.ndarray:
    """The picture with its time, kind and key on it; a dark one with the status when there is none."""
    if frame["frame_status"] == FRAME_OKAY:
        picture = frame["frame"]
        scale = HEIGHT / picture.shape[0]
        picture = cv2.resize(picture, (round(picture.shape[1] * scale), HEIGHT))
        utc = datetime.datetime.fromtimestamp(frame["timestamp"], datetime.timezone.utc)
        error = "?" if frame["error"] is None else f"{frame['error'] * 1e3:.1f}"
        lines = [f"{utc:%H:%M:%S.%f}"[:-3] + f" +-{error} ms", f"{frame['frame_type']} {frame['source']}", frame["key"]]
        for x, y, dx, dy in frame["motion_vector"][:, [3, 4, 5, 6]] * scale:
            cv2.line(picture, (int(x), int(y)), (int(dx), int(dy)), (0, 255, 0))
    else:
        picture = np.zeros((HEIGHT, HEIGHT * 16 // 9, 3), np.uint8)
        lines = [frame["camera"], frame["frame_status"], frame["broken"] or ""]
    for i, line in enumerate(lines):
        place = (8, HEIGHT - 52 + 20 * i)
        cv2.putText(picture, line, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 3, cv2.LINE_AA)
        cv2.putText(picture, line, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
    return picture


def beside(packet: FramePacket) -> np.ndarray:
    return np.hstack([stamped(frame) for frame in packet.values()])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="*", help="RTSP URL, video file or /dev/videoN")
    parser.add_argument("--attach", metavar="GROUP", help="a group of the daemon that runs already")
    parser.add_argument("--png", metavar="FOLDER", type=pathlib.Path, help="write pictures instead of a window")
    parser.add_argument("--count", type=int, help="end after so many packets")
    args = parser.parse_args()
    if bool(args.source) == bool(args.attach):
        parser.error("name sources, or a group with --attach")
    if args.attach:
        cameras = StreamSynchronizer.attach(args.attach)
    else:
        cameras = StreamSynchronizer([{"source": s} for s in args.source])
    if args.png:
        args.png.mkdir(parents=True, exist_ok=True)
    shown = 0
    with cameras:
        while args.count is None or shown < args.count:
            try:
                packet = cameras.get_frame_packet()
            except EndOfStreams:
                break
            picture = beside(packet)
            if args.png:
                cv2.imwrite(str(args.png / f"packet-{shown:05}.png"), picture)
            else:
                cv2.imshow("Synoptic (q ends)", picture)
                if cv2.waitKey(1) & 0xFF == ord("q"):
                    break
            shown += 1


if __name__ == "__main__":
    main()
