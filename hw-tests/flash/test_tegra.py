"""RAUC's boot backend of a Jetson, with an nvbootctrl that keeps its slots in a file. No Jetson has seen it."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import unittest

from bench import Case
from test_boot import LIB

NVIDIA = "781e084c-a330-417c-b678-38e696380cb9"
# What NVIDIA's tool printed on real boxes (developer forum: R35.4.1 on AGX Xavier, R36.3 on AGX Orin), in its own spacing.
XAVIER_R35_CHAIN = """Current version: 35.4.1
Capsule update status: 0
Current bootloader slot: A
Active bootloader slot: A
num_slots: 2
slot: 0,             status: normal
slot: 1,             status: normal
"""
XAVIER_R35_ROOTFS = """Current rootfs slot: A
Active rootfs slot: A
num_slots: 2
slot: 0,             retry_count: 3,             status: normal
slot: 1,             retry_count: 3,             status: normal
"""
ORIN_R36_ROOTFS = """Current rootfs slot: B
Active rootfs slot: B
num_slots: 2
slot: 0,             retry_count: 0,             status: unbootable
slot: 1,             retry_count: 3,             status: normal
"""
ONE_SLOT = """Current rootfs slot: A
Active rootfs slot: A
num_slots: 1
slot: 0,             retry_count: 3,             status: normal
"""
FAKE = '''#!/usr/bin/env python3
import json, pathlib, sys
file = pathlib.Path(__file__).resolve().parent.parent / "slots.json"
slots = json.loads(file.read_text())
words = sys.argv[1:]
with open(file.parent / "asked", "a") as log:
    print(*words, file=log)
if words[-1] in slots["refuses"]:
    sys.exit("Error: " + words[-1])
what = "bootloader"
if words[:1] == ["-t"]:
    what, words = words[1], words[2:]
if words == ["get-current-slot"]:
    print(slots["current"])
elif words == ["dump-slots-info"]:
    if what in slots["dumps"]:
        print(slots["dumps"][what], end="")
        sys.exit()
    print(f"Current {what} slot: {'AB'[slots['current']]}\\nActive {what} slot: {'AB'[slots['active']]}\\nnum_slots: 2")
    for n in (0, 1):
        variable = pathlib.Path(slots["status"][n])
        bad = what == "rootfs" and variable.exists() and variable.read_bytes()[4] == 255
        print(f"slot: {n},             retry_count: 3,             status: {'unbootable' if bad else 'normal'}")
elif words[0] == "set-active-boot-slot":
    if not slots["stubborn"]:
        slots["active"] = int(words[1])
elif words == ["verify"]:
    slots["verified"] += 1
else:
    sys.exit(f"unknown: {words}")
file.write_text(json.dumps(slots))
'''


class Tegra(Case):
    """A Jetson that runs slot A, redundancy armed, both slots sound."""

    def setUp(self) -> None:
        super().setUp()
        self.box = self.dir / "box"
        (self.box / "data").mkdir(parents=True)
        self.variables = self.box / "sys/firmware/efi/efivars"
        self.variables.mkdir(parents=True)
        self.variable("RootfsRedundancyLevel", 1)
        for slot in "AB":
            self.variable(f"RootfsStatusSlot{slot}", 0)
        (self.fakes / "nvbootctrl").write_text(FAKE)
        (self.fakes / "nvbootctrl").chmod(0o755)
        # The real one knows no files but those of some file systems.
        self.fake("chattr", f'echo "$@" >>{self.dir}/unlocked')
        self.slots(current=0, active=0, refuses=[], dumps={}, stubborn=False, verified=0,
                   status=[str(self.path(f"RootfsStatusSlot{slot}")) for slot in "AB"])

    def path(self, name: str) -> pathlib.Path:
        return self.variables / f"{name}-{NVIDIA}"

    def variable(self, name: str, value: int) -> None:
        self.path(name).write_bytes(bytes([7, 0, 0, 0]) + value.to_bytes(4, "little"))

    def slots(self, **change: object) -> dict:
        """What the firmware holds; changed first."""
        file = self.dir / "slots.json"
        held = json.loads(file.read_text()) if file.exists() else {}
        if change:
            held.update(change)
            file.write_text(json.dumps(held))
        return held

    def backend(self, *words: str) -> subprocess.CompletedProcess:
        env = dict(os.environ, PATH=f"{self.fakes}:{os.environ['PATH']}")
        command = ["sh", str(LIB / "synoptic-tegra-boot"), "--root", str(self.box), *words]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False)

    def says(self, *words: str) -> str:
        """What it prints when it works."""
        done = self.backend(*words)
        self.assertEqual((done.returncode, done.stderr), (0, ""), words)
        return done.stdout.strip()

    def refuses(self, why: str, *words: str) -> None:
        done = self.backend(*words)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertEqual(done.stdout, "")
        self.assertIn(why, done.stderr)

    def test_what_nvidia_s_tool_prints_is_understood(self) -> None:
        table = (
            (XAVIER_R35_CHAIN, XAVIER_R35_ROOTFS, "A", "good", "good"),
            (XAVIER_R35_CHAIN.replace("Active bootloader slot: A", "Active bootloader slot: B"), XAVIER_R35_ROOTFS, "B", "good", "good"),
            (XAVIER_R35_CHAIN.replace("slot: A", "slot: B"), ORIN_R36_ROOTFS, "B", "bad", "good"),
            (XAVIER_R35_CHAIN.replace("slot: 1,             status: normal", "slot: 1,             status: unbootable"), XAVIER_R35_ROOTFS, "A", "good", "bad"),
        )
        for chain, rootfs, primary, a, b in table:
            with self.subTest(chain=chain, rootfs=rootfs):
                self.slots(dumps={"bootloader": chain, "rootfs": rootfs})
                self.assertEqual((self.says("get-primary"), self.says("get-state", "A"), self.says("get-state", "B")), (primary, a, b))

    def test_what_it_does_not_understand_is_an_error_and_not_a_guess(self) -> None:
        self.slots(dumps={"bootloader": "some other program\n"})
        self.refuses("names no active slot: some other program", "get-primary")
        self.slots(dumps={"rootfs": ONE_SLOT})
        self.refuses("flash the redundant layout", "get-state", "B")
        self.slots(current=7)
        self.refuses("neither 0 nor 1", "get-current")
        for words in ((), ("get-state",), ("get-state", "C"), ("set-state", "A", "fine"), ("get-primary", "A"), ("boot",)):
            self.assertEqual(self.backend(*words).returncode, 2, words)

    def test_an_installation(self) -> None:
        # As RAUC does it: the target is bad while it is written, then primary.
        self.says("set-state", "B", "bad")
        self.assertEqual((self.says("get-state", "B"), self.says("get-primary")), ("bad", "A"))
        self.says("set-primary", "B")
        self.assertEqual((self.says("get-state", "B"), self.says("get-primary"), self.says("get-current")), ("good", "B", "A"))
        # It runs, and its gate commits it.
        self.slots(current=1)
        self.says("set-state", "B", "good")
        self.assertEqual(self.slots()["verified"], 1, "its tries are given back")
        self.assertEqual(self.says("get-current"), "B")

    def test_a_release_that_is_not_well_goes_back(self) -> None:
        self.slots(current=1, active=1)
        self.says("set-state", "B", "bad")
        self.assertEqual((self.says("get-primary"), self.says("get-state", "B"), self.says("get-state", "A")), ("A", "bad", "good"))
        self.assertEqual(self.path("RootfsStatusSlotB").read_bytes()[4], 0, "the firmware is not told: it would never take the slot again")
        # Both are bad: no ping-pong between them.
        self.slots(current=0, active=0)
        self.refuses("slot B is bad as well", "set-state", "A", "bad")
        self.assertEqual(self.slots()["active"], 0)

    def test_a_slot_that_the_firmware_gave_up_is_bad_until_the_next_installation_and_no_trap(self) -> None:
        # Three starts of B did not come up: the firmware went back to A and holds B for unbootable.
        self.variable("RootfsStatusSlotB", 255)
        self.assertEqual(self.says("get-state", "B"), "bad")
        # What the health gate asks for after it (rauc status mark-bad other).
        self.says("set-state", "B", "bad")
        self.assertEqual(self.path("RootfsStatusSlotB").read_bytes(), bytes([7, 0, 0, 0, 0, 0, 0, 0]))
        self.assertIn("RootfsStatusSlotB", (self.dir / "unlocked").read_text())
        self.assertEqual(self.says("get-state", "B"), "bad", "our own mark says so")
        self.says("set-primary", "B")
        self.assertEqual((self.says("get-state", "B"), self.slots()["active"]), ("good", 1))

    def test_a_trap_is_reset_before_the_switch(self) -> None:
        self.variable("RootfsStatusSlotB", 255)
        self.says("set-primary", "B")
        self.assertEqual((self.path("RootfsStatusSlotB").read_bytes()[4], self.slots()["active"]), (0, 1))
        # It stays closed: nothing is switched.
        self.slots(active=0)
        self.variable("RootfsStatusSlotB", 255)
        self.path("RootfsStatusSlotB").chmod(0o400)
        self.fake("chattr", "exit 1")
        self.refuses("cannot unlock", "set-primary", "B")
        self.assertEqual(self.slots()["active"], 0)

    def test_without_redundancy_nothing_is_switched(self) -> None:
        for arm in (lambda: self.variable("RootfsRedundancyLevel", 0), lambda: self.path("RootfsRedundancyLevel").write_bytes(b"\7\0\0"),
                    self.path("RootfsRedundancyLevel").unlink):
            arm()
            self.refuses("not armed", "set-primary", "B")
            self.assertEqual(self.slots()["active"], 0)

    def test_a_firmware_that_does_not_obey_is_found_out(self) -> None:
        self.slots(stubborn=True)
        self.refuses("stays with slot A", "set-primary", "B")
        self.slots(stubborn=False, refuses=["verify"])
        self.refuses("does not note", "set-state", "A", "good")
        self.slots(refuses=["dump-slots-info"])
        self.refuses("does not say how the slots are", "get-state", "A")
        self.refuses("does not say how the slots are", "set-primary", "B")

    def test_a_chain_that_is_broken_is_not_taken(self) -> None:
        self.slots(dumps={"bootloader": XAVIER_R35_CHAIN.replace("slot: 1,             status: normal", "slot: 1,             status: unbootable")})
        self.refuses("flash the box again", "set-primary", "B")


if __name__ == "__main__":
    unittest.main()
