#!/usr/bin/env python3
"""Renders benchmark results as Markdown tables, each headed by the machine and the commit it was measured on.

    bench-table.py [--into FILE] NAME.json...

Without --into it prints. With it, what stands between `<!-- bench NAME -->` and `<!-- /bench NAME -->` in FILE is replaced:
other benchmarks keep their results and the commit that those are of.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import re
import subprocess
import sys

FIELDS = {"metric": str, "value": (int, float), "unit": str, "better": str}


def machine():
    """One line: processor, cores in use, memory, kernel, operating system, commit, day."""
    cpuinfo = pathlib.Path("/proc/cpuinfo").read_text()
    model = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", cpuinfo, re.M)
    memory = re.search(r"^MemTotal:\s*(\d+) kB", pathlib.Path("/proc/meminfo").read_text(), re.M)
    release = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True)
    parts = [
        model.group(1).strip() if model else platform.machine(),
        f"{len(os.sched_getaffinity(0))} cores",
        f"{int(memory.group(1)) / 2**20:.0f} GiB" if memory else "",
        f"Linux {platform.release()}",
        release,
        f"commit {commit.stdout.strip()}" if commit.returncode == 0 else "",
        datetime.date.today().isoformat(),
    ]
    return ", ".join(p for p in parts if p)


def number(value):
    """Four significant figures, thousands set apart."""
    if value is None:
        return ""
    if value == 0 or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def read(path):
    """The rows of one result file; what is wrong with it, by name."""
    rows = json.loads(pathlib.Path(path).read_text())
    if not isinstance(rows, list) or not rows:
        raise ValueError(f"{path}: a list of results is wanted, and at least one")
    for index, row in enumerate(rows):
        for field, kind in FIELDS.items():
            if not isinstance(row.get(field), kind):
                raise ValueError(f"{path}: result {index}: `{field}` is missing or of the wrong type")
        if row["better"] not in ("higher", "lower"):
            raise ValueError(f"{path}: result {index}: `better` is `higher` or `lower`, not `{row['better']}`")
    return rows


def verdict(row):
    """Whether the target is met; empty without one."""
    target = row.get("target")
    if target is None:
        return ""
    met = row["value"] >= target if row["better"] == "higher" else row["value"] <= target
    return "yes" if met else "**no**"


def table(path):
    """The text of one benchmark."""
    lines = [
        f"Measured on: {machine()}.",
        "",
        "| metric | value | unit | better | target | met | baseline | |",
        "|---|---:|---|---|---:|---|---:|---|",
    ]
    for row in read(path):
        cells = [
            row["metric"],
            number(row["value"]),
            row["unit"],
            row["better"],
            number(row.get("target")),
            verdict(row),
            number(row.get("baseline")),
            row.get("baseline_name") or "",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description="Renders benchmark results as Markdown tables.")
    parser.add_argument("--into", type=pathlib.Path, help="file whose `<!-- bench NAME -->` parts are replaced")
    parser.add_argument("results", nargs="+", type=pathlib.Path, help="target/bench/NAME.json")
    args = parser.parse_args()
    try:
        tables = {path.stem: table(path) for path in args.results}
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    if not args.into:
        print("\n".join(f"## {name}\n\n{text}" for name, text in tables.items()), end="")
        return
    page = args.into.read_text()
    for name, text in tables.items():
        marks = re.compile(rf"(<!-- bench {re.escape(name)} -->\n).*?(<!-- /bench {re.escape(name)} -->)", re.S)
        if not marks.search(page):
            sys.exit(f"error: {args.into} has no `<!-- bench {name} -->` and `<!-- /bench {name} -->`")
        page = marks.sub(lambda m: m.group(1) + text + m.group(2), page)
    args.into.write_text(page)


if __name__ == "__main__":
    main()
