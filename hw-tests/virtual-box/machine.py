"""A virtual box: its disk, its power, its console, and ways in. QEMU with TCG; /dev/kvm is never asked for."""

from __future__ import annotations

import http.client
import json
import pathlib
import re
import shutil
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request

FIRMWARE = pathlib.Path("/usr/share/OVMF")
# Emulated on a busy machine: from power on to a page that answers takes 25 s to 3 min.
PATIENCE_S = 420.0


class Vain(AssertionError):
    """Waited in vain; the message has the end of the console."""


def free_port() -> int:
    """A TCP port of loopback that is free now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Box:
    """One box. `disk` is written; several starts share it, as those of a real one."""

    def __init__(self, disk: pathlib.Path, folder: pathlib.Path, key: pathlib.Path | None = None) -> None:
        self.disk, self.folder, self.key = disk, folder, key
        folder.mkdir(parents=True, exist_ok=True)
        self.vars = folder / "vars.fd"
        if not self.vars.exists():
            shutil.copy(FIRMWARE / "OVMF_VARS_4M.fd", self.vars)
        self.starts = len(list(folder.glob("console-*.log")))
        self.process: subprocess.Popen | None = None
        self.began = 0.0
        self.page = self.shell = 0

    # ---- power

    def start(self, *more: str) -> None:
        """Power on."""
        assert self.process is None, "it runs already"
        self.starts += 1
        self.page, self.shell = free_port(), free_port()
        self.console_path = self.folder / f"console-{self.starts}.log"
        self.console_path.write_bytes(b"")
        command = [
            "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-machine", "q35", "-cpu", "max", "-smp", "2", "-m", "1536",
            "-display", "none", "-nodefaults", "-no-user-config", "-serial", f"file:{self.console_path}",
            "-device", "i6300esb", "-watchdog-action", "reset",
            "-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={FIRMWARE / 'OVMF_CODE_4M.fd'}",
            "-drive", f"if=pflash,format=raw,unit=1,file={self.vars}",
            "-drive", f"if=virtio,format=raw,cache=none,file={self.disk}",
            "-nic", f"user,model=virtio-net-pci,hostfwd=tcp:127.0.0.1:{self.page}-:8443,hostfwd=tcp:127.0.0.1:{self.shell}-:22",
            *more,
        ]
        log = open(self.folder / f"qemu-{self.starts}.log", "wb")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        log.close()
        self.began = time.monotonic()

    def cut(self) -> None:
        """The power goes. What the guest had not yet given to its disk is lost; what it had is kept."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    # ---- what it shows

    def console(self) -> str:
        """The serial console so far, without colours."""
        text = self.console_path.read_text(errors="replace")
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of the page; its certificate is the box's own."""
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        try:
            with urllib.request.urlopen(f"https://127.0.0.1:{self.page}{path}", timeout=20, context=context) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except http.client.HTTPException as error:
            raise OSError(f"the answer broke off: {error!r}") from error

    def shell_command(self) -> list[str]:
        """What a command on the box begins with."""
        return ["ssh", "-i", str(self.key), "-p", str(self.shell), "-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={self.folder / 'hosts'}",
                "-o", "ConnectTimeout=30", "-o", "LogLevel=ERROR", "-o", "BatchMode=yes", "root@127.0.0.1"]

    def ssh(self, command: str, check: bool = True, timeout: float = 300) -> str:
        """A command on the box, as root; what it printed."""
        done = subprocess.run([*self.shell_command(), command], capture_output=True, text=True, check=False, timeout=timeout)
        if check and done.returncode != 0:
            raise AssertionError(f"`{command}` ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done.stdout.strip()

    def send(self, path: pathlib.Path, to: str) -> None:
        """A file, by way of ssh."""
        with open(path, "rb") as file:
            subprocess.run([*self.shell_command(), f"cat >{to}"], stdin=file, check=True, timeout=600)

    def on_the_box(self, path: str) -> object:
        """A document of the API, asked on the box itself, where no password is needed."""
        return json.loads(self.ssh(f"curl --silent --fail --max-time 20 http://127.0.0.1:8080{path}"))

    def post(self, path: str, body: object) -> object:
        """JSON to the API, by way of ssh; its answer."""
        said = self.ssh(f"curl --silent --show-error --max-time 60 --json '{json.dumps(body)}' http://127.0.0.1:8080{path}")
        return json.loads(said) if said else None

    def upload(self, path: pathlib.Path, to: str) -> object:
        """A file to the API, streamed by way of ssh; its answer."""
        curl = f"curl --silent --show-error --request POST --upload-file - --header 'Content-Type: application/octet-stream' 'http://127.0.0.1:8080{to}'"
        with open(path, "rb") as file:
            done = subprocess.run([*self.shell_command(), curl], stdin=file, capture_output=True, text=True, check=True, timeout=900)
        return json.loads(done.stdout)

    # ---- waiting

    def until(self, what: str, check, patience: float = PATIENCE_S):
        """Until `check` gives something true; what it gave. Errors of a box that is not there yet count as no."""
        give_up = time.monotonic() + patience
        last = None
        while time.monotonic() < give_up:
            if self.process is not None and self.process.poll() is not None:
                raise Vain(f"QEMU ended with {self.process.returncode} while waiting for {what}: {self.tail()}")
            try:
                found = check()
                if found:
                    return found
            except (OSError, AssertionError, subprocess.TimeoutExpired, ValueError) as error:
                last = error
            time.sleep(0.5)
        raise Vain(f"waited {patience:.0f} s in vain for {what}; last: {last}\n{self.tail()}")

    def tail(self) -> str:
        """The end of the console."""
        return "\n".join(self.console().splitlines()[-40:])

    def ready(self, patience: float = PATIENCE_S) -> float:
        """Until the page answers and a shell is there; seconds since power on until the page did."""
        self.until("the page", lambda: self.get("/")[0] in (200, 302, 303, 401), patience)
        seconds = time.monotonic() - self.began
        if self.key:
            self.until("a shell", lambda: self.ssh("true") == "", patience)
        return seconds
