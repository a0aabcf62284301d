"""A daemon that shares packets, in Python: what docs/reference/packets.md says, and nothing of the package under test."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import struct
import threading
from typing import Any, Dict, List, Optional, Tuple

MESSAGE = struct.Struct("<4sI3Q")
SEALS = 0x2 | 0x4 | 0x10  # F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_FUTURE_WRITE of fcntl(2)
F_ADD_SEALS = 1033


def slot(name: str, status: int = 0, **more: Any) -> bytes:
    """A slot of 256 bytes, field by field."""
    data = bytearray(256)
    data[: len(name)] = name.encode()
    data[32] = status
    data[33] = more.get("broken", 0)
    if status == 0:
        data[34:38] = bytes([ord(more.get("kind", "P")), more.get("layout", 1), more.get("motion", 0), more.get("known", 1)])
        struct.pack_into("<5q", data, 40, more.get("utc", 0), 3_000_000, 2_000_000, 5, 1_234)
        struct.pack_into("<4I", data, 80, 7, *more["size"], more["size"][0] * 3)
        struct.pack_into("<5Q", data, 96, 1, *more["places"])
        source = b"sender_report"
        data[136 : 136 + len(source)] = source
    return bytes(data)


def packet(number: int, size: Tuple[int, int] = (8, 4), vectors: Optional[List[int]] = None, version: int = 1) -> bytes:
    """Two cameras: one is there, one is broken."""
    width, height = size
    pixels = bytes((number + i) % 256 for i in range(width * height * 3))
    table = struct.pack(f"<{len(vectors or [])}i", *(vectors or []))
    at = 128 + 2 * 256
    after = at + len(pixels)
    after += -after % 64
    header = struct.pack("<8sIIIIQqqQQq", b"SYNOPACK", version, 2, 128, 256, number, 10**18, 5, 7, after + len(table), 9)
    first = slot("a", size=size, utc=10**18 + number, motion=1 if vectors is not None else 0,
                 places=(at, len(pixels), after, len(table) // 40))
    block = header.ljust(128, b"\0") + first + slot("b", 3, broken=5) + pixels
    return block.ljust(after, b"\0") + table


class FakeDaemon:
    """Serves one reader; the test says what it sends."""

    def __init__(self, path: str, cameras: Optional[Dict[str, Any]] = None) -> None:
        self.cameras = cameras or {}
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(path)
        self.listener.listen(1)
        self.reader: Optional[socket.socket] = None
        self.hello: Tuple[Any, ...] = ()
        self.accepted = threading.Thread(target=self._accept, daemon=True)
        self.accepted.start()

    def _accept(self) -> None:
        self.reader, _ = self.listener.accept()
        self.reader.settimeout(30)
        self.hello = self.receive()
        about = json.dumps({"group": "g", "pixels": "bgr", "cameras": self.cameras})
        self.send(b"HELO", 1, self.hello[2], 0, text=about)

    def receive(self) -> Tuple[Any, ...]:
        assert self.reader is not None
        return MESSAGE.unpack(self.reader.recv(MESSAGE.size, socket.MSG_WAITALL))

    def send(self, name: bytes, small: int = 0, first: int = 0, second: int = 0, text: str = "") -> None:
        assert self.reader is not None
        data = text.encode()
        self.reader.sendall(MESSAGE.pack(name, small, first, second, len(data)) + data)

    def give(self, block: int, content: bytes, lost: int = 0, descriptor: Optional[int] = None) -> int:
        """Answers NEXT; makes the block unless its descriptor is given. Returns the descriptor."""
        assert self.reader is not None
        fresh = descriptor is None
        if descriptor is None:
            descriptor = os.memfd_create("block", os.MFD_ALLOW_SEALING)
            os.ftruncate(descriptor, 1 << 20)
            os.write(descriptor, content)
            self.writable = os.dup(descriptor)
            fcntl.fcntl(descriptor, F_ADD_SEALS, SEALS)
        message = MESSAGE.pack(b"PACK", block, len(content), lost, int(fresh))
        socket.send_fds(self.reader, [message], [descriptor] if fresh else [])
        return descriptor

    def close(self) -> None:
        if self.reader is not None:
            self.reader.close()
        self.listener.close()
