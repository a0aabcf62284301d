#!/usr/bin/env python3
"""Compares the crates that BitBake would fetch with Cargo.lock: yocto-crates.py BITBAKE_ENVIRONMENT CARGO_LOCK."""

import re
import sys
import tomllib


def main() -> int:
    environment, lock = sys.argv[1:]
    with open(lock, "rb") as file:
        wanted = {
            (p["name"], p["version"], p["checksum"]) for p in tomllib.load(file)["package"] if p.get("source")
        }
    with open(environment, encoding="utf-8") as file:
        text = file.read()
    uris = re.search(r'^SRC_URI="([^"]*)"', text, re.MULTILINE)
    if uris is None:
        sys.exit(f"{environment} has no SRC_URI: is it the output of `bitbake -e synoptic`?")
    sums = dict(re.findall(r'^#\s+\[([^\]\s]+)\.sha256sum\] "([0-9a-f]{64})"', text, re.MULTILINE))
    found = set()
    for name, version in re.findall(r"crate://[^/\s]+/([^/\s]+)/([^/\s;]+)", uris.group(1)):
        found.add((name, version, sums.get(f"{name}-{version}", "no checksum")))
    for what, crates in (("not fetched", wanted - found), ("not in Cargo.lock", found - wanted)):
        for crate in sorted(crates):
            print(f"{what}: {' '.join(crate)}")
    print(f"crates: {len(found)} fetched, {len(wanted)} in Cargo.lock")
    return int(found != wanted or not found)


if __name__ == "__main__":
    sys.exit(main())
