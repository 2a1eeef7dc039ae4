"""Candle intervals: names, lengths, and from which shorter one each is rolled up."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from marketdata.units import DAY_US, SECOND_US

BASE: Final = "500ms"
_UNITS: Final = {"ms": 1_000, "s": SECOND_US, "m": 60 * SECOND_US, "h": 3_600 * SECOND_US}
_NAME: Final = re.compile(r"^([1-9]\d*)(ms|s|m|h)$")


class IntervalError(ValueError):
    """An interval that cannot be built; the message names the neighbours that can."""


@dataclass(frozen=True, slots=True)
class Interval:
    """One level of candles: ``length`` in µs, ``parent`` the index of the level rolled up from this one, if any.

    Several levels may be rolled up from the same one (45s and 1m from 15s), so ``parents`` is a tuple.
    """

    name: str
    length: int
    parents: tuple[int, ...]


def length_of(name: str) -> int:
    """The length of ``name`` (500ms, 15s, 1m, 24h) in µs.

    Raises:
        IntervalError: not a name of an interval, or not a whole divisor of 24 h.
    """
    match = _NAME.match(name)
    if not match:
        raise IntervalError(f"interval {name!r} is not a number with ms, s, m or h, such as 500ms, 15s, 1m or 24h")
    length = int(match[1]) * _UNITS[match[2]]
    if DAY_US % length:
        raise IntervalError(f"interval {name} does not divide 24 h; the nearest that do: {_divisors_near(length)}")
    return length


def levels(names: tuple[str, ...]) -> tuple[Interval, ...]:
    """The configured intervals from short to long, each but 500ms rolled up from the longest that divides it.

    Raises:
        IntervalError: a name is wrong, 500ms is missing, or nothing configured divides an interval.
    """
    lengths = sorted({length_of(name): name for name in reversed(names)}.items())
    if not lengths or lengths[0][1] != BASE:
        raise IntervalError(
            f"the shortest interval must be {BASE}: every other one is rolled up from it; got {names}"
        )
    parents: list[list[int]] = [[] for _ in lengths]
    for i, (length, name) in enumerate(lengths[1:], 1):
        child = next((j for j in range(i - 1, -1, -1) if length % lengths[j][0] == 0), None)
        if child is None:
            raise IntervalError(f"interval {name} is not a multiple of a shorter configured one: {names}")
        parents[child].append(i)
    return tuple(Interval(name, length, tuple(parents[i])) for i, (length, name) in enumerate(lengths))


def _divisors_near(length: int) -> str:
    whole_ms = [n for n in range(500, 86_400_001, 500) if 86_400_000 % n == 0]
    below = max((n for n in whole_ms if n * 1_000 < length), default=None)
    above = min((n for n in whole_ms if n * 1_000 > length), default=None)
    return " and ".join(f"{n / 1_000:g}s" for n in (below, above) if n is not None)
