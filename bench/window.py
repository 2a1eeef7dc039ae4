"""Latencies from what arrived, without I/O: only what *happened* inside the window counts, however late it came."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from bench.observer import Arrival
from bench.screen import Screen
from bench.stats import latency_summary
from marketdata.records import Candle, Clock, LiveCandles, Ratio, Reference
from marketdata.units import SECOND_US

VisibleAt = Callable[[int, int], int | None]
_record = msgspec.json.Decoder(Ratio | Clock | Reference | Candle | LiveCandles).decode


@dataclass(frozen=True, slots=True)
class Window:
    """[start, end) in µs of wall clock, which is the live feed's event time too."""

    start: int
    end: int

    def __contains__(self, moment: object) -> bool:
        return isinstance(moment, int) and self.start <= moment < self.end

    @classmethod
    def after(cls, now_us: int, discard_s: float, seconds: float) -> Window:
        """The window that begins ``discard_s`` after ``now_us``."""
        start = now_us + int(discard_s * SECOND_US)
        return cls(start, start + int(seconds * SECOND_US))


@dataclass(slots=True)
class Findings:
    """What the window's records say; latencies in µs."""

    trade_published: list[float] = field(default_factory=list)
    trade_arrived: list[float] = field(default_factory=list)
    candle_arrived: list[float] = field(default_factory=list)
    row_visible: list[float] = field(default_factory=list)
    forming_arrived: list[float] = field(default_factory=list)
    rows_missing: int = 0
    not_shown: int = 0
    late_trades: int = 0
    candles: int = 0
    revisions: int = 0
    clocks: dict[int, int] = field(default_factory=dict)
    """Partition of ratios -> newest clock."""

    def report(self, allowance_us: int) -> dict[str, Any]:
        """Percentiles in ms; candles and rows with the allowance and beyond it."""
        candles: dict[str, Any] = {}
        for name, values in (("candle_1s", self.candle_arrived), ("row_1s", self.row_visible)):
            candles[f"{name}_from_end"] = latency_summary(values)
            candles[f"{name}_beyond_allowance"] = latency_summary(value - allowance_us for value in values)
        return {
            "trade_to_ratio_published": latency_summary(self.trade_published),
            "trade_to_ratio_arrived": latency_summary(self.trade_arrived),
            "trade_to_forming_arrived": latency_summary(self.forming_arrived),
            **candles,
            "late_trades_share": _share(self.late_trades, len(self.trade_arrived)),
            "revisions_share": _share(self.revisions, self.candles),
        }


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 5) if whole else None


def read(arrivals: Iterable[Arrival], window: Window, ratios: str, final: str, visible_at: VisibleAt) -> Findings:
    """Findings of ``window``. ``ratios`` and ``final`` (the 1 s candles) name topics; ratios in others do not count.

    A trade belongs to the window by its ``received_ts``, a candle by its end. A trade is late where a clock above
    its event time stands before it in its partition.
    """
    found, screen = Findings(), Screen()
    for arrival in arrivals:
        record = _record(arrival.value)
        if type(record) is Candle:
            if record.end in window:
                _candle(found, arrival, record, arrival.topic == final, visible_at)
        elif type(record) is LiveCandles:
            screen.shown(record.symbol, record.ts, arrival.at_us)
        elif arrival.topic != ratios:
            continue
        elif type(record) is Clock:
            found.clocks[arrival.partition] = record.ts
        elif type(record) is Ratio:
            screen.trade(record.symbol, record.ts, record.received_ts, counts=record.received_ts in window)
            _trade(found, arrival, record, window)
    found.forming_arrived, found.not_shown = screen.latencies()
    return found


def _trade(found: Findings, arrival: Arrival, record: Ratio, window: Window) -> None:
    if record.received_ts not in window:
        return
    found.trade_published.append(record.timestamp_out - record.received_ts)
    found.trade_arrived.append(arrival.at_us - record.received_ts)
    found.late_trades += record.ts < found.clocks.get(arrival.partition, 0)


def _candle(found: Findings, arrival: Arrival, candle: Candle, final: bool, visible_at: VisibleAt) -> None:
    revised = candle.revision > 0 or _made_by_late_trade(candle)
    found.candles += not revised
    found.revisions += revised
    if not final or revised:
        return
    found.candle_arrived.append(arrival.at_us - candle.end)
    visible = visible_at(arrival.partition, arrival.offset)
    if visible is None:
        found.rows_missing += 1
    else:
        found.row_visible.append(visible - candle.end)


def _made_by_late_trade(candle: Candle) -> bool:
    """Whether its first trade came after its end had passed: then it says its latency from that trade."""
    return abs(candle.timestamp_out - candle.end - 1_000 * candle.latency_ms) > 1


def behind(found: Findings, window: Window, partitions: int) -> list[str]:
    """The reasons to void a run whose end was not reached: the slowest would be missing from its percentiles."""
    reasons = []
    slowest = min((found.clocks.get(p, 0) for p in range(partitions)), default=0)
    if slowest < window.end:
        reasons.append(f"the log had not passed the window's end: {(window.end - slowest) / SECOND_US:.1f} s behind")
    if found.rows_missing:
        reasons.append(f"{found.rows_missing} candles of the window had not become rows")
    if found.not_shown:
        reasons.append(f"{found.not_shown} trades of the window stood in no candle under way")
    return reasons


def floor_latencies(arrivals: Sequence[Arrival], window: Window) -> list[float]:
    """Arrival minus due time of the bare loop's records that were due inside the window."""
    dues = ((int(arrival.value.rstrip()), arrival.at_us) for arrival in arrivals)
    return [at - due for due, at in dues if due in window]
