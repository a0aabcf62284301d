"""A daemon of one's own: a configuration in a temporary folder, `synoptic run`, and its end."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import weakref
from pathlib import Path
from typing import IO, Any, Dict, List, Mapping, Optional, Sequence
from urllib.parse import unquote, urlsplit, urlunsplit

from .errors import CameraError, DaemonError, DaemonNotFound

GROUP = "main"
#: Time for a daemon to open its socket: a slow disk, a busy machine.
_START = 60.0
#: Time for it to end after its standard input is closed; then it is killed.
_STOP = 10.0
_LOOK = 0.05
_LOG_LINES = 15
_OWN_KEYS = ("source", "user", "password", "repeat")


def find_binary(binary: Optional[str] = None) -> str:
    """The program `synoptic`: `binary`, else $SYNOPTIC_BIN, else on the PATH."""
    wanted = binary or os.environ.get("SYNOPTIC_BIN") or "synoptic"
    found = shutil.which(wanted)
    if found is None:
        raise DaemonNotFound(
            f"the program `{wanted}` is not there: install Synoptic (docs/guide/install.md; from its sources: "
            "cargo build --release), or name it: binary=..., or the environment variable SYNOPTIC_BIN"
        )
    return found


def is_file(source: str) -> bool:
    """Whether a source is a video file: files may have a ring without a limit."""
    return not re.match(r"^(?!file:)[a-z][a-z0-9+.-]*://|^/dev/", source)


def configuration(
    cams: Sequence[Mapping[str, Any]],
    folder: Path,
    max_initial_stream_offset: float,
    max_read_errors: int,
    maxsize: int,
    max_memory: int,
) -> str:
    """The text of a configuration file; passwords go into files of their own in `folder`."""
    text = f"""schema_version = 1

[device]
id = "python"
data_dir = {json.dumps(str(folder / "data"))}

[web]
listen = ["127.0.0.1:0"]

[store]
min_free = "1MB"

[packets]
dir = {json.dumps(str(folder))}
max_memory = "{max_memory}B"
"""
    helper = os.environ.get("SYNOPTIC_MV_BIN")
    if helper:
        text += f"motion_helper = {json.dumps(helper)}\n"
    for i, cam in enumerate(cams):
        text += _camera(i, cam, folder)
    ids = ", ".join(f'"cam{i}"' for i in range(len(cams)))
    return text + f"""
[[group]]
id = "{GROUP}"
cameras = [{ids}]
max_initial_stream_offset = "{round(max_initial_stream_offset * 1e3)}ms"
max_read_errors = {max_read_errors}
frame_packet_buffer_maxsize = {maxsize}
"""


def _camera(number: int, cam: Mapping[str, Any], folder: Path) -> str:
    try:
        source = str(cam["source"])
    except KeyError:
        raise CameraError(f"camera {number} has no source: write {{'source': 'rtsp://...'}}") from None
    user, password = cam.get("user"), cam.get("password")
    if is_file(source):
        source = source[7:] if source.startswith("file://") else source
        source = str(Path(source).absolute())
        if not Path(source).is_file():
            raise CameraError(f"camera {number}: there is no file {source}")
    else:
        parts = urlsplit(source)
        if parts.username is not None:
            user = user or unquote(parts.username)
            password = password or unquote(parts.password or "")
            bare = parts.netloc.rpartition("@")[2]
            source = urlunsplit(parts._replace(netloc=bare))
    lines = [f'id = "cam{number}"', f"source = {json.dumps(source)}", 'detector = "none"']
    if user:
        lines.append(f"user = {json.dumps(str(user))}")
    if password:
        secret = folder / f"cam{number}.password"
        secret.touch(0o600)
        secret.write_text(f"{password}\n")
        lines.append(f"password = {{ file = {json.dumps(str(secret))} }}")
    if is_file(str(cam["source"])):
        lines.append(f"repeat = {json.dumps(bool(cam.get('repeat', False)))}")
    # Whatever else the configuration of a camera knows: transport, rotate, capture_bias_ms, ...
    for key, value in cam.items():
        if key not in _OWN_KEYS:
            lines.append(f"{key} = {json.dumps(value)}")
    return "\n[[camera]]\n" + "\n".join(lines) + "\n"


class PrivateDaemon:
    """Runs until it is closed, collected, or this program ends, however it ends."""

    def __init__(self, binary: Optional[str], make: Any) -> None:
        program = find_binary(binary)
        self._folder = tempfile.TemporaryDirectory(prefix="synoptic-")
        self.folder = Path(self._folder.name)
        try:
            config = self.folder / "synoptic.toml"
            config.write_text(make(self.folder))
            log = (self.folder / "log").open("wb")
            with log:
                self.process = subprocess.Popen(
                    [program, "run", "--until-stdin-closes", "--config", str(config)],
                    stdin=subprocess.PIPE, stdout=log, stderr=log,
                )
        except BaseException:
            self._folder.cleanup()
            raise
        self._end = weakref.finalize(self, _end, self.process, self._folder)
        self.socket = str(self.folder / f"{GROUP}.sock")

    def wait_until_open(self) -> None:
        """Waits until the daemon's socket is there; raises DaemonError with the end of its log if it ends."""
        deadline = time.monotonic() + _START
        while not os.path.exists(self.socket):
            self.check()
            if time.monotonic() > deadline:
                raise DaemonError(f"the daemon opened no socket within {_START:.0f} s; its log ends:\n{self.log()}")
            time.sleep(_LOOK)

    def check(self) -> None:
        """Raises DaemonError if the daemon has ended."""
        code = self.process.poll()
        if code is not None:
            raise DaemonError(f"the daemon ended with code {code}; its log ends:\n{self.log()}")

    def log(self) -> str:
        """The end of its log."""
        try:
            lines = (self.folder / "log").read_text(errors="replace").splitlines()
        except OSError:
            return "(no log)"
        return "\n".join(lines[-_LOG_LINES:])

    def close(self) -> None:
        """Ends it and waits."""
        self._end()


def _end(process: "subprocess.Popen[bytes]", folder: "tempfile.TemporaryDirectory[str]") -> None:
    stdin: Optional[IO[bytes]] = process.stdin
    if stdin is not None:
        stdin.close()
    try:
        process.wait(_STOP)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    folder.cleanup()


def states(cameras: Dict[str, Dict[str, Any]], wanted: List[str]) -> Optional[str]:
    """What is wrong with the cameras that cannot be opened; None when nothing is."""
    bad = [
        f"{name}: {cameras[name].get('reason') or cameras[name]['state']}"
        for name in wanted
        if cameras.get(name, {}).get("state") in ("offline", "auth_failed", "stalled")
    ]
    return "; ".join(bad) or None
