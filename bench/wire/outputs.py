"""What ingest wrote of a stream: each trade once, with its price, size, time, exchange and TRF."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from bench.kafka import kind_of
from bench.wire.stream import Expected, Sold
from marketdata.records import Trade

_decode: Final = msgspec.json.Decoder(Trade).decode


@dataclass(slots=True)
class Found:
    """A tally of the topics; ``last`` is the broker's time of the last trade in seconds, to the millisecond."""

    expected: int
    trades: int = 0
    references: int = 0
    repeated: int = 0
    unknown: int = 0
    different: list[str] = field(default_factory=list)
    last: float = 0.0


def collect(messages: Iterable[Any], expected: Expected, shift_ms: int) -> Found:
    """Compare all trades among ``messages``; event times are ``shift_ms`` later than in ``expected``."""
    found, seen = Found(len(expected)), set()
    for message in messages:
        kind = kind_of(message)
        found.references += kind == "reference"
        if kind != "trade":
            continue
        trade = _decode(message.value())
        place = (trade.symbol, trade.id)
        found.last = max(found.last, message.timestamp()[1] / 1_000)
        sold = Sold(trade.price, trade.size, trade.ts // 1_000 - shift_ms, trade.exchange, trade.trf)
        if place in seen:
            found.repeated += 1
        elif (right := expected.get(place)) is None:
            found.unknown += 1
        elif sold != right:
            found.different.append(f"{place}: {sold} where {right} is right")
        seen.add(place)
    found.trades = len(seen)
    return found


def differences(found: Found, references: int) -> list[str]:
    """What is wrong, in a line each; empty if all is there, once, and equal.

    ``references`` are the copies of crypto trades that must stand in the partitions of stocks.
    """
    counts = {
        "missing": found.expected + found.unknown - found.trades,
        "not expected": found.unknown,
        "written twice": found.repeated,
        "different": len(found.different),
    }
    wrong = [f"{count:,} of {found.expected:,} trades {what}" for what, count in counts.items() if count]
    if found.references != references:
        wrong.append(f"{found.references:,} reference copies where {references:,} are right")
    return wrong + found.different[:1]
