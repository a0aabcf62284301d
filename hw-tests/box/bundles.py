"""Update bundles for a box under test: of the virtual box's tree, or files that somebody made for a real one."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = ROOT / "hw-tests/virtual-box"

# A daemon that dies at once.
BROKEN = {"usr/lib/systemd/system/synoptic.service.d/broken.conf": "[Service]\nExecStart=\nExecStart=/bin/false\n"}
# Somebody else holds the first camera: the daemon is up, the camera answers, and no frame comes.
UNWELL = {
    "usr/lib/systemd/system/thief.service": "[Unit]\nBefore=synoptic.service\nAfter=systemd-modules-load.service systemd-udevd.service\n[Service]\n"
    "ExecStartPre=/bin/sh -c 'until test -e /dev/video0; do sleep 0.2; done'\n"
    "ExecStart=/usr/bin/v4l2-ctl --device /dev/video0 --stream-mmap --stream-to=/dev/null\nRestart=always\nRestartSec=1\n"
    "[Install]\nWantedBy=multi-user.target\n",
    "usr/lib/systemd/system/multi-user.target.wants/thief.service": None,
}


def run(*command: object, **options: object) -> subprocess.CompletedProcess:
    """A command that must work."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False, **options)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done


class Given:
    """Bundles of files: `good` is a release that the box takes, `unwell` one that is signed the same and must not be kept."""

    def __init__(self, good: pathlib.Path | None, unwell: pathlib.Path | None) -> None:
        self.files = {"good": good, "unwell": unwell}

    def lacks(self) -> str | None:
        missing = [f"--{kind} BUNDLE" for kind, file in self.files.items() if file is None]
        return f"no bundles were given: {' '.join(missing)}" if missing else None

    def version(self, file: pathlib.Path) -> str:
        """Of a bundle's manifest."""
        said = run("rauc", "info", "--no-verify", "--output-format=shell", file).stdout
        found = [line.split("=", 1)[1].strip("'") for line in said.splitlines() if line.startswith("RAUC_MF_VERSION=")]
        return found[0]

    def good(self) -> pathlib.Path:
        return self.files["good"]

    def unwell(self) -> pathlib.Path:
        return self.files["unwell"]

    def broken(self) -> pathlib.Path:
        return self.files["unwell"]


class Built:
    """Bundles of the tree that `make box` left in `out`, signed with its keys; kept in `folder`."""

    def __init__(self, out: pathlib.Path, folder: pathlib.Path) -> None:
        self.out, self.folder, self.made = out, folder, 2

    def lacks(self) -> str | None:
        return None if (self.out / "tree/usr/bin/synoptic").exists() else f"there is no tree in {self.out}: make box"

    def good(self) -> pathlib.Path:
        """A newer release each time."""
        self.made += 1
        return self.bundle(f"0.{self.made}.0", {})

    def unwell(self) -> pathlib.Path:
        self.made += 1
        return self.bundle(f"0.{self.made}.0-unwell", UNWELL)

    def broken(self) -> pathlib.Path:
        self.made += 1
        return self.bundle(f"0.{self.made}.0-broken", BROKEN)

    def version(self, file: pathlib.Path) -> str:
        """The name says it."""
        return file.name.removesuffix(".raucb")

    def bundle(self, version: str, more: dict[str, str | None]) -> pathlib.Path:
        """The tree with some files more; None is a link to the unit of that name."""
        made = self.folder / f"{version}.raucb"
        if made.exists():
            return made
        tree, slot = self.out / "tree", self.folder / f"{version}.squashfs"
        release = tree / "usr/share/synoptic/release"
        before = release.read_text()
        try:
            release.write_text(version + "\n")
            for name, text in more.items():
                path = tree / name
                path.parent.mkdir(exist_ok=True)
                if text is None:
                    path.unlink(missing_ok=True)
                    path.symlink_to(f"../{path.name}")
                else:
                    path.write_text(text)
            run(BUILD / "squash.sh", tree, slot, "--fast")
        finally:
            release.write_text(before)
            for name in more:
                (tree / name).unlink(missing_ok=True)
        run(BUILD / "bundle.sh", slot, version, self.out / "keys/virtual", made)
        slot.unlink()
        return made

    def flipped(self) -> pathlib.Path:
        """Signed as it should be, with one bit of the payload changed after. Random content, so that the bit is the slot's."""
        small = self.folder / "small.squashfs"
        small.write_bytes(b"hsqs" + os.urandom(4 << 20))
        made = self.folder / "9.9.8.raucb"
        run(BUILD / "bundle.sh", small, "9.9.8", self.out / "keys/virtual", made)
        small.unlink()
        with open(made, "r+b") as file:
            file.seek(2 << 20)
            byte = file.read(1)[0]
            file.seek(2 << 20)
            file.write(bytes([byte ^ 1]))
        return made

    def refused(self) -> list[tuple[pathlib.Path, str]]:
        """Bundles that no box takes, each with what it says to them. Small: none is ever written."""
        folder = self.folder / "refused"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        good = self.out / "release/synoptic-virtual-x86-64.raucb"
        run(ROOT / "scripts/pki.sh", "root", folder / "keys")
        run(ROOT / "scripts/pki.sh", "channel", folder / "keys", "thief")
        small = folder / "small.squashfs"
        small.write_bytes(b"hsqs" + os.urandom(1 << 20))
        own = self.out / "keys/virtual"
        run(BUILD / "bundle.sh", small, "9.9.9", folder / "keys/thief", folder / "foreign.raucb")
        run(BUILD / "bundle.sh", small, "9.9.9", own, folder / "other.raucb", env=dict(os.environ, BOX_COMPATIBLE="synoptic-another-machine"))
        run(BUILD / "bundle.sh", small, "0.0.1", own, folder / "old.raucb")
        with open(good, "rb") as whole, open(folder / "cut.raucb", "wb") as part:
            part.write(whole.read(5 << 20))
        return [(folder / "foreign.raucb", "signature"), (folder / "other.raucb", "for `synoptic-another-machine`"),
                (folder / "cut.raucb", "cut off|size"), (folder / "old.raucb", "older than"), (good, "runs already")]
