"""What a virtual box has not: a Jetson's cameras, GPU, encoder, sensors, PTP. Written for the day that a Jetson is there; none
of it has run on one."""

from __future__ import annotations

from bench import Bench, check
from choice import NotRun, scenario


def pipeline(bench: Bench, elements: str) -> None:
    """A pipeline of GStreamer's own tool comes to its end."""
    if bench.machine.ssh("command -v gst-launch-1.0 >/dev/null && echo there", check=False) != "there":
        raise NotRun("the image has no gst-launch-1.0")
    said = bench.machine.ssh(f"timeout 60 gst-launch-1.0 -q {elements} 2>&1; echo ended with $?", timeout=120)
    check.assertTrue(said.endswith("ended with 0"), said)


@scenario("it is a Jetson of the redundant layout, both slots normal", needs=("jetson", "rauc"))
def jetson_slots(bench: Bench) -> None:
    box = bench.machine
    backend = "/usr/lib/synoptic/synoptic-tegra-boot"
    current = box.ssh(f"{backend} get-current")
    check.assertEqual(box.ssh(f"{backend} get-primary"), current, "what runs is what starts next")
    for slot in ("A", "B"):
        check.assertIn(box.ssh(f"{backend} get-state {slot}"), ("good", "bad"))
    check.assertEqual(box.ssh(f"{backend} get-state {current}"), "good")
    unavailable = box.update()["unavailable"]
    check.assertIsNone(unavailable, "an update would be taken")


@scenario("the first CSI camera delivers by NVIDIA's own source", needs=("csi",))
def csi_cameras(bench: Bench) -> None:
    # The daemon has no source for them yet: what can be seen is whether the board's own stack delivers.
    pipeline(bench, "nvarguscamerasrc num-buffers=60 ! fakesink")


@scenario("the GPU is seen, and its detectors run on it", needs=("gpu",))
def gpu(bench: Bench) -> None:
    status = bench.machine.status()
    check.assertTrue(status["gpus"], "the daemon sees no GPU")
    for one in status["gpus"]:
        if one["temperature_c"] is not None:
            bench.note(f"temperature of {one['name']}", one["temperature_c"], "°C")
        check.assertIsNone(one["throttled"], one["name"])


@scenario("the chip's encoder codes H.264 of 1080 lines", needs=("encoder",))
def encode(bench: Bench) -> None:
    pipeline(bench, "videotestsrc num-buffers=120 ! nvvidconv ! 'video/x-raw(memory:NVMM),width=1920,height=1080' ! nvv4l2h264enc ! fakesink")


@scenario("no sensor is near its limit while the box works", needs=("thermal",))
def thermal(bench: Bench) -> None:
    ask = "for z in /sys/class/thermal/thermal_zone*; do t=$(cat $z/temp 2>/dev/null) && echo \"$(cat $z/type) $t\"; done"
    zones = [line.rsplit(" ", 1) for line in bench.machine.ssh(ask).splitlines()]
    check.assertTrue(zones)
    for name, milli in zones:
        value = int(milli) / 1000
        # A zone that is switched off says nonsense far below zero on a Jetson.
        if -40 < value < 200:
            bench.note(f"sensor {name}", value, "°C")
            # Orin's software throttling begins at 99 °C (NVIDIA Jetson Orin thermal design guide).
            check.assertLess(value, 95, name)


@scenario("its clock follows PTP to a microsecond", needs=("ptp",))
def ptp(bench: Bench) -> None:
    said = bench.machine.ssh("pmc -u -b 0 'GET CURRENT_DATA_SET'")
    offsets = [float(line.split()[-1]) for line in said.splitlines() if "offsetFromMaster" in line]
    check.assertTrue(offsets, said)
    bench.note("PTP: offset from the master", offsets[0], "ns")
    check.assertLess(abs(offsets[0]), 1000)
