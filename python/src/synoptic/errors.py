"""What can go wrong. Each error says what to do about it."""


class SynopticError(Exception):
    """Any error of this package."""


class DaemonNotFound(SynopticError):
    """The program `synoptic` is not installed, or its group's socket is not there."""


class DaemonError(SynopticError):
    """The daemon ended, refused, or speaks another version."""


class CameraError(SynopticError):
    """A camera cannot be opened; its reason is in the text."""


class InitialStreamOffsetError(CameraError):
    """The streams begin further apart than `max_initial_stream_offset`."""


class PacketTimeout(SynopticError, TimeoutError):
    """No packet came within the time that was asked for."""


class EndOfStreams(SynopticError):
    """Every source is a file, and all are over."""
