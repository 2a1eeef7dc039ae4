"""What the candle engine costs with more symbols and with more intervals, each run in a process of its own.

``python -m bench.scale.engine SYMBOLS INTERVALS MINUTES`` is such a run; its last line is JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from bench.candles import measure_candles
from bench.context import say
from market.native import Child
from marketdata.topics import DEFAULT_INTERVALS

SYMBOLS: Final = (10, 100, 1_000, 10_000)
INTERVALS: Final = (1, 2, 4, 8, 13)
"""How many of the default intervals, the shortest first; the features of 15 s come with the fourth, of 1 m with 7."""
SYMBOLS_OF_INTERVALS: Final = 1_000
RATE: Final = 500


def measure_engine(directory: Path, minutes: int) -> dict[str, list[dict[str, Any]]]:
    """``symbols``: all intervals, more and more symbols; ``intervals``: 1,000 symbols, more and more intervals.

    Raises:
        NativeError: a run ended with an error.
    """
    return {
        "symbols": list(_each(directory, [(number, len(DEFAULT_INTERVALS)) for number in SYMBOLS], minutes)),
        "intervals": list(_each(directory, [(SYMBOLS_OF_INTERVALS, number) for number in INTERVALS], minutes)),
    }


def _each(directory: Path, cases: list[tuple[int, int]], minutes: int) -> Iterator[dict[str, Any]]:
    for symbols, intervals in cases:
        say(f"engine: {symbols:,} symbols, {intervals} intervals")
        yield {"intervals": intervals} | _alone(directory, [str(symbols), str(intervals), str(minutes)])


def _alone(directory: Path, arguments: list[str]) -> dict[str, Any]:
    """A process that has measured before has memory left over, and would not be seen to grow."""
    command = [sys.executable, "-m", "bench.scale.engine", *arguments]
    child = Child.start("engine", command, directory / "engine.log", cwd=directory)
    try:
        if child.popen.wait():
            raise child.died()
    finally:
        child.stop()
    found: dict[str, Any] = json.loads(child.output().splitlines()[-1])
    return found


if __name__ == "__main__":
    _symbols, _intervals, _minutes = map(int, sys.argv[1:])
    print(json.dumps(measure_candles(_symbols, RATE, _minutes, DEFAULT_INTERVALS[:_intervals])), flush=True)
