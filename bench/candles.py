"""What candles and features cost in one process, without Kafka: µs a trade, µs a closed candle, KiB a symbol."""

from __future__ import annotations

import gc
import random
import sys
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

import psutil

from bench.context import say
from bench.outputs import Closing
from marketdata.bar import Tick
from marketdata.calendar import new_york_hours
from marketdata.candles import CandleEngine, Closed
from marketdata.feature_book import FeatureBook, FeatureSettings, Views
from marketdata.intervals import levels
from marketdata.topics import DEFAULT_INTERVALS
from marketdata.units import SECOND_US

OPENS: Final = 1_794_407_400 * SECOND_US  # 2026-11-11 14:30 UTC, the opening bell
CLOCK_US: Final = 50_000
CLOCKS_A_MINUTE: Final = 60 * SECOND_US // CLOCK_US
HORIZON_US: Final = 900 * SECOND_US
SAMPLED_BUCKETS: Final = 2_000
_MIB: Final = 1024 * 1024

LIMITS: Final = {
    "us_per_trade": 8.0,
    "kib_per_symbol_without_horizon": 64.0,
    "buffer.rss_grown_mb": 50.0,
}
"""What a run must stay within."""


class _TimedBook(FeatureBook):
    """Counts closed candles, those of them that have features, and the time that features take."""

    closed = featured = spent_ns = 0

    def take(self, closed: Closed) -> Views:
        """See FeatureBook."""
        began = time.process_time_ns()
        found = super().take(closed)
        self.closed += 1
        if found:
            self.featured += 1
            self.spent_ns += time.process_time_ns() - began
        return found


def measure_candles(
    symbols: int, rate: int, minutes: int, intervals: tuple[str, ...] = DEFAULT_INTERVALS
) -> dict[str, Any]:
    """A market of ``symbols`` at ``rate`` trades a second, from the opening bell on, with ``intervals`` and features.

    A closed candle's cost goes up to the encoded records, ready for the producer. Once a minute the states are
    captured, as for a snapshot, which is when old candles leave the histories of features; that is not timed.
    """
    sessions = new_york_hours()
    tree = levels(intervals, sessions)
    before = _rss()
    engine = CandleEngine(tree, HORIZON_US)
    book = _TimedBook(engine, tree, FeatureSettings(sessions=sessions))
    publishing = Closing(engine, book, tree, sessions)
    trades, adding, closing = 0, 0, 0
    for n, (clock, batch) in enumerate(_market(symbols, rate, minutes), 1):
        began = time.process_time_ns()
        for symbol, tick in batch:
            engine.add(symbol, tick, tick.ts)
        added = time.process_time_ns()
        publishing.advance(clock)
        adding += added - began
        closing += time.process_time_ns() - added
        trades += len(batch)
        publishing.outputs.take()
        if n % CLOCKS_A_MINUTE == 0:
            _capture(engine, book)
            say(f"minute {n // CLOCKS_A_MINUTE} of {minutes}: {trades:,} trades, {book.closed:,} candles")
    grown = _rss() - before
    horizon, held = _horizon_bytes(engine)
    return {
        "symbols": symbols, "minutes": minutes, "trades": trades, "closed_candles": book.closed,
        "records": publishing.outputs.count, "candles_per_trade": round(book.closed / trades, 2),
        "us_per_trade": round(adding / trades / 1_000, 2),
        "us_per_closed_candle": round(closing / book.closed / 1_000, 2),
        "candles_with_features": book.featured,
        "us_of_features_each": round(book.spent_ns / max(book.featured, 1) / 1_000, 2),
        "rss_grown_mb": round(grown / _MIB, 1),
        "horizon_trades": held, "horizon_mb": round(horizon / _MIB, 1),
        "bytes_per_horizon_trade": round(horizon / max(held, 1)),
        "kib_per_symbol_without_horizon": round((grown - horizon) / symbols / 1024, 1),
    }  # fmt: skip


def missed(found: dict[str, Any], buffer: dict[str, Any]) -> list[str]:
    """The names of LIMITS that were not kept, and of what did not come back as it was."""
    figures = found | {f"buffer.{name}": value for name, value in buffer.items()}
    over = [name for name, limit in LIMITS.items() if figures[name] > limit]
    return over if buffer["read_back_equal"] else [*over, "buffer.read_back_equal"]


def lines(report: dict[str, Any], indent: str = "") -> Iterator[str]:
    """A report for readers, a line for each value."""
    for name, value in report.items():
        if isinstance(value, dict):
            yield f"{indent}{name}"
            yield from lines(value, indent + "  ")
        else:
            yield f"{indent}{name:<32} {', '.join(value) or 'no' if isinstance(value, list) else value}"


def _capture(engine: CandleEngine, book: FeatureBook) -> None:
    for _ in book.states(engine.capture(book.take_adjusted())):
        pass


def _market(symbols: int, rate: int, minutes: int) -> Iterator[tuple[int, list[tuple[str, Tick]]]]:
    """For each clock record the trades before it: prices that walk, at random symbols."""
    rng = random.Random(1)
    names = [f"S{n:05}" for n in range(symbols)]
    prices = [rng.uniform(5, 500) for _ in names]
    step, number = rate * CLOCK_US / SECOND_US, 0
    owed = 0.0
    for clock in range(OPENS + CLOCK_US, OPENS + minutes * 60 * SECOND_US + 1, CLOCK_US):
        owed += step
        batch = []
        for _ in range(int(owed)):
            at = rng.randrange(symbols)
            prices[at] *= 1 + rng.gauss(0, 0.0003)
            number += 1
            price, ts = round(prices[at], 2), clock - rng.randrange(1, CLOCK_US)
            batch.append((names[at], Tick(ts, number, 4, str(number), 0, price, float(rng.randrange(1, 500)),
                                          True, True, True, price / 9e4)))  # fmt: skip
        owed -= int(owed)
        yield clock, batch


def _rss() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)


def _horizon_bytes(engine: CandleEngine) -> tuple[int, int]:
    """(bytes, number) of the trades kept for revisions, by a sample of their buckets."""
    held = [trades for symbols in engine._trades.values() for trades in symbols.values()]
    sample = list(islice(held, 0, None, max(len(held) // SAMPLED_BUCKETS, 1)))
    if not sample:
        return 0, 0
    size = sum(_size_of(trades) for trades in sample) / len(sample)
    return int(size * len(held)), sum(len(trades.ticks) for trades in held)


def _size_of(trades: Any) -> int:
    """One bucket with all that belongs to it alone."""
    total = sys.getsizeof(trades) + sys.getsizeof(trades.ticks) + 100  # and its place in two dicts and a list
    for tick in trades.ticks:
        total += sys.getsizeof(tick) + sum(sys.getsizeof(v) for v in (tick.ts, tick.sequence, tick.price, tick.size))
        total += sys.getsizeof(tick.id) + sys.getsizeof(tick.ratio)
    if trades.flow is not None:
        total += sys.getsizeof(trades.flow)
    return total + sys.getsizeof(trades.bought) + sys.getsizeof(trades.sold)
