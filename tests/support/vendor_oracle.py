"""Which elements of a frame are trades: a plain reading of the vendor's documentation, sharing no code with ours.

Strings, numbers and lists as the vendor's tables of fields say; only the tape (z) may be written 12.0. A name or id
has 1 to 64 characters, a price is below 1e12, a size below 1e15, and a trade lies in this century, not more than
an hour ahead. Half of a surrogate pair is no text, in whichever field it stands.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from typing import Any

OTHERS = ("Q", "A", "AM", "XQ", "XA", "XAS", "XL2", "LULD")
CENTURY_MS = (946_684_800_000, 4_102_444_800_000)
HOUR_MS = 3_600_000
DECIMAL = re.compile(r"[0-9]+(\.[0-9]*)?|\.[0-9]+")


class Ambiguous(dict[str, Any]):
    """An object that names a field twice: JSON leaves open which one counts."""


@dataclass
class Verdict:
    """Of one frame: its trades as (symbol, exchange, trf, id, ts µs, price, size), and the counts of the others."""

    trades: list[tuple[Any, ...]] = field(default_factory=list)
    bad: int = 0
    ignored: int = 0
    statuses: int = 0
    either: int = 0
    elements: int = 0


def _refuse(text: str) -> float:
    raise ValueError(f"{text} is no JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    return made if len(made) == len(pairs) else Ambiguous(made)


_reader = json.JSONDecoder(parse_constant=_refuse, object_pairs_hook=_object)


def judge(raw: bytes, market: str, now_ms: int) -> Verdict | None:
    """None where the frame is no JSON array."""
    try:
        parts = _reader.decode(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(parts, list):
        return None
    verdict = Verdict(elements=len(parts))
    for part in parts:
        _judge(part, market, now_ms, verdict)
    return verdict


def trades_in(raw: bytes, market: str, now_ms: int) -> list[tuple[Any, ...]]:
    """Of bytes that are no frame: every trade that stands in them as an object of its own."""
    text, verdict = raw.decode("utf-8", "replace"), Verdict()
    at = text.find("{")
    while at >= 0:
        try:
            part, end = _reader.raw_decode(text, at)
            _judge(part, market, now_ms, verdict)
        except (ValueError, RecursionError):
            end = at + 1
        at = text.find("{", end)
    return verdict.trades


def _judge(part: Any, market: str, now_ms: int, verdict: Verdict) -> None:
    if isinstance(part, Ambiguous):
        verdict.either += 1
        return
    if not _writable(part):
        verdict.bad += 1
        return
    ev = part.get("ev") if isinstance(part, dict) else None
    trade = None
    if ev == "status" and _text(part.get("status", "")) and _text(part.get("message", "")):
        verdict.statuses += 1
        return
    if ev == ("T" if market == "stocks" else "XT"):
        trade = _stock(part) if ev == "T" else _crypto(part)
    if trade is not None and _possible(trade, part["t"], now_ms):
        verdict.trades.append(trade)
    elif isinstance(ev, str) and ev in OTHERS:
        verdict.ignored += 1
    else:
        verdict.bad += 1


def _writable(part: Any) -> bool:
    pairs = part.items() if isinstance(part, dict) else ()
    return all(_text(text) for pair in pairs for text in pair if isinstance(text, str))


def _text(value: Any) -> bool:
    """A string that can be written down: half of a surrogate pair cannot."""
    return isinstance(value, str) and not any("\ud800" <= c <= "\udfff" for c in value)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _whole(value: Any, below: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < below


def _codes(value: Any) -> bool:
    return isinstance(value, list) and all(_whole(code, 2**31) for code in value)


def _optional(part: dict[str, Any], **tests: Any) -> bool:
    return all(test(part[name]) for name, test in tests.items() if name in part)


def _code(value: Any) -> bool:
    return _whole(value, 2**31)


def _time(value: Any) -> bool:
    return _whole(value, 2**43)


def _id(value: Any) -> bool:
    return _text(value) or (isinstance(value, int) and not isinstance(value, bool))


def _stock(part: dict[str, Any]) -> tuple[Any, ...] | None:
    needed = {"sym": _text, "i": _id, "p": _number, "t": _time}
    if not all(name in part and test(part[name]) for name, test in needed.items()):
        return None
    size, decimal = part.get("s", 0), part.get("ds")
    if not (_number(size) and (decimal is None or _text(decimal))):
        return None
    tape = part.get("z", 0)
    if not (_number(tape) and 0 <= tape < 2**31):
        return None
    if not _optional(part, x=_code, c=_codes, trfi=_code, trft=_time, q=lambda q: _whole(q, 2**63)):
        return None
    if decimal is not None:
        if not DECIMAL.fullmatch(decimal):
            return None
        size = float(decimal)
    where = (part["sym"], part.get("x", 0), part.get("trfi", 0), str(part["i"]))
    return (*where, int(part["t"]) * 1_000, part["p"], size)


def _crypto(part: dict[str, Any]) -> tuple[Any, ...] | None:
    needed = {"pair": _text, "p": _number, "t": _time, "s": _number}
    if not all(name in part and test(part[name]) for name, test in needed.items()):
        return None
    if not _optional(part, x=_code, c=_codes, r=_time, i=_id):
        return None
    where = (part["pair"], part.get("x", 0), 0, str(part.get("i", "")))
    return (*where, int(part["t"]) * 1_000, part["p"], part["s"])


def _possible(trade: tuple[Any, ...], t: int, now_ms: int) -> bool:
    symbol, _, _, name, _, price, size = trade
    sized = 0 <= size < 1e15
    named = 1 <= len(symbol) <= 64 and 1 <= len(name) <= 64
    return bool(0 < price < 1e12 and sized and named and CENTURY_MS[0] <= t < CENTURY_MS[1] and t <= now_ms + HOUR_MS)
