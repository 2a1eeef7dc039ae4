"""Logs of trades as ingest would write them: the same records, in the same order of each partition, every time."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterable
from typing import Any, NamedTuple, Self

from confluent_kafka import Producer

from marketdata.partition import partition_of
from marketdata.records import Clock, Record, Reference, Trade, encode
from marketdata.units import CLOCK_STEP_US, SECOND_US, floor_to

T0 = 1_514_903_400 * SECOND_US  # 2018-01-02 14:30 UTC, the opening bell
BTC = "BTC-USD"
STOCKS, CRYPTO = "trades.stocks", "trades.crypto"


class Entry(NamedTuple):
    """One record to write; ``topic`` is without its namespace."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    kind: bytes


class LogBuilder:
    """Puts each record where ingest would: a trade by its key, BTC copies and clocks into every partition."""

    def __init__(self, partitions: int) -> None:
        self.partitions = partitions
        self.entries: list[Entry] = []
        self.epoch = 1

    def stock(self, symbol: str, ts: int, price: float, trade_id: str, **more: Any) -> Trade:
        trade = Trade(**self._fields(symbol, ts, price, trade_id) | {"exchange": 4, "size": 100.0} | more)
        self._put(STOCKS, partition_of(symbol, self.partitions), symbol, trade)
        return trade

    def crypto(self, symbol: str, ts: int, price: float, trade_id: str, **more: Any) -> None:
        """A trade on trades.crypto, and where it is BTC its copies on trades.stocks."""
        fields = self._fields(symbol, ts, price, trade_id) | more
        self._put(CRYPTO, partition_of(symbol, self.partitions), symbol, Trade(**fields))
        for partition in range(self.partitions if symbol == BTC else 0):
            self._put(STOCKS, partition, symbol, Reference(**fields))

    def clock(self, ts: int) -> None:
        for topic in (STOCKS, CRYPTO):
            for partition in range(self.partitions):
                self._put(topic, partition, None, Clock(ts=ts, epoch=self.epoch))

    def raw(self, topic: str, partition: int, value: bytes | None, key: bytes | None = None) -> None:
        """Whatever a broken or foreign writer might put there."""
        self.entries.append(Entry(topic, partition, key, value, b"unknown"))

    def _fields(self, symbol: str, ts: int, price: float, trade_id: str) -> dict[str, Any]:
        base = {"symbol": symbol, "ts": ts, "received_ts": ts, "price": price, "id": trade_id, "epoch": self.epoch}
        return base | {"exchange": 1, "size": 0.25}

    def _put(self, topic: str, partition: int, key: str | None, record: Record) -> None:
        kind = type(record).__struct_config__.tag
        entry = Entry(topic, partition, key.encode() if key else None, encode(record), str(kind).encode())
        self.entries.append(entry)


def market_log(trades: int, partitions: int, seed: int = 1, spread: int = 1) -> list[Entry]:
    """A minute or so of a market with all that makes order and memory matter.

    2 ms apart on average, times ``spread``; 40 stocks and two crypto pairs; some trades are late (a few far too
    late), some are repeated, some are cancelled afterwards, some BTC trades are back-filled. After two thirds
    another ingest goes on with the next epoch, and the one that it replaced notices only after a while.
    """
    rng = random.Random(seed)
    log = LogBuilder(partitions)
    written: list[dict[str, Any]] = []
    ts, clock = T0, 0
    for i in range(trades):
        ts += rng.choice((0, 0, 1, 2, 7)) * 1_000 * spread
        if i == trades * 2 // 3:
            log.epoch = 2
        if 100 < i - trades * 2 // 3 < 2_000 and rng.random() < 0.05:
            log.epoch = 1
            log.stock(f"S{rng.randrange(40):02d}", ts, 1.0, f"old{i}")
            log.clock(clock + 10 * SECOND_US)
            log.epoch = 2
        if floor_to(ts, CLOCK_STEP_US) > clock:
            clock = floor_to(ts, CLOCK_STEP_US)
            log.clock(clock)
        if i % 25 == 0:
            symbol = BTC if i % 50 == 0 else "ETH-USD"
            late = rng.choice((0, 0, 40_000, 30 * SECOND_US if i % 50 else 0))
            more = {}
            if i % 450 == 0:
                late, more = rng.choice((2, 9, 25)) * SECOND_US, {"backfilled": True}
            log.crypto(symbol, ts - late, round(rng.uniform(9e4, 1e5), 2), f"c{i}", **more)
            continue
        written.append(_stock_trade(rng, i, ts, written))
        log.stock(**written[-1])
    log.clock(floor_to(ts, 60 * SECOND_US) + 120 * SECOND_US)
    return log.entries


def _stock_trade(rng: random.Random, i: int, ts: int, written: list[dict[str, Any]]) -> dict[str, Any]:
    draw = rng.random()
    if written and draw < 0.01:  # sent twice
        return dict(written[rng.randrange(max(0, len(written) - 2_000), len(written))])
    if written and draw < 0.015:  # a cancel of an earlier one
        original = written[rng.randrange(max(0, len(written) - 500), len(written))]
        return original | {"correction": 10}
    late = rng.choice((100_000, 900_000, 4 * SECOND_US, 30 * SECOND_US)) if draw > 0.97 else 0
    return {
        "symbol": f"S{rng.randrange(40):02d}",
        "ts": ts - late,
        "received_ts": ts,
        "price": round(rng.uniform(10, 20), 2),
        "trade_id": str(i),
        "size": float(rng.randint(1, 300)),
        "conditions": rng.choice(((), (14,), (37,), (12, 41), (22,))),
        "sequence": i,
    }


class Feeder(threading.Thread):
    """Writes entries into a namespace's topics, at ``rate`` a second (0: as fast as possible).

    It goes on up to the share of all entries that was last allowed: a test moves it step by step, so that what stands
    in the log at each step does not depend on the machine's speed.
    """

    def __init__(
        self, bootstrap: str, namespace: str, entries: Iterable[Entry], rate: float = 0, up_to: float = 1.0
    ) -> None:
        super().__init__(name="feeder", daemon=True)
        settings = {"linger.ms": 2, "enable.idempotence": True, "queue.buffering.max.messages": 1_000_000}
        self._producer = Producer({"bootstrap.servers": bootstrap, "log_level": 3, **settings})
        self._namespace = namespace
        self._entries = list(entries)
        self._pause = 1 / rate if rate else 0
        self._limit = up_to
        self._stopping = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self.join()

    def allow(self, up_to: float) -> None:
        """Go on up to that share of all entries."""
        self._limit = up_to

    def run(self) -> None:
        due = time.monotonic()
        for i, entry in enumerate(self._entries):
            due = max(due, time.monotonic() - 0.1) + self._pause
            while not self._stopping.is_set() and (due > time.monotonic() or i > self._limit * len(self._entries)):
                self._producer.poll(0.005)
            if self._stopping.is_set():
                break
            self._produce(entry)
        self._producer.flush(30)

    def _produce(self, entry: Entry) -> None:
        topic, headers = self._namespace + entry.topic, [("kind", entry.kind)]
        self._producer.produce(topic, entry.value, entry.key, entry.partition, headers=headers)


def write(bootstrap: str, namespace: str, entries: Iterable[Entry]) -> None:
    """Write all of them now."""
    feeder = Feeder(bootstrap, namespace, entries)
    feeder.start()
    feeder.join()
