"""What a check found, and how it is printed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Final, Literal, TextIO

Status = Literal["ok", "warn", "fail", "skip"]
_COLOURS: Final = {"ok": "\x1b[32m", "warn": "\x1b[33m", "fail": "\x1b[31m", "skip": "\x1b[90m"}
_OFF: Final = "\x1b[0m"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: ``skip`` where it could not be made, which ``found`` explains."""

    check: str
    status: Status
    found: str
    remedy: str = ""


def print_findings(findings: Iterable[Finding], out: TextIO | None = None) -> None:
    """A line for each, its remedy under it; colours only on a terminal."""
    out = out or sys.stdout
    colours = out.isatty()
    for finding in findings:
        status = f"{finding.status:<4}"
        shown = f"{_COLOURS[finding.status]}{status}{_OFF}" if colours else status
        print(f"{shown}  {finding.check:<18} {finding.found}", file=out)
        if finding.remedy:
            print(f"{'':<25}-> {finding.remedy}", file=out)


def as_json(findings: list[Finding]) -> str:
    """All of them as one JSON object; ``ok`` is false where one fails."""
    return json.dumps({"ok": not failed(findings), "checks": [asdict(finding) for finding in findings]}, indent=2)


def failed(findings: Iterable[Finding]) -> bool:
    """Whether one of them fails."""
    return any(finding.status == "fail" for finding in findings)
