"""What is known of one part of the stack, and how it is printed."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TextIO

_RED: Final = "\x1b[31m"
_OFF: Final = "\x1b[0m"


@dataclass(frozen=True, slots=True)
class Part:
    """A service, a server or the market; ``state`` is one word for people, ``facts`` what JSON has besides."""

    name: str
    ok: bool
    state: str
    lag: str = ""
    detail: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


def print_table(parts: Sequence[Part], out: TextIO | None = None) -> None:
    """A line for each, under a heading; what is broken in red on a terminal."""
    out = out or sys.stdout
    rows = [("part", "state", "lag", "detail"), *((p.name, p.state, p.lag, p.detail) for p in parts)]
    widths = [max(len(row[n]) for row in rows) for n in range(3)]
    broken = {part.name for part in parts if not part.ok}
    for row in rows:
        line = "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]).rstrip()
        print(f"{_RED}{line}{_OFF}" if out.isatty() and row[0] in broken else line, file=out)


def as_json(parts: Sequence[Part]) -> str:
    """All of them as one JSON object by name; ``ok`` is false where one is broken."""
    found = {p.name: {"ok": p.ok, "state": p.state, "detail": p.detail} | p.facts for p in parts}
    return json.dumps({"ok": all(part["ok"] for part in found.values()), "parts": found}, indent=2)


def ago(seconds: float) -> str:
    """An age for people: ``0.4 s``, ``75 s``, ``12 min``, ``39 h``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    for unit, size, below in (("s", 1, 120), ("min", 60, 7_200), ("h", 3_600, 259_200)):
        if seconds < below:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} days"
