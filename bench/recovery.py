"""How soon candles flow again after a kill -9 of the aggregator, its session's time-out included."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec
import psutil
from confluent_kafka import Producer

from bench.context import PARTITIONS, Bench, BenchError, say
from bench.service import running
from marketdata.partition import partition_of
from marketdata.records import Clock, Progress, Ratio, Src, encode
from marketdata.units import CLOCK_STEP_US, SECOND_US, floor_to
from streaming.tails import read_back

HORIZON_S: Final = 900
INTERVALS: Final = "500ms,1s,5s,15s,30s,45s,1m,5m,15m,1h,4h,24h"
ALLOWANCE_US: Final = 250_000
SETTLE_S: Final = 12.0
PATIENCE_S: Final = 180.0
WARM_UP_S: Final = 1_200.0
MOST_FILLED: Final = 500_000
"""Ratios written before: how long a whole horizon of a high rate takes is not what is measured."""
_RATIO: Final = [("kind", b"ratio")]
_CLOCK: Final = [("kind", b"clock")]


class Market:
    """Writes ratios as the ratio service would: trades of many symbols, and a clock every 50 ms."""

    def __init__(self, bench: Bench, symbols: int, rate: int) -> None:
        self._producer = Producer({"bootstrap.servers": bench.servers.bootstrap, "enable.idempotence": True,
                                   "linger.ms": 5, "queue.buffering.max.messages": 1_000_000})  # fmt: skip
        self._topic = bench.topics.ratios
        names = [f"S{n:05d}" for n in range(symbols)]
        self._places = [(name, name.encode(), partition_of(name, PARTITIONS)) for name in names]
        self._random = random.Random(1)
        self._numbers = itertools.count(1)
        self._rate = rate
        self._offsets = [0] * PARTITIONS
        self._stopping = threading.Event()

    def fill(self, start: int, end: int) -> None:
        """All that happens from ``start`` up to ``end`` µs."""
        for ts in range(start, end, CLOCK_STEP_US):
            self._step(ts)
            self._producer.poll(0)
        self._producer.flush(60)

    def play(self, start: int) -> None:
        """Go on from ``start`` µs as the wall clock does, until ``stop``."""
        for ts in itertools.count(start, CLOCK_STEP_US):
            while time.time_ns() // 1_000 < ts + CLOCK_STEP_US + ALLOWANCE_US and not self._stopping.is_set():
                self._producer.poll(0.005)
            if self._stopping.is_set():
                break
            self._step(ts)
        self._producer.flush(30)

    def stop(self) -> None:
        """End ``play``."""
        self._stopping.set()

    def _step(self, ts: int) -> None:
        exact = self._rate * CLOCK_STEP_US / SECOND_US
        count = int(exact) + (self._random.random() < exact % 1)
        for at in sorted(self._random.randrange(CLOCK_STEP_US) for _ in range(count)):
            symbol, key, partition = self._random.choice(self._places)
            self._put(partition, key, encode(self._ratio(symbol, ts + at, partition)), _RATIO)
        for partition in range(PARTITIONS):
            clock = Clock(ts=ts + CLOCK_STEP_US, epoch=1, src=self._src(partition))
            self._put(partition, None, encode(clock), _CLOCK)

    def _ratio(self, symbol: str, ts: int, partition: int) -> Ratio:
        price, btc = round(self._random.uniform(10, 20), 2), 65_000.25
        return Ratio(
            symbol, ts, ts, 4, str(next(self._numbers)), 1, price, 100.0, 100, True, True, True, self._src(partition),
            ts, "BTC-USD", btc, ts - 1_000, 1_000, 0.5, price / btc, btc / price, None,
        )  # fmt: skip

    def _src(self, partition: int) -> Src:
        return (partition, self._offsets[partition], 0)

    def _put(self, partition: int, key: bytes | None, value: bytes, headers: list[tuple[str, bytes]]) -> None:
        self._offsets[partition] += 1
        while True:
            try:
                self._producer.produce(self._topic, value, key, partition, headers=headers)
            except BufferError:
                self._producer.poll(0.05)
            else:
                return


def measure_recovery(bench: Bench, symbols: int, rate: int) -> dict[str, Any]:
    """Seconds from the kill to the first candle that is new, and to the first that is on time again."""
    bench.broker.recreate(bench.topics.specs(PARTITIONS, tuple(INTERVALS.split(","))))
    market = Market(bench, symbols, rate)
    now = floor_to(time.time_ns() // 1_000, CLOCK_STEP_US)
    filled_s = min(HORIZON_S, MOST_FILLED // rate)
    start = now - filled_s * SECOND_US
    say(f"{rate} trades/s: writing {filled_s * rate:,} ratios of {symbols:,} symbols")
    market.fill(start, now)
    thread = threading.Thread(target=market.play, args=(now,), daemon=True)
    thread.start()
    try:
        return _killed(bench, now) | {"symbols": symbols, "trades_per_s": rate, "filled_s": filled_s}
    finally:
        market.stop()
        thread.join()


def _killed(bench: Bench, filled_to: int) -> dict[str, Any]:
    environment = {"MARKETS": "stocks", "INTERVALS": INTERVALS}
    with running(bench, "aggregator", **environment) as first:
        _wait(lambda: _slowest(bench) > filled_to, "the end of what was written before", WARM_UP_S)
        was_on_time = _until_on_time(bench, time.monotonic()) is not None
        time.sleep(SETTLE_S)  # a snapshot or two
        rss_mb = round(psutil.Process(first.child.pid).memory_info().rss / 1e6)
        say("killed")
        first.child.kill()
        killed, before = time.monotonic(), _candles(bench)
    with running(bench, "aggregator", **environment) as second:
        new = _wait(lambda: _candles(bench) > before, "a new candle", PATIENCE_S) - killed
        say(f"a new candle after {new:.2f} s")
        on_time = _until_on_time(bench, killed)
        read_again = second.metric("stage_read_again_total")
        restore = second.metric("stage_restore_seconds")
    return {"seconds_to_first_new_candle": round(new, 2), "seconds_until_on_time": on_time,
            "records_read_again": int(read_again), "restore_seconds": round(restore, 2),
            "rss_mb_before": rss_mb,
            "was_on_time": was_on_time}  # fmt: skip


def _until_on_time(bench: Bench, since: float) -> float | None:
    """Seconds from ``since`` until the newest 1 s progress is less than 2 s old; None if that does not come."""
    try:
        at = _wait(lambda: _slowest(bench) > time.time_ns() // 1_000 - 2 * SECOND_US, "candles on time", PATIENCE_S)
    except BenchError as error:
        say(str(error))
        return None
    return round(at - since, 2)


def _wait(condition: Callable[[], bool], what: str, patience_s: float) -> float:
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            raise BenchError(f"{what} did not come within {patience_s:.0f} s")
        time.sleep(0.1)
    return time.monotonic()


def _candles(bench: Bench) -> int:
    return bench.broker.records(bench.topics.candles("stocks", "500ms"))


def _slowest(bench: Bench) -> int:
    """Up to where 1 s candles are out in every partition, in µs; 0 before the first."""
    topic = bench.topics.progress("stocks")
    ends: dict[int, int] = {}
    for (_, partition), value in read_back(bench.servers.bootstrap, [(topic, p) for p in range(PARTITIONS)], 40):
        record = msgspec.json.decode(value, type=Progress)
        if record.interval == "1s":
            ends[partition] = record.end
    return min(ends.values()) if len(ends) == PARTITIONS else 0
