"""The Jetson's path with a made-up archive, a fake lsusb and a fake initrd-flash. No Jetson has seen it."""

import pathlib

from bench import ESP_AT, ESP_SIZE, Case, run, sign


class Jetson(Case):
    """Everything up to the hand-over, and what is handed over."""

    def setUp(self) -> None:
        super().setUp()
        for tool in ("dtc", "cpp", "sgdisk", "udisksctl", "udevadm", "bmaptool", "getopt", "gsettings"):
            self.fake(tool, "exit 0")
        self.lsusb("Bus 001 Device 004: ID 0955:7523 NVIDIA Corp. APX")
        tree = self.dir / "tree"
        tree.mkdir()
        with open(self.shared / "plain.img", "rb") as image:
            image.seek(ESP_AT)
            (tree / "esp.img").write_bytes(image.read(ESP_SIZE))
        (tree / ".env.initrd-flash").write_text("CHIPID=0x23\n")
        # It keeps what it was given: the archive's folder goes again.
        (tree / "initrd-flash").write_text(f'#!/bin/bash\ncp esp.img {self.dir}/given.img\necho "$@" >{self.dir}/asked\nexit $(cat {self.dir}/status)\n')
        (tree / "initrd-flash").chmod(0o755)
        (self.dir / "status").write_text("0")
        folder = self.dir / "release"
        folder.mkdir()
        run("tar", "-C", tree, "--zstd", "-cf", folder / "box.tegraflash-tar.zst", ".")
        sign(folder, self.keys.good)
        self.archive = folder
        # Without PyYAML on this machine the check would end there, which is a test of its own.
        (self.dir / "modules").mkdir()
        (self.dir / "modules/yaml.py").write_text("")

    def lsusb(self, said: str) -> None:
        self.fake("lsusb", f"echo '{said}'")

    def go(self, *words: object, **more: str):
        return self.flash("--jetson", self.archive, *words, FLASH_JETSON_DIR=str(self.dir), PYTHONPATH=str(self.dir / "modules"), **more)

    def test_hands_over_with_the_site(self) -> None:
        site = self.site('[box]\nhostname = "gate-1"\n')
        self.assert_ends(self.go("--yes", "--site", site, "--", "--erase-nvme"), 0, "Done")
        self.assertEqual((self.dir / "asked").read_text(), "--erase-nvme\n")
        run("mcopy", "-i", self.dir / "given.img", "::/synoptic-site/hostname", self.dir / "hostname")
        self.assertEqual((self.dir / "hostname").read_text(), "gate-1\n")
        self.assertEqual(list(self.dir.glob("synoptic-jetson.*")), [], "the unpacked archive goes again")

    def test_dry_run(self) -> None:
        self.assert_ends(self.go("--dry-run"), 0, "Nothing was written")
        self.assertFalse((self.dir / "asked").exists())

    def test_not_in_recovery_mode(self) -> None:
        for said, text in (("Bus 001 Device 004: ID 0955:7020 NVIDIA Corp. L4T", "not in recovery mode"), ("", "no device of NVIDIA")):
            self.lsusb(said)
            self.assert_ends(self.go("--yes"), 12, text, "Force Recovery")

    def test_two_jetsons(self) -> None:
        self.lsusb("Bus 1: ID 0955:7523 APX\nBus 2: ID 0955:7323 APX")
        self.assert_ends(self.go("--yes"), 12, "2 Jetsons", "--usb-instance")
        self.assert_ends(self.go("--yes", "--", "--usb-instance", "1-2"), 0)

    def test_another_machine(self) -> None:
        self.fake("uname", 'case $1 in -m) echo aarch64 ;; *) echo Linux ;; esac')
        self.assert_ends(self.go("--yes"), 12, "x86-64")

    def test_signature_first(self) -> None:
        sign(self.archive, self.keys.other)
        self.assert_ends(self.go("--yes"), 5)
        self.assertFalse((self.dir / "asked").exists())

    def test_not_confirmed(self) -> None:
        self.assert_ends(self.go(), 8)
        self.assertFalse((self.dir / "asked").exists())

    def test_initrd_flash_fails(self) -> None:
        (self.dir / "status").write_text("3")
        self.assert_ends(self.go("--yes"), 12, "ended with 3")

    def test_no_archive_of_meta_tegra(self) -> None:
        strange: pathlib.Path = self.archive / "box.tegraflash-tar.zst"
        run("tar", "--zstd", "-cf", strange, "-C", self.dir, "status")
        sign(self.archive, self.keys.good)
        self.assert_ends(self.go("--yes"), 6, "no initrd-flash")
