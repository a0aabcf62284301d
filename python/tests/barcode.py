"""Reads the barcode of simulated cameras (daemon/sim/src/barcode.rs) from a BGR picture."""

from __future__ import annotations

from typing import Optional, Tuple

import numpy as np

COLUMNS, ROWS, GUARDS = 48, 2, 2
WIDTH, HEIGHT = 0.6, 16 / 360


def read(picture: np.ndarray) -> Optional[Tuple[float, int]]:
    """UTC of capture in seconds and the camera's index; None when there is no code or it is damaged."""
    height, width, _ = picture.shape
    grey = picture.mean(axis=2)
    blocks = np.empty((ROWS, COLUMNS))
    for row in range(ROWS):
        for column in range(COLUMNS):
            x = [round(i * WIDTH * width / COLUMNS) for i in (column, column + 1)]
            y = [round(i * HEIGHT * height / ROWS) for i in (row, row + 1)]
            qx, qy = (x[1] - x[0]) // 4, (y[1] - y[0]) // 4
            blocks[row, column] = grey[y[0] + qy : y[1] - qy, x[0] + qx : x[1] - qx].mean()
    bright = blocks > (blocks.min() + blocks.max()) / 2
    guards = np.concatenate([bright[:, :GUARDS], bright[:, -GUARDS:]], axis=1)
    if guards.tolist() != [[False, True, True, False], [True, False, False, True]]:
        return None
    data = np.packbits(bright[:, GUARDS:-GUARDS].ravel()).tobytes()
    if _crc16(data[:9]) != int.from_bytes(data[9:], "big"):
        return None
    return int.from_bytes(data[:8], "big", signed=True) / 1e6, data[8]


def _crc16(data: bytes) -> int:
    crc = 0xFFFF
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc
