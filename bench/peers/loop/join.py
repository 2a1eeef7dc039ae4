"""The join's floor in Python: a hand-written loop over confluent-kafka's batches with msgspec.

Nothing is kept of its state, a record that was written twice is taken twice, and what a trade's sale conditions mean
is not looked up.
"""

from __future__ import annotations

import os
import signal
import time
from bisect import bisect_left, bisect_right
from typing import Any

import msgspec
from confluent_kafka import Consumer, Producer

BATCH = 10_000
BTC = b"BTC-USD"
MAX_AGE_US = 120_000_000
KEPT_US = 2 * MAX_AGE_US
"""Of BTC's past behind the clock; it is looked at for what is older at every thousandth clock."""


class Trade(msgspec.Struct, gc=False):
    """A trade or a BTC copy; msgspec passes over the other fields."""

    symbol: str
    ts: int
    received_ts: int
    price: float
    size: float
    exchange: int
    id: str
    epoch: int
    sequence: int = 0
    trf: int = 0


class Clock(msgspec.Struct, gc=False):
    """What is needed of a clock."""

    ts: int


class Ratio(msgspec.Struct, gc=False):
    """What a reader of ratios needs, under the names of the product's record."""

    symbol: str
    ts: int
    received_ts: int
    exchange: int
    id: str
    epoch: int
    stock_price: float
    stock_size: float
    stock_volume: int
    src: tuple[int, int, int]
    timestamp_out: int
    reference: str | None
    btc_price: float | None
    btc_ts: int | None
    btc_age_us: int | None
    btc_volume: float | None
    ratio: float | None
    inverse_ratio: float | None
    reason: str | None
    sequence: int
    trf: int


class History:
    """One partition's BTC trades in order of time, those of one time in the order of the log."""

    __slots__ = ("clocks", "times", "trades")

    def __init__(self) -> None:
        self.times: list[int] = []
        self.trades: list[Trade] = []
        self.clocks = 0

    def add(self, trade: Trade) -> None:
        """Take one, nearly always the newest."""
        at = bisect_right(self.times, trade.ts)
        self.times.insert(at, trade.ts)
        self.trades.insert(at, trade)

    def as_of(self, ts: int) -> Trade | None:
        """The last at or before ``ts``."""
        times = self.times
        if times and times[-1] <= ts:
            return self.trades[-1]
        at = bisect_right(times, ts)
        return self.trades[at - 1] if at else None

    def clock(self, ts: int) -> None:
        """Now and then forget what is too old, but for the newest of it."""
        self.clocks += 1
        if self.clocks % 1_000 == 0:
            old = max(0, bisect_left(self.times, ts - KEPT_US) - 1)
            del self.times[:old]
            del self.trades[:old]


class Loop:
    """Consumes until told to stop; every stock trade sends its ratio."""

    def __init__(self) -> None:
        bootstrap = os.environ["BOOTSTRAP"]
        self.consumer = Consumer(
            {"bootstrap.servers": bootstrap, "group.id": os.environ["GROUP"], "auto.offset.reset": "earliest"}
        )
        self.producer = Producer(
            {"bootstrap.servers": bootstrap, "enable.idempotence": True, "acks": "all", "linger.ms": 5,
             "compression.type": "lz4"}
        )  # fmt: skip
        self.output = os.environ["OUTPUT"]
        self.decode = msgspec.json.Decoder(Trade).decode
        self.decode_clock = msgspec.json.Decoder(Clock).decode
        self.encode = msgspec.json.Encoder().encode
        self.histories = [History() for _ in range(int(os.environ["PARTITIONS"]))]
        self.running = True

    def run(self) -> None:
        """Read, join, write."""
        self.consumer.subscribe([os.environ["SOURCE"]])
        while self.running:
            self.take(self.consumer.consume(BATCH, 0.05))
            self.producer.poll(0)
        self.producer.flush(10)
        self.consumer.close()

    def take(self, messages: list[Any]) -> None:
        """One batch."""
        decode, histories = self.decode, self.histories
        now = time.time_ns() // 1_000
        for message in messages:
            key = message.key()
            if key is None:  # a clock, or an error
                if message.error() is not None:
                    raise RuntimeError(message.error())
                histories[message.partition()].clock(self.decode_clock(message.value()).ts)
                continue
            partition, trade = message.partition(), decode(message.value())
            if key == BTC:
                histories[partition].add(trade)
            else:
                btc = histories[partition].as_of(trade.ts)
                self.send(key, partition, joined(trade, btc, (partition, message.offset(), 0), now))

    def send(self, key: bytes, partition: int, ratio: Ratio) -> None:
        """Queue one ratio; where the queue is full, wait for room."""
        value = self.encode(ratio)
        while True:
            try:
                self.producer.produce(self.output, value, key, partition)
            except BufferError:
                self.producer.poll(0.05)
            else:
                return


def joined(trade: Trade, btc: Trade | None, src: tuple[int, int, int], now: int) -> Ratio:
    """The ratio of ``trade``."""
    price = trade.price
    if btc is None or trade.ts - btc.ts > MAX_AGE_US:
        reason = "no_reference" if btc is None else "stale_reference"
        return Ratio(
            trade.symbol, trade.ts, trade.received_ts, trade.exchange, trade.id, trade.epoch, price, trade.size,
            int(trade.size), src, now, None, None, None, None, None, None, None, reason, trade.sequence, trade.trf,
        )  # fmt: skip
    return Ratio(
        trade.symbol, trade.ts, trade.received_ts, trade.exchange, trade.id, trade.epoch, price, trade.size,
        int(trade.size), src, now, btc.symbol, btc.price, btc.ts, trade.ts - btc.ts, btc.size, price / btc.price,
        btc.price / price, None, trade.sequence, trade.trf,
    )  # fmt: skip


def main() -> None:
    """Run until SIGTERM."""
    loop = Loop()

    def stop(_number: int, _frame: object) -> None:
        loop.running = False

    signal.signal(signal.SIGTERM, stop)
    loop.run()


if __name__ == "__main__":
    main()
