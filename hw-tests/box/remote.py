"""A real box, by SSH as root. Its power is somebody's relay: a command for off, one for on."""

from __future__ import annotations

import pathlib
import subprocess
import time

from machine import Machine


class Remote(Machine):
    """`address` is `[root@]HOST`. The key must be among the box's authorized keys; the host's key is learnt once, into `folder`."""

    def __init__(self, address: str, folder: pathlib.Path, *, key: pathlib.Path | None = None, shell_port: int = 22, page_port: int = 8443,
                 power_off: str = "", power_on: str = "") -> None:
        super().__init__(address, folder)
        self.user, _, host = address.rpartition("@")
        self.host, self.user = host, self.user or "root"
        self.key, self.shell_port, self.page_port = key, shell_port, page_port
        self.power_off, self.power_on = power_off, power_on

    def lacks(self, need: str) -> str | None:
        if need == "power" and not (self.power_off and self.power_on):
            return "nothing switches its power: --power-off COMMAND --power-on COMMAND"
        return {
            "fresh": "a box in use is not flashed anew",
            "disk": "its disk cannot be looked into while it is off, and without its keys no one could log in any more",
            "camera-network": "this host is not on its camera network",
        }.get(need)

    def shell_command(self) -> list[str]:
        key = ["-i", str(self.key), "-o", "IdentitiesOnly=yes"] if self.key else []
        return ["ssh", *key, "-p", str(self.shell_port), "-o", "StrictHostKeyChecking=accept-new", "-o", f"UserKnownHostsFile={self.folder / 'hosts'}",
                "-o", "ConnectTimeout=30", "-o", "ServerAliveInterval=10", "-o", "ServerAliveCountMax=3", "-o", "LogLevel=ERROR",
                "-o", "BatchMode=yes", f"{self.user}@{self.host}"]

    def relay(self, command: str) -> None:
        """One of the two commands, by the shell of this host."""
        done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False, timeout=120)
        if done.returncode != 0:
            raise AssertionError(f"the relay's command `{command}` ended with {done.returncode}: {done.stderr.strip()}")

    def cut(self) -> None:
        self.relay(self.power_off)
        # A relay that says yes and does nothing would make every power cut a success.
        self.until("the box to be gone", lambda: not self.page_answers(timeout=3), 60)

    def start(self) -> None:
        self.relay(self.power_on)
        self.began = time.monotonic()
