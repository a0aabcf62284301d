"""A virtual box as flash.sh leaves it, switched on; or the one of the run before."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import sys

from bundles import ROOT, run
from virtual import CAMERAS_ADDRESS, CAMERAS_INTERFACE, Virtual


def virtual_box(out: pathlib.Path, folder: pathlib.Path, *, keep: bool) -> tuple[Virtual, list[dict]]:
    """`out` is the folder of build.sh. The box, and what the run before measured."""
    key, disk = folder / "id", folder / "disk.img"
    if keep and disk.exists():
        box = Virtual(disk, folder, key)
        box.start()
        box.ready()
        measured = folder / "box.json"
        return box, json.loads(measured.read_text()) if measured.exists() else []
    for file in (key, key.with_suffix(".pub"), disk, folder / "box.json", folder / "vars.fd", *folder.glob("console-*.log")):
        file.unlink(missing_ok=True)
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
    site = folder / "site.toml"
    site.write_text(
        f'schema_version = 1\n[box]\nhostname = "gate-1"\ntimezone = "Europe/Berlin"\n[ssh]\nauthorized_keys = ["{key.with_suffix(".pub").read_text().strip()}"]\n'
        f'[cameras]\ninterface = "{CAMERAS_INTERFACE}"\naddress = "{CAMERAS_ADDRESS}/24"\n')
    # For a box that was reset: the same as flash.sh puts onto the ESP.
    shutil.rmtree(folder / "site", ignore_errors=True)
    (folder / "site").mkdir()
    run(sys.executable, ROOT / "scripts/flash/site.py", "render", site, folder / "site/synoptic-site")
    public = folder / "release.pem"
    run("openssl", "pkey", "-in", out / "keys/virtual.key", "-pubout", "-out", public)
    run(ROOT / "flash.sh", "--yes", "--log", folder / "flash.log", "--trust", public, "--size", "3G", "--site", site, out / "release/synoptic-virtual-x86-64.img", disk)
    box = Virtual(disk, folder, key)
    box.start()
    # The targets are an image's: compressed as it is shipped, with an optimized daemon.
    shipped = os.environ.get("BOX_IMAGE") == "full" and os.environ.get("BOX_PROFILE") == "release"
    how = "" if shipped else ", built for tests"
    measured = []
    for what, suffix, target in (("image, without the holes in it", "img", 200), ("bundle", "raucb", 150)):
        size = (out / f"release/synoptic-virtual-x86-64.{suffix}").stat().st_blocks * 512 / 1e6
        measured.append({"metric": f"size of the {what}{how}", "value": round(size, 2), "unit": "MB", "better": "lower",
                         "target": target if shipped else None, "baseline": None, "baseline_name": None})
    return box, measured
