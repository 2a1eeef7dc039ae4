"""The simulator's market as files that stages are fed."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from bench.context import SYMBOLS, Bench, say
from feed.recorder import record
from feed.symbols import DEFAULT_SYMBOLS, symbol_list

SEED: Final = 1
RATE: Final = 2_500
START_MS: Final = 1_709_650_800_000  # 2024-03-05T15:00:00Z, in the regular session


def simulated(where: Bench) -> list[Path]:
    """2,500 trades a second, 200 symbols, as many trades as were chosen; the same bytes every time."""
    trades = where.choices.trades
    say(f"recording {trades:,} simulated trades of {SYMBOLS} symbols")
    symbols = symbol_list(list(DEFAULT_SYMBOLS), SYMBOLS)
    found = record(where.directory / "recording", symbols, SEED, trades=trades, seconds=max(1, trades // RATE),
                   start_ms=START_MS)  # fmt: skip
    return list(found.values())
