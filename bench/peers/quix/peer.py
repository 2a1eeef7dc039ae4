"""Quix Streams: a tumbling window with `reduce`, state in RocksDB with its changelog, as its documentation has it."""

from __future__ import annotations

import os
from typing import Any

import msgspec
from quixstreams import Application
from quixstreams.models.serializers import Deserializer, SerializationContext
from quixstreams.models.serializers.exceptions import IgnoreMessage

WINDOW_MS = 15_000


class Trade(msgspec.Struct, gc=False):
    """The fields that candles need. The symbol is the record's key."""

    ts: int
    stock_price: float
    stock_size: float


class TradeDeserializer(Deserializer):  # type: ignore[misc]
    """Decodes trades as fast as Python can; a clock is passed over."""

    decode = msgspec.json.Decoder(Trade).decode

    def __call__(self, value: bytes, ctx: SerializationContext) -> Trade:
        """One record's value."""
        if value.startswith(b'{"kind":"clock"'):
            raise IgnoreMessage
        return self.decode(value)


def begin(trade: Trade) -> list[float]:
    """The candle of one trade."""
    price = trade.stock_price
    return [price, price, price, price, trade.stock_size, 1]


def add(bar: list[float], trade: Trade) -> list[float]:
    """The candle with the next trade."""
    price = trade.stock_price
    return [bar[0], max(bar[1], price), min(bar[2], price), price, bar[4] + trade.stock_size, bar[5] + 1]


def candle(window: dict[str, Any], key: str, *_others: object) -> dict[str, Any]:
    """A closed window as the record to write; its start in µs."""
    bar = dict(zip(("open", "high", "low", "close", "volume", "count"), window["value"], strict=True))
    return {"symbol": key, "start": window["start"] * 1_000, **bar}


def main() -> None:
    """Run until SIGTERM."""
    app = Application(
        broker_address=os.environ["BOOTSTRAP"],
        consumer_group=os.environ["GROUP"],
        auto_offset_reset="earliest",
        state_dir="state",
        loglevel="WARNING",
    )
    source = app.topic(
        os.environ["SOURCE"],
        value_deserializer=TradeDeserializer(),
        key_deserializer="string",
        timestamp_extractor=lambda value, *_: value.ts // 1_000,
    )
    output = app.topic(os.environ["OUTPUT"], value_serializer="json", key_serializer="string")
    windows = app.dataframe(source).tumbling_window(duration_ms=WINDOW_MS).reduce(add, begin).final()
    windows.apply(candle, metadata=True).to_topic(output)
    app.run()


if __name__ == "__main__":
    main()
