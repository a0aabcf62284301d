"""Synchronised frames of many cameras, each with its UTC capture time and an error bound.

    from synoptic import StreamSynchronizer

    with StreamSynchronizer([{"source": "rtsp://a/1"}, {"source": "rtsp://b/1"}]) as cameras:
        packet = cameras.get_frame_packet()
        for index, frame in packet.items():
            print(index, frame["frame_status"], frame["timestamp"], frame["error"])
"""

from .errors import (
    CameraError,
    DaemonError,
    DaemonNotFound,
    EndOfStreams,
    InitialStreamOffsetError,
    PacketTimeout,
    SynopticError,
)
from .packet import (
    CAP_BROKEN,
    FRAME_DROPPED,
    FRAME_OKAY,
    FRAME_READ_ERROR,
    MOTION_VECTOR_COLUMNS,
    CameraFrame,
    FramePacket,
    PacketInfo,
)
from .reader import GroupReader
from .synchronizer import StreamSynchronizer

__all__ = [
    "CAP_BROKEN",
    "FRAME_DROPPED",
    "FRAME_OKAY",
    "FRAME_READ_ERROR",
    "MOTION_VECTOR_COLUMNS",
    "CameraError",
    "CameraFrame",
    "DaemonError",
    "DaemonNotFound",
    "EndOfStreams",
    "FramePacket",
    "GroupReader",
    "InitialStreamOffsetError",
    "PacketInfo",
    "PacketTimeout",
    "StreamSynchronizer",
    "SynopticError",
]
