"""A box that can be asked things: by ssh, by its page, by its API on its own loopback. What kind of box is for virtual.py and
remote.py to say."""

from __future__ import annotations

import http.client
import json
import pathlib
import re
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable

# Emulated on a busy machine: from power on to a page that answers takes 25 s to 4 min.
PATIENCE_S = 480.0
# What the page answers to who has not signed in.
THERE = (200, 302, 303, 401)


class Vain(AssertionError):
    """Waited in vain; the message has the end of what the box showed."""


class Machine:
    """One box. `host` and `page_port` are where its page is reached, `folder` is for what belongs to the tests."""

    host = ""
    page_port = 8443

    def __init__(self, name: str, folder: pathlib.Path) -> None:
        self.name, self.folder = name, folder
        folder.mkdir(parents=True, exist_ok=True)
        self.began = 0.0

    # ---- what kinds of boxes differ in

    def shell_command(self) -> list[str]:
        """What a command on the box begins with."""
        raise NotImplementedError

    def start(self) -> None:
        """Power on."""
        raise NotImplementedError

    def cut(self) -> None:
        """The power goes."""
        raise NotImplementedError

    def lacks(self, need: str) -> str | None:
        """Why this kind of box cannot have what a scenario needs; None where it can. See needs.py."""
        return None

    def dead(self) -> str | None:
        """Why waiting has no sense any more."""
        return None

    def tail(self) -> str:
        """The end of what it showed."""
        return ""

    # ---- the page

    def get(self, path: str, timeout: float = 20) -> tuple[int, str]:
        """Status and body of the page; its certificate is the box's own."""
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        try:
            with urllib.request.urlopen(f"https://{self.host}:{self.page_port}{path}", timeout=timeout, context=context) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except http.client.HTTPException as error:
            raise OSError(f"the answer broke off: {error!r}") from error

    def page_answers(self, timeout: float = 20) -> bool:
        """Whether there is a page now."""
        try:
            return self.get("/", timeout)[0] in THERE
        except (OSError, ValueError):
            return False

    # ---- a shell

    def ssh(self, command: str, check: bool = True, timeout: float = 300) -> str:
        """A command on the box, as root; what it printed."""
        done = subprocess.run([*self.shell_command(), command], capture_output=True, text=True, check=False, timeout=timeout)
        if check and done.returncode != 0:
            raise AssertionError(f"`{command}` ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done.stdout.strip()

    def send(self, path: pathlib.Path, to: str) -> None:
        """A file, by way of ssh."""
        with open(path, "rb") as file:
            subprocess.run([*self.shell_command(), f"cat >{to}"], stdin=file, check=True, timeout=900)

    # ---- the API, asked on the box itself, where no password is needed

    def api(self, path: str) -> object:
        """A document."""
        return json.loads(self.ssh(f"curl --silent --fail --max-time 20 http://127.0.0.1:8080{path}"))

    def post(self, path: str, body: object) -> object:
        """JSON to the API; its answer."""
        said = self.ssh(f"curl --silent --show-error --max-time 60 --json '{json.dumps(body)}' http://127.0.0.1:8080{path}")
        return json.loads(said) if said else None

    def upload(self, path: pathlib.Path, to: str) -> object:
        """A file to the API, streamed; its answer."""
        curl = f"curl --silent --show-error --request POST --upload-file - --header 'Content-Type: application/octet-stream' 'http://127.0.0.1:8080{to}'"
        with open(path, "rb") as file:
            done = subprocess.run([*self.shell_command(), curl], stdin=file, capture_output=True, text=True, check=True, timeout=900)
        return json.loads(done.stdout)

    # ---- what it says of itself

    def slot(self) -> str:
        """The slot that runs, as the boot loader calls it; empty where it does not say."""
        found = re.search(r"rauc\.slot=(\w+)", self.ssh("cat /proc/cmdline"))
        return found.group(1) if found else self.ssh("/usr/lib/synoptic/synoptic-tegra-boot get-current", check=False)

    def release(self) -> str:
        """The version that runs."""
        return self.ssh("cat /usr/share/synoptic/release")

    def boot_id(self) -> str:
        """Which start of the box this is."""
        return self.ssh("cat /proc/sys/kernel/random/boot_id")

    def status(self) -> dict:
        """The daemon's status document."""
        return self.api("/api/v1/status")

    def update(self) -> dict:
        """How the daemon says updates stand."""
        return self.api("/api/v1/update")

    def failed_units(self) -> str:
        """Units of systemd that failed."""
        return self.ssh("systemctl --failed --plain --no-legend")

    # ---- waiting

    def until(self, what: str, check: Callable, patience: float = PATIENCE_S):
        """Until `check` gives something true; what it gave. Errors of a box that is not there yet count as no."""
        give_up = time.monotonic() + patience
        last = None
        while time.monotonic() < give_up:
            if why := self.dead():
                raise Vain(f"{why} while waiting for {what}: {self.tail()}")
            try:
                if found := check():
                    return found
            except (OSError, AssertionError, subprocess.SubprocessError, ValueError) as error:
                last = error
            time.sleep(0.5)
        raise Vain(f"waited {patience:.0f} s in vain for {what}; last: {last}\n{self.tail()}")

    def ready(self, patience: float = PATIENCE_S) -> float:
        """Until the page answers and a shell is there; seconds since power on until the page did."""
        self.until("the page", self.page_answers, patience)
        seconds = time.monotonic() - self.began
        self.until("a shell", lambda: self.ssh("true; echo there", timeout=60) == "there", patience)
        return seconds

    def another_start(self, before: str, patience: float = 900) -> None:
        """Until the box has started anew since start `before`, and its page and shell are there."""
        self.until("another start", lambda: self.ssh("cat /proc/sys/kernel/random/boot_id", timeout=40) not in ("", before), patience)
        self.ready(patience)
