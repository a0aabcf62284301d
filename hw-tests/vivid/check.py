#!/usr/bin/env python3
"""Judges what the machine of scripts/test-vivid.sh wrote: check.py FOLDER.

The kernel's own record is the truth: its trace point v4l2_dqbuf says stamp and number of every buffer that it handed
out, and when.
"""

import datetime
import json
import pathlib
import re
import sys

# The claimed instant lies at most an interval before the stamp of a frame's end, or after that of the start of its
# exposure (docs/design/time.md).
INTERVAL_NS = 1_000_000_000 // 15
# Two readings of a clock in an emulated machine.
CLOCK_ERROR_NS = 2_000_000
FEWEST_PACKETS = 60
CAMERAS = {"left": 0, "right": 1}
CODED = {"mjpeg": "MJPEG", "h264": "H.264"}
DEVICES = {"mjpeg": "/dev/video8", "h264": "/dev/video9"}

DQBUF = re.compile(
    r"\s(?P<at>\d+\.\d+): v4l2_dqbuf: minor = (?P<minor>\d+), .*flags = (?P<flags>\S+), .*"
    r"timestamp = (?P<stamp>\d+), .*sequence = (?P<sequence>\d+)"
)

CLOCKS = re.compile(r"\s(\d+\.\d+): tracing_mark_write: utc (\d+\.\d+)")

# V4L2_BUF_FLAG_TSTAMP_SRC_SOE, for which the trace point has no name.
SOE = "0x10000"

failures = []


def check(good, what):
    if not good:
        failures.append(what)
        if len(failures) <= 20:
            print(f"  wrong: {what}")


def nanos(seconds):
    whole, fraction = seconds.split(".")
    return int(whole) * 1_000_000_000 + int(fraction.ljust(9, "0")[:9])


def buffers(path):
    """Per minor number: a list of (stamp_ns, sequence, handed_out_ns, flags) in order."""
    found = {}
    for line in path.read_text().splitlines():
        if match := DQBUF.search(line):
            one = (int(match["stamp"]), int(match["sequence"]), nanos(match["at"]), match["flags"])
            found.setdefault(int(match["minor"]), []).append(one)
    return found


def utc_ns(text):
    date = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    return int(date.timestamp()) * 1_000_000_000 + date.microsecond * 1_000


def drops(metrics, camera):
    """The daemon's count of frames that the driver dropped."""
    for line in metrics.splitlines():
        if "camera_frames_dropped_total" in line and f'"{camera}"' in line and '"driver"' in line:
            return int(float(line.split()[-1]))
    return 0


def main(out):
    read = lambda name: (out / name).read_text() if (out / name).exists() else ""
    check(read("status").strip() == "0", "the guest's script did not reach its end")

    devices = read("devices.txt")
    for want in ["/dev/video0", "/dev/video1", "vivid", "yuyv: 320x180@", "nv12: ", "640x480"]:
        check(want in devices, f"`synoptic devices` does not show {want}")

    probe = json.loads(read("probe.json") or "{}")
    check(probe.get("usable"), f"probe: {probe.get('verdict')}")
    check(probe.get("time_source") == "hardware", f"probe: time source {probe.get('time_source')}")
    # The largest size at which vivid runs at 25 frames a second, uncompressed.
    check((probe.get("codec"), probe.get("width")) == ("raw NV12", 640), f"probe: {probe.get('codec')}")

    busy = json.loads(read("busy.json") or "{}")
    check("another program uses it" in busy.get("verdict", ""), f"a busy device: {busy.get('verdict')}")

    log = read("daemon.log")
    for camera in CAMERAS:
        check(re.search(f"camera {camera}: .*unplugged", log), f"{camera}: nothing is said of the unplugging")
    check(read("daemon.status").strip() == "0", f"the daemon ended with {read('daemon.status').strip()}")

    first = buffers(out / "trace-first.txt")
    after = buffers(out / "trace.txt")
    packets = [json.loads(line) for line in read("packets.jsonl").splitlines() if line.endswith("}")]
    check(len(packets) >= FEWEST_PACKETS, f"{len(packets)} packets")
    # UTC is read before the kernel notes it: the largest difference is the truest.
    utc_minus_mono = max(nanos(utc) - nanos(mono) for mono, utc in CLOCKS.findall(read("trace-first.txt")))

    for camera, minor in CAMERAS.items():
        slots = [s for p in packets for s in p["slots"] if s["cam"] == camera and s["status"] == "okay"]
        check(len(slots) >= FEWEST_PACKETS / 2, f"{camera}: {len(slots)} frames in packets")
        sources = {s["capture"]["source"] for s in slots}
        check(sources == {"hardware"}, f"{camera}: time sources {sources}")
        keys = [s["frame"].split("/") for s in slots]
        epochs = sorted({int(epoch) for _, epoch, _ in keys})
        check(len(epochs) >= 2, f"{camera}: epochs {epochs}")
        by_stamp = {b[0] // 1000: b for b in after.get(minor, [])}
        last = (0, 0)
        worst = 0
        points = set()
        for slot, (_, epoch, media_us) in zip(slots, keys):
            here = (int(epoch), int(media_us))
            check(here > last, f"{camera}: key {here} after {last}")
            last = here
            if int(media_us) not in by_stamp:
                check(False, f"{camera}: no buffer of the kernel has the stamp {media_us} us")
                continue
            stamp, _, handed_out, flags = by_stamp[int(media_us)]
            start = SOE in flags.split("|")
            points.add(start)
            earliest, latest = (0, INTERVAL_NS) if start else (-INTERVAL_NS, 0)
            claimed = utc_ns(slot["capture"]["utc"]) - utc_minus_mono
            off = claimed - stamp
            worst = max(worst, abs(off))
            near = earliest - CLOCK_ERROR_NS <= off <= latest + CLOCK_ERROR_NS
            check(near, f"{camera}: {off / 1e6:.1f} ms from its stamp, start of exposure: {start}")
            check(claimed <= handed_out + CLOCK_ERROR_NS, f"{camera}: captured after it was handed out")
            # vivid renders a frame right before it hands it out.
            bound = slot["capture"]["rel_error_ms"] * 1e6
            check(handed_out - claimed <= INTERVAL_NS + bound + CLOCK_ERROR_NS, f"{camera}: far from its kernel's time")
        # Plugged in anew, vivid is back at the end of the frame.
        wanted = {False, True} if camera == "right" else {False}
        check(points == wanted, f"{camera}: stamps of the start of the exposure: {points}")
        check(all("TIMESTAMP_MONOTONIC" in flags for _, _, _, flags in after.get(minor, [])), f"{camera}: flags")
        sequences = [sequence for _, sequence, _, _ in first.get(minor, [])]
        missing = sum(b - a - 1 for a, b in zip(sequences, sequences[1:]) if b > a)
        counted = drops(read("metrics.txt"), camera)
        check(counted == missing, f"{camera}: the kernel dropped {missing}, the daemon counted {counted}")
        print(
            f"  {camera}: {len(slots)} frames in packets, epochs {epochs}, {len(sequences)} buffers and {missing} "
            f"dropped by the kernel, claims within {worst / 1e6:.1f} ms of the kernel's stamps"
        )


def coded(out):
    """The cameras of coded.toml, where the machine had them."""
    read = lambda name: (out / name).read_text() if (out / name).exists() else ""
    if not read("coded-devices.txt"):
        print("  SKIPPED: MJPEG and H.264 of V4L2: the machine has no v4l2loopback")
        return
    for want in ["mjpeg: 320x180@", "h264: 320x180@"]:
        check(want in read("coded-devices.txt"), f"`synoptic devices` does not show {want}")
    check(read("coded-daemon.status").strip() == "0", f"the daemon ended with {read('coded-daemon.status').strip()}")
    log = read("coded-daemon.log")
    cameras = {c["id"]: c for c in json.loads(read("coded-status.json") or '{"cameras": []}')["cameras"]}
    packets = [json.loads(line) for line in read("coded-packets.jsonl").splitlines() if line.endswith("}")]
    for camera, codec in CODED.items():
        stream = cameras.get(camera, {}).get("stream") or {}
        check(stream.get("codec") == codec, f"{camera}: codec {stream.get('codec')}, not {codec}")
        slots = [s for p in packets for s in p["slots"] if s["cam"] == camera and s["status"] == "okay"]
        check(len(slots) >= 10, f"{camera}: {len(slots)} frames in packets")
        sources = {s["capture"]["source"] for s in slots}
        # v4l2loopback says that its stamps are copies of somebody else's.
        check(sources == {"arrival"}, f"{camera}: time sources {sources}")
        keys = [int(s["frame"].split("/")[2]) for s in slots]
        check(keys == sorted(set(keys)), f"{camera}: keys are not in order")
        check(f"{DEVICES[camera]}: its driver does not stamp with CLOCK_MONOTONIC" in log, f"{camera}: nothing is said of its stamps")
        print(f"  {camera}: {stream.get('codec')}, {len(slots)} frames in packets")


if __name__ == "__main__":
    try:
        main(pathlib.Path(sys.argv[1]))
        coded(pathlib.Path(sys.argv[1]))
    except (OSError, ValueError, KeyError) as error:
        failures.append(str(error))
        print(f"  wrong: {error!r}")
    sys.exit(1 if failures else 0)
