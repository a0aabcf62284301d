"""The runner without a box: what is chosen, what a report says, how long a page was away."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import tempfile
import types
import unittest
import xml.etree.ElementTree as ET

import bundles
import choice
import needs
import report
import scenarios  # noqa: F401  makes choice.ALL
from away import Away, longest_gap
from machine import Machine, Vain
from remote import Remote

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
RUN = ROOT / "hw-tests/run"


def made(name: str, needs_: tuple[str, ...] = (), changes: str = "") -> choice.Scenario:
    return choice.Scenario(name, f"title of {name}", lambda bench: None, needs_, changes)


class Choice(unittest.TestCase):
    EVERY = [made("first"), made("second", ("gpu",)), made("third", ("gpu", "rauc"), "update")]

    def names(self, only: list[str], without: list[str] | None = None) -> list[str]:
        return [s.name for s in choice.chosen(self.EVERY, only, without or [])]

    def test_the_order_is_that_of_a_box_s_life(self) -> None:
        self.assertEqual(self.names([]), ["first", "second", "third"])
        self.assertEqual(self.names(["third", "first"]), ["first", "third"])
        self.assertEqual(self.names([], ["second"]), ["first", "third"])

    def test_a_name_that_nobody_has_is_an_error_and_not_an_empty_run(self) -> None:
        for only, without in ((["forth"], []), ([], ["forth"])):
            with self.assertRaisesRegex(choice.Unknown, "`forth`; there are: first, second, third"):
                self.names(only, without)

    def test_what_a_box_lacks_is_said(self) -> None:
        lacks = {"gpu": "no GPU", "rauc": None}.get
        self.assertIsNone(choice.why_not(self.EVERY[0], set(), lacks, None))
        self.assertEqual(choice.why_not(self.EVERY[1], set(), lacks, None), "no GPU")
        self.assertEqual(choice.why_not(self.EVERY[2], {"update"}, lacks, None), "no GPU")

    def test_a_box_in_use_is_not_changed_unasked_and_not_even_looked_at_for_it(self) -> None:
        def asked(need: str) -> str | None:
            self.fail(f"{need} was looked for")

        self.assertEqual(choice.why_not(self.EVERY[2], {"power"}, asked, None), "it changes the box: --allow update")
        self.assertIsNone(choice.why_not(self.EVERY[2], {"update"}, lambda need: None, None))

    def test_after_a_box_that_broke_nothing_is_judged(self) -> None:
        self.assertEqual(choice.why_not(self.EVERY[0], set(), lambda need: None, "power-cuts"), "the box did not live through power-cuts")

    def test_the_real_ones(self) -> None:
        known = set(needs.LOOKS) | {"fresh", "disk", "camera-network", "power", "bundles", "broker"}
        for one in choice.ALL:
            self.assertLessEqual(set(one.needs), known, one.name)
            self.assertIn(one.changes, ("", "configuration", "update", "power", "reset"), one.name)
            self.assertNotIn("|", one.title)
        self.assertGreater(len(choice.ALL), 15)


class Told(unittest.TestCase):
    OUTCOMES = [
        report.Outcome("cameras", "every camera", report.PASSED, 12.4, figures=[("daemon start", 2.5, "s")]),
        report.Outcome("update", "an update", report.FAILED, 99.0, "AssertionError: a | b\n```\nconsole\x1b[0m\n```"),
        report.Outcome("gpu", "the GPU", report.NOT_RUN, why="no GPU is there"),
    ]

    def test_markdown(self) -> None:
        text = report.markdown("box-1", [("kernel", "Linux 6.1")], self.OUTCOMES)
        self.assertIn("1 passed, 1 failed, 1 not run.\n", text)
        self.assertIn("* kernel: Linux 6.1\n", text)
        self.assertIn("| cameras | every camera | passed | 12 |  |\n", text)
        self.assertIn("| gpu | the GPU | not run |  | no GPU is there |\n", text)
        self.assertIn("| update | an update | failed | 99 | AssertionError: a \\| b |\n", text)
        self.assertIn("| daemon start | 2.5 | s | cameras |\n", text)
        self.assertIn("\n````\nAssertionError", text, "a fence that the failure does not end")

    def test_junit(self) -> None:
        suite = ET.fromstring(report.junit("box-1", self.OUTCOMES)).find("testsuite")
        self.assertEqual([suite.get(k) for k in ("tests", "failures", "errors", "skipped")], ["3", "1", "0", "1"])
        cases = {c.get("name"): c for c in suite}
        self.assertEqual(cases["gpu"].find("skipped").get("message"), "no GPU is there")
        self.assertIsNone(cases["gpu"].find("failure"))
        self.assertIn("console\ufffd[0m", cases["update"].find("failure").text)
        self.assertEqual(cases["cameras"].find("properties/property").get("value"), "2.5 s")
        self.assertEqual(len(cases["cameras"].findall("skipped") + cases["cameras"].findall("failure")), 0)


class Gap(unittest.TestCase):
    def test_the_longest(self) -> None:
        self.assertEqual(longest_gap([]), 0)
        self.assertEqual(longest_gap([5.0]), 0)
        self.assertEqual(longest_gap([0, 1, 2.5, 40, 41]), 37.5)

    def test_a_page_that_goes_and_comes(self) -> None:
        # Asked on its own thread: 3 answers, 20 refusals, then answers for ever.
        asked = 0

        def ask(timeout: float) -> bool:
            nonlocal asked
            asked += 1
            return not 3 < asked <= 6

        with Away(ask) as away:
            away.thread.join(0)
            while len(away.answers) < 5:
                away.stop.wait(0.05)
        self.assertGreater(away.seconds(), 1.0, "three questions were not answered")
        self.assertEqual(away.seconds(), away.answers[3] - away.answers[2])


class Shell(Machine):
    """A machine whose shell says what a table says."""

    def __init__(self, folder: pathlib.Path, says: dict[str, str]) -> None:
        super().__init__("table", folder)
        self.says = says

    def ssh(self, command: str, check: bool = True, timeout: float = 300) -> str:
        return next((said for word, said in self.says.items() if word in command), "")


class Needs(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = pathlib.Path(self.folder.name)

    def look(self, machine: Machine, need: str) -> str | None:
        options = types.SimpleNamespace(broker_lacks="no broker was named")
        return needs.on(machine, options, bundles.Given(None, self.path))(need)

    def test_a_box_is_asked(self) -> None:
        box = Shell(self.path, {"device-tree": "it is no Jetson", "thermal_zone": "there"})
        self.assertEqual(self.look(box, "jetson"), "it is no Jetson")
        self.assertIsNone(self.look(box, "thermal"))
        self.assertEqual(self.look(box, "ptp"), "it did not answer")
        self.assertEqual(self.look(box, "broker"), "no broker was named")
        self.assertEqual(self.look(box, "bundles"), "no bundles were given: --good BUNDLE")

    def test_the_looks_are_shell(self) -> None:
        for need, command in needs.LOOKS.items():
            done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False, timeout=60)
            self.assertTrue(done.stdout.strip(), f"{need} says nothing: {done.stderr}")

    def test_the_power_of_a_real_box_is_a_relay_s(self) -> None:
        self.assertIn("--power-off", self.look(Remote("h", self.path), "power"))
        box = Remote("h", self.path, power_off=f"echo off >>{self.path}/relay", power_on=f"echo on >>{self.path}/relay")
        self.assertIsNone(self.look(box, "power"))
        self.assertIn("not flashed", self.look(box, "fresh"))
        box.page_answers = lambda timeout: False
        box.cut()
        box.start()
        self.assertEqual((self.path / "relay").read_text(), "off\non\n")
        with self.assertRaisesRegex(AssertionError, "relay's command `exit 3` ended with 3"):
            box.relay("exit 3")

    def test_waiting_ends_with_what_was_seen_last(self) -> None:
        box = Shell(self.path, {})
        tries = []

        def check() -> bool:
            tries.append(1)
            raise OSError("refused")

        with self.assertRaisesRegex(Vain, "waited 0 s in vain for a sign; last: refused"):
            box.until("a sign", check, 0.01)
        self.assertEqual(len(tries), 1)


class CommandLine(unittest.TestCase):
    def run_it(self, *words: str) -> subprocess.CompletedProcess:
        return subprocess.run([sys.executable, "-B", str(RUN), *words], capture_output=True, text=True, check=False, timeout=120)

    def test_a_box_that_is_not_there_passes_nothing(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            # Port 9 of loopback: nobody listens.
            done = self.run_it("--target", "root@127.0.0.1", "--ssh-port", "9", "--page-port", "9", "--out", folder, "sound", "gpu", "power-cuts")
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn("0 passed, 0 failed, 3 not run", done.stdout)
            text = (pathlib.Path(folder) / "report.md").read_text()
            self.assertIn("| power-cuts |", text)
            self.assertIn("it changes the box: --allow power", text)

    def test_what_makes_no_sense_is_refused(self) -> None:
        for words, why in (((), "--target virtual"), (("--target", "h", "--allow", "all"), "not all"), (("--target", "h", "nonsense"), "no scenario is called `nonsense`")):
            done = self.run_it(*words)
            self.assertEqual(done.returncode, 2, done.stdout)
            self.assertIn(why, done.stderr)
        self.assertIn("power-cuts", self.run_it("--list").stdout)


if __name__ == "__main__":
    unittest.main()
