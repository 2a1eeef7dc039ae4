"""What the candle engine costs with more symbols and with more intervals, each run in a process of its own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any, Final

from bench.candles import measure_candles
from bench.context import say
from marketdata.topics import DEFAULT_INTERVALS

SYMBOLS: Final = (10, 100, 1_000, 10_000)
INTERVALS: Final = (1, 2, 4, 8, 13)
"""How many of the default intervals, the shortest first; the features of 15 s come with the fourth, of 1 m with 7."""
SYMBOLS_OF_INTERVALS: Final = 1_000
RATE: Final = 500


def measure_engine(minutes: int) -> dict[str, list[dict[str, Any]]]:
    """``symbols``: all intervals, more and more symbols; ``intervals``: 1,000 symbols, more and more intervals."""
    return {
        "symbols": list(_each([(number, len(DEFAULT_INTERVALS)) for number in SYMBOLS], minutes)),
        "intervals": list(_each([(SYMBOLS_OF_INTERVALS, number) for number in INTERVALS], minutes)),
    }


def _each(cases: list[tuple[int, int]], minutes: int) -> Iterator[dict[str, Any]]:
    for symbols, intervals in cases:
        say(f"engine: {symbols:,} symbols, {intervals} intervals")
        # A process that has measured before has memory left over, and would not be seen to grow.
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as alone:
            found = alone.submit(measure_candles, symbols, RATE, minutes, DEFAULT_INTERVALS[:intervals]).result()
        yield {"intervals": intervals} | found
