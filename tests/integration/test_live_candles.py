"""Candles under way on a real Kafka: at the wall clock's pace, beside topics that are as exact as without them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from marketdata.partition import partition_of
from marketdata.units import CLOCK_STEP_US, floor_to
from tests.support.logs import LogBuilder, write
from tests.support.topics import Values, new_namespace, read_messages, read_topic
from tests.support.workers import Worker, eventually

pytestmark = pytest.mark.integration
PARTITIONS = 2
PAIR = "ETH-USD"
LIVE, EXACT, PROGRESS = "candles.live.crypto", "candles.crypto.500ms", "candles.progress.crypto"
SETTINGS = {"PARTITIONS": str(PARTITIONS), "INTERVALS": "500ms,1s,24h", "MARKETS": "crypto"}


@pytest.fixture
def namespace(kafka: str) -> Iterator[str]:
    with new_namespace(kafka, PARTITIONS) as name:
        yield name


def play(kafka: str, namespace: str, begin: int, trades: int) -> None:
    """So many trades, each written as it happens, 20 ms apart, and a clock above each."""
    for n in range(begin, begin + trades):
        now = time.time_ns() // 1_000
        log = LogBuilder(PARTITIONS)
        log.clock(floor_to(now, CLOCK_STEP_US) - 5 * CLOCK_STEP_US)
        log.crypto(PAIR, now, 100.0 + n, str(n))
        write(kafka, namespace, log.entries)
        time.sleep(0.02)


def close_all(kafka: str, namespace: str) -> None:
    """The last clock, and the progress that follows it."""
    log = LogBuilder(PARTITIONS)
    end = floor_to(time.time_ns() // 1_000, 1_000_000) + 2_000_000
    log.clock(end)
    write(kafka, namespace, log.entries)

    def over() -> bool:
        return all(records and records[-1]["end"] == end for records in read_topic(kafka, namespace + PROGRESS))

    eventually(over, "progress up to the last clock")


def live(kafka: str, namespace: str) -> list[Values]:
    return read_topic(kafka, namespace + LIVE)[partition_of(PAIR, PARTITIONS)]


def test_sent_as_trades_come_and_switched_off_by_the_setting(kafka: str, namespace: str, tmp_path: Path) -> None:
    with Worker("services.aggregator", kafka, namespace, tmp_path / "on", **SETTINGS) as worker:
        worker.wait_for("partitions assigned")
        play(kafka, namespace, 0, 60)
        eventually(lambda: live(kafka, namespace)[-1:] and last(live(kafka, namespace))["close"] == 159.0, "all")
        worker.terminate()
    found = live(kafka, namespace)
    assert last(found)["tick_count"] == 60
    assert (last(found)["open"], last(found)["volume"]) == (100.0, 15.0)
    assert 5 < len(found) <= 60  # a slow machine may need 50 ms and more for each trade
    assert all(b["timestamp_out"] - a["timestamp_out"] >= 50_000 for a, b in pairwise(found))
    (message, *_) = read_messages(kafka, namespace + LIVE)[partition_of(PAIR, PARTITIONS)]
    assert message.key() == PAIR.encode()

    with Worker("services.aggregator", kafka, namespace, tmp_path / "off", CANDLES_LIVE="false", **SETTINGS) as other:
        other.wait_for("partitions assigned")
        play(kafka, namespace, 60, 10)
        close_all(kafka, namespace)
        other.terminate()
    assert len(live(kafka, namespace)) == len(found)
    assert exact(kafka, namespace) == 70


def last(found: list[Values]) -> Values:
    day: Values = found[-1]["candles"][-1]
    assert day["interval"] == "24h"
    return day


def exact(kafka: str, namespace: str) -> int:
    """The trades in all candles of the shortest interval."""
    newest = {r["timestamp_in"]: r for p in read_topic(kafka, namespace + EXACT) for r in p}
    return sum(candle["price"]["tick_count"] for candle in newest.values())


def test_the_topic_keeps_no_history(kafka: str, namespace: str) -> None:
    resource = ConfigResource(ResourceType.TOPIC, namespace + LIVE)
    admin = AdminClient({"bootstrap.servers": kafka})
    (future,) = admin.describe_configs([resource]).values()
    config = {name: entry.value for name, entry in future.result().items()}
    assert set(config["cleanup.policy"].split(",")) == {"compact", "delete"}
    assert (config["retention.ms"], config["segment.ms"]) == ("600000", "60000")
