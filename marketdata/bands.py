"""Limit-up limit-down bands and trading pauses of stocks: what an event of the feed means, and what is in force when.

The vendor's glossary of LULD indicators: 15 intraday update, 16 restated value, 17 suspended by a halt or pause, 18
re-opening update, 19 outside the rule's hours, 21 price band, 22 band published again; 17 and 18 come for Nasdaq's
stocks only. These are the letters of the two consolidated tapes in their order (UTP A to F from 14, CTA A to J from
21), so that 14 is taken for UTP's opening update, and 23 to 30 for CTA's limit states; no word of the vendor's was
found on those.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from operator import attrgetter
from typing import Final

import msgspec

from marketdata.calendar import trading_day
from marketdata.normalise import MAX_NAME, MAX_PRICE, NormaliseError, check_time
from marketdata.records import Band, BandState, Luld
from marketdata.vendor import LuldBand

PAUSES: Final = frozenset({17})
LIMITS: Final = frozenset({23, 25, 27, 29, 30})
"""A limit state was entered, by the bid, the offer or both; in 29 and 30 one side left it as the other entered."""
ENDS: Final = frozenset({14, 15, 18, 19, 21, 24, 26, 28})
"""Trading within the bands, or re-opened; a band restated or published again (16, 22) says nothing of that."""
KEPT: Final = 1_000
"""Events of one symbol at most: far more than come within a revision horizon."""
MAX_INDICATORS: Final = 16
_LEAST_NS: Final = 10**15
"""A time as great as this is in ns: in ms it would be past the year 30,000."""


def band_of(event: LuldBand, received_ts: int, epoch: int) -> Band:
    """The record of ``event``, received at ``received_ts`` µs.

    Raises:
        NormaliseError: a price, time, symbol or number of indicators that no band can have.
    """
    ts = event.t // 1_000 if event.t >= _LEAST_NS else event.t * 1_000
    if not 0 < len(event.symbol) <= MAX_NAME:
        raise NormaliseError(f"a band needs a symbol of 1 to {MAX_NAME} characters")
    check_time(event.t, ts, received_ts, "neither in milliseconds nor in nanoseconds")
    if not (0 <= event.l < MAX_PRICE and 0 <= event.h < MAX_PRICE and (event.l <= event.h or not event.h)):
        raise NormaliseError(
            f"bands {event.l!r} to {event.h!r} are not prices below {MAX_PRICE:g} in ascending order"
        )
    if len(event.i) > MAX_INDICATORS:
        raise NormaliseError(f"{len(event.i)} indicators are more than {MAX_INDICATORS}")
    return Band(
        symbol=event.symbol,
        ts=ts,
        received_ts=received_ts,
        epoch=epoch,
        limit_up=event.h or None,
        limit_down=event.l or None,
        indicators=event.i,
        sequence=event.q,
        tape=int(event.z),
    )


class Standing(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A band as it stands from ``ts`` (µs) on. ``tells``: the state its own indicators tell, None for none."""

    ts: int
    sequence: int
    limit_up: float | None
    limit_down: float | None
    tells: BandState | None
    state: BandState
    since: int


BandsState = tuple[Standing, ...]
"""One symbol's part of a snapshot."""
_order: Final = attrgetter("ts", "sequence")
_ts: Final = attrgetter("ts")


def state_of(indicators: Iterable[int]) -> BandState | None:
    """The state that an event's indicators tell, the gravest first; None where they leave it as it was."""
    told = set(indicators)
    if told & PAUSES:
        return "paused"
    if told & LIMITS:
        return "limit"
    return "normal" if told & ENDS else None


class BandBook:
    """The bands of one partition's symbols, by the time of their events; those of the same time as they came.

    Kept are those from the revision horizon on, at most ``kept`` of a symbol, and the one in force at its beginning.
    All of it is in the snapshot.
    """

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._bands: dict[str, list[Standing]] = {}
        self._changed: set[str] = set()

    def add(self, band: Band, oldest: int) -> None:
        """Take an event; ``oldest``: the event time in µs before which no candle's end is asked for any more."""
        held = self._bands.setdefault(band.symbol, [])
        at = bisect_right(held, (band.ts, band.sequence), key=_order)
        if not at and held and held[0].ts < oldest:
            return  # the first one kept is in force already at the horizon
        tells = state_of(band.indicators)
        held.insert(
            at,
            Standing(band.ts, band.sequence, band.limit_up, band.limit_down, tells, tells or "normal", band.ts),
        )
        for n in range(at, len(held)):
            held[n] = _after(held[n - 1] if n else None, held[n])
        del held[: max(bisect_left(held, oldest, key=_ts) - 1, len(held) - self._kept, 0)]
        self._changed.add(band.symbol)

    def in_force(self, symbol: str, end: int) -> Luld | None:
        """What the last event before ``end`` (µs) says; None where none came in that trading day."""
        held = self._bands.get(symbol)
        at = bisect_left(held, end, key=_ts) if held else 0
        if not held or not at or trading_day((last := held[at - 1]).ts) != trading_day(end - 1):
            return None
        return Luld(last.limit_up, last.limit_down, last.state, last.since)

    def __bool__(self) -> bool:
        return bool(self._bands)

    def take_changed(self) -> set[str]:
        """The symbols that changed since the last call."""
        changed, self._changed = self._changed, set()
        return changed

    def state(self, symbol: str) -> BandsState:
        """What must be stored of ``symbol``."""
        return tuple(self._bands.get(symbol, ()))

    def restore(self, states: Iterable[tuple[str, BandsState]]) -> None:
        """Begin with what was stored."""
        self._bands = {symbol: list(state) for symbol, state in states if state}


def _after(before: Standing | None, band: Standing) -> Standing:
    """``band`` as it stands after ``before``: on another trading day nothing is known from before."""
    known = before if before is not None and trading_day(before.ts) == trading_day(band.ts) else None
    state: BandState = band.tells or (known.state if known else "normal")
    since = known.since if known and known.state == state else band.ts
    return msgspec.structs.replace(band, state=state, since=since)
