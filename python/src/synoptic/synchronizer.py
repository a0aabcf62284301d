"""StreamSynchronizer: N streams in, packets of one instant out."""

from __future__ import annotations

import os
import time
import weakref
from typing import Any, Iterator, List, Mapping, Optional, Sequence

from . import daemon
from .errors import CameraError, DaemonError, DaemonNotFound, EndOfStreams, InitialStreamOffsetError, PacketTimeout
from .packet import CAP_BROKEN, FRAME_OKAY, FramePacket, PacketInfo
from .reader import GroupReader

#: Where a daemon of the system shares its packets, unless $SYNOPTIC_PACKETS names another folder.
PACKETS_DIR = "/var/lib/synoptic/packets"
#: Shared memory of a private daemon.
MAX_MEMORY = 1_000_000_000
_RECONNECT = 30.0
_PAUSE = 0.2


class _Reader(GroupReader):
    """Looks after the daemon and the files while it waits."""

    owner: Optional["weakref.ref[StreamSynchronizer]"] = None

    def heard(self) -> None:
        owner = self.owner() if self.owner is not None else None
        if owner is not None:
            owner._look()


class StreamSynchronizer:
    """Runs a daemon of its own for `cams` and gives its frame packets.

    cams: a list of {"source": url}: rtsp://user:password@host/path, a video file, /dev/video0. Further keys are those of
        [[camera]] in the daemon's configuration, such as "motion_vectors": True; the helper that finds them is
        synoptic-mv, beside the program or named by the environment variable SYNOPTIC_MV_BIN.
    max_initial_stream_offset: seconds that the streams' first frames may lie apart; more is InitialStreamOffsetError.
    max_read_errors: that many unreadable frames in a row make a camera CAP_BROKEN, until its next good one.
    frame_packet_buffer_maxsize: packets that wait to be taken; at the limit the oldest is overwritten. -1: no limit, for
        files only.
    start_timeout: seconds for every camera to give its first frame; 0: do not wait, and report no error at the start.
    binary: the program `synoptic`.

    Pictures are views into shared memory; what is drawn on them stays private. The first three packets that are kept are
    not copied, of further ones the pixels are.
    """

    def __init__(
        self,
        cams: Sequence[Mapping[str, Any]],
        max_initial_stream_offset: float = 30.0,
        max_read_errors: int = 3,
        frame_packet_buffer_maxsize: int = 1,
        *,
        start_timeout: float = 30.0,
        binary: Optional[str] = None,
    ) -> None:
        if not cams:
            raise ValueError("cams is empty: name at least one source")
        if frame_packet_buffer_maxsize == 0 or frame_packet_buffer_maxsize < -1:
            raise ValueError("frame_packet_buffer_maxsize is a number of packets, or -1 for no limit")
        files = [daemon.is_file(str(cam.get("source", ""))) for cam in cams]
        if frame_packet_buffer_maxsize == -1 and not all(files):
            raise ValueError(
                "frame_packet_buffer_maxsize=-1 (no limit) is for files only: a camera cannot be held back, and memory ends"
            )
        # Packets that are not taken wait in the ring, not in the daemon's aligner.
        aligner = -1 if frame_packet_buffer_maxsize == -1 else max(16, frame_packet_buffer_maxsize)
        self._files = all(files)
        self._repeats = any(cam.get("repeat") for cam in cams)
        self._expected: Optional[List[str]] = [f"cam{i}" for i in range(len(cams))]
        self._daemon: Optional[daemon.PrivateDaemon] = daemon.PrivateDaemon(
            binary,
            lambda folder: daemon.configuration(
                cams, folder, max_initial_stream_offset, max_read_errors, aligner, MAX_MEMORY
            ),
        )
        self._ring = None if frame_packet_buffer_maxsize == -1 else frame_packet_buffer_maxsize
        self._first: Optional[FramePacket] = None
        self._starting = True
        self._offset = max_initial_stream_offset
        try:
            self._daemon.wait_until_open()
            self._reader = self._connect(self._daemon.socket)
            if start_timeout > 0:
                self._start(start_timeout)
        except BaseException:
            self.close()
            raise
        self._starting = False

    @classmethod
    def attach(
        cls, group: str = "main", frame_packet_buffer_maxsize: int = 1, *, socket: Optional[str] = None
    ) -> "StreamSynchronizer":
        """Reads a group of a daemon that runs already; its configuration needs a [packets] table.

        socket: the group's socket. Default: GROUP.sock in $SYNOPTIC_PACKETS, else in /var/lib/synoptic/packets.
        """
        self = cls.__new__(cls)
        folder = os.environ.get("SYNOPTIC_PACKETS", PACKETS_DIR)
        self._daemon = None
        self._files = self._repeats = self._starting = False
        self._expected = None
        self._first = None
        self._offset = 0.0
        self._ring = None if frame_packet_buffer_maxsize == -1 else frame_packet_buffer_maxsize
        self._reader = self._connect(socket or os.path.join(folder, f"{group}.sock"))
        return self

    def get_frame_packet(self, timeout: Optional[float] = None) -> FramePacket:
        """The next packet: {0: {"frame_status", "timestamp", "frame", ...}, 1: ...}; see CameraFrame. Blocks.

        Raises PacketTimeout after `timeout` seconds, EndOfStreams when all files are over, DaemonError when the daemon is
        gone for longer than it takes to restart.
        """
        if self._first is not None:
            first, self._first = self._first, None
            return first
        try:
            return self._reader.get(timeout)
        except PacketTimeout:
            raise
        except DaemonError:
            if self._daemon is not None:
                self._daemon.check()
                raise
            # A daemon of the system restarts, or its group was changed.
            self._reattach(_RECONNECT if timeout is None else timeout)
            return self._reader.get(timeout)

    def __iter__(self) -> Iterator[FramePacket]:
        """Packets until the files are over, or for ever."""
        while True:
            try:
                yield self.get_frame_packet()
            except EndOfStreams:
                return

    @property
    def packet_info(self) -> Optional[PacketInfo]:
        """What is known of the packet that was returned last: its number, instant, spread, packets lost."""
        return self._reader.info

    def close(self) -> None:
        """Ends the connection, and the daemon if it is a private one."""
        reader = getattr(self, "_reader", None)
        if reader is not None:
            reader.close()
        if self._daemon is not None:
            self._daemon.close()

    def __enter__(self) -> "StreamSynchronizer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connect(self, path: str) -> _Reader:
        reader = _Reader(path, self._ring)
        # No cycle: without one the daemon ends as soon as nobody has the synchronizer any more.
        reader.owner = weakref.ref(self)
        return reader

    def _reattach(self, patience: float) -> None:
        path = self._reader.path
        self._reader.close()
        deadline = time.monotonic() + patience
        while True:
            try:
                self._reader = self._connect(path)
                return
            except DaemonNotFound:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_PAUSE)

    def _start(self, timeout: float) -> None:
        """Waits until every camera has given a frame; what cannot be opened is an error."""
        deadline = time.monotonic() + timeout
        seen: set[int] = set()
        while True:
            packet = self._reader.get(max(deadline - time.monotonic(), 1e-3))
            for i, frame in packet.items():
                if frame["broken"] == "out_of_step":
                    raise InitialStreamOffsetError(
                        f"{frame['camera']} ({i}) runs more than {self._offset} s apart from the others: set all "
                        "cameras by the same NTP server, or raise max_initial_stream_offset"
                    )
            # A camera that came first and alone is no proof: it may be out of step with those to come.
            if all(frame["frame_status"] != CAP_BROKEN for frame in packet.values()):
                seen.update(i for i, frame in packet.items() if frame["frame_status"] == FRAME_OKAY)
            if len(seen) == len(packet):
                self._first = packet
                return
            self._reader.state()

    def _look(self) -> None:
        """Called while waiting, about once a second."""
        if self._daemon is not None:
            self._daemon.check()
        if self._expected is None:
            return
        states = [self._reader_state(name) for name in self._expected]
        if self._starting:
            wrong = daemon.states(dict(self._cameras()), self._expected)
            if wrong is not None and not self._files:
                raise CameraError(f"cannot open {wrong}")
        elif self._files and not self._repeats and all(s == "offline" for s in states):
            raise EndOfStreams("all files are over")

    def _cameras(self) -> Mapping[str, Any]:
        reader = getattr(self, "_reader", None)
        return reader.cameras if reader is not None else {}

    def _reader_state(self, name: str) -> Optional[str]:
        state: Optional[str] = self._cameras().get(name, {}).get("state")
        return state
