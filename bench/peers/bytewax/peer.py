"""Bytewax: its Kafka source, `fold_window` over tumbling windows of event time, its Kafka sink; one worker."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import bytewax.operators as op
import msgspec
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.operators.windowing import EventClock, TumblingWindower, fold_window
from bytewax.run import cli_main

WINDOW = timedelta(seconds=15)
WINDOW_US = 15_000_000
ALIGNED = datetime(2024, 1, 1, tzinfo=UTC)
QUEUED_KB = "16384"  # each partition has a consumer of its own here: 48 of them would otherwise fill 3 GiB


class Trade(msgspec.Struct, gc=False):
    """The fields that candles need. The symbol is the record's key."""

    ts: int
    stock_price: float
    stock_size: float


decode = msgspec.json.Decoder(Trade).decode
encode = msgspec.json.Encoder().encode


def trades(messages: Iterable[Any]) -> Iterator[tuple[str, Trade]]:
    """The trades of one batch by symbol; clocks have no key."""
    for message in messages:
        if message.key is not None:
            yield message.key.decode(), decode(message.value)


def happened(trade: Trade) -> datetime:
    """Event time."""
    return datetime.fromtimestamp(trade.ts / 1e6, UTC)


def fold(bar: list[float], trade: Trade) -> list[float]:
    """The candle with the next trade; first its window's start in µs."""
    price = trade.stock_price
    if not bar:
        return [trade.ts - trade.ts % WINDOW_US, price, price, price, price, trade.stock_size, 1]
    if price > bar[2]:
        bar[2] = price
    elif price < bar[3]:
        bar[3] = price
    bar[4] = price
    bar[5] += trade.stock_size
    bar[6] += 1
    return bar


def candle(closed: tuple[str, tuple[int, list[float]]]) -> Any:
    """A closed window as the record to write."""
    symbol, (_, bar) = closed
    names = ("start", "open", "high", "low", "close", "volume", "count")
    record = {"symbol": symbol, **dict(zip(names, bar, strict=True))}
    return KafkaSinkMessage(key=symbol.encode(), value=encode(record))


def build() -> Dataflow:
    """The dataflow. Its clock never looks at the wall clock, by which trades read faster or slower would be late."""
    brokers, started = [os.environ["BOOTSTRAP"]], datetime.now(UTC)
    clock = EventClock(happened, timedelta(0), now_getter=lambda: started, to_system_utc=lambda _: None)
    flow = Dataflow("candles")
    source = KafkaSource(brokers, [os.environ["SOURCE"]], add_config={"queued.max.messages.kbytes": QUEUED_KB})
    by_symbol = op.flat_map_batch("decode", op.input("source", flow, source), trades)
    windows = fold_window(
        "fold", by_symbol, clock, TumblingWindower(length=WINDOW, align_to=ALIGNED), list, fold,
        lambda first, second: first + second,  # tumbling windows never merge
        ordered=False,
    )  # fmt: skip
    op.output("sink", op.map("candle", windows.down, candle), KafkaSink(brokers, os.environ["OUTPUT"]))
    return flow


if __name__ == "__main__":
    cli_main(build(), workers_per_process=1)
