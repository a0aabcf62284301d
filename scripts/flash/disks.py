#!/usr/bin/env python3
"""Which disks there are, and which of them may be overwritten.

    disks.py list [--json]
    disks.py check DEVICE --size BYTES --sector BYTES [--allow-fixed SERIAL] [--no-open]

A disk is one plain value whatever the system (lsblk on Linux, diskutil on macOS); `refusals` alone decides.
`check` prints `ok<TAB>description`, or one line `reason<TAB>message` for each refusal and exits with 4.
Python 3.9, nothing but its standard library.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import platform
import plistlib
import stat
import subprocess
import sys
from dataclasses import asdict, dataclass, field

REFUSED = 4

# Where the system itself lives: a disk with one of these is never overwritten, whatever is said.
SYSTEM_MOUNTS = ("/", "/boot", "/boot/efi", "/efi", "/usr", "/var", "/home", "/etc", "[SWAP]", "/System/Volumes/Data")
# File systems that live in another layer: the disk is in use although nothing of it is mounted by itself.
LAYERS = {"crypt", "lvm", "dm", "mpath", "raid0", "raid1", "raid4", "raid5", "raid6", "raid10", "linear"}
COLUMNS = "KNAME,PATH,TYPE,SIZE,RM,HOTPLUG,RO,TRAN,VENDOR,MODEL,SERIAL,MOUNTPOINT,FSTYPE,LOG-SEC"


@dataclass
class Disk:
    """A whole disk, or what was named instead of one."""

    path: str
    kind: str  # disk, loop, part, rom, ...
    size: int  # bytes
    sector: int  # bytes of a logical block
    removable: bool
    read_only: bool
    bus: str
    model: str
    serial: str
    mounts: list[str] = field(default_factory=list)
    layers: list[str] = field(default_factory=list)  # LVM, dm-crypt, md, ... that hold a part of it

    def describe(self) -> str:
        """One line for people."""
        words = [self.path, human(self.size), self.bus, self.model]
        if self.serial:
            words.append(f"serial {self.serial}")
        return ", ".join(w for w in words if w)


def human(count: int) -> str:
    """Bytes as a disk's box says them."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return str(count)


def truth(value: object) -> bool:
    """What lsblk means: true, "1" and 1."""
    return value in (True, 1, "1", "true")


def text(value: object) -> str:
    """A column, or nothing."""
    return str(value).strip() if value is not None else ""


def run(command: list[str]) -> bytes:
    """The output of a command that must work."""
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


# ---- Linux


def tree(node: dict) -> list[dict]:
    """A device and everything on top of it."""
    found = [node]
    for child in node.get("children") or []:
        found += tree(child)
    return found


def from_lsblk(node: dict) -> Disk:
    """A device of lsblk with what lies on it."""
    parts = tree(node)
    mounts = [text(p.get("mountpoint")) for p in parts]
    layers = [f"{text(p.get('path'))} ({text(p.get('type'))})" for p in parts[1:] if text(p.get("type")) in LAYERS]
    bus = text(node.get("tran"))
    return Disk(
        path=text(node.get("path")),
        kind=text(node.get("type")),
        size=int(node.get("size") or 0),
        sector=int(node.get("log-sec") or 512),
        removable=truth(node.get("rm")) or truth(node.get("hotplug")) or bus == "usb",
        read_only=truth(node.get("ro")),
        bus=bus,
        model=" ".join(w for w in (text(node.get("vendor")), text(node.get("model"))) if w),
        serial=text(node.get("serial")),
        mounts=[m for m in mounts if m],
        layers=layers,
    )


def linux(device: str | None) -> list[Disk]:
    """One device, or all."""
    command = ["lsblk", "--json", "--bytes", "--output", COLUMNS]
    if device:
        command.append(device)
    return [from_lsblk(node) for node in json.loads(run(command))["blockdevices"]]


# ---- macOS


def from_diskutil(info: dict, parts: list[dict]) -> Disk:
    """A device of diskutil with its partitions."""
    whole = bool(info.get("WholeDisk"))
    return Disk(
        path=text(info.get("DeviceNode")),
        kind="disk" if whole else "part",
        size=int(info.get("Size") or info.get("TotalSize") or 0),
        sector=int(info.get("DeviceBlockSize") or 512),
        removable=bool(info.get("RemovableMediaOrExternalDevice", not info.get("Internal", True))),
        read_only=not info.get("WritableMedia", info.get("Writable", True)),
        bus=text(info.get("BusProtocol")),
        model=text(info.get("MediaName")),
        serial=text(info.get("DiskUUID")),
        mounts=[m for m in (text(p.get("MountPoint")) for p in [info, *parts]) if m],
        layers=["an APFS container" for p in parts if p.get("Content") == "Apple_APFS" and info.get("Internal", True)],
    )


def macos(device: str | None) -> list[Disk]:
    """One device, or all."""
    listed = plistlib.loads(run(["diskutil", "list", "-plist"]))
    disks = []
    for whole in listed.get("AllDisksAndPartitions", []):
        node = "/dev/" + whole["DeviceIdentifier"]
        parts = (whole.get("Partitions") or []) + (whole.get("APFSVolumes") or [])
        names = [node] + ["/dev/" + p["DeviceIdentifier"] for p in parts]
        wanted = [node] if device is None else [n for n in names if n == device.replace("/dev/rdisk", "/dev/disk")]
        for name in wanted:
            disks.append(from_diskutil(plistlib.loads(run(["diskutil", "info", "-plist", name])), parts))
    return disks


def disks(device: str | None) -> list[Disk]:
    """One device, or all, of this system."""
    if platform.system() == "Darwin" or os.environ.get("FLASH_SYSTEM") == "Darwin":
        return macos(device)
    return linux(device)


# ---- the decision


def refusals(disk: Disk, size: int, sector: int, allow_fixed: str | None) -> list[tuple[str, str]]:
    """Why a disk is not written, each as (reason, message); empty when it may be.

    size: bytes of the image. sector: bytes of a logical block that the image's partition table was made for.
    """
    found: list[tuple[str, str]] = []

    def refuse(reason: str, message: str) -> None:
        found.append((reason, message))

    path = disk.path
    if disk.kind not in ("disk", "loop"):
        refuse("not_a_disk", f"{path} is a {disk.kind}, not a whole disk: an image has its own partition table")
    system = [m for m in disk.mounts if m in SYSTEM_MOUNTS]
    other = [m for m in disk.mounts if m not in SYSTEM_MOUNTS]
    if system:
        refuse("system", f"{path} holds {', '.join(system)} of this computer")
    if other:
        refuse("mounted", f"{path} is mounted on {', '.join(other)}: unmount it first (umount, or eject in the file manager)")
    if disk.layers:
        refuse("in_use", f"{path} carries {', '.join(disk.layers)}: take that apart first if the disk is really meant")
    if disk.read_only:
        refuse("read_only", f"{path} is read-only: is there a switch on the card?")
    if not disk.removable and disk.kind != "loop":
        if allow_fixed is None:
            serial = disk.serial or "it has none, so it cannot be allowed"
            refuse("fixed", f"{path} is built in, not removable. If it is really meant: --allow-fixed SERIAL ({serial})")
        elif not disk.serial or allow_fixed != disk.serial:
            refuse("fixed", f"{path} has the serial {disk.serial or '(none)'}, --allow-fixed says {allow_fixed}")
    if disk.size == 0:
        refuse("too_small", f"{path} is empty: is there a card in the reader?")
    elif disk.size < size:
        refuse("too_small", f"{path} has {disk.size} bytes, the image needs {size}")
    if sector and disk.sector != sector:
        refuse("sector", f"{path} has logical blocks of {disk.sector} bytes, the image is made for {sector}")
    return found


def claimed(path: str) -> tuple[str, str] | None:
    """Asks the kernel itself: on Linux an exclusive open fails while any part of the disk is in use."""
    flags = os.O_RDWR | (os.O_EXCL if platform.system() == "Linux" else 0)
    try:
        os.close(os.open(path, flags))
    except OSError as error:
        if error.errno == errno.EBUSY:
            return "in_use", f"{path} is in use: the kernel gives it to nobody else (swap, RAID, LVM, or mounted elsewhere)"
        if error.errno in (errno.EACCES, errno.EPERM):
            return "permission", f"{path} may not be written by this user: run this with sudo"
        if error.errno == errno.EROFS:
            return "read_only", f"{path} is read-only"
        return "unusable", f"{path} cannot be opened: {error.strerror}"
    return None


def check(arguments: argparse.Namespace) -> int:
    """The command `check`."""
    path = os.path.realpath(arguments.device)
    try:
        if not (stat.S_ISBLK(os.stat(path).st_mode) or stat.S_ISCHR(os.stat(path).st_mode)):
            print(f"not_a_disk\t{path} is no block device")
            return REFUSED
    except OSError as error:
        print(f"not_found\t{path}: {error.strerror}; ./flash.sh --list shows what there is")
        return REFUSED
    found = [d for d in disks(path) if d.path == path.replace("/dev/rdisk", "/dev/disk")]
    if not found:
        print(f"not_found\t{path} is not among the disks of this computer; ./flash.sh --list shows them")
        return REFUSED
    disk = found[0]
    refused = refusals(disk, arguments.size, arguments.sector, arguments.allow_fixed)
    if not refused and not arguments.no_open:
        by_kernel = claimed(path)
        refused = [by_kernel] if by_kernel else []
    for reason, message in refused:
        print(f"{reason}\t{message}")
    if not refused:
        print(f"ok\t{disk.describe()}")
    return REFUSED if refused else 0


def show(arguments: argparse.Namespace) -> int:
    """The command `list`."""
    # zram and ram disks are memory, an empty loop device is nothing.
    rows = [d for d in disks(None) if d.kind in ("disk", "loop") and d.size and not d.path.startswith(("/dev/zram", "/dev/ram"))]
    if arguments.json:
        for disk in rows:
            refused = refusals(disk, 0, 0, None)
            row = {"event": "disk", **asdict(disk), "refused": [{"reason": r, "message": m} for r, m in refused]}
            print(json.dumps(row))
        return 0
    if not rows:
        print("no disks were found")
    for disk in rows:
        reasons = [r for r, _ in refusals(disk, 0, 0, None)]
        verdict = "may be written" if not reasons else "refused: " + ", ".join(reasons)
        print(f"{disk.path:<14} {human(disk.size):>9}  {disk.bus or disk.kind:<6} {disk.model[:28]:<28} {disk.serial[:20]:<20} {verdict}")
    return 0


def main() -> int:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("list")
    one.add_argument("--json", action="store_true")
    one = commands.add_parser("check")
    one.add_argument("device")
    one.add_argument("--size", type=int, required=True)
    one.add_argument("--sector", type=int, default=512)
    one.add_argument("--allow-fixed")
    one.add_argument("--no-open", action="store_true")
    arguments = parser.parse_args()
    return check(arguments) if arguments.command == "check" else show(arguments)


if __name__ == "__main__":
    sys.exit(main())
