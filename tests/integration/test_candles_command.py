"""``market candles`` on a real Kafka: the newest candles of one symbol, each in its last revision."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner, Result

from market.cli import app
from market.history import LOOK_BACK, CandleHistory
from marketdata.partition import partition_of
from marketdata.records import Candle, PriceBlock, RatioBlock, encode
from marketdata.topics import Topics
from tests.support.topics import new_namespace

pytestmark = pytest.mark.integration
MINUTE = 60_000_000
T0 = 1_794_407_400_000_000  # 2026-11-11 14:30 UTC
PARTITION = partition_of("MARA", 6)


@pytest.fixture
def namespace(kafka: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka)
    with new_namespace(kafka, 6, "candles.stocks.1m", "candles.rebuilt.stocks") as name:
        monkeypatch.setenv("NAMESPACE", name)
        yield name


def candle(minute: int, n: int, close: float, revision: int = 0, hours: str = "all", symbol: str = "MARA") -> Candle:
    price = PriceBlock(20.0, 21.0, 19.5, close, 20.2, 20.25, 1_027_300.0, 3, 4)
    return Candle(symbol=symbol, interval="1m", hours=hours, timestamp_in=T0 + minute * MINUTE,  # type: ignore[arg-type]
                  end=T0 + (minute + 1) * MINUTE, timestamp_out=T0, latency_ms=0.5, revision=revision, price=price,
                  ratio=RatioBlock(2e-4, 3e-4, 1e-4, 2.25e-4, 2e-4, 2e-4, 3), src=(0, n, 0),
                  session="regular")  # fmt: skip


def write(kafka: str, topic: str, *candles: Candle) -> None:
    producer = Producer({"bootstrap.servers": kafka})
    for one in candles:
        producer.produce(topic, encode(one), key=one.symbol, partition=PARTITION)
    assert producer.flush(20) == 0


def shown(*arguments: str) -> Result:
    result = CliRunner().invoke(app, ["candles", *arguments])
    assert result.exit_code == 0, result.output
    return result


def test_the_newest_ones_in_their_last_revision(kafka: str, namespace: str) -> None:
    topics = Topics(namespace)
    own = [candle(n, n, 20.0 + n) for n in range(6)]
    late = candle(4, 7, 24.5, revision=1)
    repeats = [candle(4, 4, 99.0, revision=5), candle(5, 5, 99.0, revision=5)]  # of a writer that was replaced
    others = [candle(5, 8, 1.0, hours="regular"), candle(5, 9, 2.0, symbol="HUT")]
    write(kafka, topics.candles("stocks", "1m"), *own, candle(9, 6, 77.0, symbol="HUT"), late, *repeats, *others)
    write(kafka, topics.rebuilt("stocks"), candle(3, 1, 23.5, revision=1))
    found = [json.loads(row) for row in shown("MARA", "1m", "-n", "4", "--json").stdout.splitlines()]
    assert [(c["timestamp_in"], c["price"]["close"], c["revision"]) for c in found] == [
        (T0 + 2 * MINUTE, 22.0, 0), (T0 + 3 * MINUTE, 23.5, 1),
        (T0 + 4 * MINUTE, 24.5, 1), (T0 + 5 * MINUTE, 25.0, 0),
    ]  # fmt: skip
    heading, *rows = shown("MARA", "1m", "-n", "2").stdout.splitlines()
    assert heading.split()[:3] == ["start", "(UTC)", "session"]
    assert [row.split()[6] for row in rows] == ["24.5", "25"]
    assert rows[0].endswith("revision 1")
    assert "1,027,300" in rows[1]
    assert "0.000225" in rows[1]
    assert [row.split()[6] for row in shown("MARA", "--hours", "regular").stdout.splitlines()[1:]] == ["1"]
    assert "no candle of RIOT" in CliRunner().invoke(app, ["candles", "RIOT"]).output


def test_older_ones_are_looked_for_further_back_and_newer_ones_followed(kafka: str, namespace: str) -> None:
    topics = Topics(namespace)
    topic = topics.candles("stocks", "1m")
    write(kafka, topic, candle(0, 0, 20.0), *(candle(n, n, 1.0, symbol="HUT") for n in range(1, LOOK_BACK + 50)))
    history = CandleHistory(kafka, topics, "MARA", interval="1m", hours="all", capacity=10)
    history.read(1)
    assert [one.price.close for one in history.buffer] == [20.0]
    stopped = threading.Event()
    following = history.follow(stopped.is_set)
    write(kafka, topic, candle(1, LOOK_BACK + 60, 21.0), candle(1, LOOK_BACK + 61, 21.5, revision=1))
    assert [next(following).price.close for _ in range(2)] == [21.0, 21.5]
    stopped.set()
    assert list(following) == []
    assert [one.price.close for one in history.buffer] == [20.0, 21.5]


def test_an_interval_without_a_topic_is_told(namespace: str) -> None:
    result = CliRunner().invoke(app, ["candles", "MARA", "7m"])
    assert result.exit_code == 1
    assert "is 7m among INTERVALS?" in result.output
