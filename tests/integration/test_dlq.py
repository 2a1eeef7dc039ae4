"""``market dlq`` on a real Kafka: listed, shown, and sent through ingest once more."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner, Result

from market.cli import app
from marketdata.records import Clock, DeadLetter, encode
from streaming.fatal import FATAL_STATUS
from tests.integration.test_ingest_live import bundled, ingest
from tests.support.topics import new_namespace, read_messages, read_topic
from tests.support.workers import Worker, eventually

pytestmark = pytest.mark.integration


@pytest.fixture
def namespace(kafka: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka)
    with new_namespace(kafka, 6) as name:
        monkeypatch.setenv("NAMESPACE", name)
        yield name


def market(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["dlq", *arguments])


def event(trade_id: str, price: float = 20.5) -> bytes:
    fields = {"ev": "T", "sym": "MARA", "p": price, "t": time.time_ns() // 1_000_000, "i": trade_id, "s": 1, "x": 4}
    return json.dumps(fields).encode()


def letters(kafka: str, namespace: str, *made: DeadLetter) -> None:
    producer = Producer({"bootstrap.servers": kafka})
    for letter in made:
        producer.produce(f"{namespace}{letter.service}.dlq", encode(letter), partition=0)
    producer.flush(20)


def letter(service: str, reason: str, raw: bytes, topic: str | None = None, offset: int | None = None) -> DeadLetter:
    return DeadLetter(service=service, reason=reason, raw=raw, ts=1_700_000_000_000_000, topic=topic,
                      partition=None if topic is None else 2, offset=offset)  # fmt: skip


def test_letters_are_told_apart_by_place_counted_and_shown(kafka: str, namespace: str) -> None:
    ratios = f"{namespace}ratios"
    letters(
        kafka,
        namespace,
        *[letter("aggregator", "not a record of ratios: truncated", b"{", ratios, 17)] * 3,
        letter("aggregator", "not a record of ratios: truncated", b"\x00\xffA", ratios, 18),
        letter("ingest", "time 5 is not in milliseconds of this century", b"{}"),
        letter("ingest", "time 6 is not in milliseconds of this century", b"{}"),
    )
    lines = market("list").stdout.splitlines()[1:]
    assert [line.split()[:2] for line in lines] == [["aggregator", "2"], ["ingest", "2"]]
    assert "2023-11-14 22:13:20" in lines[0]
    assert [line.split()[0] for line in market("list", "--service", "ingest").stdout.splitlines()[1:]] == ["ingest"]
    text = market("show", "aggregator:0").stdout
    assert all(part in text for part in ("(3 copies)", f"{ratios}/2 offset 17", "truncated", "\n{"))
    assert "00 ff 41  ..A" in market("show", "aggregator:3").stdout
    assert market("show", "aggregator:1").exit_code == 1, "the copies have no name of their own"
    refused = market("replay", "--service", "aggregator", "--yes")
    assert (refused.exit_code, "market rebuild" in refused.stderr) == (1, True)


def test_the_sink_is_told_where_each_record_stood(kafka: str, namespace: str) -> None:
    ratios = f"{namespace}ratios"
    letters(
        kafka, namespace, letter("sink", "no room", b"one", ratios, 5), letter("sink", "other", b"two", ratios, 6)
    )
    assert market("replay", "--service", "sink", "--reason", "room").exit_code == 1, "not without a yes"
    assert read_topic(kafka, f"{namespace}sink.retry") == [[]]
    assert market("replay", "--service", "sink", "--reason", "room", "--yes").stdout == "1 letters sent\n"
    ((message,),) = read_messages(kafka, f"{namespace}sink.retry")
    headers = dict(message.headers() or ())
    assert (message.value(), headers) == (b"one", {"topic": ratios.encode(), "partition": b"2", "offset": b"5"})


async def test_ingest_takes_them_in_again_each_once(kafka: str, namespace: str, tmp_path: Path) -> None:
    good, bad = event("from-the-letter"), event("still-bad", -1)
    letters(kafka, namespace, letter("ingest", "a fault", good), letter("ingest", "a fault", bad))

    def send() -> Result:
        return market("replay", "--service", "ingest", "--reason", "fault", "--yes")

    def taken(count: int) -> bool:
        return sum(event["letters"] for event in worker.events("dead letters taken again")) == count

    def standing() -> list[dict[str, object]]:
        found = [r for part in read_topic(kafka, f"{namespace}trades.stocks") for r in part]
        return [r for r in found if r.get("id") in {"from-the-letter", "still-bad"}]

    assert send().stdout == "2 letters sent\n"
    async with bundled(tmp_path / "ledger", rate=50) as feed:
        with ingest(kafka, namespace, feed, tmp_path / "log", SPOOL_DIR=str(tmp_path / "spool")) as worker:
            await asyncio.to_thread(eventually, lambda: taken(2), "both letters taken")
            (record,) = await asyncio.to_thread(eventually, standing, "the trade")
            assert (record["id"], record["backfilled"], record["price"]) == ("from-the-letter", True, 20.5)
            send()
            await asyncio.to_thread(eventually, lambda: taken(4), "both letters taken twice")
            status, _ = await asyncio.to_thread(worker.terminate)
            assert status == 0
        assert len(standing()) == 1
        again = [
            json.loads(m.value() or b"") for part in read_messages(kafka, f"{namespace}ingest.dlq") for m in part
        ]
        assert sum("price -1" in record["reason"] for record in again) == 2
        with ingest(kafka, namespace, feed, tmp_path / "log2", SPOOL_DIR=str(tmp_path / "spool")) as worker:
            await asyncio.to_thread(worker.wait_for, "connected", 2)
            await asyncio.sleep(3)
            assert worker.events("dead letters taken again") == [], "the place was stored"


def test_a_topic_that_is_mostly_unreadable_ends_its_reader_and_says_where(
    kafka: str, namespace: str, tmp_path: Path
) -> None:
    producer = Producer({"bootstrap.servers": kafka})
    for n in range(1_200):
        producer.produce(
            f"{namespace}trades.stocks", b"garbage" if n % 3 else encode(Clock(ts=n, epoch=1)), partition=4
        )
    producer.flush(20)
    with Worker("services.ratio", kafka, namespace, tmp_path / "log") as worker:
        assert worker.ended() == FATAL_STATUS
        (last,) = worker.events("fatal")
    assert f"{namespace}trades.stocks/4 cannot be read, offsets 1 to 751" in last["reason"]
    dead = sum(map(len, read_messages(kafka, f"{namespace}ratio.dlq")))
    assert dead == 501, "every letter up to there is delivered"
