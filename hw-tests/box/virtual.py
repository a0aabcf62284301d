"""A virtual box: its disk, its power, its console, its networks. QEMU with TCG; /dev/kvm is never asked for."""

from __future__ import annotations

import json
import pathlib
import re
import shutil
import socket
import subprocess
import time

from machine import Machine

FIRMWARE = pathlib.Path("/usr/share/OVMF")
# The network of the cameras: a second adapter, always in this place, so that its name is known before the first start.
CAMERAS_INTERFACE, CAMERAS_ADDRESS = "enp0s16", "10.20.0.1"


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port of loopback that is free now."""
    with socket.socket(type=kind) as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def partitions(disk: pathlib.Path) -> dict[str, tuple[int, int]]:
    """Where each partition begins and how long it is, in bytes, by name."""
    said = subprocess.run(["sfdisk", "--json", str(disk)], capture_output=True, text=True, check=True).stdout
    table = json.loads(said)["partitiontable"]
    sector = table.get("sectorsize", 512)
    return {p["name"]: (p["start"] * sector, p["size"] * sector) for p in table["partitions"]}


class Virtual(Machine):
    """One box. `disk` is written; several starts share it, as those of a real one."""

    host = "127.0.0.1"

    def __init__(self, disk: pathlib.Path, folder: pathlib.Path, key: pathlib.Path) -> None:
        super().__init__("virtual", folder)
        self.disk, self.key = disk, key
        self.vars = folder / "vars.fd"
        if not self.vars.exists():
            shutil.copy(FIRMWARE / "OVMF_VARS_4M.fd", self.vars)
        self.starts = len(list(folder.glob("console-*.log")))
        self.process: subprocess.Popen | None = None
        self.shell = self.ntp = self.uplink_ntp = 0
        # Where the disk's writes are recorded (cuts.py); nowhere as a rule.
        self.record: pathlib.Path | None = None

    def lacks(self, need: str) -> str | None:
        return {
            "jetson": "a virtual box is no Jetson", "csi": "QEMU has no CSI camera", "gpu": "QEMU has no NVIDIA GPU",
            "encoder": "QEMU has no video encoder", "ptp": "QEMU's network adapter has no PTP clock",
            "thermal": "QEMU has no sensor of temperature",
        }.get(need)

    # ---- power

    def drive(self) -> list[str]:
        """The disk. O_DIRECT: what the guest was told is written does not wait in this host's memory."""
        if self.record is None:
            return ["-drive", f"if=virtio,format=raw,cache=none,file={self.disk}"]
        # https://www.qemu.org/docs/master/interop/qemu-qmp-ref.html BlockdevOptionsBlklogwrites; the log grows with each write.
        log = {"driver": "blklogwrites", "node-name": "disk", "log-sector-size": 512,
               "file": {"driver": "file", "filename": str(self.disk)}, "log": {"driver": "file", "filename": str(self.record)}}
        return ["-blockdev", json.dumps(log), "-device", "virtio-blk-pci,drive=disk"]

    def start(self) -> None:
        """Power on."""
        assert self.process is None, "it runs already"
        self.starts += 1
        self.page_port, self.shell = free_port(), free_port()
        self.ntp, self.uplink_ntp = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_DGRAM)
        self.console_path = self.folder / f"console-{self.starts}.log"
        self.console_path.write_bytes(b"")
        ways_in = f"hostfwd=tcp:127.0.0.1:{self.page_port}-:8443,hostfwd=tcp:127.0.0.1:{self.shell}-:22,hostfwd=udp:127.0.0.1:{self.uplink_ntp}-:123"
        command = [
            "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-machine", "q35", "-cpu", "max", "-smp", "2", "-m", "1536",
            "-display", "none", "-nodefaults", "-no-user-config", "-serial", f"file:{self.console_path}",
            "-device", "i6300esb", "-watchdog-action", "reset",
            "-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={FIRMWARE / 'OVMF_CODE_4M.fd'}",
            "-drive", f"if=pflash,format=raw,unit=1,file={self.vars}",
            *self.drive(),
            "-nic", f"user,model=virtio-net-pci,{ways_in}",
            "-netdev", f"user,id=cameras,net=10.20.0.0/24,host=10.20.0.254,ipv6=off,hostfwd=udp:127.0.0.1:{self.ntp}-{CAMERAS_ADDRESS}:123",
            "-device", "virtio-net-pci,netdev=cameras,addr=0x10,romfile=",
        ]
        with open(self.folder / f"qemu-{self.starts}.log", "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        self.began = time.monotonic()

    def cut(self) -> None:
        """The power goes. What the guest had not yet given to its disk is lost; what it had is kept."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def dead(self) -> str | None:
        if self.process is not None and self.process.poll() is not None:
            return f"QEMU ended with {self.process.returncode} (see qemu-{self.starts}.log)"
        return None

    # ---- what it shows

    def console(self) -> str:
        """The serial console so far, without colours."""
        text = self.console_path.read_text(errors="replace")
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)

    def tail(self) -> str:
        return "\n".join(self.console().splitlines()[-40:])

    def shell_command(self) -> list[str]:
        return ["ssh", "-i", str(self.key), "-p", str(self.shell), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
                "-o", "ConnectTimeout=30", "-o", "ServerAliveInterval=10", "-o", "ServerAliveCountMax=3", "-o", "LogLevel=ERROR",
                "-o", "BatchMode=yes", "root@127.0.0.1"]

    # ---- its disk, while the power is off

    def esp(self) -> str:
        """The EFI system partition, as mtools calls it."""
        return f"{self.disk}@@{partitions(self.disk)['esp'][0]}"

    def put_on_esp(self, source: pathlib.Path, name: str) -> None:
        """A file or a folder, as a person with the card in hand does."""
        assert self.process is None, "the power is on"
        subprocess.run(["mcopy", "-s", "-n", "-o", "-i", self.esp(), str(source), f"::/{name}"], check=True)

    def data_files(self, into: pathlib.Path) -> pathlib.Path:
        """What is on the data partition, in a folder; its journal is replayed in a copy first."""
        assert self.process is None, "the power is on"
        copy, out = into / "data.ext4", into / "data"
        shutil.rmtree(into, ignore_errors=True)
        out.mkdir(parents=True)
        start, size = partitions(self.disk)["data"]
        mib = 1 << 20
        subprocess.run(["dd", f"if={self.disk}", f"of={copy}", "bs=1M", f"skip={start // mib}", f"count={size // mib}", "conv=sparse", "status=none"], check=True)
        done = subprocess.run(["e2fsck", "-fy", str(copy)], capture_output=True, text=True, check=False)
        if done.returncode not in (0, 1):
            raise AssertionError(f"the data partition is broken: e2fsck ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        subprocess.run(["debugfs", "-R", f"rdump / {out}", str(copy)], capture_output=True, check=True)
        return out
