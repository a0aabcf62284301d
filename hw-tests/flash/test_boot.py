"""The box's first start in a folder, its health gate with fakes, and every unit by systemd's own checker."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

from bench import ROOT, Case, run

UNITS = ROOT / "systemd"
LIB = UNITS / "box/lib"
PHC = r"^\$argon2id\$v=19\$m=19456,t=2,p=1\$"


class Boot(Case):
    """A root in a folder: what the image ships, an empty data partition and an ESP."""

    def setUp(self) -> None:
        super().setUp()
        self.box = self.dir / "box"
        for folder in ("data", "boot/efi/EFI", "proc/sys/kernel", "proc/device-tree", "sys/class/dmi/id", "run", "etc", "usr/share/synoptic",
                       "usr/share/zoneinfo/Europe"):
            (self.box / folder).mkdir(parents=True)
        (self.box / "usr/share/zoneinfo/Europe/Berlin").write_text("TZif2")
        shutil.copy(ROOT / "configs/examples/box.toml", self.box / "usr/share/synoptic/box.toml")
        (self.box / "proc/device-tree/serial-number").write_text("1421423005555\0")

    def start(self, script: str, **environment: str) -> subprocess.CompletedProcess:
        """One of the box's scripts."""
        env = dict(os.environ, PATH=f"{self.fakes}:{os.environ['PATH']}", **environment)
        return subprocess.run(["sh", str(LIB / script), "--root", str(self.box)], env=env, capture_output=True, text=True, check=False)

    def boot(self) -> str:
        """A whole start; what it logged."""
        said = ""
        for script in ("synoptic-first-boot", "synoptic-settings", "synoptic-issue"):
            done = self.start(script)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            said += done.stderr
        return said

    def text(self, name: str) -> str:
        """A file of the box."""
        return (self.box / name).read_text()

    def put_site(self, text: str, stdin: bytes = b"") -> pathlib.Path:
        """A site file rendered onto the ESP, as flash.sh does."""
        folder = self.box / "boot/efi/synoptic-site"
        run(sys.executable, ROOT / "scripts/flash/site.py", "render", self.site(text), folder, input=stdin)
        return folder


class FirstStart(Boot):
    """synoptic-first-boot, synoptic-settings, synoptic-issue."""

    def test_without_a_site(self) -> None:
        self.boot()
        identity = self.text("data/etc/device-id").strip()
        self.assertRegex(identity, r"^[0-9a-f]{10}$")
        self.assertEqual(self.text("proc/sys/kernel/hostname"), f"synoptic-{identity}\n")
        self.assertRegex(self.text("data/etc/machine-id"), r"^[0-9a-f]{32}\n$")
        self.assertIn("[::]:8443", self.text("data/etc/synoptic/synoptic.toml"))
        code = self.text("data/etc/setup-code").strip()
        self.assertRegex(code, r"^(?:[2-9a-hjkmnp-z]{4}-){2}[2-9a-hjkmnp-z]{4}$")
        made = self.text("data/synoptic/web-password").strip()
        self.assertRegex(made, PHC)
        import base64

        salt = base64.b64decode(made.split("$")[4] + "==").decode()
        again = run("argon2", salt, "-id", "-t", "2", "-k", "19456", "-p", "1", "-l", "32", "-e", input=code.encode())
        self.assertEqual(again.stdout.decode().strip(), made, "the code shown is the password")
        issue = self.text("run/issue.d/50-synoptic.issue")
        self.assertIn(code, issue)
        self.assertIn(f"https://synoptic-{identity}.local:8443   https://\\4:8443", issue)
        self.assertIn(code, self.text("data/etc/label.txt"))
        for secret in ("data/etc/setup-code", "data/synoptic/web-password", "data/etc/label.txt"):
            self.assertEqual((self.box / secret).stat().st_mode & 0o077, 0, secret)

    def test_a_second_start_changes_nothing(self) -> None:
        self.boot()
        before = {p: p.read_bytes() for p in (self.box / "data").rglob("*") if p.is_file()}
        self.boot()
        self.assertEqual({p: p.read_bytes() for p in (self.box / "data").rglob("*") if p.is_file()}, before)

    def test_the_id_is_of_the_serial_number(self) -> None:
        self.boot()
        first = self.text("data/etc/device-id")
        shutil.rmtree(self.box / "data")
        (self.box / "data").mkdir()
        self.boot()
        self.assertEqual(self.text("data/etc/device-id"), first)

    def test_the_boot_loader_is_told_the_machine_s_id_once(self) -> None:
        (self.box / "run/synoptic/state").mkdir(parents=True)
        block = self.box / "run/synoptic/state/grubenv"
        run("grub-editenv", block, "create")
        run("grub-editenv", block, "set", "ORDER=A B")
        self.boot()
        said = run("grub-editenv", block, "list").stdout.decode().splitlines()
        self.assertEqual(sorted(said), [f"MACHINE_ID={self.text('data/etc/machine-id').strip()}", "ORDER=A B"])
        self.fake("grub-editenv", f'[ "$2" = list ] || echo "$@" >>{self.dir}/written; exec /usr/bin/grub-editenv "$@"')
        self.boot()
        self.assertFalse((self.dir / "written").exists(), "the block is written as seldom as can be")

    def test_placeholders_are_no_serial_number(self) -> None:
        ids = set()
        for serial in ("Default string", "To be filled by O.E.M.", "0", "Not Specified"):
            (self.box / "proc/device-tree/serial-number").write_text(serial)
            shutil.rmtree(self.box / "data")
            (self.box / "data").mkdir()
            self.boot()
            ids.add(self.text("data/etc/device-id"))
        self.assertEqual(len(ids), 4, "a placeholder would give many boxes one id")

    def test_a_changed_password_is_no_longer_shown(self) -> None:
        self.boot()
        code = self.text("data/etc/setup-code").strip()
        (self.box / "data/synoptic/web-password").write_text("$argon2id$v=19$m=19456,t=2,p=1$another\n")
        self.boot()
        self.assertNotIn(code, self.text("run/issue.d/50-synoptic.issue"))
        self.assertFalse((self.box / "data/etc/setup-code").exists())
        self.assertFalse((self.box / "data/etc/label.txt").exists())

    def test_a_removed_password_is_not_made_anew(self) -> None:
        self.boot()
        (self.box / "data/synoptic/web-password").unlink()
        self.boot()
        self.assertFalse((self.box / "data/synoptic/web-password").exists())
        self.assertIn("the first visitor", self.text("run/issue.d/50-synoptic.issue"))

    def test_a_power_cut_between_any_two_files(self) -> None:
        # place() is the only writer: die at its Nth call, then start again.
        for cut in range(1, 12):
            with self.subTest(cut=cut):
                shutil.rmtree(self.box / "data")
                (self.box / "data").mkdir()
                shutil.rmtree(self.box / "boot/efi/synoptic-site", ignore_errors=True)
                self.put_site('[box]\nhostname = "gate-1"\n[network]\n[mqtt]\nurl = "mqtts://broker"\n')
                count = self.dir / "count"
                count.write_text("0")
                self.fake("mv", f'n=$(($(<{count}) + 1)); echo $n >{count}; ((n != {cut})) || kill -KILL $PPID; exec /bin/mv "$@"')
                self.start("synoptic-first-boot")
                self.fake("mv", 'exec /bin/mv "$@"')
                self.boot()
                code = self.text("data/etc/setup-code").strip()
                self.assertIn(code, self.text("run/issue.d/50-synoptic.issue"))
                self.assertEqual(self.text("data/etc/setup-hash"), self.text("data/synoptic/web-password"))
                self.assertEqual(self.text("proc/sys/kernel/hostname"), "gate-1\n")
                self.assertIn("mqtts://broker", self.text("data/etc/synoptic/synoptic.toml"))
                self.assertEqual(self.text("data/etc/hostname"), "gate-1\n")

    def test_a_site(self) -> None:
        (self.dir / "broker").write_text("broker password\n")
        folder = self.put_site(
            '[box]\nhostname = "gate-1"\ntimezone = "Europe/Berlin"\n[network]\nmethod = "static"\naddress = "192.0.2.10/24"\n'
            'ntp = ["ntp.example"]\n[mqtt]\nurl = "mqtts://broker"\nuser = "gate-1"\npassword_file = "broker"\n'
            '[page]\npassword_file = "-"\n', b"a page password")
        self.boot()
        self.assertFalse(folder.exists(), "secrets do not stay on the ESP")
        self.assertEqual(self.text("proc/sys/kernel/hostname"), "gate-1\n")
        self.assertIn("192.0.2.10/24", self.text("run/systemd/network/10-site-uplink.network"))
        self.assertIn("ntp.example", self.text("run/synoptic/chrony/site.sources"))
        self.assertEqual(os.readlink(self.box / "data/etc/localtime"), "/usr/share/zoneinfo/Europe/Berlin")
        self.assertEqual(self.text("data/etc/synoptic/mqtt.password"), "broker password")
        self.assertIn("mqtts://broker", self.text("data/etc/synoptic/synoptic.toml"))
        self.assertRegex(self.text("data/synoptic/web-password"), PHC)
        self.assertFalse((self.box / "data/etc/setup-code").exists(), "the site gave a password: none is made")
        self.assertNotIn("Password", self.text("run/issue.d/50-synoptic.issue"))

    def test_another_site_replaces_the_networks(self) -> None:
        self.put_site('[network]\n[cameras]\ninterface = "eth1"\naddress = "10.20.0.1/24"\n')
        self.boot()
        self.put_site("[network]\n")
        self.boot()
        self.assertEqual(sorted(p.name for p in (self.box / "run/systemd/network").iterdir()), ["10-site-uplink.network"])

    def test_a_damaged_site_is_not_used(self) -> None:
        for damage in ("flipped", "more", "version", "outside"):
            with self.subTest(damage=damage):
                shutil.rmtree(self.box / "boot/efi/synoptic-site", ignore_errors=True)
                folder = self.put_site('[box]\nhostname = "gate-1"\n')
                if damage == "flipped":
                    (folder / "hostname").write_text("gate-2\n")
                elif damage == "more":
                    (folder / "web-password").write_text("$argon2id$")
                elif damage == "version":
                    (folder / "SITE").write_text("synoptic-site 9\n")
                else:
                    (folder / "SHA256SUMS").unlink()
                self.assertIn("are not used", self.boot())
                self.assertTrue(self.text("proc/sys/kernel/hostname").startswith("synoptic-"))
                self.assertIn("The settings of the site are", self.text("run/issue.d/50-synoptic.issue"))
                self.assertTrue(folder.exists())

    def test_no_data_partition(self) -> None:
        shutil.rmtree(self.box / "data")
        done = self.start("synoptic-first-boot")
        self.assertEqual(done.returncode, 1)
        self.assertIn("not mounted", done.stderr)


class FactoryReset(Boot):
    """synoptic-factory-reset, before anything uses the data partition."""

    KEPT = ("data/etc/device-id", "data/etc/machine-id", "data/etc/ssh/ssh_host_ed25519_key")

    def used(self) -> dict[str, bytes]:
        """A box that has been in use; what it was."""
        self.put_site('[box]\nhostname = "gate-1"\n[network]\n[mqtt]\nurl = "mqtts://broker"\n')
        self.boot()
        for name in ("data/synoptic/events.sqlite", "data/synoptic/.hidden", "data/synoptic/secrets/front.password", "data/journal/x/system.journal",
                     "data/update/bundle.raucb", "data/update/pending", "data/rauc/central.raucs", "data/systemd/random-seed",
                     "data/systemd/timers/x", "data/etc/ssh/authorized_keys", "data/stray", "data/..odd"):
            path = self.box / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"secret of {name}")
        return {n: (self.box / n).read_bytes() for n in self.KEPT if (self.box / n).exists()}

    def left(self) -> list[str]:
        """Files of the data partition."""
        return sorted(str(p.relative_to(self.box)) for p in (self.box / "data").rglob("*") if not p.is_dir())

    def test_without_an_order_nothing_happens(self) -> None:
        self.used()
        before = self.left()
        self.assertEqual(self.start("synoptic-factory-reset").returncode, 0)
        self.assertEqual(self.left(), before)

    def test_nothing_is_left_but_what_is_installed(self) -> None:
        self.used()
        (self.box / "data/synoptic/factory-reset").write_text("keep-identity=no\n")
        done = self.start("synoptic-factory-reset")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.left(), ["data/rauc/central.raucs", "data/systemd/random-seed", "data/update/pending"])
        for mounted in ("synoptic", "journal", "systemd", "etc/synoptic"):
            self.assertTrue((self.box / "data" / mounted).is_dir(), f"{mounted} is a mount's source")
        self.boot()
        self.assertNotIn("broker", self.text("data/etc/synoptic/synoptic.toml"))
        self.assertTrue(self.text("proc/sys/kernel/hostname").startswith("synoptic-"))

    def test_the_identity_stays_when_that_was_asked(self) -> None:
        identity = self.used()
        (self.box / "data/synoptic/factory-reset").write_text("keep-identity=yes\n")
        self.start("synoptic-factory-reset")
        self.assertEqual({n: (self.box / n).read_bytes() for n in identity}, identity)
        self.assertFalse((self.box / "data/etc/ssh/authorized_keys").exists())
        self.assertFalse((self.box / "data/etc/hostname").exists())
        self.assertFalse((self.box / "data/synoptic/web-password").exists())

    def test_by_hand(self) -> None:
        self.used()
        order = self.box / "boot/efi/synoptic-factory-reset"
        order.write_text("")
        self.put_site('[box]\nhostname = "other"\n')
        self.start("synoptic-factory-reset")
        self.assertFalse((self.box / "data/etc/device-id").exists())
        self.assertFalse(order.exists(), "once is enough")
        self.assertFalse((self.box / "boot/efi/synoptic-site").exists())
        self.boot()
        before = self.left()
        self.start("synoptic-factory-reset")
        self.assertEqual(self.left(), before)

    def test_a_power_cut_at_any_step_is_gone_on_with(self) -> None:
        for cut in range(1, 30):
            with self.subTest(cut=cut):
                shutil.rmtree(self.box / "data")
                (self.box / "data").mkdir()
                self.used()
                (self.box / "data/synoptic/factory-reset").write_text("keep-identity=no\n")
                count = self.dir / "count"
                count.write_text("0")
                self.fake("rm", f'n=$(($(<{count}) + 1)); echo $n >{count}; ((n != {cut})) || kill -KILL $PPID; exec /bin/rm "$@"')
                died = self.start("synoptic-factory-reset").returncode != 0
                self.fake("rm", 'exec /bin/rm "$@"')
                self.start("synoptic-factory-reset")
                self.assertEqual(self.left(), ["data/rauc/central.raucs", "data/systemd/random-seed", "data/update/pending"])
                if not died:
                    self.assertGreater(cut, 8, "it was really cut")
                    return
        self.fail("it has more steps than were cut")


class HealthGate(Boot):
    """synoptic-health-gate with systemctl, curl and rauc that say what a file says."""

    def setUp(self) -> None:
        super().setUp()
        (self.box / "data/update").mkdir()
        (self.box / "data/update/pending").write_text("B\n")
        (self.box / "proc/cmdline").write_text("quiet root=/dev/vda4 rauc.slot=B ro\n")
        self.fake("rauc", f'echo "$@" >>{self.dir}/rauc')
        self.fake("sleep", "exit 0")
        self.fake("systemctl", "exit 0")
        self.says("well")

    def says(self, state: str, reason: str = "", status: int = 200, page: int = 200) -> None:
        """What the daemon answers: the page with a status, its health with a state and a reason."""
        self.fake("curl", f'case "$*" in *api/v1/health*) printf "{state}\\n{reason}\\n{status}" ;; *) printf {page} ;; esac')

    def gate(self) -> subprocess.CompletedProcess:
        """With its own limits: twelve rounds, of which three must be good on end; six more for what is waited for."""
        return self.start("synoptic-health-gate", GATE_LIMIT_S="60", GATE_HOLD_S="15", GATE_GRACE_S="30")

    def asked(self) -> str:
        """What rauc was asked for."""
        return (self.dir / "rauc").read_text()

    def test_commits(self) -> None:
        self.assertEqual(self.gate().returncode, 0)
        self.assertEqual(self.asked(), "status mark-good booted\n")
        self.assertFalse((self.box / "data/update/pending").exists())

    def test_on_a_jetson_the_firmware_says_which_slot_runs(self) -> None:
        (self.box / "proc/cmdline").write_text("quiet root=PARTUUID=1 ro\n")
        self.fake("nvbootctrl", "[ $1 = get-current-slot ] && echo 1")
        self.assertEqual(self.gate().returncode, 0)
        self.assertEqual(self.asked(), "status mark-good booted\n")
        (self.box / "data/update/pending").write_text("B\n")
        self.fake("nvbootctrl", "[ $1 = get-current-slot ] && echo 0")
        self.assertEqual(self.gate().returncode, 0)
        self.assertIn("status mark-bad other\n", self.asked())
        self.assertEqual(self.text("data/update/rollback-reason"), "the new system in slot B did not start; slot A runs\n")

    def test_a_start_without_an_update_gives_the_try_back(self) -> None:
        (self.box / "data/update/pending").unlink()
        self.fake("systemctl", "exit 3")
        self.assertEqual(self.gate().returncode, 0, "a committed system is not left for what its daemon does")
        self.assertEqual(self.asked(), "status mark-good booted\n")
        self.fake("rauc", "exit 1")
        done = self.gate()
        self.assertEqual(done.returncode, 0, "it does not reboot")
        self.assertIn("the next start may take the other one", done.stderr)

    def test_goes_back_with_the_reason(self) -> None:
        for tool, script, reason in (("systemctl", "exit 3", "not ready"), ("curl", "printf 503; exit 0", "HTTP 503"), ("curl", "printf 000; exit 7", "HTTP 000"),
                                     ("curl", 'case "$*" in *health*) printf "{}\\n503" ;; *) printf 200 ;; esac', "does not say how it is (HTTP 503)"),
                                     ("curl", 'case "$*" in *health*) printf "unwell\\ncamera left: no frames (for 75 s); database: full\\n200" ;; *) printf 200 ;; esac',
                                      "camera left: no frames (for 75 s); database: full\n")):
            with self.subTest(reason=reason):
                self.setUp()
                self.fake(tool, script)
                self.assertEqual(self.gate().returncode, 1)
                self.assertEqual(self.asked(), "status mark-bad booted\n")
                self.assertIn(reason, self.text("data/update/rollback-reason"))

    def test_what_only_began_to_be_wrong_is_waited_for(self) -> None:
        count = self.dir / "count"
        # A camera comes back late, is silent for a while and then well.
        for rounds, code in ((14, 0), (40, 1)):
            with self.subTest(rounds=rounds):
                self.setUp()
                count.write_text("0")
                self.fake("curl", f'case "$*" in *health*) n=$(($(<{count}) + 1)); echo $n >{count}; '
                                  f'if ((n <= {rounds})); then printf "waiting\\ncamera left: no frames (for 40 s)\\n200"; else printf "well\\n\\n200"; fi ;; *) printf 200 ;; esac')
                self.assertEqual(self.gate().returncode, code)
        self.assertEqual(self.text("data/update/rollback-reason"), "camera left: no frames (for 40 s)\n")
        self.assertLess(int(count.read_text()), 20, "it is not waited for without end")

    def test_the_page_is_where_the_daemon_says(self) -> None:
        for said, page in (("the page is at https://[::]:8443/ http://127.0.0.1:9090/", "http://127.0.0.1:9090/"),
                           ("the page is at https://0.0.0.0:443/", "https://127.0.0.1:443/"), ("the page is at https://[::]:443/ https://a:1/", "https://[::1]:443/"),
                           ("", "http://127.0.0.1:8080/")):
            with self.subTest(said=said):
                self.setUp()
                self.fake("systemctl", f'case "$*" in *StatusText*) echo "{said}" ;; esac')
                self.fake("curl", f'echo "${{@: -1}}" >>{self.dir}/urls; case "$*" in *health*) printf "well\\n\\n200" ;; *) printf 200 ;; esac')
                self.assertEqual(self.gate().returncode, 0)
                self.assertEqual(set((self.dir / "urls").read_text().split()), {page, page + "api/v1/health"})

    def test_a_page_that_wants_a_sign_in_only_has_to_answer(self) -> None:
        for said, code in (("https://0.0.0.0:443/", 0), ("http://127.0.0.1:8080/", 1)):
            with self.subTest(said=said):
                self.setUp()
                self.fake("systemctl", f'case "$*" in *StatusText*) echo "the page is at {said}" ;; esac')
                self.fake("curl", 'case "$*" in *health*) printf "{\\"title\\": \\"Unauthorized\\"}401" ;; *) printf 200 ;; esac')
                self.assertEqual(self.gate().returncode, code)

    def test_a_new_system_that_never_started(self) -> None:
        (self.box / "proc/cmdline").write_text("quiet rauc.slot=A\n")
        self.assertEqual(self.gate().returncode, 0, "the old system is not rebooted")
        self.assertEqual(self.asked(), "status mark-bad other\n")
        self.assertIn("slot B did not start; slot A runs", self.text("data/update/rollback-reason"))

    def test_a_daemon_that_dies_at_once_is_given_up_early(self) -> None:
        count = self.dir / "count"
        count.write_text("0")
        self.fake("systemctl", f'[ "$1" = show ] || exit 3; n=$(($(<{count}) + 4)); echo $n >{count}; echo $n')
        self.assertEqual(self.gate().returncode, 1)
        self.assertEqual(self.asked(), "status mark-bad booted\n")
        self.assertEqual(self.text("data/update/rollback-reason"), "the daemon ended 12 times; last: the daemon is not ready\n")

    def test_a_daemon_that_comes_and_goes_is_not_committed(self) -> None:
        count = self.dir / "count"
        count.write_text("0")
        self.fake("systemctl", f'[ "$1" != show ] || exit 0; n=$(($(<{count}) + 1)); echo $n >{count}; ((n % 3))')
        self.assertEqual(self.gate().returncode, 1)
        self.assertEqual(self.asked(), "status mark-bad booted\n")


    def handler(self, name: str, **environment: str) -> subprocess.CompletedProcess:
        """A handler of RAUC, with what RAUC 1.8 hands over."""
        slots = dict(RAUC_TARGET_SLOTS="2 ", RAUC_SLOT_BOOTNAME_1="A", RAUC_SLOT_BOOTNAME_2="B")
        return self.start(name, **(slots | environment))

    def test_an_installation_is_noted_before_it_begins_and_gated_when_it_has_ended(self) -> None:
        update = self.box / "data/update"
        refused = self.handler("synoptic-update-begins")
        self.assertEqual(refused.returncode, 1, "the slot on trial has the other one as its way back")
        self.assertIn("not committed yet", refused.stderr)
        (update / "pending").unlink()
        (update / "rollback-reason").write_text("of the update before\n")
        self.assertEqual(self.handler("synoptic-update-begins", RAUC_TARGET_SLOTS="").returncode, 1)
        self.assertEqual(self.handler("synoptic-update-begins").returncode, 0)
        self.assertEqual((update / "installing").read_text(), "B\n")
        self.assertFalse((update / "rollback-reason").exists())
        self.assertEqual(self.handler("synoptic-update-ends").returncode, 0)
        self.assertEqual((update / "pending").read_text(), "B\n")
        self.assertEqual((update / "pending").stat().st_mode & 0o777, 0o644, "the daemon reads it")
        self.assertFalse((update / "installing").exists())

    def test_the_power_went_during_an_installation(self) -> None:
        # Before the boot loader was switched: the old system runs and says nothing of a rollback.
        update = self.box / "data/update"
        (update / "pending").rename(update / "installing")
        (self.box / "proc/cmdline").write_text("quiet rauc.slot=A\n")
        done = self.gate()
        self.assertEqual((done.returncode, self.asked()), (0, "status mark-good booted\n"))
        self.assertIn("into slot B was cut off", done.stderr)
        self.assertEqual(list(update.iterdir()), [])
        # After it, and before RAUC's last word: the new system is on trial all the same.
        (update / "installing").write_text("B\n")
        (self.box / "proc/cmdline").write_text("quiet rauc.slot=B\n")
        self.fake("curl", "printf 503")
        self.assertEqual(self.gate().returncode, 1)
        self.assertIn("HTTP 503", self.text("data/update/rollback-reason"))


class Units(Case):
    """systemd's own opinion."""

    def setUp(self) -> None:
        super().setUp()
        if not shutil.which("systemd-analyze"):
            self.skipTest("no systemd here")

    def analyze(self, *words: object, **options: object) -> subprocess.CompletedProcess:
        """systemd-analyze."""
        return subprocess.run(["systemd-analyze", *map(str, words)], capture_output=True, text=True, check=False, **options)

    def test_verify(self) -> None:
        root = self.dir / "root"
        shutil.copytree("/usr/lib/systemd/system", root / "usr/lib/systemd/system", symlinks=True)
        (root / "lib").symlink_to("usr/lib")
        own = root / "etc/systemd/system"
        own.mkdir(parents=True)
        files = [p for p in UNITS.rglob("*") if p.suffix in (".service", ".mount", ".path")]
        # Each distribution's own programs, and ours.
        programs = {"/usr/bin/synoptic"}
        for path in files:
            shutil.copy(path, own / path.name)
            programs |= set(re.findall(r"(?m)^Exec\w+=-?(/\S+)", path.read_text()))
        for drop_in in ("jetson", "options", "box"):
            shutil.copytree(UNITS / drop_in / "synoptic.service.d", own / "synoptic.service.d", dirs_exist_ok=True)
        for program in programs:
            place = root / program[1:]
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text("#!/bin/sh\n")
            place.chmod(0o755)
        names = [p.name.replace("@.", "@eth0.") for p in files]
        done = self.analyze("verify", f"--root={root}", "--man=no", *names)
        # Only of ours: a distribution's units may name what this root lacks.
        ours = [line for line in (done.stdout + done.stderr).splitlines() if "synoptic" in line or any(n in line for n in ("data.mount", "var-"))]
        self.assertEqual(ours, [])

    def test_hardening(self) -> None:
        for threshold, drop_ins in ((20, []), (22, ["jetson"])):
            unit = self.dir / "synoptic.service"
            shutil.copy(UNITS / "synoptic.service", unit)
            for name in drop_ins:
                with open(unit, "a") as file:
                    file.write("[Service]\n" + "".join((UNITS / name / "synoptic.service.d").glob("*.conf").__next__().read_text().split("[Service]\n")[1:]))
            done = self.analyze("security", "--offline=true", f"--threshold={threshold}", unit)
            self.assertEqual(done.returncode, 0, done.stdout[-400:] + done.stderr)

    def test_network_files_of_a_site_are_networkd_s(self) -> None:
        # The same keys as in the shipped files: a slip of the pen is only logged by networkd.
        known = set()
        for path in UNITS.rglob("*.net*"):
            if path.is_file():
                known |= set(re.findall(r"(?m)^(\w+)=", path.read_text()))
        known |= {"Address", "Gateway", "DNS", "VLAN", "RouteMetric"}
        out = self.dir / "out"
        (self.dir / "p").write_text("password")
        site = self.site('[network]\nmethod = "static"\naddress = "192.0.2.10/24"\ngateway = "192.0.2.1"\ndns = ["192.0.2.1"]\n'
                         '[wifi]\nssid = "a"\ncountry = "DE"\npassword_file = "p"\n'
                         '[cameras]\ninterface = "eth0"\nvlan = 20\naddress = "10.20.0.1/24"\nserve_dhcp = true\n')
        run(sys.executable, ROOT / "scripts/flash/site.py", "render", site, out, input=b"")
        for path in (out / "network").iterdir():
            self.assertLessEqual(set(re.findall(r"(?m)^(\w+)=", path.read_text())), known, path.name)

    def test_the_data_partition_grows(self) -> None:
        if not shutil.which("systemd-repart"):
            self.skipTest("no systemd-repart here")
        disk = self.dir / "disk.img"
        run("cp", "--sparse=always", self.shared / "plain.img", disk)
        os.truncate(disk, 96 << 20)
        run("systemd-repart", "--dry-run=no", f"--definitions={UNITS / 'box/repart.d'}", disk)
        table = run("sfdisk", "--json", disk).stdout.decode()
        import json

        esp, data = json.loads(table)["partitiontable"]["partitions"]
        self.assertEqual(data["start"], (1 << 20) // 512 + (36 << 20) // 512)
        self.assertGreater(data["size"] * 512, 56 << 20)
        self.assertEqual(esp["size"] * 512, 36 << 20)
