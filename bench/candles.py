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
from marketdata.bar import Tick
from marketdata.calendar import new_york_hours
from marketdata.candles import CandleEngine
from marketdata.feature_book import FeatureBook, FeatureSettings
from marketdata.intervals import levels
from marketdata.order import id_key
from marketdata.topics import DEFAULT_INTERVALS
from marketdata.units import SECOND_US

OPENS: Final = 1_794_407_400 * SECOND_US  # 2026-11-11 14:30 UTC, the opening bell
CLOCK_US: Final = 50_000
HORIZON_US: Final = 900 * SECOND_US
SAMPLED_BUCKETS: Final = 2_000
_MIB: Final = 1024 * 1024


def measure_candles(symbols: int, rate: int, minutes: int) -> dict[str, Any]:
    """A market of ``symbols`` at ``rate`` trades a second, from the opening bell on, all intervals and features."""
    sessions = new_york_hours()
    tree = levels(DEFAULT_INTERVALS, sessions)
    before = _rss()
    engine = CandleEngine(tree, HORIZON_US)
    book = FeatureBook(engine, tree, FeatureSettings(sessions=sessions))
    trades, closed, adding, closing = 0, 0, 0, 0
    for n, (clock, batch) in enumerate(_market(symbols, rate, minutes)):
        began = time.process_time_ns()
        for symbol, tick in batch:
            engine.add(symbol, tick, tick.ts)
        added = time.process_time_ns()
        for candle in engine.advance(clock):
            book.take(candle)
            closed += 1
        adding += added - began
        closing += time.process_time_ns() - added
        trades += len(batch)
        if n % 1_200 == 0:
            say(f"minute {n // 1_200}: {trades:,} trades, {closed:,} candles, {_rss() / _MIB:.0f} MB")
    grown = _rss() - before
    horizon, held = _horizon_bytes(engine)
    return {
        "symbols": symbols, "trades": trades, "closed_candles": closed,
        "us_per_trade": round(adding / trades / 1_000, 2),
        "us_per_closed_candle": round(closing / closed / 1_000, 2),
        "candles_per_trade": round(closed / trades, 2),
        "rss_grown_mb": round(grown / _MIB, 1),
        "horizon_trades": held, "horizon_mb": round(horizon / _MIB, 1),
        "bytes_per_horizon_trade": round(horizon / max(held, 1)),
        "kib_per_symbol_without_horizon": round((grown - horizon) / symbols / 1024, 1),
    }  # fmt: skip


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
            batch.append((names[at], Tick(ts, number, 4, id_key(str(number)), 0, price, float(rng.randrange(1, 500)),
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
        total += sys.getsizeof(tick.id_key) + sys.getsizeof(tick.id_key[1]) + sys.getsizeof(tick.ratio)
    if trades.flow is not None:
        total += sys.getsizeof(trades.flow)
    return total + sys.getsizeof(trades.bought) + sys.getsizeof(trades.sold)
