"""Unmodified Faust: an agent, BTC's trades in a dict of each partition; nothing is kept of it across restarts."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections import defaultdict
from typing import Any

import faust
import msgspec
from faust.serializers import codecs

PARTITIONS = int(os.environ["PARTITIONS"])
MAX_AGE_US = 120_000_000


class Trade(msgspec.Struct, tag_field="kind", tag="trade", gc=False):
    """The fields that the join needs."""

    symbol: str
    ts: int
    price: float
    size: float


class Reference(Trade, tag="reference", gc=False):
    """A BTC copy."""


class Clock(msgspec.Struct, tag_field="kind", tag="clock", gc=False):
    """Not needed."""


class TradeCodec(codecs.Codec):  # type: ignore[misc]
    """Decodes records as fast as Python can."""

    decode = msgspec.json.Decoder(Trade | Reference | Clock).decode

    def _loads(self, s: bytes) -> Any:
        return self.decode(s)


codecs.register("trade", TradeCodec())
app = faust.App(
    os.environ["GROUP"],
    broker=f"aiokafka://{os.environ['BOOTSTRAP']}",
    store="memory://",
    web_enabled=False,
    topic_disable_leader=True,
    topic_partitions=PARTITIONS,
    consumer_auto_offset_reset="earliest",
)
source = app.topic(os.environ["SOURCE"], value_type=None, value_serializer="trade", key_serializer="raw")
output = app.topic(os.environ["OUTPUT"], value_serializer="raw", key_serializer="raw", partitions=PARTITIONS)


@app.agent(source)  # type: ignore[untyped-decorator]
async def join(trades: Any) -> None:
    """Every stock trade sends its ratio."""
    times: dict[int, list[int]] = defaultdict(list)
    copies: dict[int, list[Reference]] = defaultdict(list)
    async for event in trades.events():
        record, partition = event.value, event.message.partition
        if isinstance(record, Reference):
            at = bisect_right(times[partition], record.ts)
            times[partition].insert(at, record.ts)
            copies[partition].insert(at, record)
        elif isinstance(record, Trade):
            at = bisect_right(times[partition], record.ts)
            btc = copies[partition][at - 1] if at else None
            value = encoded(record, btc, (partition, event.message.offset, 0))
            await output.send(key=record.symbol.encode(), value=value, partition=partition)


def encoded(trade: Trade, btc: Reference | None, src: tuple[int, int, int]) -> bytes:
    """The ratio as JSON."""
    given = {"symbol": trade.symbol, "ts": trade.ts, "stock_price": trade.price, "stock_size": trade.size, "src": src}
    if btc is None or trade.ts - btc.ts > MAX_AGE_US:
        reason = "no_reference" if btc is None else "stale_reference"
        answer: tuple[Any, ...] = (None, None, None, None, None, None, reason)
    else:
        age, ratio = trade.ts - btc.ts, trade.price / btc.price
        answer = (btc.price, btc.ts, age, btc.size, ratio, btc.price / trade.price, None)
    names = ("btc_price", "btc_ts", "btc_age_us", "btc_volume", "ratio", "inverse_ratio", "reason")
    return msgspec.json.encode({**given, **dict(zip(names, answer, strict=True))})


if __name__ == "__main__":
    faust.Worker(app, loglevel="WARNING").execute_from_commandline()
