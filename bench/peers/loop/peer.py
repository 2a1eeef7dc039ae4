"""Python's floor: a hand-written loop over confluent-kafka's batches with msgspec; nothing is kept of its state."""

from __future__ import annotations

import os
import signal
from typing import Any

import msgspec
from confluent_kafka import Consumer, Producer

WINDOW_US = 15_000_000
BATCH = 10_000


class Trade(msgspec.Struct, gc=False):
    """The fields that candles need; msgspec passes over the others. The symbol is the record's key."""

    ts: int
    stock_price: float
    stock_size: float


class Candle(msgspec.Struct):
    """One symbol's open window; ``start`` in µs."""

    symbol: str
    start: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    count: int


class Loop:
    """Consumes until told to stop; a symbol's first trade of a window sends its last one's candle."""

    def __init__(self) -> None:
        bootstrap = os.environ["BOOTSTRAP"]
        self.consumer = Consumer(
            {"bootstrap.servers": bootstrap, "group.id": os.environ["GROUP"], "auto.offset.reset": "earliest"}
        )
        self.producer = Producer(
            {"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 5, "compression.type": "lz4"}
        )
        self.output = os.environ["OUTPUT"]
        self.decode = msgspec.json.Decoder(Trade).decode
        self.encode = msgspec.json.Encoder().encode
        self.running = True

    def run(self) -> None:
        """Read, count, write."""
        self.consumer.subscribe([os.environ["SOURCE"]])
        candles: dict[bytes, Candle] = {}
        while self.running:
            self.take(self.consumer.consume(BATCH, 0.05), candles)
            self.producer.poll(0)
        self.producer.flush(10)
        self.consumer.close()

    def take(self, messages: list[Any], candles: dict[bytes, Candle]) -> None:
        """One batch, without a call for each record but those into C."""
        decode = self.decode
        for message in messages:
            key = message.key()
            if key is None:  # a clock, or an error
                if message.error() is not None:
                    raise RuntimeError(message.error())
                continue
            trade = decode(message.value())
            price, ts = trade.stock_price, trade.ts
            candle = candles.get(key)
            if candle is None or ts >= candle.start + WINDOW_US:
                if candle is not None:
                    self.send(key, candle)
                size = trade.stock_size
                candles[key] = Candle(key.decode(), ts - ts % WINDOW_US, price, price, price, price, size, 1)
                continue
            if price > candle.high:
                candle.high = price
            elif price < candle.low:
                candle.low = price
            candle.close = price
            candle.volume += trade.stock_size
            candle.count += 1

    def send(self, key: bytes, candle: Candle) -> None:
        """Queue one candle; where the queue is full, wait for room."""
        while True:
            try:
                self.producer.produce(self.output, self.encode(candle), key)
            except BufferError:
                self.producer.poll(0.05)
            else:
                return


def main() -> None:
    """Run until SIGTERM."""
    loop = Loop()

    def stop(_number: int, _frame: object) -> None:
        loop.running = False

    signal.signal(signal.SIGTERM, stop)
    loop.run()


if __name__ == "__main__":
    main()
