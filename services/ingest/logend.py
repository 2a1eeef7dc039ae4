"""What the log already holds at the start of ingest: the last epoch, the last clocks, the last trades."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import msgspec

from marketdata.records import Clock, Reference, Trade
from marketdata.topics import MARKETS, Topics
from streaming.tails import read_back

LOOK_BACK: Final = 20_000
"""Records read back in each partition: at 20 clocks and 1,000 trades a second some 20 s."""

_decode = msgspec.json.Decoder(Trade | Reference | Clock).decode


@dataclass(slots=True)
class LogEnd:
    """``epoch`` 0 means that the log is empty; clocks in µs, 0 where there is none."""

    epoch: int = 0
    clocks: dict[str, int] = field(default_factory=lambda: dict.fromkeys(MARKETS, 0))
    trades: dict[str, list[Trade]] = field(default_factory=lambda: {market: [] for market in MARKETS})


def read_log_end(bootstrap: str, topics: Topics, partitions: int) -> LogEnd:
    """Read the tails of trades.*.

    Raises:
        TailError: the broker did not answer within 30 s, or the topics do not exist.
    """
    end = LogEnd()
    market_of = {topics.trades(market): market for market in MARKETS}
    places = [(topic, p) for topic in market_of for p in range(partitions)]
    for (topic, _), value in read_back(bootstrap, places, LOOK_BACK):
        try:
            record = _decode(value)
        except msgspec.MsgspecError:
            continue  # not ours: readers dead-letter it
        market = market_of[topic]
        end.epoch = max(end.epoch, record.epoch)
        if type(record) is Clock:
            end.clocks[market] = max(end.clocks[market], record.ts)
        elif type(record) is Trade:
            end.trades[market].append(record)
    return end
