"""What every scenario is handed: the box, what it may use of this host, and where its figures go."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import http.server
import json
import pathlib
import subprocess
import threading
import time
import unittest

from choice import NotRun
from machine import Machine
from virtual import free_port

# Its assertions, for they say what was found.
check = unittest.TestCase()
check.maxDiff = None


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files, and says nothing of it."""

    def log_message(self, *words: object) -> None:
        """Nothing."""


@dataclasses.dataclass
class Bench:
    """One run. `here` is this host's address as the box sees it."""

    machine: Machine
    folder: pathlib.Path
    bundles: object
    here: str
    broker: str = ""
    figures: list[tuple[str, float, str]] = dataclasses.field(default_factory=list)
    # For target/bench/box.json: as `figures`, with targets.
    measured: list[dict] = dataclasses.field(default_factory=list)
    ends: contextlib.ExitStack = dataclasses.field(default_factory=contextlib.ExitStack)

    def note(self, metric: str, value: float, unit: str, target: float | None = None, better: str = "lower") -> None:
        """One figure."""
        self.figures.append((metric, round(value, 2), unit))
        self.measured[:] = [m for m in self.measured if m["metric"] != metric]
        self.measured.append({"metric": metric, "value": round(value, 2), "unit": unit, "better": better, "target": target,
                              "baseline": None, "baseline_name": None})
        (self.folder / "box.json").write_text(json.dumps(self.measured, indent=1) + "\n")
        print(f"   {metric}: {value:.2f} {unit}", flush=True)

    # ---- updates

    def grub(self) -> dict[str, str]:
        """The environment of GRUB; nothing on a Jetson."""
        said = self.machine.ssh("grub-editenv /run/synoptic/state/grubenv list 2>/dev/null", check=False)
        return dict(line.split("=", 1) for line in said.splitlines() if "=" in line)

    def slot_state(self, bootname: str) -> dict:
        """What RAUC says of a slot."""
        doc = json.loads(self.machine.ssh("rauc status --output-format=json", timeout=120))
        return next(s for entry in doc["slots"] for s in entry.values() if s.get("bootname") == bootname)

    def ended(self, job: int, patience: float = 1200) -> dict:
        """Until update number `job` is installed or has failed."""
        def over() -> dict | None:
            doc = self.machine.update()
            return doc if doc["job"] == job and doc["state"] in ("reboot_pending", "failed") else None

        return self.machine.until(f"the end of update {job}", over, patience)

    def install(self, bundle: pathlib.Path, query: str = "") -> dict:
        """By the daemon: the bundle is sent to its API, as the page does."""
        answer = self.machine.upload(bundle, f"/api/v1/update?name={bundle.name}{query}")
        check.assertIn("job", answer, f"{bundle.name}: {answer}")
        return self.ended(answer["job"])

    def gate(self) -> None:
        """Until the health gate has spoken at this start."""
        ask = "systemctl show --property=ActiveState,Result,ExecMainExitTimestampMonotonic synoptic-health.service"

        def spoke() -> bool:
            said = dict(line.split("=", 1) for line in self.machine.ssh(ask).splitlines())
            return said["ActiveState"] == "inactive" and said["Result"] == "success" and said["ExecMainExitTimestampMonotonic"] not in ("", "0")

        self.machine.until("the health gate", spoke, 900)

    def serve(self, file: pathlib.Path) -> str:
        """A file by HTTP, as the box reaches it; until the run ends."""
        handler = functools.partial(Quiet, directory=file.parent)
        # The virtual box comes by way of loopback; a real one from its network.
        server = http.server.ThreadingHTTPServer(("127.0.0.1" if self.here == "10.0.2.2" else "", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.ends.callback(server.shutdown)
        return f"http://{self.here}:{server.server_port}/{file.name}"

    # ---- cameras

    def cameras_online(self) -> bool:
        """Whether every camera that is switched on delivers."""
        states = [c["status"]["state"] for c in self.machine.status()["cameras"]]
        return bool(states) and all(s in ("online", "disabled") for s in states) and "online" in states

    def in_step(self, patience: float = 600) -> tuple[float, float]:
        """Waits on the box until packets hold frames of every group's cameras; seconds since the kernel started, and since the
        daemon did. Not until nearly all do, which is what `locked` means: an emulated box on a busy machine loses frames."""
        ask = ("until status=$(curl --silent --fail --max-time 10 http://127.0.0.1:8080/api/v1/status) && printf %s \"$status\" | grep -Eq '\"complete_ratio\":(1|0[.][0-9]*[1-9])'; "
               "do sleep 0.2; done; cut -d ' ' -f 1 /proc/uptime; printf %s \"$status\"")
        boot, status = self.machine.ssh(ask, timeout=patience).split("\n", 1)
        return float(boot), json.loads(status)["uptime_s"]

    # ---- MQTT

    def with_broker(self) -> None:
        """The box of the virtual kind is told of a broker of ours and takes commands; a real one has its own."""
        if self.broker:
            return
        port = free_port()
        config = self.folder / "mosquitto.conf"
        config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n")
        log = open(self.folder / "mosquitto.log", "wb")
        broker = subprocess.Popen(["mosquitto", "-c", str(config)], stdout=log, stderr=subprocess.STDOUT)
        self.ends.callback(lambda: (broker.kill(), broker.wait(), log.close()))
        self.broker = f"127.0.0.1:{port}"

    def tell_broker(self) -> None:
        """Puts our broker into the box's configuration, in the place of another one."""
        self.with_broker()
        port = self.broker.rpartition(":")[2]
        toml = "/etc/synoptic/synoptic.toml"
        block = f'[mqtt]\nurl = "mqtt://{self.here}:{port}"\n[mqtt.commands]\nenabled = true\nallow = ["update", "factory-reset"]\n'
        self.machine.ssh(f"sed -i '/^\\[mqtt\\]/,/^allow = /d' {toml} && printf '%s' '{block}' >>{toml} && systemctl restart synoptic")

    def topic(self) -> str:
        """Where the box is on the broker."""
        return f"synoptic/v1/default/{self.machine.status()['device']['id']}"

    def mosquitto(self, tool: str, *words: str) -> list[str]:
        """A client's command line."""
        host, _, port = self.broker.rpartition(":")
        return [f"mosquitto_{tool}", "-V", "5", "-q", "1", "-h", host, "-p", port, *words]

    def command(self, topic: str, name: str, ident: str, args: dict, ttl_s: int = 3600) -> None:
        """Gives a command, retained."""
        body = {"issued_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "ttl_s": ttl_s, "args": args}
        subprocess.run(self.mosquitto("pub", "-r", "-t", f"{topic}/cmd/{name}/{ident}", "-m", json.dumps(body)), check=True, timeout=60)

    def outcome(self, topic: str, name: str, ident: str, patience: float) -> dict:
        """Until a command is successful or failed; its state, as anybody at the broker sees it."""
        ask = self.mosquitto("sub", "-C", "1", "-W", "10", "-t", f"{topic}/cmd/{name}/{ident}/state")

        def over() -> dict | None:
            said = subprocess.run(ask, capture_output=True, text=True, check=False, timeout=60).stdout
            doc = json.loads(said) if said.strip() else {}
            return doc if doc.get("state") in ("successful", "failed") else None

        return self.machine.until(f"the end of command {name}", over, patience)


__all__ = ["Bench", "NotRun", "check"]
