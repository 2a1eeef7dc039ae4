"""What the log already holds at the start of ingest: the last epoch, clocks and trades, and gaps left open."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import msgspec

from marketdata.records import UNREADABLE, Clock, Gap, Reference, Trade
from marketdata.topics import MARKETS, Topics
from streaming.tails import read_back

LOOK_BACK: Final = 20_000
"""Records read back in each partition: at 20 clocks and 1,000 trades a second some 20 s."""

_decode = msgspec.json.Decoder(Trade | Reference | Clock).decode
_decode_gap = msgspec.json.Decoder(Gap).decode


@dataclass(slots=True)
class LogEnd:
    """``epoch`` 0 means that the log is empty; clocks in µs, 0 where there is none.

    ``open_gaps``: where the newest gap of a market began, in µs, if nothing says that it closed.
    """

    epoch: int = 0
    clocks: dict[str, int] = field(default_factory=lambda: dict.fromkeys(MARKETS, 0))
    trades: dict[str, list[Trade]] = field(default_factory=lambda: {market: [] for market in MARKETS})
    open_gaps: dict[str, int] = field(default_factory=dict)


def read_log_end(bootstrap: str, topics: Topics, partitions: int) -> LogEnd:
    """Read the tails of trades.* and of feed.gaps.

    Raises:
        TailError: the broker did not answer within 30 s, or the topics do not exist.
    """
    end = LogEnd()
    market_of = {topics.trades(market): market for market in MARKETS}
    places = [(topic, p) for topic in market_of for p in range(partitions)] + [(topics.gaps, 0)]
    for (topic, _), value in read_back(bootstrap, places, LOOK_BACK):
        try:
            if topic == topics.gaps:
                _note_gap(_decode_gap(value), end)
                continue
            record = _decode(value)
        except UNREADABLE:
            continue  # not ours: readers dead-letter it
        market = market_of[topic]
        end.epoch = max(end.epoch, record.epoch)
        if type(record) is Clock:
            end.clocks[market] = max(end.clocks[market], record.ts)
        elif type(record) is Trade:
            end.trades[market].append(record)
    return end


def _note_gap(gap: Gap, end: LogEnd) -> None:
    if gap.status == "open":
        end.open_gaps[gap.cluster] = gap.start
    else:
        end.open_gaps.pop(gap.cluster, None)
