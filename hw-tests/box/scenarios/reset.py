"""Factory reset leaves nothing of the site: ordered by the page, by MQTT, and by a file on the EFI system partition.

A box that was reset knows no key any more: it is looked into with the power off, and then given its site again.
"""

from __future__ import annotations

import pathlib
import re
import secrets
import subprocess

from bench import Bench, check
from choice import scenario
from virtual import partitions

# What a reset leaves: which system is installed, the seed of random numbers, and what the start after it made anew.
ANEW = re.compile(r"(rauc/.*|update(/.*)?|systemd/.*|lost\+found|journal/[0-9a-f]{32}/.*|synoptic/.*|etc/(device-id|machine-id|setup-.*|label\.txt|localtime|"
                  r"ssh/ssh_host_ed25519_key(\.pub)?|synoptic/synoptic\.toml(\..*)?|chrony/.*))$")


def plant(bench: Bench) -> str:
    """Leaves a word that nobody else uses in every place where a site leaves something; the word."""
    word = "planted" + secrets.token_hex(8)
    bench.machine.ssh(
        f"echo {word} >/data/synoptic/{word}; echo {word} >/data/stray-{word}; mkdir -p /data/.{word}; echo {word} >/data/.{word}/x; "
        f"echo {word} >/data/etc/synoptic/{word}.password; echo '# {word}' >>/etc/synoptic/synoptic.toml; echo {word} >/data/etc/hostname; "
        f"echo {word} >/data/systemd/{word}; logger {word}; journalctl --flush --sync; mkdir -p /efi/synoptic-site; echo {word} >/efi/synoptic-site/{word}; sync")
    return word


def nothing_left(bench: Bench, word: str, before: dict[str, str]) -> None:
    """Looks through the data partition and the ESP of a box that was reset, started once, and switched off."""
    box = bench.machine
    box.cut()
    work = bench.folder / "reset"
    data = box.data_files(work)
    strange = []
    for path in sorted(p for p in data.rglob("*") if p.is_file() or p.is_symlink()):
        name = str(path.relative_to(data))
        if not ANEW.match(name):
            strange.append(f"{name} is left")
        elif path.is_file() and word.encode() in path.read_bytes():
            strange.append(f"{name} holds what was planted")
    check.assertEqual(strange, [])
    for name, old in before.items():
        check.assertNotEqual((data / name).read_text().strip(), old, f"{name} is another box's now")
    listing = subprocess.run(["mdir", "-/", "-b", "-i", box.esp()], capture_output=True, text=True, check=True).stdout
    check.assertNotIn("synoptic-", listing, "nothing of the site is on the ESP")
    # Deleted is not overwritten: said, not hidden.
    start, size = partitions(box.disk)["data"]
    bench.note("factory reset: copies of a planted word in blocks that no file has", count(box.disk, start, size, word.encode()), "copies")


def count(disk: pathlib.Path, start: int, size: int, word: bytes) -> int:
    """How often `word` is on a stretch of the disk."""
    found, last = 0, b""
    with open(disk, "rb") as file:
        file.seek(start)
        while size > 0:
            part = file.read(min(size, 4 << 20))
            if not part:
                break
            found += (last + part).count(word)
            last, size = part[-len(word) + 1:], size - len(part)
    return found


def identity(bench: Bench) -> dict[str, str]:
    """What must be another one after a reset. The device id is of the serial number, or where there is none, of chance."""
    return {name: bench.machine.ssh(f"cat /data/{name}") for name in ("etc/machine-id", "synoptic/web-password", "etc/ssh/ssh_host_ed25519_key.pub")}


def reset_is_over(bench: Bench, order: str) -> None:
    """The box has restarted and made itself anew: its console shows a password again."""
    box = bench.machine
    seen = len(re.findall(r"Password: +\w{4}-\w{4}-\w{4}", order))
    box.until("a new password on the console", lambda: len(re.findall(r"Password: +\w{4}-\w{4}-\w{4}", box.console())) > seen, 900)
    box.until("the page", box.page_answers, 900)


def again(bench: Bench) -> None:
    """The site's settings by hand onto the ESP, and a start: the box can be reached again."""
    box = bench.machine
    box.put_on_esp(bench.folder / "site/synoptic-site", "synoptic-site")
    box.start()
    box.ready(900)
    bench.gate()


@scenario("factory reset by the page leaves nothing of the site", needs=("units", "disk"), changes="reset")
def factory_reset_by_page(bench: Bench) -> None:
    box = bench.machine
    word, before = plant(bench), identity(bench)
    device = box.status()["device"]["id"]
    refused = box.post("/api/v1/commands/factory-reset", {"args": {"device": "another-box"}})
    check.assertIn("not `another-box`", str(refused) + str(box.api("/api/v1/commands")))
    shown = box.console()
    box.post("/api/v1/commands/factory-reset", {"args": {"device": device, "keep_identity": False}})
    reset_is_over(bench, shown)
    nothing_left(bench, word, before)
    again(bench)


@scenario("factory reset by MQTT leaves nothing of the site", needs=("units", "disk", "broker"), changes="reset")
def factory_reset_by_command(bench: Bench) -> None:
    box = bench.machine
    bench.tell_broker()
    box.until("the daemon", lambda: box.status()["mqtt"])
    word, before = plant(bench), identity(bench)
    topic, device, shown = bench.topic(), box.status()["device"]["id"], box.console()
    bench.command(topic, "factory-reset", "reset-1", {"device": device, "keep_identity": False})
    said = bench.outcome(topic, "factory-reset", "reset-1", 300)
    check.assertEqual(said["state"], "successful", said)
    reset_is_over(bench, shown)
    nothing_left(bench, word, before)
    again(bench)


@scenario("factory reset by a file on the EFI system partition leaves nothing of the site", needs=("units", "disk"), changes="reset")
def factory_reset_by_file(bench: Bench) -> None:
    box = bench.machine
    word, before = plant(bench), identity(bench)
    # As a person with the card in hand.
    box.cut()
    order = bench.folder / "synoptic-factory-reset"
    order.write_text("")
    box.put_on_esp(order, order.name)
    box.start()
    reset_is_over(bench, "")
    nothing_left(bench, word, before)
    again(bench)
