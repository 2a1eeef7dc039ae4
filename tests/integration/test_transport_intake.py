"""What a service does not accept: records it cannot read, repeated trades, and what an older epoch wrote."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
import pytest

from marketdata.partition import partition_of
from marketdata.records import Trade
from tests.support.logs import BTC, STOCKS, T0, LogBuilder, write
from tests.support.topics import Values, new_namespace, read_topic
from tests.support.workers import Worker, eventually

pytestmark = pytest.mark.integration
PARTITIONS = 2
MS = 1_000
HOME = partition_of("MARA", PARTITIONS)
AWAY = 1 - HOME
UNREADABLE = {
    b"not json at all \xff\x00": "malformed",
    b'{"kind":"candle","symbol":"MARA"}': "candle",
    b'{"kind":"trade","symbol":"MARA"}': "missing required field",
    b'{"kind":"clock","ts":"noon","epoch":1}': "Expected `int`",
    None: "NoneType",
}


class Outcome(NamedTuple):
    """Where each unreadable record stood, and what came out."""

    places: list[tuple[int, bytes | None]]
    ratios: list[list[Values]]
    dead: list[Values]


def make_log() -> tuple[LogBuilder, list[tuple[int, bytes | None]]]:
    """Trades A to E of MARA, between them what must not come out, and at the end a clock."""
    log, unreadable = LogBuilder(PARTITIONS), iter(UNREADABLE)
    places: list[tuple[int, bytes | None]] = []

    def broken() -> None:
        value = next(unreadable)
        places.append((sum(e.partition == HOME and e.topic == STOCKS for e in log.entries), value))
        log.raw(STOCKS, HOME, value, b"MARA")

    def stock(name: str, ms: int, **more: Any) -> Trade:
        return log.stock("MARA", T0 + ms * MS, 10.0, name, **more)

    log.crypto(BTC, T0, 50_000.0, "b")
    broken()
    stock("A", 1)
    broken()
    log.clock(T0 + 50 * MS)
    stock("A", 1)  # sent twice
    stock("A", 1, exchange=5)  # another exchange: another trade
    stock("B", 60)
    broken()
    log.epoch = 3
    stock("C", 70)
    broken()
    log.epoch = 2  # a writer that was replaced and has not noticed yet
    stock("old", 80)
    log.clock(T0 + 100 * MS)
    log.crypto(BTC, T0 + 80 * MS, 1.0, "b-old")
    log.epoch = 3
    stock("B", 60)  # what the new one fills in again
    stock("D", 90)
    broken()
    log.clock(T0 + 150 * MS)
    log.clock(T0 + 100 * MS)  # a clock never goes back
    stock("E", 160)
    log.clock(T0 + 200 * MS)
    return log, places


@pytest.fixture(scope="module")
def outcome(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    log, places = make_log()
    path = tmp_path_factory.mktemp("intake") / "ratio.log"
    with new_namespace(kafka, PARTITIONS, STOCKS, "ratios", "ratio_mark", "ratio.dlq") as namespace:
        write(kafka, namespace, [e for e in log.entries if e.topic == STOCKS])
        with Worker("services.ratio", kafka, namespace, path, PARTITIONS=str(PARTITIONS)) as worker:

            def last(partition: list[Values]) -> int:
                return int(partition[-1]["ts"]) if partition else 0

            topic = namespace + "ratios"
            eventually(lambda: {last(p) for p in read_topic(kafka, topic)} == {T0 + 200 * MS}, "the last clock")
            assert worker.terminate()[0] == 0
        yield Outcome(places, read_topic(kafka, topic), read_topic(kafka, namespace + "ratio.dlq")[0])


def test_each_unreadable_record_is_kept_with_its_reason_and_its_place(outcome: Outcome) -> None:
    found = [(letter["offset"], base64.b64decode(letter["raw"])) for letter in outcome.dead]
    assert found == [(offset, value or b"") for offset, value in outcome.places]
    for letter, words in zip(outcome.dead, UNREADABLE.values(), strict=True):
        assert letter["reason"].startswith("not a record of trades.stocks: ")
        assert words in letter["reason"]
        assert (letter["kind"], letter["service"], letter["partition"]) == ("dead_letter", "ratio", HOME)
        assert letter["topic"].endswith(STOCKS)
        assert letter["ts"] > T0


def test_the_stream_goes_on_past_them(outcome: Outcome) -> None:
    trades = [r for r in outcome.ratios[HOME] if r["kind"] == "ratio"]
    assert [(r["id"], r["exchange"]) for r in trades] == [("A", 4), ("A", 5), ("B", 4), ("C", 4), ("D", 4), ("E", 4)]
    assert {r["btc_price"] for r in trades} == {50_000.0}


def test_an_older_epoch_and_a_clock_that_goes_back_are_dropped(outcome: Outcome) -> None:
    clocks = [(r["ts"], r["epoch"]) for r in outcome.ratios[AWAY] if r["kind"] == "clock"]
    assert clocks == [(T0 + 50 * MS, 1), (T0 + 100 * MS, 2), (T0 + 150 * MS, 3), (T0 + 200 * MS, 3)]
    at_home = [(r["ts"], r["epoch"]) for r in outcome.ratios[HOME] if r["kind"] == "clock"]
    assert at_home == [(T0 + 50 * MS, 1), (T0 + 150 * MS, 3), (T0 + 200 * MS, 3)]
    references = [[r["id"] for r in records if r["kind"] == "reference"] for records in outcome.ratios]
    assert references[HOME] == ["b"]


def test_what_is_passed_on_stands_as_it_came(outcome: Outcome) -> None:
    log, _ = make_log()
    written = [e.value for e in log.entries if e.topic == STOCKS and e.partition == AWAY]
    for record in outcome.ratios[AWAY]:
        partition, offset, n = record.pop("src")
        assert (partition, n) == (AWAY, 0)
        assert record == msgspec.json.decode(written[offset] or b"")
