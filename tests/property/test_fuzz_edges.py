"""100,000 random and mutated frames and topic records: no crash, nothing lost, nothing taken for what it is not.

What a frame holds is judged by an oracle of its own, tests/support/vendor_oracle.py. ``FUZZ_SEED`` and ``FUZZ_TIMES``
(a multiple of the number of cases) set other runs.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import Message

from marketdata.calendar import new_york_hours
from marketdata.candles import CandleEngine
from marketdata.feature_book import FeatureBook, FeatureSettings
from marketdata.intake import Intake
from marketdata.intervals import levels
from marketdata.join import JoinSettings, RatioJoin
from marketdata.marks import Marks, MarkSettings
from marketdata.topics import Topics
from services.aggregator.crypto import CryptoProcessor
from services.aggregator.publisher import Publisher
from services.aggregator.stocks import StocksProcessor
from services.ingest.segments import Received
from services.ratio.processor import RatioProcessor
from services.sink.intake import Intake as SinkIntake
from services.sink.positions import Position
from services.sink.settings import SinkSettings
from streaming.processor import UnreadableError
from tests.support.bare_live import bare_live
from tests.support.mutations import change_bytes, change_value, dump, noise
from tests.support.vendor_oracle import judge, trades_in
from tests.unit.test_ingest_writer import FakeProducer, new_writer

SEED = int(os.environ.get("FUZZ_SEED", "1"))
TIMES = int(os.environ.get("FUZZ_TIMES", "1"))
NOW_MS = 1_709_650_800_123
NOW = NOW_MS * 1_000
FRAMES, RECORDS = 60_000 * TIMES, 10_000 * TIMES
FRESH_EVERY = 40
"""Records after which a service begins anew: one absurd epoch or clock rightly makes all that follows too old."""
CANDLES = "candles.stocks.500ms"
TOPICS, LEVELS = Topics("t."), levels(("500ms", "1s", "5s", "15s", "1m"))


# --- frames --------------------------------------------------------------------------------------------------------


def an_element(rng: random.Random, market: str) -> Any:
    name, t = f"{rng.getrandbits(64):016x}", NOW_MS - rng.randrange(60_000)
    draw = rng.random()
    if draw < 0.04:
        return {"ev": "status", "status": "success", "message": "subscribed to: T.MARA"}
    if draw < 0.08:
        return {"ev": rng.choice(["Q", "AM", "XQ", "LULD", "NEW"]), "sym": "MARA", "z": 12.0}
    if draw < 0.10:
        return rng.choice([5, None, "T", [], [1], True, {}, {"sym": "MARA"}])
    if (market == "stocks") == (draw < 0.97):
        made = {"ev": "T", "sym": rng.choice(["MARA", "RIOT"]), "x": rng.choice([4, 11]), "i": name, "z": 3,
                "p": 20.25, "s": 100, "c": [14, 41], "t": t, "q": 17, "pt": t}  # fmt: skip
        return made | rng.choice([{}, {}, {"trfi": 201, "trft": t}, {"ds": "100.5"}])
    return {"ev": "XT", "pair": "BTC-USD", "p": 65000.5, "t": t, "s": 0.25, "c": [2], "i": name, "x": 1, "r": t + 3}


def frames(rng: random.Random) -> Iterator[tuple[str, bytes]]:
    for _ in range(FRAMES):
        market = rng.choice(["stocks", "crypto"])
        elements = [an_element(rng, market) for _ in range(rng.choice((0, 1, 1, 2, 3, 6)))]
        draw = rng.random()
        if elements and draw < 0.55:
            victim = rng.choice(elements)
            if isinstance(victim, dict):
                change_value(rng, victim)
        elif elements and draw < 0.60:
            elements.append(rng.choice(elements))
        raw = dump(elements)
        if draw > 0.97:
            raw = noise(rng)
        elif draw > 0.70:
            raw = change_bytes(rng, raw)
        yield market, raw


class Ingest:
    """The live source's own way of a frame, without socket, queue and Kafka."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.producer = FakeProducer()
        monkeypatch.setattr("services.ingest.writer.exact_producer", lambda *_, **__: self.producer)
        self._live = bare_live(new_writer())

    def take(self, market: str, raw: bytes) -> tuple[list[tuple[Any, ...]], int, int]:
        """(trades that reached their topic, dead letters, repeats that were dropped)."""
        self.producer.written.clear()
        before = self._live._writer.counts()["duplicates"]
        self._live._write(Received(market, NOW, raw))
        written, dead = [], 0
        for topic, value, *_, headers in self.producer.written:
            record = json.loads(value)
            dead += topic == "t.ingest.dlq"
            if topic == f"t.trades.{market}" and headers == [("kind", b"trade")]:
                names = ("symbol", "exchange", "trf", "id", "ts", "price", "size")
                written.append(tuple(record.get(name, 0) for name in names))
        return written, dead, self._live._writer.counts()["duplicates"] - before


def test_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    rng, ingest, totals = random.Random(SEED), Ingest(monkeypatch), Counter[str]()
    known: set[tuple[Any, ...]] = set()  # a changed id can be one that was there before: a repeat, if not too old
    began = time.monotonic()
    for n, (market, raw) in enumerate(frames(rng)):
        verdict = judge(raw, market, NOW_MS)
        written, dead, repeats = ingest.take(market, raw)
        about = f"seed {SEED}, frame {n} on {market}: {raw!r}\nwritten {written}, {dead} dead, oracle {verdict}"
        totals += Counter(written=len(written), dead=dead, repeats=repeats, frames=1)
        if verdict is None:
            totals["no_array"] += 1
            # Broken UTF-8 in a field that nobody reads harms nobody.
            assert dead >= 1 or judge(raw.decode(errors="replace").encode(), market, NOW_MS), about
            assert not Counter(written) - Counter(trades_in(raw, market, NOW_MS)), about
            known |= {trade[:4] for trade in written}
            continue
        totals += Counter(ignored=verdict.ignored, statuses=verdict.statuses, either=verdict.either)
        if verdict.either:
            known |= {trade[:4] for trade in (*verdict.trades, *written)}
            continue
        new = {trade for trade in verdict.trades if trade[:4] not in known}
        assert new <= set(written) <= set(verdict.trades), about
        assert len(written) == len(set(written)) == len(verdict.trades) - repeats, about
        known |= {trade[:4] for trade in verdict.trades}
        assert dead == verdict.bad, about
        counted = len(written) + repeats + dead + verdict.ignored + verdict.statuses
        assert counted == verdict.elements, about
    print(f"{dict(totals)} in {time.monotonic() - began:.1f} s")
    assert totals["frames"] == FRAMES
    assert min(totals[name] for name in ("written", "dead", "no_array", "ignored", "repeats")) > FRAMES / 100
    assert totals["either"] < FRAMES / 50


# --- records on topics ---------------------------------------------------------------------------------------------


class FakeEmitter:
    def __init__(self) -> None:
        self.emitted: list[tuple[str, bytes]] = []

    def wants(self, _topic: str, _src: Any) -> bool:
        return True

    def emit(self, topic: str, _key: bytes | None, value: bytes, _headers: Any = None) -> None:
        json.loads(value.decode(errors="replace"))
        self.emitted.append((topic, value))


def a_trade(rng: random.Random, n: int, kind: str = "trade") -> dict[str, Any]:
    ts = NOW + n * 40_000 - rng.choice((0, 0, 5_000_000))
    symbol = "MARA" if kind == "trade" else "BTC-USD"
    made = {"kind": kind, "symbol": symbol, "ts": ts, "received_ts": ts, "price": 20.5, "size": 10.5, "exchange": 4,
            "id": f"{rng.getrandbits(40)}", "epoch": 1}  # fmt: skip
    more: list[dict[str, Any]] = [{}, {"conditions": [14, 41]}, {"trf": 201, "trf_ts": ts},
                                  {"backfilled": True, "ts_ns": ts}, {"correction": 10}]  # fmt: skip
    return made | rng.choice(more)


def a_band(rng: random.Random, n: int) -> dict[str, Any]:
    ts = NOW + n * 40_000
    return {"kind": "band", "symbol": "MARA", "ts": ts, "received_ts": ts, "epoch": 1, "limit_up": 22.5,
            "limit_down": rng.choice((18.5, None)), "indicators": [rng.randrange(14, 31)], "sequence": n}  # fmt: skip


def a_clock(_rng: random.Random, n: int) -> dict[str, Any]:
    return {"kind": "clock", "ts": (NOW + n * 40_000) // 50_000 * 50_000, "epoch": 1}


def a_ratio(rng: random.Random, n: int) -> dict[str, Any]:
    made = a_trade(rng, n) | {"kind": "ratio", "stock_price": 20.5, "stock_size": 10.5, "stock_volume": 10}
    for name in ("price", "size", "conditions", "trf_ts", "backfilled", "ts_ns"):
        made.pop(name, None)
    made |= {"eligible": True, "updates_open_close": True, "updates_volume": True, "timestamp_out": NOW}
    return made | {"reference": "BTC-USD", "btc_price": 65e3, "btc_ts": NOW, "btc_age_us": 0, "btc_volume": 1.5,
                   "ratio": 20.5 / 65e3, "inverse_ratio": 65e3 / 20.5, "reason": None}  # fmt: skip


def a_candle(_rng: random.Random, n: int) -> dict[str, Any]:
    start = (NOW + n * 500_000) // 500_000 * 500_000
    price = dict.fromkeys(("open", "high", "low", "close", "avg", "vwap"), 20.5)
    ratio = dict.fromkeys(("open", "high", "low", "close", "avg", "twap"), 0.5)
    return {"kind": "candle", "symbol": "MARA", "interval": "500ms", "hours": "all", "timestamp_in": start,
            "end": start + 500_000, "timestamp_out": start, "latency_ms": 1.5, "revision": n % 2,
            "price": price | {"volume": 1.0, "tick_count": 1, "trade_count": 1},
            "ratio": ratio | {"tick_count": 1}}  # fmt: skip


def records(
    rng: random.Random, n: int, makers: list[Callable[..., dict[str, Any]]], *, src: bool
) -> tuple[bytes, bool]:
    """One record and whether it was left as it should be."""
    made = rng.choice(makers)(rng, n)
    if src:
        made["src"] = [0, n, 0]
    draw = rng.random()
    if draw < 0.3:
        return dump(made), True
    if draw < 0.7:
        change_value(rng, made)
        return dump(made), False
    return (noise(rng) if draw > 0.97 else change_bytes(rng, dump(made))), False


def ratio_service() -> tuple[Any, FakeEmitter]:
    emitter: Any = FakeEmitter()
    return RatioProcessor(
        0, emitter, TOPICS, RatioJoin("BTC-USD", new_york_hours(), JoinSettings()), Marks(MarkSettings())
    ), emitter


def publisher(market: str, emitter: Any) -> tuple[CandleEngine, FeatureBook, Publisher]:
    engine = CandleEngine(LEVELS, 900_000_000)
    book = FeatureBook(engine, LEVELS, FeatureSettings())
    return engine, book, Publisher(market, TOPICS, LEVELS, 0, emitter, book, None, ("all",))


def stocks_candles() -> tuple[Any, FakeEmitter]:
    emitter: Any = FakeEmitter()
    return StocksProcessor(0, *publisher("stocks", emitter)), emitter


def crypto_candles() -> tuple[Any, FakeEmitter]:
    emitter: Any = FakeEmitter()
    return CryptoProcessor(0, Intake(900_000_000), *publisher("crypto", emitter)), emitter


def a_reference(rng: random.Random, n: int) -> dict[str, Any]:
    return a_trade(rng, n, "reference")


@pytest.mark.parametrize(
    ("service", "makers", "src"),
    [
        (ratio_service, [a_trade, a_trade, a_reference, a_band, a_clock], False),
        (stocks_candles, [a_ratio, a_ratio, a_band, a_clock], True),
        (crypto_candles, [a_trade, a_trade, a_clock], False),
    ],
)
def test_records_of_the_agents(service: Callable[[], tuple[Any, FakeEmitter]], makers: list[Any], src: bool) -> None:
    rng, totals = random.Random(SEED), Counter[str]()
    for n in range(RECORDS + FRESH_EVERY):
        if n % FRESH_EVERY == 0:
            processor, _ = service()
        raw, whole = records(rng, n, makers, src=src)
        totals["records"] += 1
        try:
            processor.process(n, raw, NOW)
            processor.finish(NOW)
        except UnreadableError as error:
            if whole:
                raise AssertionError(f"seed {SEED}, record {n}: {raw!r}") from error
            totals["dead"] += 1
        except Exception as error:
            raise AssertionError(f"seed {SEED}, record {n}: {raw!r}") from error
        else:
            totals["whole" if whole else "read_all_the_same"] += 1
            if not whole and not isinstance(_plain(raw), dict):
                raise AssertionError(f"seed {SEED}, record {n} is no JSON object and was read: {raw!r}")
    print(f"{service.__name__}: {dict(totals)}")
    assert totals["records"] == totals["dead"] + totals["whole"] + totals["read_all_the_same"]
    assert min(totals["dead"], totals["whole"], totals["read_all_the_same"]) > RECORDS / 20


def _plain(raw: bytes) -> Any:
    try:
        return json.loads(raw.decode(errors="replace"))
    except ValueError:
        return None


def test_records_of_the_sink() -> None:
    rng, totals = random.Random(SEED), Counter[str]()
    for first in range(0, RECORDS + 2 * FRESH_EVERY, FRESH_EVERY):
        intake = SinkIntake(SinkSettings(namespace="", dead_letter_share=1), lambda: NOW)
        intake.place({(name, 0): Position(0, None) for name in ("ratios", CANDLES)})
        for offset in range(FRESH_EVERY):
            for topic, maker in (("ratios", a_ratio), (CANDLES, a_candle)):
                raw, whole = records(rng, first + offset, [maker], src=True)
                dead = len(intake.batch.dead)
                headers = rng.choice([None, [("kind", b"ratio" if topic == "ratios" else b"candle")]])
                try:
                    intake.take([Message(topic=topic, partition=0, offset=offset, value=raw, headers=headers)])
                except Exception as error:
                    raise AssertionError(f"seed {SEED}, {topic}: {raw!r}") from error
                assert not whole or len(intake.batch.dead) == dead, (
                    f"seed {SEED}: {raw!r}: {intake.batch.dead[-1].reason}"
                )
                totals += Counter(records=1, whole=whole)
        batch = intake.seal()
        assert {place: step.next_offset for place, step in batch.moves.items()} == {
            ("ratios", 0): FRESH_EVERY, (CANDLES, 0): FRESH_EVERY}  # fmt: skip
        totals["dead"] += len(batch.dead)
    print(f"sink: {dict(totals)}")
    assert totals["records"] >= RECORDS
    assert min(totals["dead"], totals["whole"]) > RECORDS / 20
