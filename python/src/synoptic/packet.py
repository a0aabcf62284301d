"""From a block of shared memory to a packet: docs/reference/packets.md, in Python."""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, TypedDict

import numpy as np
import numpy.typing as npt

from .errors import DaemonError

#: The frame is there.
FRAME_OKAY = "FRAME_OKAY"
#: The camera delivers, but has no frame for this instant.
FRAME_DROPPED = "FRAME_DROPPED"
#: The frame of this instant came and could not be decoded.
FRAME_READ_ERROR = "FRAME_READ_ERROR"
#: The camera gives no frames.
CAP_BROKEN = "CAP_BROKEN"

#: Columns of `motion_vector`; src = dst + motion / motion_scale.
MOTION_VECTOR_COLUMNS = (
    "source", "w", "h", "src_x", "src_y", "dst_x", "dst_y", "motion_x", "motion_y", "motion_scale",
)

VERSION = 1
_MAGIC = b"SYNOPACK"
_HEADER = struct.Struct("<8sIIIIQqqQQq")
_SLOT = struct.Struct("<32s6B2xqqqqqIIIIQQQQQ16sq")
_STATUS = (FRAME_OKAY, FRAME_DROPPED, FRAME_READ_ERROR, CAP_BROKEN)
_BROKEN = (None, "never_seen", "disconnected", "stalled", "unreadable", "out_of_step")
_MOTION = ("off", "known", "late")
_BGR, _NV12 = 1, 2
_VECTOR_BYTES = 40


class CameraFrame(TypedDict):
    """What a packet holds of a camera. All but `frame_status`, `camera` and `broken` is None unless FRAME_OKAY."""

    #: FRAME_OKAY, FRAME_DROPPED, FRAME_READ_ERROR or CAP_BROKEN.
    frame_status: str
    #: UTC of capture, seconds since 1970.
    timestamp: Optional[float]
    #: uint8 (height, width, 3), BGR; (height * 3 / 2, stride) where the daemon shares NV12.
    frame: Optional[npt.NDArray[np.uint8]]
    #: "I", "P", "B" or "?".
    frame_type: Optional[str]
    #: int64 (N, 10), see MOTION_VECTOR_COLUMNS; (0, 10) when there are none.
    motion_vector: Optional[npt.NDArray[np.int64]]
    #: "off" (not asked for), "known" or "late" (they did not come in time).
    motion_vector_state: Optional[str]
    #: Half the width of the interval that the capture lies in, in seconds; None while the box has no UTC.
    error: Optional[float]
    #: The same between cameras of this box, without the error of its UTC.
    rel_error: Optional[float]
    #: How the time is known: "ptp", "packet_ntp", "hardware", "sender_report", "in_band", "arrival", ...
    source: Optional[str]
    #: Names the frame for ever: camera/epoch/media time in microseconds.
    key: Optional[str]
    #: Id of the camera.
    camera: str
    #: Why CAP_BROKEN: "never_seen", "disconnected", "stalled", "unreadable", "out_of_step".
    broken: Optional[str]


#: A packet: by the number of the camera, as `cams` or the group lists them.
FramePacket = Dict[int, CameraFrame]


@dataclass(frozen=True)
class PacketInfo:
    """What is known of a packet as a whole."""

    #: Its number within the group while the daemon runs.
    id: int
    #: The instant, UTC in seconds since 1970.
    timestamp: float
    #: Newest minus oldest capture time, in seconds.
    spread: float
    #: CLOCK_MONOTONIC when the daemon wrote it, in seconds: time.monotonic() minus this is the way to the reader.
    written: float
    #: Packets that this reader lost so far, since it was too slow.
    lost: int


def info(block: mmap.mmap, lost: int) -> PacketInfo:
    """The header of a block."""
    magic, version, _, _, _, number, utc, _, spread, _, written = _HEADER.unpack_from(block, 0)
    if magic != _MAGIC or version != VERSION:
        raise DaemonError(
            f"the daemon writes packets of version {version}, this package reads version {VERSION}: "
            "install the package that came with the daemon"
        )
    return PacketInfo(number, utc / 1e9, spread / 1e9, written / 1e9, lost)


def frames(block: mmap.mmap, copy: bool) -> FramePacket:
    """The slots of a block. Without `copy` pixels stay in the mapping, which lives as long as any of them."""
    _, _, slots, header_bytes, slot_bytes, *_ = _HEADER.unpack_from(block, 0)
    return {i: _frame(block, header_bytes + i * slot_bytes, copy) for i in range(slots)}


def _frame(block: mmap.mmap, at: int, copy: bool) -> CameraFrame:
    values: List[Any] = list(_SLOT.unpack_from(block, at))
    name, status, broken, kind, layout, motion, has_error = values[:7]
    utc, error, rel_error, _, media_us, epoch, width, height, stride = values[7:16]
    _, pixels, pixel_bytes, vectors, count, source, _ = values[16:]
    camera = _text(name)
    result = CameraFrame(
        frame_status=_STATUS[status],
        timestamp=None,
        frame=None,
        frame_type=None,
        motion_vector=None,
        motion_vector_state=None,
        error=None,
        rel_error=None,
        source=None,
        key=None,
        camera=camera,
        broken=_BROKEN[broken],
    )
    if status != 0:
        return result
    picture = np.frombuffer(block, np.uint8, pixel_bytes, pixels)
    if layout == _BGR:
        picture = picture.reshape(height, width, 3)
    elif layout == _NV12:
        picture = picture.reshape(-1, stride)
    else:
        raise DaemonError(f"camera {camera}: pixels of unknown layout {layout}")
    table = np.frombuffer(block, "<i4", count * _VECTOR_BYTES // 4, vectors)
    result["timestamp"] = utc / 1e9
    result["frame"] = picture.copy() if copy else picture
    result["frame_type"] = chr(kind)
    result["motion_vector"] = table.reshape(-1, len(MOTION_VECTOR_COLUMNS)).astype(np.int64)
    result["motion_vector_state"] = _MOTION[motion]
    result["error"] = error / 1e9 if has_error else None
    result["rel_error"] = rel_error / 1e9
    result["source"] = _text(source)
    result["key"] = f"{camera}/{epoch}/{media_us}"
    return result


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode()
