"""A connection to one group of a running daemon."""

from __future__ import annotations

import collections
import json
import mmap
import os
import socket
import struct
import time
import weakref
from typing import Any, Deque, Dict, Optional, Tuple

from .errors import DaemonError, DaemonNotFound, PacketTimeout
from .packet import VERSION, FramePacket, PacketInfo, frames, info

#: Packets that may be kept in shared memory while the next is asked for; of more the pixels are copied.
HELD = 3
_MESSAGE = struct.Struct("<4sI3Q")
_UNLIMITED = 2**64 - 1
#: A daemon that is alive says so every second.
_SILENCE = 10.0


class GroupReader:
    """Reads the packets of a group from its socket.

    `ring`: packets that wait in the daemon for this reader; at the limit the oldest goes. None: no limit, which the daemon
    grants where every camera is a file. Not to be used by two threads at once.
    """

    def __init__(self, path: str, ring: Optional[int] = 1) -> None:
        self.path = path
        #: What is known of the packet that was returned last.
        self.info: Optional[PacketInfo] = None
        #: State and reason of every camera, as last heard.
        self.cameras: Dict[str, Dict[str, Any]] = {}
        self._blocks: Dict[int, int] = {}
        self._free: Deque[int] = collections.deque()
        self._held = 0
        self._asked = False
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(path)
        except (FileNotFoundError, ConnectionRefusedError) as error:
            self._socket.close()
            raise DaemonNotFound(
                f"no daemon shares packets at {path}: start it, and see that its configuration has a [packets] table"
            ) from error
        except PermissionError as error:
            self._socket.close()
            raise DaemonNotFound(
                f"{path} may not be opened: add this user to the group of the daemon (synoptic), and log in again"
            ) from error
        try:
            self._send(b"HELO", VERSION, _UNLIMITED if ring is None else ring)
            _, numbers, text = self._receive(time.monotonic() + _SILENCE, b"HELO")
        except BaseException:
            self.close()
            raise
        about = json.loads(text)
        self.group: str = about["group"]
        #: "bgr" or "nv12".
        self.pixels: str = about["pixels"]
        #: What the daemon granted; None: no limit.
        self.ring: Optional[int] = None if numbers[0] == _UNLIMITED else numbers[0]
        self.cameras = about["cameras"]

    def close(self) -> None:
        """Ends the connection. Pictures that were taken stay what they are."""
        self._socket.close()
        for descriptor in self._blocks.values():
            os.close(descriptor)
        self._blocks.clear()

    def __enter__(self) -> "GroupReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_socket", None) is not None:
            self.close()

    def get(self, timeout: Optional[float] = None) -> FramePacket:
        """The next packet; waits for it for `timeout` seconds, or for ever.

        Raises PacketTimeout when none came in time, DaemonError when the daemon is gone.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        if not self._asked:
            back = [self._free.popleft() for _ in range(min(HELD, len(self._free)))]
            self._held -= len(back)
            self._send(b"NEXT", len(back), *back)
            self._asked = True
        block, numbers, _ = self._receive(deadline, b"PACK")
        self._asked = False
        used, lost, _ = numbers
        # Private: what is drawn on a picture stays here, and the daemon's memory cannot be changed anyway.
        mapping = mmap.mmap(self._blocks[block], used, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
        self._held += 1
        # The block goes back when the last array that looks into it is gone, or now if too many are kept.
        weakref.finalize(mapping, self._free.append, block)
        self.info = info(mapping, lost)
        return frames(mapping, copy=self._held - len(self._free) >= HELD)

    def state(self) -> Dict[str, Dict[str, Any]]:
        """State and reason of every camera."""
        if not self._asked:
            self._send(b"STAT", 0)
            self._receive(time.monotonic() + _SILENCE, b"STAT")
        return self.cameras

    def _send(self, name: bytes, small: int, *numbers: int) -> None:
        padded = (numbers + (0, 0, 0))[:3]
        try:
            self._socket.sendall(_MESSAGE.pack(name, small, *padded))
        except OSError as error:
            raise self._gone(error) from error

    def _receive(self, deadline: Optional[float], wanted: bytes) -> Tuple[int, Tuple[int, int, int], str]:
        while True:
            name, small, numbers, text = self._message(deadline)
            if name == b"FAIL":
                raise DaemonError(f"the daemon refuses: {text}")
            if name in (b"IDLE", b"STAT"):
                self.cameras = json.loads(text)
                self.heard()
            if name == wanted:
                return small, numbers, text
            if deadline is not None and time.monotonic() > deadline:
                raise PacketTimeout(self._nothing())

    def heard(self) -> None:
        """Called about once a second while waiting; may raise to end the wait."""

    def _message(self, deadline: Optional[float]) -> Tuple[bytes, int, Tuple[int, int, int], str]:
        silence = time.monotonic() + _SILENCE
        until = silence if deadline is None else min(deadline, silence)
        head, descriptors = self._exactly(_MESSAGE.size, until, deadline, True)
        name, small, *numbers = _MESSAGE.unpack(head)
        if descriptors:
            old = self._blocks.pop(small, None)
            if old is not None:
                os.close(old)
            self._blocks[small] = descriptors[0]
        text = b""
        if name in (b"HELO", b"IDLE", b"STAT", b"FAIL"):
            text, _ = self._exactly(numbers[2], time.monotonic() + _SILENCE, None, False)
        return name, small, (numbers[0], numbers[1], numbers[2]), text.decode()

    def _exactly(self, size: int, until: float, deadline: Optional[float], first: bool) -> Tuple[bytes, Any]:
        data = b""
        descriptors: Any = []
        while len(data) < size:
            # A message that has begun comes whole.
            left = until - time.monotonic() if first and not data else _SILENCE
            self._socket.settimeout(max(left, 1e-3))
            try:
                part, more, _, _ = socket.recv_fds(self._socket, size - len(data), 1)
            except TimeoutError as error:
                if deadline is not None and time.monotonic() >= deadline:
                    raise PacketTimeout(self._nothing()) from error
                raise DaemonError(f"{self.path}: the daemon has been silent for {_SILENCE:.0f} s") from error
            except OSError as error:
                raise self._gone(error) from error
            if not part:
                raise self._gone(None)
            data += part
            descriptors += more
        return data, descriptors

    def _nothing(self) -> str:
        states = [f"{name}: {c['state']}" + (f" ({c['reason']})" if c.get("reason") else "")
                  for name, c in sorted(self.cameras.items())]
        return "no packet in time; " + ("cameras: " + ", ".join(states) if states else "no camera was heard of yet")

    def _gone(self, error: Optional[OSError]) -> DaemonError:
        why = f": {error}" if error else ""
        return DaemonError(f"{self.path}: the daemon ended the connection{why}; see its log")
