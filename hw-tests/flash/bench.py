"""What the tests of flash.sh stand on: a tiny signed release, a folder of fakes, loop devices."""

from __future__ import annotations

import functools
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
FLASH = ROOT / "flash.sh"
MIB = 1 << 20
ESP_AT, ESP_SIZE, IMAGE_SIZE = MIB, 36 * MIB, 48 * MIB  # FAT32 needs more than 33 MiB
LOADER = b"MZ a loader of the tests\n"

# The runner's folder: scripts/test-flash.sh removes it, and detaches every loop device that lies in it.
BASE = pathlib.Path(os.environ.get("FLASH_TEST_DIR") or tempfile.mkdtemp(prefix="synoptic-flash-test."))


def run(*command: object, **options: object) -> subprocess.CompletedProcess:
    """A command that must work."""
    done = subprocess.run([str(c) for c in command], capture_output=True, check=False, **options)
    if done.returncode != 0:
        raise AssertionError(f"{command} ended with {done.returncode}:\n{done.stdout!r}\n{done.stderr!r}")
    return done


def make_image(path: pathlib.Path, loader: str = "BOOTX64.EFI") -> None:
    """GPT with an ESP that holds a loader, a root with something on it, and holes."""
    with open(path, "wb") as file:
        file.truncate(IMAGE_SIZE)
    table = (
        f"label: gpt\nstart={ESP_AT // 512}, size={ESP_SIZE // 512}, type=uefi, name=esp\n"
        f"start={(ESP_AT + ESP_SIZE) // 512}, size={8 * MIB // 512}, type=linux, name=data\n"
    )
    run("sfdisk", "--quiet", path, input=table.encode())
    run("mkfs.vfat", "-F", "32", "-n", "ESP", "--offset", ESP_AT // 512, path, ESP_SIZE // 1024)
    folder = path.parent / "tree"
    folder.mkdir(exist_ok=True)
    (folder / loader).write_bytes(LOADER)
    at = f"{path}@@{ESP_AT}"
    run("mmd", "-i", at, "::/EFI", "::/EFI/BOOT")
    run("mcopy", "-i", at, folder / loader, f"::/EFI/BOOT/{loader}")
    with open(path, "r+b") as file:
        file.seek(ESP_AT + ESP_SIZE + MIB)
        file.write(bytes(range(256)) * 4096)


def sign(folder: pathlib.Path, key: pathlib.Path, certificate: pathlib.Path | None = None) -> None:
    """By the project's own script."""
    extra = ["--certificate", certificate] if certificate else []
    run(ROOT / "scripts/sign-release.sh", folder, "--key", key, *extra)


class Keys:
    """A key that the tests trust, another one, and an authority with two certificates."""

    def __init__(self, folder: pathlib.Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.good, self.public = self.pair("good")
        self.other, _ = self.pair("other")
        self.root_key, _ = self.pair("root")
        self.root = folder / "root.crt"
        run("openssl", "req", "-x509", "-new", "-key", self.root_key, "-subj", "/CN=test root", "-days", "2", "-out", self.root)
        self.signer = self.issue("good", "extendedKeyUsage=codeSigning")
        self.device = self.issue("other", "extendedKeyUsage=clientAuth")

    def pair(self, name: str) -> tuple[pathlib.Path, pathlib.Path]:
        """A private and a public key."""
        private, public = self.folder / f"{name}.key", self.folder / f"{name}.pub"
        run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", private)
        run("openssl", "pkey", "-in", private, "-pubout", "-out", public)
        return private, public

    def issue(self, name: str, usage: str) -> pathlib.Path:
        """A certificate of the root over a key."""
        request, out = self.folder / f"{name}.csr", self.folder / f"{name}.crt"
        run("openssl", "req", "-new", "-key", self.folder / f"{name}.key", "-subj", f"/CN={name}", "-out", request)
        extensions = self.folder / f"{name}.ext"
        extensions.write_text(usage + "\n")
        run("openssl", "x509", "-req", "-in", request, "-CA", self.root, "-CAkey", self.root_key, "-CAcreateserial",
            "-days", "1", "-extfile", extensions, "-out", out)
        return out


@functools.lru_cache
def made_once() -> tuple[pathlib.Path, Keys]:
    """The image, its block map by bmaptool itself, and the keys."""
    folder = pathlib.Path(tempfile.mkdtemp(dir=BASE))
    make_image(folder / "plain.img")
    (folder / "plain.bmap").write_bytes(run("bmaptool", "create", folder / "plain.img").stdout)
    return folder, Keys(folder / "keys")


class Case(unittest.TestCase):
    """One made image and its keys for all; a folder of its own for each test."""

    keys: Keys
    shared: pathlib.Path

    @classmethod
    def setUpClass(cls) -> None:
        cls.shared, cls.keys = made_once()

    def setUp(self) -> None:
        self.dir = pathlib.Path(tempfile.mkdtemp(dir=BASE))
        self.fakes = self.dir / "fakes"
        self.fakes.mkdir()
        # Not by way of a wrapper that chooses among several.
        (self.fakes / "python3").symlink_to(sys.executable)

    def tearDown(self) -> None:
        shutil.rmtree(self.dir)

    def release(self, packed: str = "", bmap: bool = True, key: pathlib.Path | None = None) -> pathlib.Path:
        """A signed release folder, its image plain or packed as zst, xz or gz."""
        folder = self.dir / "release"
        folder.mkdir()
        image = folder / "box.img"
        run("cp", "--sparse=always", self.shared / "plain.img", image)
        if bmap:
            shutil.copy(self.shared / "plain.bmap", folder / "box.img.bmap")
        if packed:
            tool = {"zst": ["zstd", "-q", "--rm"], "xz": ["xz", "-0"], "gz": ["gzip", "-1"]}[packed]
            run(*tool, image)
        sign(folder, key or self.keys.good)
        return folder

    def fake(self, name: str, script: str) -> None:
        """A program on PATH before the real one."""
        path = self.fakes / name
        path.write_text(f"#!/bin/bash\n{script}\n")
        path.chmod(0o755)

    def flash(self, *words: object, stdin: str | None = None, trust: object = None, **environment: str) -> subprocess.CompletedProcess:
        """flash.sh with the tests' key trusted; its log in this test's folder."""
        env = dict(os.environ, PATH=f"{self.fakes}:{os.environ['PATH']}", XDG_RUNTIME_DIR=str(self.dir), **environment)
        command = [str(FLASH), "--log", str(self.dir / "log"), "--trust", str(trust or self.keys.public), *map(str, words)]
        return subprocess.run(
            command, env=env, capture_output=True, text=True, check=False, timeout=60,
            **({"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}),
        )

    def assert_ends(self, done: subprocess.CompletedProcess, code: int, *said: str) -> None:
        """The exit code, and what the output must say."""
        log = self.dir / "log"
        tail = log.read_text()[-2000:] if log.exists() and done.returncode != code else ""
        self.assertEqual(done.returncode, code, done.stdout + done.stderr + tail)
        for text in said:
            self.assertIn(text, done.stdout + done.stderr)

    def events(self, done: subprocess.CompletedProcess) -> list[dict]:
        """Every line of standard output is an event."""
        return [json.loads(line) for line in done.stdout.splitlines()]

    def on_esp(self, disk: object) -> dict[str, str]:
        """Name and content of what was injected, read by mtools."""
        out = self.dir / "esp"
        run("mcopy", "-s", "-n", "-i", f"{disk}@@{ESP_AT}", "::/synoptic-site", out)
        return {str(p.relative_to(out)): p.read_text() for p in out.rglob("*") if p.is_file()}

    def site(self, text: str) -> pathlib.Path:
        """A site file of this test."""
        path = self.dir / "site.toml"
        path.write_text("schema_version = 1\n" + text)
        return path


class Loop:
    """A loop device over a file of its own; `with Loop(...) as path`. None where this user may make none."""

    def __init__(self, folder: pathlib.Path, size: int, read_only: bool = False) -> None:
        self.file = folder / f"disk-{size}.loop"
        with open(self.file, "wb") as file:
            file.truncate(size)
        self.read_only, self.path = read_only, ""

    def __enter__(self) -> str:
        options = ["--read-only"] if self.read_only else []
        done = subprocess.run(["losetup", "--find", "--show", *options, str(self.file)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise unittest.SkipTest(f"no loop device here: {done.stderr.strip()}")
        self.path = done.stdout.strip()
        return self.path

    def __exit__(self, *_: object) -> None:
        run("losetup", "--detach", self.path)
