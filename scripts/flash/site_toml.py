"""The part of TOML 1.0 that a site file uses, with the line of every value.

Tables `[name]`, and in them `key = value` where a value is a text in double or single quotes, a whole number, true,
false, or a list of texts (over several lines if one likes). Anything else is refused with its line: Python before 3.11
has no TOML reader, and this runs on what every Debian, Ubuntu and macOS has.
"""

from __future__ import annotations

import json
import re

# A site file is written by a person: far below this.
MAX_BYTES = 64 * 1024

KEY = re.compile(r"([A-Za-z0-9_-]+)\s*=\s*(.*)", re.S)
TABLE = re.compile(r"\[\s*([A-Za-z0-9_-]+)\s*\]\s*(?:#.*)?$")
TEXT = re.compile(r'"(?:[^"\\\x00-\x1f]|\\(?:["\\bfnrt]|u[0-9A-Fa-f]{4}))*"|\'[^\'\x00-\x1f]*\'')
NUMBER = re.compile(r"[+-]?(?:0|[1-9][0-9]*)(?![\w.])")


class Mistake(Exception):
    """What is wrong with a line."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(f"line {line}: {what}")
        self.line, self.what = line, what


def scalar(text: str, line: int) -> tuple[object, str]:
    """A value and what follows it."""
    if text.startswith(('"""', "'''")):
        raise Mistake(line, "a text over several lines is not read here; put it into a file and name that")
    if found := TEXT.match(text):
        written = found.group()
        return (json.loads(written) if written[0] == '"' else written[1:-1]), text[found.end() :]
    for word, value in (("true", True), ("false", False)):
        if re.match(word + r"\b", text):
            return value, text[len(word) :]
    if found := NUMBER.match(text):
        return int(found.group()), text[found.end() :]
    raise Mistake(line, f"{text.split('#')[0].strip()[:40]!r} is no value: a text needs quotes")


def without_comment(rest: str) -> str:
    """What follows a value, without white space and comment."""
    rest = rest.strip()
    return "" if rest.startswith("#") else rest


def parse(content: str) -> dict[str, dict[str, tuple[object, int]]]:
    """Tables of values with their lines; the keys above the first table are in the table "".

    Raises Mistake at the first line that cannot be read.
    """
    tables: dict[str, dict[str, tuple[object, int]]] = {"": {}}
    table, lines, at = "", content.split("\n"), 0
    while at < len(lines):
        line, number = lines[at].strip(), at + 1
        at += 1
        if not line or line.startswith("#"):
            continue
        if found := TABLE.match(line):
            table = found.group(1)
            if table in tables:
                raise Mistake(number, f"[{table}] is there twice")
            tables[table] = {}
            continue
        found = KEY.match(line)
        if not found:
            raise Mistake(number, f"{line[:40]!r} is neither `key = value` nor `[table]`")
        key, rest = found.groups()
        if rest.startswith("["):
            values: list[object] = []
            rest = rest[1:].strip()
            while True:
                rest = without_comment(rest)
                if not rest:
                    if at == len(lines):
                        raise Mistake(number, f"the list of {key} is not closed with ]")
                    rest, at = lines[at], at + 1
                elif rest.startswith("]"):
                    value, rest = values, rest[1:]
                    break
                else:
                    one, rest = scalar(rest, at)
                    values.append(one)
                    rest = without_comment(rest)
                    if rest.startswith(","):
                        rest = rest[1:]
                    elif rest and not rest.startswith("]"):
                        raise Mistake(at, f"a comma is missing in the list of {key}")
        else:
            value, rest = scalar(rest, number)
        if rest := without_comment(rest):
            raise Mistake(number, f"{rest[:40]!r} follows the value of {key}")
        if key in tables[table]:
            raise Mistake(number, f"{key} is there twice")
        tables[table][key] = (value, number)
    return tables
