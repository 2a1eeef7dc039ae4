"""What a contender wrote: its candles, and when the broker had the first and the last of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from bench.peers.market import Bar, Bars
from marketdata.hours import ALL
from marketdata.records import Candle


class PeerCandle(msgspec.Struct, frozen=True):
    """The record that every peer writes for a closed window; ``start`` in µs."""

    symbol: str
    start: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    count: int


Read = Callable[[bytes], tuple[tuple[str, int], Bar] | None]
"""A record of an output topic as a candle; None for one that is not compared."""

_candle: Final = msgspec.json.Decoder(Candle).decode
_peer_candle: Final = msgspec.json.Decoder(PeerCandle).decode


@dataclass(frozen=True, slots=True)
class Written:
    """A whole output topic. Times in seconds of the broker's clock, to the millisecond."""

    bars: Bars
    first: float
    last: float
    repeated: int


def read_ours(value: bytes) -> tuple[tuple[str, int], Bar] | None:
    """A record of candles.stocks.15s; those of regular hours alone are not compared."""
    candle = _candle(value)
    price = candle.price
    if candle.hours != ALL or candle.revision:
        return None
    return (candle.symbol, candle.timestamp_in), Bar(
        price.open or 0.0, price.high or 0.0, price.low or 0.0, price.close or 0.0, price.volume, price.trade_count
    )


def read_peer(value: bytes) -> tuple[tuple[str, int], Bar]:
    """A record of a peer's output topic."""
    c = _peer_candle(value)
    return (c.symbol, c.start), Bar(c.open, c.high, c.low, c.close, c.volume, c.count)


def collect(messages: Iterable[Any], read: Read, expected: Bars) -> Written:
    """The candles of windows that are compared; the clock runs from the first to the last of them.

    A window that is not expected at all counts too, unless it is later than all that are: nothing closes it.
    """
    newest = max((start for _, start in expected), default=0)
    bars: Bars = {}
    times: list[int] = []
    repeated = 0
    for message in messages:
        found = read(message.value())
        if found is None or found[0][1] > newest:
            continue
        repeated += found[0] in bars
        bars[found[0]] = found[1]
        times.append(message.timestamp()[1])
    return Written(bars, min(times, default=0) / 1_000, max(times, default=0) / 1_000, repeated)


def differences(written: Written, expected: Bars) -> list[str]:
    """What is wrong with an output, in a line each; empty if all candles are there, once, and equal."""
    wrong = [place for place, bar in expected.items() if place in written.bars and written.bars[place] != bar]
    counts = {
        "missing": len(expected.keys() - written.bars.keys()),
        "not expected": len(written.bars.keys() - expected.keys()),
        "written twice": written.repeated,
        "different": len(wrong),
    }
    found = [f"{count:,} of {len(expected):,} candles {what}" for what, count in counts.items() if count]
    return found + [f"{place}: {written.bars[place]} where {expected[place]} is right" for place in wrong[:1]]
