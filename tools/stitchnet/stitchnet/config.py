"""Sizes of the networks."""

from dataclasses import dataclass

GRID_ROWS = 7
"""Control points down: a mesh of 6 x 8 cells, as the published networks have."""
GRID_COLUMNS = 9
"""Control points across."""
WINDOW = 7
"""Frames that the smoothing network looks at (BUFFER_LEN of the published code; 5, 9 and 11 were found worse)."""
STRIDE = 8
"""Picture pixels for a pixel of the first features."""


@dataclass(frozen=True)
class NetConfig:
    """Input size in pixels, and `base`, the channels of the backbone's first layer. The published networks are the default."""

    height: int = 360
    width: int = 480
    base: int = 64

    @property
    def features(self) -> tuple[int, int]:
        """Rows and columns of the first features (stage 1): three halvings, each rounded up."""
        return _halve(self.height, 3), _halve(self.width, 3)

    @property
    def coarse(self) -> tuple[int, int]:
        """Rows and columns of the second features (stage 2)."""
        return _halve(self.height, 4), _halve(self.width, 4)


def _halve(n: int, times: int) -> int:
    for _ in range(times):
        n = (n + 1) // 2
    return n


PUBLISHED = NetConfig()
SMALL = NetConfig(base=16)
"""Our own weights: 1/16 of the parameters, below 8 MB in all."""
TINY = NetConfig(height=144, width=192, base=2)
"""For goldens that are committed."""
