"""The live view in a terminal: a line for each finished candle, and below it rates and lag."""

from __future__ import annotations

import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime

import msgspec
from confluent_kafka import OFFSET_END, Consumer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from marketdata.calendar import TradingHours, new_york_hours
from marketdata.intervals import EXCHANGE_DAY
from marketdata.records import Candle
from marketdata.sessions import MarketState, market_state
from marketdata.topics import MARKETS, Topics
from streaming.kafkaclient import client_config

HEADER = (
    f"{'time (UTC)':<21} {'symbol':<8} {'int':>5} {'open':>11} {'high':>11} {'low':>11} {'close':>11} "
    f"{'V':>11} {'T':>5} {'change':>9} {'%':>8} {'latency':>8}"
)
_GREEN, _RED, _OFF = "\x1b[32m", "\x1b[31m", "\x1b[0m"
_decode = msgspec.json.Decoder(Candle).decode


class LiveView:
    """Prints finished candles of some intervals as they come, and a status line every two seconds.

    ``change`` is against the previous close of the same symbol and interval. On a terminal the status line stays at
    the bottom and is drawn again; elsewhere it is an ordinary line every ten seconds.
    """

    def __init__(
        self, bootstrap: str, topics: Topics, intervals: tuple[str, ...], metrics: Mapping[str, int]
    ) -> None:
        self._terminal = sys.stdout.isatty()
        self._metrics = metrics
        self._closes: dict[tuple[str, str], float] = {}
        self._status_every = 2.0 if self._terminal else 10.0
        self._last_counts: tuple[float, float] = (time.monotonic(), 0.0)
        self._hours: TradingHours | None = None
        threading.Thread(target=self._load_hours, name="calendar", daemon=True).start()
        self.candles = 0
        self._consumer = Consumer(client_config(bootstrap, {"group.id": "live-view", "enable.auto.commit": False}))
        self._consumer.assign(list(_places(self._consumer, topics, intervals)))

    def run(self, until: Callable[[], bool]) -> None:
        """Print until ``until`` says so; it is asked several times a second."""
        print(HEADER, flush=True)
        next_status = time.monotonic() + 2
        try:
            while not until():
                for message in self._consumer.consume(100, 0.2):
                    if message.error() is None and (value := message.value()):
                        self._candle(_decode(value))
                if time.monotonic() >= next_status:
                    self._status()
                    next_status = time.monotonic() + self._status_every
        finally:
            self._consumer.close()
            if self._terminal:
                print("\r\x1b[K", end="", flush=True)

    def _load_hours(self) -> None:
        """Aside, for it takes a second or more, which no candle should wait for."""
        self._hours = new_york_hours()

    def _candle(self, candle: Candle) -> None:
        if candle.hours != "all" and candle.interval != EXCHANGE_DAY:
            return
        self.candles += 1
        line = self._line(candle)
        print(f"\r\x1b[K{line}" if self._terminal else line, flush=True)

    def _line(self, candle: Candle) -> str:
        price = candle.price
        key = (candle.symbol, candle.interval)
        before = self._closes.get(key, price.open)
        if price.close is not None:
            self._closes[key] = price.close
        change = price.close - before if price.close is not None and before is not None else None
        percent = 100 * change / before if change is not None and before else None
        start = datetime.fromtimestamp(candle.timestamp_in / 1e6, UTC)
        revised = f" revision {candle.revision}" if candle.revision else ""
        text = (
            f"{start:%Y-%m-%d %H:%M:%S.}{start.microsecond // 100_000} {candle.symbol:<8} {candle.interval:>5} "
            f"{_price(price.open)} {_price(price.high)} {_price(price.low)} {_price(price.close)} "
            f"{_volume(price.volume)} {price.trade_count:>5} {_signed(change, 9)} {_signed(percent, 7)}% "
            f"{candle.latency_ms:>6.0f}ms{revised}"
        )
        if not self._terminal or not change:
            return text
        return f"{_GREEN if change > 0 else _RED}{text}{_OFF}"

    def _status(self) -> None:
        counts = scrape(self._metrics)
        now = time.monotonic()
        then, before = self._last_counts
        trades = counts.get("ingest_trades_written_total", 0.0)
        rate = f"{(trades - before) / (now - then):,.0f}" if before else "..."
        self._last_counts = (now, trades)
        market = None if self._hours is None else market_state(time.time_ns() // 1_000, self._hours)
        text = footer(rate, counts, self.candles, market)
        print(f"\r\x1b[K{text}" if self._terminal else text, end="" if self._terminal else "\n", flush=True)


def footer(rate: str, counts: Mapping[str, float], candles: int, market: MarketState | None) -> str:
    """The status line: trades a second, lag of each stage, and, once it is known, whether the exchange is open."""
    exchange = "" if market is None else f" | NYSE {market}"
    return (
        f"-- {rate} trades/s | lag: ratio {counts.get('stage_lag_records:ratio', 0):,.0f}, "
        f"candles {counts.get('stage_lag_records:aggregator', 0):,.0f}, "
        f"rows {counts.get('sink_lag_records', 0):,.0f} records | {candles} candles shown{exchange}"
    )


def _places(consumer: Consumer, topics: Topics, intervals: tuple[str, ...]) -> Iterator[TopicPartition]:
    known = consumer.list_topics(timeout=10).topics
    for market in MARKETS:
        for interval in intervals:
            topic = topics.candles(market, interval)
            for partition in known[topic].partitions if topic in known else ():
                yield TopicPartition(topic, partition, OFFSET_END)


def scrape(metrics: Mapping[str, int]) -> dict[str, float]:
    """The sum of each sample over its labels; of the stages also by service (``stage_lag_records:ratio``)."""
    sums: dict[str, float] = {}
    for service, port in metrics.items():
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=1) as answer:
                text = answer.read(4_000_000).decode()
        except OSError:
            continue  # it may be starting or stopping; the next line shows it again
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                for name in (sample.name, f"{sample.name}:{service.split('-')[0]}"):
                    sums[name] = sums.get(name, 0.0) + sample.value
    return sums


def _price(value: float | None) -> str:
    return f"{'-':>11}" if value is None else f"{value:>11,.4f}" if value < 10_000 else f"{value:>11,.2f}"


def _signed(value: float | None, width: int) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:>+{width}.3f}"


def _volume(value: float) -> str:
    return f"{value:>11,.0f}" if value >= 1_000 else f"{value:>11,.4g}"
