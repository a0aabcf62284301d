"""Writing, reading back, injecting; and everything that stops it before."""

import json
import os
import pathlib
import subprocess

from bench import ESP_AT, ESP_SIZE, IMAGE_SIZE, MIB, Case, Loop, make_image, run, sign

SITE = '[box]\nhostname = "gate-1"\n'


class Files(Case):
    """Into a file: no root is needed."""

    def assert_written(self, disk: pathlib.Path) -> None:
        """All but the ESP is as in the image; the ESP has its loader."""
        here, there = disk.read_bytes(), (self.shared / "plain.img").read_bytes()
        self.assertEqual(here[:ESP_AT], there[:ESP_AT])
        self.assertEqual(here[ESP_AT + ESP_SIZE : IMAGE_SIZE], there[ESP_AT + ESP_SIZE :])
        run("mdir", "-i", f"{disk}@@{ESP_AT}", "::/EFI/BOOT/BOOTX64.EFI")

    def test_every_packing_and_writer(self) -> None:
        for packed, writer in (("zst", "bmap"), ("xz", "dd"), ("gz", "bmap")):
            with self.subTest(packed=packed, writer=writer):
                release, disk = self.release(packed), self.dir / "disk.img"
                done = self.flash(release, disk, "--writer", writer, "--site", self.site(SITE), "--yes")
                self.assert_ends(done, 0, "Done", f"by {writer}")
                self.assert_written(disk)
                self.assertEqual(self.on_esp(disk)["hostname"], "gate-1\n")
                run("rm", "-r", release, disk, self.dir / "esp")

    def test_without_bmap_dd_is_taken(self) -> None:
        disk = self.dir / "disk.img"
        self.assert_ends(self.flash(self.release(bmap=False), disk), 0, "by dd")
        self.assertEqual(disk.read_bytes(), (self.shared / "plain.img").read_bytes())
        self.assertEqual(disk.stat().st_mode & 0o077, 0, "a file with settings is its owner's")

    def test_size_makes_a_larger_file(self) -> None:
        disk, release = self.dir / "disk.img", self.release()
        self.assert_ends(self.flash(release, disk, "--size", "64M"), 0)
        self.assertEqual(disk.stat().st_size, 64 * MIB)
        self.assert_ends(self.flash(release, disk, "--size", "1M", "--yes"), 4, "less than the image needs")

    def test_events(self) -> None:
        done = self.flash(self.release("zst"), self.dir / "disk.img", "--json", "--site", self.site(SITE))
        events = self.events(done)
        self.assert_ends(done, 0)
        steps = [e["step"] for e in events if e["event"] == "step"]
        self.assertEqual(steps, ["verify", "site", "target", "writing", "reading_back", "injecting", "done"])
        self.assertTrue(any(e["event"] == "progress" for e in events))

    def test_dry_run_writes_nothing(self) -> None:
        disk = self.dir / "disk.img"
        self.assert_ends(self.flash(self.release(), disk, "--dry-run", "--site", self.site(SITE)), 0, "Nothing was written")
        self.assertFalse(disk.exists())

    def test_an_existing_file_is_asked_for(self) -> None:
        disk, release = self.dir / "disk.img", self.release()
        disk.write_text("precious")
        self.assert_ends(self.flash(release, disk), 8, "nothing was written")
        self.assert_ends(self.flash(release, disk, stdin="yes\n"), 8)
        self.assertEqual(disk.read_text(), "precious")
        self.assert_ends(self.flash(release, disk, stdin=f"{disk}\n"), 0)

    def test_the_image_itself_is_no_target(self) -> None:
        release = self.release()
        self.assert_ends(self.flash(release, release / "box.img", "--yes"), 4, "the image itself")

    def test_secrets_are_neither_in_the_log_nor_left_behind(self) -> None:
        (self.dir / "wifi").write_text("a wifi passphrase\n")
        site = self.site('[wifi]\nssid = "Works"\ncountry = "DE"\npassword_file = "wifi"\n[page]\npassword_file = "-"\n')
        disk = self.dir / "disk.img"
        self.assert_ends(self.flash(self.release(), disk, "--site", site, stdin="a page password"), 0)
        files = self.on_esp(disk)
        self.assertTrue(files["web-password"].startswith("$argon2id$v=19$m=19456,t=2,p=1$"))
        # IEEE 802.11's derivation, by the standard tool's own formula: the passphrase itself is nowhere.
        self.assertNotIn("passphrase", files["wifi/wpa_supplicant-wlan0.conf"])
        log = (self.dir / "log").read_text()
        self.assertNotIn("passphrase", log)
        self.assertNotIn("page password", log)
        self.assertEqual([p.name for p in self.dir.glob("synoptic-flash.*")], [])

    def test_a_writer_that_fails(self) -> None:
        self.fake("dd", "exit 1")
        self.assert_ends(self.flash(self.release(), self.dir / "d", "--writer", "dd"), 9, "not usable", "not written to its end")
        self.assert_ends(self.flash(self.dir / "release", self.dir / "none/e"), 4, "there is no folder")

    def test_a_disk_that_forgets(self) -> None:
        # dd says that all is well, and one byte is another: what a worn-out stick does.
        self.fake("dd", 'for w in "$@"; do [[ $w == of=* ]] && to=${w#of=}; done\n/bin/dd "$@" || exit\n'
                        'printf "x" | /bin/dd of="$to" bs=1 seek=40000000 conv=notrunc status=none')
        done = self.flash(self.release(), self.dir / "d", "--writer", "dd", "--json")
        self.assert_ends(done, 10, "at byte 40000000")
        self.assertEqual([e["reason"] for e in self.events(done) if e["event"] == "error"], ["readback"])


class Signatures(Case):
    """Nothing is written before the signature and the sums are right."""

    def refused(self, code: int, *said: str, trust: object = None) -> None:
        disk = self.dir / "disk.img"
        self.assert_ends(self.flash(self.dir / "release", disk, "--yes", trust=trust), code, *said)
        self.assertFalse(disk.exists(), "nothing may be written")

    def test_signed_by_another(self) -> None:
        self.release(key=self.keys.other)
        self.refused(5, "signed by none")

    def test_not_signed(self) -> None:
        (self.release() / "SHA256SUMS.sig").unlink()
        self.refused(5, "SHA256SUMS.sig")

    def test_sums_changed_after_signing(self) -> None:
        with open(self.release() / "SHA256SUMS", "a") as file:
            file.write("0" * 64 + "  more\n")
        self.refused(5, "signed by none")

    def test_one_flipped_byte(self) -> None:
        with open(self.release("zst") / "box.img.zst", "r+b") as file:
            file.seek(900)
            byte = file.read(1)[0]
            file.seek(900)
            file.write(bytes([byte ^ 1]))
        self.refused(5, "damaged")

    def test_a_flipped_byte_of_the_block_map(self) -> None:
        bmap = self.release() / "box.img.bmap"
        bmap.write_bytes(bmap.read_bytes().replace(b"Range", b"range", 1))
        self.refused(5, "box.img.bmap is damaged")

    def test_truncated(self) -> None:
        image = self.release("zst") / "box.img.zst"
        os.truncate(image, image.stat().st_size // 2)
        self.refused(5, "damaged")

    def test_truncated_before_it_was_signed(self) -> None:
        image = self.release("zst", bmap=False) / "box.img.zst"
        os.truncate(image, image.stat().st_size // 2)
        sign(image.parent, self.keys.good)
        self.refused(6, "cannot be unpacked")

    def test_a_block_map_of_another_image(self) -> None:
        release = self.release()
        os.truncate(release / "box.img", IMAGE_SIZE - MIB)
        sign(release, self.keys.good)
        self.refused(6, "of another image")

    def test_a_block_map_that_leaves_data_out(self) -> None:
        release = self.release()
        with open(release / "box.img", "r+b") as file:
            file.seek(30 * MIB)
            file.write(b"!")
        sign(release, self.keys.good)
        self.refused(6, "leaves out data")

    def test_a_block_map_with_another_sum(self) -> None:
        release = self.release()
        with open(release / "box.img", "r+b") as file:
            file.seek(ESP_AT + ESP_SIZE + MIB)
            file.write(b"!")
        sign(release, self.keys.good)
        self.refused(6, "another sum")

    def test_an_image_without_esp(self) -> None:
        release = self.release(bmap=False)
        (release / "box.img").write_bytes(bytes(MIB))
        sign(release, self.keys.good)
        self.refused(6, "no GPT")

    def test_a_damaged_partition_table(self) -> None:
        release = self.release(bmap=False)
        with open(release / "box.img", "r+b") as file:
            file.seek(512 + 60)
            file.write(b"!")
        sign(release, self.keys.good)
        self.refused(6, "checksum")

    def test_certificates(self) -> None:
        release = self.release()
        sign(release, self.keys.good, self.keys.signer)
        self.assert_ends(self.flash(release, self.dir / "disk.img", trust=self.keys.root), 0, "issued by")
        # The same authority's certificate for another purpose, and a certificate that it did not issue.
        sign(release, self.keys.other, self.keys.device)
        (self.dir / "disk.img").unlink()
        self.refused(5, "signed by none", trust=self.keys.root)

    def test_what_is_not_listed(self) -> None:
        release = self.release()
        (release / "other.img").write_bytes((release / "box.img").read_bytes())
        disk = self.dir / "disk.img"
        self.assert_ends(self.flash(release / "other.img", disk, "--yes"), 5, "says nothing")
        self.assert_ends(self.flash(release, disk, "--yes"), 6, "name one")


class Loops(Case):
    """Real block devices, where this user may make them."""

    def test_written_by_both(self) -> None:
        release = self.release("zst")
        for writer in ("bmap", "dd"):
            with self.subTest(writer=writer), Loop(self.dir, IMAGE_SIZE + 8 * MIB) as device:
                self.assert_ends(self.flash(release, device, "--writer", writer, "--site", self.site(SITE)), 8, "not confirmed")
                done = self.flash(release, device, "--writer", writer, "--site", self.site(SITE), stdin=f"{device}\n")
                self.assert_ends(done, 0, "Done")
                self.assertEqual(self.on_esp(device)["hostname"], "gate-1\n")
                run("rm", "-r", self.dir / "esp")

    def test_too_small(self) -> None:
        with Loop(self.dir, IMAGE_SIZE - MIB) as device:
            self.assert_ends(self.flash(self.release(), device, "--yes"), 4, "refused", "the image needs")

    def test_read_only(self) -> None:
        with Loop(self.dir, IMAGE_SIZE, read_only=True) as device:
            self.assert_ends(self.flash(self.release(), device, "--yes"), 4, "read-only")

    def test_mounted(self) -> None:
        with Loop(self.dir, 64 * MIB) as device:
            run("mkfs.ext4", "-q", device)
            place = self.dir / "place"
            place.mkdir()
            done = subprocess.run(["mount", device, place], capture_output=True, text=True, check=False)
            if done.returncode != 0:
                self.skipTest(f"mount: {done.stderr.strip()}")
            try:
                done = self.flash(self.release(), device, "--yes", "--json")
                self.assert_ends(done, 4)
                self.assertEqual([e["reason"] for e in self.events(done) if e["event"] == "refused"], ["mounted"])
                # The kernel's own word, should lsblk not know of it.
                self.fake("lsblk", 'PATH=${PATH#*:} exec lsblk "$@" | sed \'s|"mountpoint": *"[^"]*"|"mountpoint": null|\'')
                self.assert_ends(self.flash(self.dir / "release", device, "--yes"), 4, "in use")
            finally:
                run("umount", place)

    def test_locked_by_another(self) -> None:
        with Loop(self.dir, IMAGE_SIZE) as device, open(device, "rb") as file:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
            self.assert_ends(self.flash(self.release(), device, "--yes"), 4, "locked")

    def test_fixed_disks_need_their_serial(self) -> None:
        with Loop(self.dir, IMAGE_SIZE) as device:
            node = {"kname": device[5:], "path": device, "type": "disk", "size": IMAGE_SIZE, "rm": False, "hotplug": False,
                    "ro": False, "tran": "nvme", "vendor": None, "model": "Built in", "serial": "S123", "mountpoint": None,
                    "fstype": None, "log-sec": 512}
            self.fake("lsblk", f"echo {json.dumps(json.dumps({'blockdevices': [node]}))}")
            release = self.release()
            self.assert_ends(self.flash(release, device, "--yes"), 4, "built in", "S123")
            self.assert_ends(self.flash(release, device, "--yes", "--allow-fixed", "S12"), 4, "S123")
            self.assert_ends(self.flash(release, device, "--allow-fixed", "S123", stdin=f"{device}\n"), 8)
            self.assert_ends(self.flash(release, device, "--allow-fixed", "S123", stdin="S123\n"), 0)


class Qemu(Case):
    """What QEMU is asked for; whether a real image boots is the virtual box's test."""

    def setUp(self) -> None:
        super().setUp()
        for machine in ("x86_64", "aarch64"):
            self.fake(f"qemu-system-{machine}", f'printf "%s\\n" "$0" "$@" >{self.dir}/asked')

    def test_boots_a_file_that_goes_again(self) -> None:
        if not any(pathlib.Path(p).exists() for p in ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_CODE.fd")):
            self.skipTest("no OVMF here")
        self.assert_ends(self.flash("--qemu", self.release("zst"), "--site", self.site(SITE)), 0, "https://127.0.0.1:8443")
        asked = (self.dir / "asked").read_text()
        self.assertIn("qemu-system-x86_64", asked)
        self.assertIn("tcg", asked)
        self.assertFalse(pathlib.Path(asked.split("format=raw,file=")[1].split("\n")[0]).exists())

    def test_an_image_without_loader(self) -> None:
        make_image(self.dir / "strange.img", loader="STRANGE.EFI")
        release = self.release(bmap=False)
        os.replace(self.dir / "strange.img", release / "box.img")
        sign(release, self.keys.good)
        self.assert_ends(self.flash("--qemu", release), 13, "cannot be booted")


class CommandLine(Case):
    """Mistakes of the command line."""

    def test_mistakes(self) -> None:
        for words in ([], ["a"], ["a", "b", "c"], ["--nothing"], ["--site"], ["a", "b", "--writer", "cp"], ["a", "b", "--size", "x"]):
            with self.subTest(words=words):
                self.assert_ends(self.flash(*words), 2, "--help")

    def test_what_is_not_there(self) -> None:
        self.assert_ends(self.flash(self.dir / "no.img", self.dir / "d"), 6, "there is no image")
        self.assert_ends(self.flash(self.release(), "/dev/nothing-here"), 4, "--list")
        self.assert_ends(self.flash(self.dir / "release", "/dev/null"), 4)
        self.assert_ends(self.flash(self.dir / "release", self.dir), 4, "folder")

    def test_help_names_every_code(self) -> None:
        done = self.flash("--help")
        self.assert_ends(done, 0, *[f" {code}  " for code in range(14)])
