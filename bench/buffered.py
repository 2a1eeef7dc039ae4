"""What a day of 1 s candles of one symbol takes in the buffer of finished candles, and that all come back."""

from __future__ import annotations

import gc
import random
import time
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec
import psutil

from bench.outputs import Closing, candles_topic
from marketdata.bar import Tick
from marketdata.calendar import TradingHours, new_york_hours
from marketdata.candle_buffer import CandleBuffer
from marketdata.candles import CandleEngine
from marketdata.feature_book import FeatureBook, FeatureSettings
from marketdata.hours import ALL
from marketdata.intervals import levels
from marketdata.records import Candle, encode
from marketdata.units import DAY_US, SECOND_US

STARTS: Final = 1_794_355_200 * SECOND_US  # 2026-11-11, a trading day
TRADES: Final = 3
INTERVALS: Final = ("500ms", "1s")
_MIB: Final = 1024 * 1024
_decode: Final = msgspec.json.Decoder(Candle).decode


def measure_buffer(candles: int = DAY_US // SECOND_US) -> dict[str, Any]:
    """MB by which the process grows as it takes ``candles`` 1 s candles, and µs to take and to read one."""
    sessions = new_york_hours()  # with all that the calendar imports: no part of what is measured
    taken, crc = 0, 0
    before = _rss()
    buffer = CandleBuffer(candles)
    for candle in _candles(candles, sessions):
        crc = zlib.crc32(encode(candle), crc)
        taken += buffer.add(candle)
    del candle
    grown = _rss() - before
    began = time.process_time_ns()
    read = sum(1 for _ in buffer)
    reading = time.process_time_ns() - began
    return {
        "candles_1s": taken,
        "rss_grown_mb": round(grown / _MIB, 1),
        "bytes_per_candle": round(buffer.nbytes() / taken),
        "us_to_read_one": round(reading / read / 1_000, 2),
        "read_back_equal": _crc(buffer) == crc,
    }


def _candles(seconds: int, sessions: TradingHours) -> Iterator[Candle]:
    """A candle of all hours for each second of a day, with a price and a ratio, as the aggregator publishes it."""
    tree = levels(INTERVALS, sessions)
    engine = CandleEngine(tree, 60 * SECOND_US)
    closing = Closing(engine, FeatureBook(engine, tree, FeatureSettings(sessions=sessions)), tree, sessions)
    rng, price, btc, topic = random.Random(1), 20.0, 90_000.0, candles_topic("1s")
    for n in range(seconds):
        for i in range(TRADES):
            price, btc = price * (1 + rng.gauss(0, 0.0003)), btc * (1 + rng.gauss(0, 0.0001))
            ts, shown = STARTS + n * SECOND_US + rng.randrange(1_000) * 1_000, round(price, 2)
            number, size = TRADES * n + i, float(rng.randrange(1, 500))
            engine.add("S", Tick(ts, number, 4, str(number), 0, shown, size, True, True, True,
                                 shown / round(btc, 2)), ts)  # fmt: skip
        closing.advance(STARTS + (n + 1) * SECOND_US)
        found = (_decode(value) for name, value in closing.outputs.take() if name == topic)
        yield from (candle for candle in found if candle.hours == ALL)


def _crc(candles: Iterable[Candle]) -> int:
    crc = 0
    for candle in candles:
        crc = zlib.crc32(encode(candle), crc)
    return crc


def _rss() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)
