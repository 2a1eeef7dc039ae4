"""The contest with peers: its input, the candles expected of it, the check of outputs, and the report."""

import importlib.util
import re
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import msgspec
import pytest

from bench.outputs import Closing, candles_topic
from bench.peers import report
from bench.peers.candles import CANDLES, CONTENDERS, DEFAULT, RESTRICTED
from bench.peers.contenders import Contender
from bench.peers.contest import Runs
from bench.peers.environments import HERE, version_of
from bench.peers.market import START_US, WINDOW_US, Bar, Scale, Tally, records
from bench.peers.outputs import collect, differences, read_ours, read_peer
from marketdata.calendar import new_york_hours
from marketdata.candles import CandleEngine
from marketdata.feature_book import FeatureBook, FeatureSettings
from marketdata.intervals import levels
from marketdata.partition import partition_of
from marketdata.records import Clock, Ratio, encode
from marketdata.ticks import tick_of_ratio
from marketdata.units import SECOND_US
from services.aggregator.settings import AggregatorSettings

SMALL = Scale(symbols=20, partitions=3, rate=200)
TRADES = 7_001  # 35 s: three windows, the last of them cut


def played(trades: int = TRADES) -> list[tuple[int, Ratio | Clock]]:
    return list(records(SMALL, trades))


def expected(trades: int = TRADES) -> dict[tuple[str, int], Bar]:
    tally = Tally()
    for _, record in played(trades):
        if isinstance(record, Ratio):
            tally.add(record)
    return tally.bars()


def trade(symbol: str, ts: int, price: float, size: float) -> Ratio:
    return Ratio(symbol, ts, ts, 4, "1", 1, price, size, int(size), True, True, True, (0, 0, 0), ts, None, None, None,
                 None, None, None, None, None)  # fmt: skip


def message(value: bytes, ms: int = 0, key: bytes | None = None) -> Any:
    return SimpleNamespace(
        value=lambda: value, timestamp=lambda: (2, ms), key=lambda: key, error=lambda: None, partition=lambda: 0
    )


def test_a_shorter_input_is_the_beginning_of_a_longer_one() -> None:
    short, long = (
        [r for _, r in played(n) if isinstance(r, Ratio)][SMALL.symbols : -SMALL.symbols] for n in (3_000, TRADES)
    )

    assert len(short) == 3_000
    assert len(long) == TRADES
    assert [encode(record) for record in short] == [encode(record) for record in long[:3_000]]


def test_the_log_is_in_order_and_no_trade_is_late() -> None:
    newest, clocks, places = [0] * 3, [0] * 3, [0] * 3
    for partition, record in played():
        assert record.src is not None
        assert record.src[:2] > (partition, places[partition])
        places[partition] = record.src[1]
        if isinstance(record, Ratio):
            assert partition == partition_of(record.symbol, 3)
            assert record.ts >= max(newest[partition], clocks[partition])
            newest[partition] = record.ts
        else:
            clocks[partition] = record.ts


def test_every_symbol_trades_once_before_the_market_and_once_after_it() -> None:
    trades = [record for _, record in played() if isinstance(record, Ratio)]
    before, after = trades[: SMALL.symbols], trades[-SMALL.symbols :]

    assert len({record.symbol for record in before}) == len({record.symbol for record in after}) == SMALL.symbols
    assert {record.ts for record in before} == {START_US - WINDOW_US}
    assert {record.ts for record in after} == {START_US + 3 * WINDOW_US}


def test_candles_worked_out_by_hand() -> None:
    tally = Tally()
    for at, price, size in ((0, 10.0, 5.0), (1, 12.5, 1.0), (14_999_999, 9.0, 2.0), (15_000_000, 11.0, 3.0)):
        tally.add(trade("A", START_US + at, price, size))
    tally.add(trade("A", START_US + 2 * WINDOW_US, 1.0, 1.0))

    assert tally.bars() == {
        ("A", START_US): Bar(10.0, 12.5, 9.0, 9.0, 8.0, 3),
        ("A", START_US + WINDOW_US): Bar(11.0, 11.0, 11.0, 11.0, 3.0, 1),
    }


def test_the_products_own_engine_makes_the_expected_candles() -> None:
    sessions = new_york_hours()
    tree = levels(("500ms", "15s"), sessions)
    engine = CandleEngine(tree, SECOND_US)
    closing = Closing(engine, FeatureBook(engine, tree, FeatureSettings((), ("all",), sessions)), tree, sessions)
    for partition, record in played():
        if isinstance(record, Ratio):
            assert engine.add(record.symbol, tick_of_ratio(record), record.ts)
        elif partition == 0:  # the same in all
            closing.advance(record.ts)
    written = [message(value) for topic, value in closing.outputs.take() if topic == candles_topic("15s")]

    found = collect(written, read_ours, expected())

    assert len(found.bars) == 20 * 4  # the one before, and the market's three
    assert differences(found, expected()) == []


def test_the_hand_written_loop_makes_the_expected_candles(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BOOTSTRAP", "GROUP", "SOURCE", "OUTPUT"):
        monkeypatch.setenv(name, "127.0.0.1:9")
    peer = loop_peer()
    loop = peer.Loop()
    sent: list[Any] = []
    loop.producer = SimpleNamespace(produce=lambda topic, value, key: sent.append(message(value)))
    candles: dict[bytes, Any] = {}
    for batch in batches(played()):
        loop.take(batch, candles)

    assert differences(collect(sent, read_peer, expected()), expected()) == []


def loop_peer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("loop_peer", HERE / "loop" / "peer.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def batches(log: list[tuple[int, Ratio | Clock]]) -> Iterator[list[Any]]:
    for n in range(0, len(log), 500):
        yield [
            message(encode(record), key=record.symbol.encode() if isinstance(record, Ratio) else None)
            for _, record in log[n : n + 500]
        ]


def written(*candles: tuple[str, int, float], ms: int = 0) -> list[Any]:
    return [
        message(
            msgspec.json.encode({"symbol": symbol, "start": start, "open": 1.0, "high": 2.0, "low": 1.0,
                                 "close": close, "volume": 3.0, "count": 2}), ms + n)
        for n, (symbol, start, close) in enumerate(candles)
    ]  # fmt: skip


GOOD = Bar(1.0, 2.0, 1.0, 1.5, 3.0, 2)


def test_the_clock_runs_from_the_first_compared_candle_to_the_last() -> None:
    found = collect(
        written(("A", 0, 1.5), ("A", 15, 1.5), ("A", 30, 9.0), ms=4_000), read_peer, {("A", 0): GOOD, ("A", 15): GOOD}
    )

    assert (found.first, found.last) == (4.0, 4.001)  # the last window is nobody's
    assert differences(found, {("A", 0): GOOD, ("A", 15): GOOD}) == []


@pytest.mark.parametrize(
    ("candles", "complaint"),
    [
        ([("A", 0, 1.5)], "1 of 2 candles missing"),
        ([("A", 0, 1.5), ("A", 15, 1.25)], "1 of 2 candles different"),
        ([("A", 0, 1.5), ("A", 15, 1.5), ("A", 15, 1.5)], "1 of 2 candles written twice"),
        ([("A", 0, 1.5), ("A", 15, 1.5), ("B", 0, 1.5)], "1 of 2 candles not expected"),
    ],
)
def test_a_wrong_output_is_named(candles: list[tuple[str, int, float]], complaint: str) -> None:
    right = {("A", 0): GOOD, ("A", 15): GOOD}

    assert complaint in differences(collect(written(*candles), read_peer, right), right)


@pytest.mark.parametrize("settings", [RESTRICTED, DEFAULT])
def test_the_product_takes_its_settings(settings: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in settings.items():
        assert name.lower() in AggregatorSettings.model_fields
        monkeypatch.setenv(name, value)

    taken = AggregatorSettings()

    assert taken.markets == ("stocks",)
    assert (taken.feature_intervals == ()) == (settings is RESTRICTED)


def test_every_peer_is_pinned_whole_and_names_no_index() -> None:
    for contender in CONTENDERS:
        if contender.package:
            assert re.fullmatch(r"\S+ [\d.]+", contender.version)
    for pinned in HERE.glob("*/requirements.txt"):
        for line in pinned.read_text(encoding="utf-8").splitlines():
            assert re.fullmatch(r"[a-z0-9-]+(\[[a-z,]+\])?==[\w.]+", line), f"{pinned}: {line}"


def test_kafka_streams_is_of_the_brokers_version() -> None:
    from market.native.jars import KAFKA_VERSION

    assert version_of("kafka_streams", "kafka-streams") == KAFKA_VERSION


def runs_of(name: str, *rates: float, failed: str | None = None) -> Runs:
    contender: Contender = next(c for c in CONTENDERS if c.name == name)
    return Runs(contender, 100_000, 800, list(rates), [1.25] * len(rates), failed)


def test_our_share_is_the_median_over_runs_of_what_stood_side_by_side() -> None:
    found = [runs_of("ours", 100, 200, 300), runs_of("loop", 400, 400, 400), runs_of("quix", 50, 20, 100)]

    result = report.figures(CANDLES, SMALL, found)

    assert [one["ours_to_it"] for one in result["contenders"].values()] == [None, 0.5, 3.0]
    assert result["void"] == []
    assert report.missed([result]) == ["20.quix"]


def test_a_loop_far_below_its_own_best_voids_the_run_and_a_failure_counts_as_missed() -> None:
    found = [runs_of("ours", 100, 100), runs_of("loop", 400, 100), runs_of("faust", 5, failed="it fell over")]

    result = report.figures(CANDLES, SMALL, found)

    assert "fell to 25%" in result["void"][0]
    assert report.missed([result]) == ["20.faust"]
    lines = report.table({"date": "d", "command": "c", "commit": "x", "load_before": 0.1, "void": ["busy"],
                          "missed": ["20.faust"], "results": [result], "machine": dict.fromkeys(
                              ("cores", "cpu", "memory_gib", "system", "python", "java", "kafka", "librdkafka"), "m"),
                          })  # fmt: skip
    assert "FAILED: it fell over" in lines
    assert "VOID: busy" in lines
    assert re.search(r"hand-written loop \(confluent-kafka [\d.]+\) +250 +1.25 +0.62 +>= 0.25", lines)
