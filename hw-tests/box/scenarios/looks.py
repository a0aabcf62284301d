"""A box comes up, and is what it should be."""

from __future__ import annotations

import re
import secrets
import socket
import struct
import time

from bench import Bench, check
from choice import NotRun, scenario

# What the virtual box is told to look at: the kernel's test driver (vivid).
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
NTP_EPOCH = 2208988800  # seconds from 1900 to 1970, RFC 5905


@scenario("a flashed disk starts, with the site's settings and a password of its own", needs=("fresh",))
def first_start(bench: Bench) -> None:
    box = bench.machine
    bench.note("first start: power on to a page that answers", box.ready(), "s")
    check.assertEqual(box.ssh("hostname"), "gate-1", "the site's name")
    check.assertEqual(box.slot(), "A")
    check.assertIn(box.ssh("date +%Z"), ("CET", "CEST"), "the site's time zone")
    check.assertEqual(box.ssh("ls /efi/synoptic-site 2>/dev/null | wc -l"), "0", "no secret stays on the ESP")
    check.assertRegex(box.console(), r"Password: +\w{4}-\w{4}-\w{4}", "the console shows the page's first password")
    bench.gate()
    check.assertEqual(bench.grub()["A_TRY"], "0", "the boot loader knows that this system came up")
    # Its cameras, by hand, as an owner does.
    toml = "/etc/synoptic/synoptic.toml"
    box.ssh(f"cat >>{toml} <<'EOF'\n{CAMERAS}\nEOF\nsystemctl reload synoptic")


@scenario("no unit failed, an id, a journal that lasts, a sound database, a gate that has spoken", needs=("units",))
def sound(bench: Bench) -> None:
    box = bench.machine
    check.assertEqual(box.failed_units(), "", "no unit failed")
    check.assertRegex(box.ssh("cat /data/etc/device-id"), r"^[0-9a-f]{10}$")
    check.assertEqual(box.ssh("stat --format=%U /var/lib/synoptic/web-password"), "synoptic")
    check.assertGreater(int(box.ssh("ls /var/log/journal | wc -l")), 0, "the journal lasts")
    bench.gate()
    check.assertEqual(box.ssh("runuser -u synoptic -- synoptic db check >/dev/null && echo sound"), "sound")


@scenario("every camera delivers, and packets hold a frame of each")
def cameras(bench: Bench) -> None:
    box = bench.machine
    if not box.status()["cameras"]:
        raise NotRun("no camera is configured")
    box.until("every camera", bench.cameras_online)
    for camera in box.status()["cameras"]:
        check.assertIn(camera["status"]["state"], ("online", "disabled"), camera)
    bench.in_step()
    box.until("health", lambda: box.api("/api/v1/health")["state"] == "well")


@scenario("a restarted daemon has packets of all cameras again", changes="configuration")
def daemon_restart(bench: Bench) -> None:
    bench.machine.ssh("systemctl restart synoptic")
    bench.note("daemon start to packets of both cameras", bench.in_step()[1], "s")
    check.assertEqual(bench.machine.failed_units(), "")


def ask_the_time(port: int, patience: float = 5) -> tuple[int, int, float] | None:
    """One SNTP question (RFC 4330) by loopback: leap indicator, stratum, the answer's clock less ours in s; None of no answer."""
    token = secrets.token_bytes(8)
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.settimeout(patience)
        client.sendto(b"\x23" + bytes(39) + token, ("127.0.0.1", port))
        asked = time.time()
        try:
            answer = client.recv(512)
        except TimeoutError:
            return None
    got = time.time()
    check.assertGreaterEqual(len(answer), 48)
    check.assertEqual(answer[0] & 7, 4, "a server's answer")
    check.assertEqual(answer[24:32], token, "to our question")
    seconds, fraction = struct.unpack(">II", answer[40:48])
    return answer[0] >> 6, answer[1], seconds - NTP_EPOCH + fraction / 2**32 - (asked + got) / 2


@scenario("the box gives the time to its camera network, and to no other", needs=("camera-network",))
def time_server(bench: Bench) -> None:
    box = bench.machine
    # Without a server of its own above it the box is one all the same (`local stratum 10 orphan`), after some minutes.
    leap, stratum, offset = box.until("an answer to SNTP", lambda: (lambda a: a if a and a[0] != 3 else None)(ask_the_time(box.ntp)), 900)
    check.assertIn(stratum, range(1, 11), f"leap {leap}")
    bench.note("time server: the box's clock less this host's, by SNTP", offset * 1000, "ms")
    check.assertLess(abs(offset), 60, "it is the box's clock")
    check.assertIn("10.20.0.254", box.ssh("chronyc -n clients"), "chrony has seen the asker on the camera network")
    check.assertIsNone(ask_the_time(box.uplink_ntp), "who is not on the camera network gets no answer")
    check.assertEqual(re.findall(r"\b10\.0\.2\.2\b", box.ssh("chronyc -n clients")), [])
