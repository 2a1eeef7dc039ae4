"""Unmodified Faust: an agent and its own tumbling table in memory, with its changelog."""

from __future__ import annotations

import os
from typing import Any

import faust
import msgspec
from faust.serializers import codecs

WINDOW_S = 15.0
PARTITIONS = int(os.environ["PARTITIONS"])


class Trade(msgspec.Struct, gc=False):
    """The fields that candles need."""

    symbol: str
    ts: int
    stock_price: float
    stock_size: float


class TradeCodec(codecs.Codec):  # type: ignore[misc]
    """Decodes trades as fast as Python can; a clock is None."""

    decode = msgspec.json.Decoder(Trade).decode

    def _loads(self, s: bytes) -> Trade | None:
        return None if s.startswith(b'{"kind":"clock"') else self.decode(s)


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
# No `expires`: Faust judges by the wall clock which windows are over, and would drop those of old trades at once.
table = app.Table("candles", default=list, partitions=PARTITIONS).tumbling(WINDOW_S)
candles = table.relative_to(lambda event: event.value.ts / 1e6)


@app.agent(source)  # type: ignore[untyped-decorator]
async def count(trades: Any) -> None:
    """Update the table; a symbol's first trade of a window sends its last one's candle."""
    spans: dict[str, tuple[float, float]] = {}
    async for event in trades.events():
        trade = event.value
        if trade is None:
            continue
        symbol, price = trade.symbol, trade.stock_price
        span = table.table.window.current(trade.ts / 1e6)
        last = spans.get(symbol)
        if last != span:
            spans[symbol] = span
            if last is not None:
                await output.send(key=symbol.encode(), value=encoded(symbol, last[0], candles[symbol][last]))
        bar = candles[symbol].value(event)
        if bar:
            bar = [bar[0], max(bar[1], price), min(bar[2], price), price, bar[4] + trade.stock_size, bar[5] + 1]
        else:
            bar = [price, price, price, price, trade.stock_size, 1]
        candles[symbol] = bar


def encoded(symbol: str, start_s: float, bar: list[float]) -> bytes:
    """The candle as JSON; its start in µs."""
    names = ("open", "high", "low", "close", "volume", "count")
    return msgspec.json.encode(
        {"symbol": symbol, "start": round(start_s * 1e6), **dict(zip(names, bar, strict=True))}
    )


if __name__ == "__main__":
    faust.Worker(app, loglevel="WARNING").execute_from_commandline()
