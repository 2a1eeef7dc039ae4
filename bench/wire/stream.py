"""The stream that every reader gets: the bundled feed's market from a seed, as frames in the order of sending."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from feed.events import StockTrade, Trade
from feed.model import MarketModel
from feed.symbols import DEFAULT_SYMBOLS, symbol_list

CHANNELS: Final = {"stocks": "T.*", "crypto": "XT.*"}
"""What a reader subscribes on each cluster."""
SYMBOLS: Final = 10_000
RATE: Final = 100_000
"""Trades a second of event time: the whole US market at its peak."""
FRAME: Final = (20, 200)
"""Least and most stock trades of a frame."""
SEED: Final = 1
START_MS: Final = 1_709_650_800_000  # 2024-03-05T15:00:00Z: ids and sequences as long as in the middle of a day
STEP_MS: Final = 10


class Sold(NamedTuple):
    """What must arrive of a trade; ``t`` in ms, before it is moved to the time of sending."""

    price: float
    size: float
    t: int
    exchange: int
    trf: int


Expected = dict[tuple[str, str], Sold]
"""(symbol, trade id) -> the trade: the simulated market gives an id once for each symbol."""


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream in a file, one frame a line, and what must come of it."""

    path: Path
    frames: int
    bytes: int
    crypto: int
    expected: Expected

    @property
    def trades(self) -> int:
        """How many trades there are, of both clusters."""
        return len(self.expected)


def frames(trades: int) -> Iterator[list[Trade]]:
    """The first ``trades`` trades as frames, each of one cluster; times from ``START_MS`` on."""
    cut = random.Random(SEED)
    stocks: list[Trade] = []
    size = cut.randint(*FRAME)
    for trade in _trades(trades):
        if isinstance(trade, StockTrade):
            stocks.append(trade)
            if len(stocks) < size:
                continue
            yield stocks
            stocks, size = [], cut.randint(*FRAME)
        else:
            yield [trade]
    if stocks:
        yield stocks


def write_stream(path: Path, trades: int) -> Stream:
    """Write the frames to ``path`` with times from ``START_MS`` on, and note what must arrive."""
    expected: Expected = {}
    count = crypto = size = 0
    encode = msgspec.json.Encoder().encode
    with path.open("wb") as file:
        for frame in frames(trades):
            count += 1
            size += file.write(encode(frame) + b"\n")
            for trade in frame:
                crypto += not isinstance(trade, StockTrade)
                key, sold = sold_of(trade)
                expected[key] = sold
    return Stream(path, count, size, crypto, expected)


def sold_of(trade: Trade) -> tuple[tuple[str, str], Sold]:
    """A trade's identity and what must arrive of it."""
    if isinstance(trade, StockTrade):
        size = float(trade.s) if trade.ds is None else float(trade.ds)
        return (trade.sym, trade.i), Sold(trade.p, size, trade.t, trade.x, trade.trfi or 0)
    return (trade.pair, trade.i), Sold(trade.p, trade.s, trade.t, trade.x, 0)


def _trades(count: int) -> Iterator[Trade]:
    model = MarketModel(symbol_list(list(DEFAULT_SYMBOLS), SYMBOLS), SEED, RATE, START_MS, burst=1)
    to_ms = START_MS
    while count:
        to_ms += STEP_MS
        for event in model.advance(to_ms)[:count]:
            count -= 1
            if event.trade is not None:
                yield event.trade
