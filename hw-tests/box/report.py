"""What became of each scenario, as Markdown for people and JUnit's XML for machines."""

from __future__ import annotations

import dataclasses
import re
import xml.etree.ElementTree as ET

PASSED, FAILED, NOT_RUN = "passed", "failed", "not run"


@dataclasses.dataclass
class Outcome:
    """`why` is the failure or the reason for not running; `figures` are (what, value, unit)."""

    name: str
    title: str
    verdict: str
    seconds: float = 0.0
    why: str = ""
    figures: list[tuple[str, float, str]] = dataclasses.field(default_factory=list)


def fine(outcomes: list[Outcome]) -> bool:
    """Something was shown, and nothing failed."""
    return any(o.verdict == PASSED for o in outcomes) and all(o.verdict != FAILED for o in outcomes)


def summary(outcomes: list[Outcome]) -> str:
    """How many of each."""
    counts = [(sum(o.verdict == v for o in outcomes), v) for v in (PASSED, FAILED, NOT_RUN)]
    return ", ".join(f"{n} {v}" for n, v in counts)


def cell(text: str) -> str:
    """One cell of a table: its first line, without what would end it."""
    first = text.strip().splitlines()[0] if text.strip() else ""
    return first.replace("|", "\\|")


def markdown(target: str, facts: list[tuple[str, str]], outcomes: list[Outcome]) -> str:
    """`facts` is what the box says of itself."""
    lines = [f"# Synoptic on `{target}`", "", summary(outcomes) + ".", ""]
    lines += [f"* {what}: {value}" for what, value in facts]
    lines += ["", "| scenario | what it shows | verdict | s | why not |", "|---|---|---|---:|---|"]
    for o in outcomes:
        seconds = f"{o.seconds:.0f}" if o.verdict != NOT_RUN else ""
        lines.append(f"| {o.name} | {cell(o.title)} | {o.verdict} | {seconds} | {cell(o.why)} |")
    figures = [(o.name, *figure) for o in outcomes for figure in o.figures]
    if figures:
        lines += ["", "| figure | value | unit | of |", "|---|---:|---|---|"]
        lines += [f"| {cell(what)} | {value:g} | {unit} | {name} |" for name, what, value, unit in figures]
    for o in outcomes:
        if o.verdict == FAILED:
            # A failure may hold a fence of its own.
            longest = max((len(run) for run in re.findall(r"`+", o.why)), default=0)
            fence = "`" * max(3, longest + 1)
            lines += ["", f"## {o.name} failed", "", fence, o.why.rstrip(), fence]
    return "\n".join(lines) + "\n"


# What XML 1.0 cannot hold in any form; consoles print such.
FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(target: str, outcomes: list[Outcome]) -> bytes:
    """The format that CI servers read: https://github.com/testmoapp/junitxml. What was not run is `skipped`."""

    def clean(text: str) -> str:
        return FORBIDDEN.sub("\ufffd", text)

    suite = ET.Element("testsuite", name=f"synoptic on {clean(target)}", tests=str(len(outcomes)),
                       failures=str(sum(o.verdict == FAILED for o in outcomes)), errors="0",
                       skipped=str(sum(o.verdict == NOT_RUN for o in outcomes)), time=f"{sum(o.seconds for o in outcomes):.1f}")
    for o in outcomes:
        case = ET.SubElement(suite, "testcase", classname="hw-tests", name=o.name, time=f"{o.seconds:.1f}")
        if o.verdict == FAILED:
            failure = ET.SubElement(case, "failure", message=clean(cell(o.why)))
            failure.text = clean(o.why)
        elif o.verdict == NOT_RUN:
            ET.SubElement(case, "skipped", message=clean(o.why))
        if o.figures:
            properties = ET.SubElement(case, "properties")
            for what, value, unit in o.figures:
                ET.SubElement(properties, "property", name=clean(what), value=f"{value:g} {unit}")
    root = ET.Element("testsuites")
    root.append(suite)
    return ET.tostring(root, encoding="utf-8", xml_declaration=True)
