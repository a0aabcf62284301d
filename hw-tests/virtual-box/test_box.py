"""The virtual box from its first start to an update that goes wrong: python3 -m unittest test_box, by scripts/test-box.sh.

One box lives through all of it in the order of the names, as a box in the field does: a start costs a minute. BOX_OUT is the
folder of build.sh, BOX_RUN one for disks, consoles and the report: box.json, written anew after each test.
"""

from __future__ import annotations

import functools
import http.server
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import threading
import time
import unittest

from machine import Box

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
HERE = pathlib.Path(__file__).resolve().parent
OUT = pathlib.Path(os.environ["BOX_OUT"])
RUN = pathlib.Path(os.environ["BOX_RUN"])
CAMERAS = """
[store]
min_free = "16MB"

[[camera]]
id = "left"
source = "/dev/video0"
format = "yuyv"
size = "320x180"
fps = 15
detector = "none"

[[camera]]
id = "right"
source = "/dev/video1"
format = "nv12"
size = "320x180"
fps = 15
detector = "none"
"""
# What was measured: target/bench/box.json is made of it.
MEASURED: list[dict] = []


def run(*command: object, **options: object) -> subprocess.CompletedProcess:
    """A command that must work."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False, **options)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done


def note(metric: str, value: float, unit: str, target: float | None = None, better: str = "lower") -> None:
    """One figure."""
    MEASURED[:] = [m for m in MEASURED if m["metric"] != metric]
    MEASURED.append({"metric": metric, "value": round(value, 2), "unit": unit, "better": better, "target": target, "baseline": None, "baseline_name": None})
    (RUN / "box.json").write_text(json.dumps(MEASURED, indent=1) + "\n")
    print(f"{metric}: {value:.1f} {unit}", file=sys.stderr)


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files, and says nothing of it."""

    def log_message(self, *words: object) -> None:
        """Nothing."""


class Life(unittest.TestCase):
    """One box."""

    box: Box
    failed = False

    @classmethod
    def setUpClass(cls) -> None:
        RUN.mkdir(parents=True, exist_ok=True)
        key, disk = RUN / "id", RUN / "disk.img"
        if os.environ.get("BOX_KEEP") == "yes" and disk.exists():
            if (RUN / "box.json").exists():
                MEASURED.extend(json.loads((RUN / "box.json").read_text()))
            cls.box = Box(disk, RUN, key)
            cls.box.start()
            cls.box.ready()
            return
        for file in (key, key.with_suffix(".pub"), RUN / "hosts"):
            file.unlink(missing_ok=True)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
        site = RUN / "site.toml"
        site.write_text(f'schema_version = 1\n[box]\nhostname = "gate-1"\ntimezone = "Europe/Berlin"\n[ssh]\nauthorized_keys = ["{key.with_suffix(".pub").read_text().strip()}"]\n')
        public = RUN / "release.pem"
        run("openssl", "pkey", "-in", OUT / "keys/virtual.key", "-pubout", "-out", public)
        disk.unlink(missing_ok=True)
        run(ROOT / "flash.sh", "--yes", "--log", RUN / "flash.log", "--trust", public, "--size", "3G", "--site", site, OUT / "release/synoptic-virtual-x86-64.img", disk)
        cls.box = Box(disk, RUN, key)
        # The targets are an image's: compressed as it is shipped, with an optimized daemon.
        shipped = os.environ.get("BOX_IMAGE") == "full" and os.environ.get("BOX_PROFILE") == "release"
        how = "" if shipped else ", built for tests"
        for what, suffix, target in (("image, without the holes in it", "img", 200), ("bundle", "raucb", 150)):
            size = (OUT / f"release/synoptic-virtual-x86-64.{suffix}").stat()
            note(f"size of the {what}{how}", size.st_blocks * 512 / 1e6, "MB", target if shipped else None)

    @classmethod
    def tearDownClass(cls) -> None:
        cls.box.cut()

    def setUp(self) -> None:
        if type(self).failed:
            self.skipTest("the box did not live through a test before this one")

    def tearDown(self) -> None:
        outcome = self._outcome.result  # type: ignore[attr-defined]
        if any(test is self for test, _ in outcome.failures + outcome.errors):
            type(self).failed = True

    # ---- what a box says of itself

    def slot(self) -> str:
        """The slot that runs."""
        return re.search(r"rauc\.slot=(\w)", self.box.ssh("cat /proc/cmdline")).group(1)

    def release(self) -> str:
        """The version that runs."""
        return self.box.ssh("cat /usr/share/synoptic/release")

    def grub(self) -> dict[str, str]:
        """The boot loader's environment."""
        return dict(line.split("=", 1) for line in self.box.ssh("grub-editenv /run/synoptic/state/grubenv list").splitlines())

    def reboot(self, patience: float = 900) -> float:
        """By itself, until the next system is there; seconds without a page."""
        before = self.boot_id()
        self.box.ssh("systemctl --no-block reboot", check=False)
        away = self.gone_and_back(before, patience)
        self.box.ready(patience)
        return away

    def boot_id(self) -> str:
        """Which start of the box this is."""
        return self.box.ssh("cat /proc/sys/kernel/random/boot_id")

    def gone_and_back(self, before: str, patience: float = 900) -> float:
        """Seconds without a page over a restart: from its last answer of start `before` to the first one of another."""
        last, first = time.monotonic(), 0.0

        def back() -> bool:
            nonlocal last, first
            try:
                there = self.box.get("/")[0] in (200, 302, 303, 401)
            except OSError:
                there = False
            now = time.monotonic()
            if not there:
                first = 0.0
                return False
            first = first or now
            # An emulated box on a busy machine may fail to answer without having restarted.
            if self.boot_id() != before:
                return True
            last = now
            return False

        self.box.until("another start", back, patience)
        return first - last

    def in_step(self, patience: float = 600) -> tuple[float, float]:
        """Waits on the box until packets hold both cameras; seconds since the kernel started, and since the daemon did. Not until
        nearly all do, which is what `locked` means: an emulated box on a busy machine loses frames."""
        ask = ("until status=$(curl --silent --fail --max-time 10 http://127.0.0.1:8080/api/v1/status) && printf %s \"$status\" | grep -Eq '\"complete_ratio\":(1|0[.][0-9]*[1-9])'; "
               "do sleep 0.2; done; cut -d ' ' -f 1 /proc/uptime; printf %s \"$status\"")
        boot, status = self.box.ssh(ask, timeout=patience).split("\n", 1)
        doc = json.loads(status)
        self.assertTrue(all(g["complete_ratio"] > 0 for g in doc["groups"]), doc["groups"])
        return float(boot), doc["uptime_s"]

    def health(self) -> dict:
        """What the daemon says to the gate."""
        return self.box.on_the_box("/api/v1/health")

    def gate(self) -> None:
        """Until the health gate has spoken."""
        ask = "systemctl show --property=ActiveState,Result,ExecMainExitTimestampMonotonic synoptic-health.service"

        def spoke() -> bool:
            said = dict(line.split("=", 1) for line in self.box.ssh(ask).splitlines())
            return said["ActiveState"] == "inactive" and said["Result"] == "success" and said["ExecMainExitTimestampMonotonic"] not in ("", "0")

        self.box.until("the health gate", spoke)

    def bundle(self, version: str, *, broken: bool = False) -> pathlib.Path:
        """A bundle of another release, made of the built tree."""
        tree = OUT / "tree"
        (tree / "usr/share/synoptic/release").write_text(version + "\n")
        drop_in = tree / "usr/lib/systemd/system/synoptic.service.d/broken.conf"
        if broken:
            drop_in.parent.mkdir(exist_ok=True)
            drop_in.write_text("[Service]\nExecStart=\nExecStart=/bin/false\n")
        try:
            slot = RUN / f"{version}.squashfs"
            run(HERE / "squash.sh", tree, slot, "--fast")
            made = RUN / f"{version}.raucb"
            run(HERE / "bundle.sh", slot, version, OUT / "keys/virtual", made)
            slot.unlink()
            return made
        finally:
            drop_in.unlink(missing_ok=True)

    def update(self) -> dict:
        """How the daemon says updates stand."""
        return self.box.on_the_box("/api/v1/update")

    def ended(self, job: int, patience: float = 900) -> dict:
        """Until update number `job` is installed or has failed."""
        def over() -> dict | None:
            doc = self.update()
            return doc if doc["job"] == job and doc["state"] in ("reboot_pending", "failed") else None

        return self.box.until(f"the end of update {job}", over, patience)

    def install(self, bundle: pathlib.Path, query: str = "") -> dict:
        """By the daemon: the bundle is sent to its API, as the page does."""
        answer = self.box.upload(bundle, f"/api/v1/update?name={bundle.name}{query}")
        self.assertIn("job", answer, f"{bundle.name}: {answer}")
        return self.ended(answer["job"])

    def install_by_hand(self, bundle: pathlib.Path) -> str:
        """By RAUC's own command, without the daemon."""
        self.box.send(bundle, "/data/bundle.raucb")
        said = self.box.ssh("rauc install /data/bundle.raucb 2>&1; echo ended with $?; rm -f /data/bundle.raucb", timeout=900)
        return said

    # ---- its life

    def test_1_first_start(self) -> None:
        self.box.start()
        note("first start: power on to a page that answers", self.box.ready(), "s")
        self.assertEqual(self.box.ssh("hostname"), "gate-1", "the site's name")
        self.assertEqual(self.box.ssh("systemctl --failed --plain --no-legend"), "", "no unit failed")
        self.assertEqual(self.slot(), "A")
        self.assertIn("squashfs", self.box.ssh("findmnt --noheadings --output FSTYPE /"))
        self.assertNotEqual(self.box.ssh("touch /usr/x 2>&1; true"), "", "the root cannot be written")
        self.assertGreater(int(self.box.ssh("df --output=size --block-size=1M /data | tail -n 1")), 1024, "the data partition grew")
        self.assertIn(self.box.ssh("date +%Z"), ("CET", "CEST"), "the site's time zone")
        self.assertRegex(self.box.ssh("cat /data/etc/device-id"), r"^[0-9a-f]{10}$")
        self.assertEqual(self.box.ssh("ls /efi/synoptic-site 2>/dev/null | wc -l"), "0", "no secret stays on the ESP")
        self.assertRegex(self.box.console(), r"Password: +\w{4}-\w{4}-\w{4}", "the console shows the page's first password")
        self.assertEqual(self.box.ssh("stat --format=%U /var/lib/synoptic/web-password"), "synoptic")
        self.assertGreater(int(self.box.ssh("ls /var/log/journal | wc -l")), 0, "the journal lasts")
        self.gate()
        self.assertEqual(self.grub()["A_TRY"], "0", "the boot loader knows that this system came up")

    def test_2_cameras(self) -> None:
        toml = "/etc/synoptic/synoptic.toml"
        # A run that goes on has them already.
        self.box.ssh(f"grep -q video0 {toml} || cat >>{toml} <<'EOF'\n{CAMERAS}\nEOF\nsystemctl reload synoptic")
        self.box.until("both cameras", lambda: [c["status"]["state"] for c in self.status()["cameras"]] == ["online", "online"])
        self.in_step()
        self.box.until("health", lambda: self.health()["state"] == "well")
        # Again from the start, which is what counts on a box that is configured.
        self.box.ssh("systemctl restart synoptic")
        note("daemon start to packets of both cameras", self.in_step()[1], "s")

    def status(self) -> dict:
        """The daemon's status document."""
        return self.box.on_the_box("/api/v1/status")

    def test_3_refused_bundles(self) -> None:
        good = OUT / "release/synoptic-virtual-x86-64.raucb"
        foreign = RUN / "foreign.raucb"
        keys = RUN / "foreign"
        shutil.rmtree(keys, ignore_errors=True)
        run(ROOT / "scripts/pki.sh", "root", keys)
        run(ROOT / "scripts/pki.sh", "channel", keys, "thief")
        small = RUN / "small.squashfs"
        small.write_bytes(b"hsqs" + os.urandom(1 << 20))
        run(HERE / "bundle.sh", small, "9.9.9", keys / "thief", foreign)
        other = RUN / "other.raucb"
        run(HERE / "bundle.sh", small, "9.9.9", OUT / "keys/virtual", other, env=dict(os.environ, BOX_COMPATIBLE="synoptic-another-machine"))
        cut = RUN / "cut.raucb"
        with open(good, "rb") as whole, open(cut, "wb") as part:
            part.write(whole.read(5 << 20))
        old = RUN / "old.raucb"
        run(HERE / "bundle.sh", small, "0.0.1", OUT / "keys/virtual", old)
        before = self.grub()
        self.assertIsNone(self.update()["unavailable"], "the daemon may use RAUC")
        for bundle, reason in ((foreign, "signature"), (other, "for `synoptic-another-machine`"), (cut, "cut off|size"),
                               (old, "older than"), (good, "runs already")):
            with self.subTest(bundle.name):
                doc = self.install(bundle)
                self.assertEqual((doc["state"], doc["stage"]), ("failed", "preflight"), doc)
                self.assertRegex(doc["reason"], reason)
                self.assertEqual(self.grub(), before, "the boot loader was told nothing")
        said = self.install_by_hand(foreign)
        self.assertNotIn("ended with 0", said)
        self.assertRegex(said, "signature|verif")
        self.assertEqual(self.box.ssh("ls /data/update /var/lib/synoptic/update"), "/data/update:\n\n/var/lib/synoptic/update:\nstate.json",
                         "nothing of them is left")
        self.assertEqual(self.slot(), "A")

    def test_4_a_broken_release_goes_back_by_itself(self) -> None:
        running = self.release()
        start = self.boot_id()
        # By an address on the network that the host is on; the box restarts by itself.
        server = self.serve(self.bundle("0.2.0-broken", broken=True))
        answer = self.box.post("/api/v1/update", {"url": server, "reboot": True})
        # The broken system has no page: this is from the restart into it until the old one is back.
        note("broken release: no page until the box is back", self.gone_and_back(start, 2400), "s")
        self.box.ready()
        self.assertEqual(self.slot(), "A")
        self.assertEqual(self.release(), running)
        self.assertIn("the daemon ended", self.box.ssh("cat /data/update/rollback-reason"))
        self.assertEqual(self.grub()["B_OK"], "0", "the broken slot is marked bad")
        doc = self.box.until("the daemon's word", lambda: self.update() if self.update()["state"] == "rolled_back" else None)
        self.assertEqual((doc["job"], doc["slot"], doc["new_version"]), (answer["job"], "A", "0.2.0-broken"))
        self.assertIn("the daemon ended", doc["reason"])
        self.assertIs(next(s for s in doc["slots"] if s["bootname"] == "B")["good"], False)

    def serve(self, file: pathlib.Path) -> str:
        """A file by HTTP, as the box reaches it; until the tests end."""
        handler = functools.partial(Quiet, directory=file.parent)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addClassCleanup(server.shutdown)
        return f"http://10.0.2.2:{server.server_port}/{file.name}"

    def test_5_an_update_is_committed_and_stays(self) -> None:
        said = self.install_by_hand(self.bundle("0.3.0"))
        self.assertIn("ended with 0", said)
        self.assertEqual(self.box.ssh("cat /data/update/pending"), "B", "RAUC's handlers tell the gate, whoever installs")
        note("update: no page over its restart", self.reboot(), "s", 75)
        self.assertEqual((self.slot(), self.release()), ("B", "0.3.0"))
        self.box.until("the commit", lambda: self.box.ssh("test -e /data/update/pending || echo committed") == "committed", 900)
        self.gate()
        self.assertEqual((self.grub()["B_OK"], self.grub()["B_TRY"]), ("1", "0"))
        doc = self.update()
        self.assertEqual((doc["version"], doc["slot"], doc["rollback_reason"]), ("0.3.0", "B", None))
        self.box.until("both cameras", lambda: [c["status"]["state"] for c in self.status()["cameras"]] == ["online", "online"])

    def test_6_power_cuts(self) -> None:
        # At its worst moment: the boot loader has noted the try, nobody has given it back. Twice in a row.
        for _ in range(2):
            self.box.cut()
            self.box.start()
            self.box.until("the boot loader's choice", lambda: "Booting `Synoptic'" in self.box.console())
        # The third start comes up, which gives the tries back; then a cut while the box works.
        self.box.cut()
        self.box.start()
        self.box.ready()
        self.gate()
        self.assertEqual((self.slot(), self.release()), ("B", "0.3.0"), "a committed release stays")
        self.box.cut()
        self.box.start()
        self.box.ready()
        kernel, daemon = self.in_step()
        note("start: kernel to packets of both cameras", kernel, "s")
        note("start: kernel to the daemon's start", kernel - daemon, "s")
        self.gate()
        self.assertEqual((self.slot(), self.release()), ("B", "0.3.0"), "a committed release stays")
        note("power cuts survived", 4, "cuts", 4, "higher")
        self.assertEqual(self.grub()["B_TRY"], "0")
        self.assertEqual(self.box.ssh("systemctl --failed --plain --no-legend"), "")
        self.assertEqual(self.box.ssh("runuser -u synoptic -- synoptic db check >/dev/null && echo sound"), "sound")
        self.assertGreater(int(self.box.ssh("journalctl --boot=-1 --output=cat | wc -l")), 0, "one journal over starts")


if __name__ == "__main__":
    unittest.main()
