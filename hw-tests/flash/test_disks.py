"""Which disks may be written: the decision on made-up disks, and both systems' listings through fakes."""

import json
import pathlib
import plistlib
import subprocess
import sys

from bench import ROOT, Case

sys.path.insert(0, str(ROOT / "scripts/flash"))
import disks  # noqa: E402


def node(**more: object) -> dict:
    """A USB stick of 16 GB as lsblk tells it."""
    stick = {"kname": "sdx", "path": "/dev/sdx", "type": "disk", "size": 16_000_000_000, "rm": True, "hotplug": True, "ro": False,
             "tran": "usb", "vendor": "Maker ", "model": "Stick", "serial": "A1", "mountpoint": None, "fstype": None, "log-sec": 512}
    return {**stick, **more}


def part(**more: object) -> dict:
    """A partition of it."""
    return node(path="/dev/sdx1", type="part", **more)


def reasons(device: dict, size: int = 1_000_000_000, sector: int = 512, serial: "str | None" = None) -> list:
    """Why it is refused."""
    return [reason for reason, _ in disks.refusals(disks.from_lsblk(device), size, sector, serial)]


class Decision(Case):
    """One line a rule."""

    def test_rules(self) -> None:
        swap = part(mountpoint="[SWAP]")
        deep = part(children=[node(path="/dev/dm-0", type="crypt", children=[node(path="/dev/dm-1", type="lvm", mountpoint="/")])])
        for expected, device in (
            ([], node()),
            ([], node(rm=False)),  # a USB SSD says that it is not removable, but it is hot-plugged
            ([], node(rm="1", hotplug="0", ro="0", size="16000000000")),  # how older lsblk writes it
            ([], node(type="loop", rm=False, hotplug=False, tran=None)),
            (["system"], node(children=[part(mountpoint="/boot/efi")])),
            (["system"], node(children=[swap])),
            (["system", "in_use"], node(children=[deep])),
            (["mounted"], node(children=[part(mountpoint="/media/me/STICK")])),
            (["mounted"], node(mountpoint="/mnt")),
            (["in_use"], node(children=[part(children=[node(path="/dev/md0", type="raid1")])])),
            (["read_only"], node(ro=True)),
            (["fixed"], node(rm=False, hotplug=False, tran="nvme")),
            (["fixed"], node(rm=False, hotplug=False, tran=None, serial=None)),
            (["too_small"], node(size=999_999_999)),
            (["too_small"], node(size=0)),
            (["sector"], node(**{"log-sec": 4096})),
            (["not_a_disk"], part()),
            (["not_a_disk"], node(type="rom")),
            (["not_a_disk"], node(type="lvm")),
        ):
            with self.subTest(device=device):
                self.assertEqual(reasons(device), expected)

    def test_a_built_in_disk_needs_its_own_serial(self) -> None:
        built_in = node(rm=False, hotplug=False, tran="nvme")
        self.assertEqual(reasons(built_in, serial="A1"), [])
        self.assertEqual(reasons(built_in, serial="A"), ["fixed"])
        self.assertEqual(reasons({**built_in, "serial": None}, serial=""), ["fixed"])
        # It lets nothing else pass.
        self.assertEqual(reasons({**built_in, "mountpoint": "/"}, serial="A1"), ["system"])


class Listing(Case):
    """`--list`."""

    def test_linux(self) -> None:
        devices = {"blockdevices": [node(), node(path="/dev/nvme0n1", rm=False, hotplug=False, tran="nvme", children=[part(mountpoint="/")])]}
        self.fake("lsblk", f"cat <<'END'\n{json.dumps(devices)}\nEND")
        done = self.flash("--list")
        self.assert_ends(done, 0, "/dev/sdx", "may be written", "refused: system, fixed")
        events = self.events(self.flash("--list", "--json"))
        self.assertEqual([(e["path"], [r["reason"] for r in e["refused"]]) for e in events],
                         [("/dev/sdx", []), ("/dev/nvme0n1", ["system", "fixed"])])

    def test_macos(self) -> None:
        listed = {"AllDisksAndPartitions": [
            {"DeviceIdentifier": "disk0", "Partitions": [{"DeviceIdentifier": "disk0s2", "Content": "Apple_APFS"}]},
            {"DeviceIdentifier": "disk4", "Partitions": [{"DeviceIdentifier": "disk4s1", "MountPoint": "/Volumes/STICK"}]},
            {"DeviceIdentifier": "disk5"},
        ]}
        told = {"disk0": {"Internal": True, "RemovableMediaOrExternalDevice": False}, "disk4": {}, "disk5": {}}
        for name, more in told.items():
            info = {"DeviceNode": f"/dev/{name}", "WholeDisk": True, "Size": 16_000_000_000, "Internal": False,
                    "RemovableMediaOrExternalDevice": True, "WritableMedia": True, "MediaName": "Media", "BusProtocol": "USB", **more}
            (self.dir / f"{name}.plist").write_bytes(plistlib.dumps(info))
        (self.dir / "list.plist").write_bytes(plistlib.dumps(listed))
        self.fake("diskutil", f'case $1 in list) cat {self.dir}/list.plist ;; info) cat {self.dir}/$(basename "$3").plist ;; esac')
        self.fake("uname", "echo Darwin")
        events = self.events(self.flash("--list", "--json", FLASH_SYSTEM="Darwin"))
        self.assertEqual([(e["path"], [r["reason"] for r in e["refused"]]) for e in events],
                         [("/dev/disk0", ["in_use", "fixed"]), ("/dev/disk4", ["mounted"]), ("/dev/disk5", [])])


class Portability(Case):
    """What bash 3.2 of macOS does not know must not be in flash.sh."""

    def test_no_newer_bash(self) -> None:
        newer = (r"declare -A|local -A|local -n|mapfile|readarray|\|&|&>>|coproc|EPOCHSECONDS|\$\{[a-z_]+(,|\^)|%\(.*\)T|wait -n|\$\{[a-z_]+@")
        files = [ROOT / "flash.sh", *sorted((ROOT / "scripts/flash").glob("*.sh"))]
        found = subprocess.run(["grep", "-nE", newer, *map(str, files)], capture_output=True, text=True, check=False).stdout
        lines = [line for line in found.splitlines() if not line.split(":", 2)[2].lstrip().startswith("#")]
        self.assertEqual(lines, [])

    def test_empty_arrays_are_guarded(self) -> None:
        # bash before 4.4 calls an empty array unbound under `set -u`.
        for path in [ROOT / "flash.sh", *sorted(pathlib.Path(ROOT / "scripts/flash").glob("*.sh"))]:
            for name in ("trust", "jetson_arguments"):
                text = path.read_text().replace("${" + name + '[@]+"${' + name + '[@]}"}', "")
                self.assertNotIn("${" + name + "[@]}", text, path.name)
