"""Candle intervals: names, lengths, and from which shorter one each is rolled up."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from marketdata.calendar import TradingHours
from marketdata.units import DAY_US, SECOND_US

BASE: Final = "500ms"
BASE_US: Final = 500_000
EXCHANGE_DAY: Final = "1d"
HALF_HOUR_US: Final = 1_800 * SECOND_US
"""Regular sessions begin and end at a whole half hour, so what divides it lies inside or outside of them."""
_UNITS: Final = {"ms": 1_000, "s": SECOND_US, "m": 60 * SECOND_US, "h": 3_600 * SECOND_US}
_NAME: Final = re.compile(r"^([1-9]\d*)(ms|s|m|h)$")


class IntervalError(ValueError):
    """An interval that cannot be built; the message names the neighbours that can."""


@dataclass(frozen=True, slots=True)
class Interval:
    """One level of candles: ``length`` in µs, ``parents`` the levels rolled up from this one (45s and 1m from 15s).

    With ``sessions`` it holds regular hours alone; an ``exchange_day`` is one whole regular session, not a length.
    One that is not ``published`` is only there to be rolled up.
    """

    name: str
    length: int
    parents: tuple[int, ...]
    sessions: TradingHours | None = None
    exchange_day: bool = False
    published: bool = True

    @property
    def key(self) -> str:
        """Its name among all levels: ``1h``, and ``1h/regular`` beside it."""
        return self.name if self.sessions is None else f"{self.name}/regular"

    def bucket(self, ts: int) -> tuple[int, int] | None:
        """[start, end) of the candle that ``ts`` lies in; None where there is none for lack of a regular session."""
        start = ts - ts % self.length
        if self.sessions is None:
            return start, start + self.length
        opens, closes = self.sessions.session(ts)
        if self.exchange_day:
            return (opens, closes) if opens <= ts < closes else None
        return (start, start + self.length) if start < closes and opens < start + self.length else None

    def end(self, start: int) -> int:
        """The end of the candle that begins at ``start``."""
        if self.exchange_day and self.sessions is not None:
            return self.sessions.session(start)[1]
        return start + self.length

    def start(self, end: int) -> int:
        """The start of the candle that ends at ``end``."""
        if self.exchange_day and self.sessions is not None:
            return self.sessions.session(end - 1)[0]
        return end - self.length

    def clip(self, start: int, end: int) -> tuple[int, int]:
        """The part of a candle's [start, end) whose trades it takes."""
        if self.sessions is None:
            return start, end
        opens, closes = self.sessions.session(start)
        return max(start, opens), min(end, closes)


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


def levels(names: tuple[str, ...], sessions: TradingHours | None = None) -> tuple[Interval, ...]:
    """The configured intervals from short to long, each but 500ms rolled up from the longest that divides it.

    500ms comes first also where it is not configured: then it is not published, and the shortest is rolled up from
    it. With ``sessions`` those follow that hold regular hours alone and differ in that, and the exchange's day ``1d``
    if it is configured.

    Raises:
        IntervalError: a name is wrong, none is configured, the shortest is no multiple of 500ms, or another one of no
            shorter one.
    """
    lengths = sorted({length_of(name): name for name in reversed(names) if name != EXCHANGE_DAY}.items())
    if not names:
        raise IntervalError("no interval is configured; name some, such as 500ms, 15s, 1m or 24h")
    if lengths and lengths[0][0] % BASE_US:
        near = _divisors_near(lengths[0][0])
        raise IntervalError(
            f"interval {lengths[0][1]} is not a multiple of {BASE}, as all must be; the nearest: {near}"
        )
    if EXCHANGE_DAY in names and sessions is None:
        raise IntervalError(f"interval {EXCHANGE_DAY} is the day of a stock exchange; this market has none")
    made = [Interval(name, length, ()) for length, name in lengths]
    if BASE not in names:
        made.insert(0, Interval(BASE, BASE_US, (), published=False))
    parents: list[list[int]] = [[] for _ in made]
    for i, level in enumerate(made[1:], 1):
        # A base that is not published serves the shortest alone: see decision 017.
        shorter = (j for j in range(i - 1, -1, -1) if made[j].published or j == i - 1)
        child = next((j for j in shorter if level.length % made[j].length == 0), None)
        if child is None:
            raise IntervalError(f"interval {level.name} is not a multiple of a shorter configured one: {names}")
        parents[child].append(i)
    if sessions is not None:
        _add_regular(made, parents, sessions, exchange_day=EXCHANGE_DAY in names)
    return tuple(replace(level, parents=tuple(up)) for level, up in zip(made, parents, strict=True))


def children_of(levels: tuple[Interval, ...]) -> dict[int, int]:
    """The level that each one is rolled up from, by their places in ``levels``; the first has none."""
    return {up: below for below, level in enumerate(levels) for up in level.parents}


def published_names(levels: tuple[Interval, ...]) -> tuple[str, ...]:
    """The names that candles of ``levels`` are published under, the shortest first."""
    return tuple(dict.fromkeys(level.name for level in levels if level.published))


def intervals_of(market: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the configured intervals that ``market`` has: crypto trades without an exchange's day."""
    return names if market == "stocks" else tuple(name for name in names if name != EXCHANGE_DAY)


def is_whole(length: int) -> bool:
    """Whether every candle of ``length`` µs lies wholly inside or outside of regular hours."""
    return HALF_HOUR_US % length == 0


def _add_regular(
    made: list[Interval], parents: list[list[int]], sessions: TradingHours, *, exchange_day: bool
) -> None:
    """Regular hours of the longer intervals: from a whole one, or from a shorter one of regular hours."""
    fit = [i for i, level in enumerate(made) if is_whole(level.length)]
    longer = [(level.name, level.length) for level in made if not is_whole(level.length)]
    for name, length in longer:
        child = max((i for i in fit if length % made[i].length == 0), key=lambda i: made[i].length)
        parents[child].append(len(made))
        fit.append(len(made))
        made.append(Interval(name, length, (), sessions))
        parents.append([])
    if exchange_day:
        child = max((i for i in fit if made[i].sessions is None), key=lambda i: made[i].length)
        parents[child].append(len(made))
        made.append(Interval(EXCHANGE_DAY, DAY_US, (), sessions, exchange_day=True))
        parents.append([])


def _divisors_near(length: int) -> str:
    whole_ms = [n for n in range(500, 86_400_001, 500) if 86_400_000 % n == 0]
    below = max((n for n in whole_ms if n * 1_000 < length), default=None)
    above = min((n for n in whole_ms if n * 1_000 > length), default=None)
    return " and ".join(f"{n / 1_000:g}s" for n in (below, above) if n is not None)
