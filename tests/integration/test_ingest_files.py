"""The file source on a real Kafka: the same recordings give the same log, whatever the speed."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from feed.recorder import record
from marketdata.partition import partition_of
from tests.support.topics import new_namespace, read_messages, read_topic
from tests.support.workers import Worker, eventually

PARTITIONS = 6
SYMBOLS = ["BTC-USD", "BTDR", "CAN", "CIFR", "CLSK", "CORZ", "MARA", "RIOT"]
START_MS = 1_709_650_800_000
TRADES, STRETCH_S = 4_000, 60
Stood = list[list[tuple[bytes | None, bytes | None, Any]]]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    out = tmp_path_factory.mktemp("recordings")
    return [
        str(path) for path in record(out, SYMBOLS, 7, trades=TRADES, seconds=STRETCH_S, start_ms=START_MS).values()
    ]


@pytest.fixture
def namespaces(kafka: str) -> Iterator[tuple[str, str]]:
    with new_namespace(kafka, PARTITIONS) as first, new_namespace(kafka, PARTITIONS) as second:
        yield first, second


def play(kafka: str, namespace: str, log: Path, *files: str, speed: str = "max") -> Worker:
    env = {"SOURCE": "files", "FILES": ",".join(files), "SPEED": speed, "PARTITIONS": str(PARTITIONS)}
    return Worker("services.ingest", kafka, namespace, log, **env)


def stood(kafka: str, topic: str) -> Stood:
    return [[(m.key(), m.value(), m.headers()) for m in partition] for partition in read_messages(kafka, topic)]


def events(files: list[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for path in files for line in gzip.open(path, "rb")]


def test_two_plays_give_equal_bytes_at_any_speed(
    kafka: str, namespaces: tuple[str, str], recordings: list[str], tmp_path: Path
) -> None:
    for namespace, speed in zip(namespaces, ("max", "50"), strict=True):
        with play(kafka, namespace, tmp_path / speed, *recordings, speed=speed) as worker:
            assert worker.ended(60) == 0, worker.output()
            (played,) = worker.events("played")
            assert played["stocks"] + played["crypto"] == TRADES
            if speed == "50":
                assert played["seconds"] > 0.9 * STRETCH_S / 50, "it was paced"
    first, second = namespaces
    for topic in ("trades.stocks", "trades.crypto"):
        assert stood(kafka, first + topic) == stood(kafka, second + topic)
    check_log(kafka, first, recordings)


def check_log(kafka: str, namespace: str, files: list[str]) -> None:
    played = events(files)
    coins = [str(e["i"]) for e in sorted((e for e in played if e["ev"] == "XT"), key=lambda e: e["t"])]
    stocks = {(e["sym"], str(e["i"]), e["x"], e.get("trfi", 0)) for e in played if e["ev"] == "T"}
    clocks = []
    found = set()
    for topic, trade_count in (("trades.stocks", len(stocks)), ("trades.crypto", len(coins))):
        count = 0
        for number, partition in enumerate(read_messages(kafka, namespace + topic)):
            copies = []
            clocks.append([])
            for message in partition:
                value = json.loads(message.value())
                assert dict(message.headers()) == {"kind": value["kind"].encode()}
                if value["kind"] == "clock":
                    assert message.key() is None
                    clocks[-1].append(value["ts"])
                    continue
                assert message.key() == value["symbol"].encode()
                assert value["received_ts"] == value["ts"] >= (clocks[-1] or [0])[-1]
                if value["kind"] == "reference":
                    copies.append(value["id"])
                    continue
                assert number == partition_of(value["symbol"], PARTITIONS)
                count += 1
                found.add((value["symbol"], value["id"], value["exchange"], value.get("trf", 0)))
            if topic == "trades.stocks":
                assert copies == coins, "every BTC trade, in order, in every partition"
        assert count == trade_count
    assert {identity for identity in found if identity[0] != "BTC-USD"} == stocks
    assert all(each == clocks[0] for each in clocks), "the same clocks in every partition of both topics"
    assert clocks[0] == sorted(set(clocks[0]))
    assert clocks[0][-1] % 86_400_000_000 == 0
    assert len(clocks[0]) > STRETCH_S * 15


def test_a_namespace_that_holds_trades_is_refused(
    kafka: str, namespaces: tuple[str, str], recordings: list[str], tmp_path: Path
) -> None:
    with play(kafka, namespaces[0], tmp_path / "log", recordings[1]) as worker:
        assert worker.ended(60) == 0, worker.output()
        before = stood(kafka, namespaces[0] + "trades.crypto")
        assert worker.start().ended(60) == 1
        assert "another NAMESPACE" in worker.events()[-1]["event"]
    assert stood(kafka, namespaces[0] + "trades.crypto") == before


def test_lines_that_cannot_be_read_are_put_aside_and_the_rest_is_played(
    kafka: str, namespaces: tuple[str, str], recordings: list[str], tmp_path: Path
) -> None:
    first, *rest = gzip.decompress(Path(recordings[1]).read_bytes()).splitlines()
    unpriced = json.dumps(json.loads(first) | {"p": -1}).encode()
    big = b'{"ev":"XT","pair":"' + b"x" * 3_000_000
    path = tmp_path / "damaged.jsonl"
    path.write_bytes(b"\n".join([b"nonsense", first, b"\xff\xfe", b"", b'{"ev":"Q"}', big, unpriced, *rest]))
    with play(kafka, namespaces[0], tmp_path / "log", str(path)) as worker:
        assert worker.ended(60) == 0, worker.output()
        assert worker.events("played")[0]["crypto"] == len(rest) + 2
    (letters,) = read_topic(kafka, namespaces[0] + "ingest.dlq")
    assert len(letters) == 4
    assert {letter["service"] for letter in letters} == {"ingest"}
    assert any("price -1" in letter["reason"] for letter in letters)
    assert any(f"of {len(big) + 1} bytes" in letter["reason"] for letter in letters), "cut to what a broker takes"


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("missing", "cannot open the recording {path}: No such file or directory"),
        ("unsorted", "{path} line 3: time"),
        ("truncated", "{path} cannot be read past line"),
        ("not gzip", "{path} cannot be read past line 0"),
        ("empty", "{path} holds no trade"),
        ("endless", "not all can be repeated *end"),
        ("specification", "is not PATH[@START][*LAPS|*end]"),
    ],
)
def test_what_cannot_be_played_ends_with_a_clear_last_line(
    kafka: str, namespaces: tuple[str, str], recordings: list[str], tmp_path: Path, damage: str, reason: str
) -> None:
    raw = Path(recordings[1]).read_bytes()
    lines = gzip.decompress(raw).splitlines(keepends=True)
    path = tmp_path / "broken.jsonl.gz"
    match damage:
        case "unsorted":
            path.write_bytes(gzip.compress(b"".join([lines[5], lines[6], lines[0]])))
        case "truncated":
            path.write_bytes(raw[: len(raw) // 2])
        case "not gzip":
            path.write_bytes(lines[0])
        case "empty":
            path.write_bytes(gzip.compress(b"\n"))
        case "endless":
            path.write_bytes(raw)
    spec = str(path) + {"endless": "*end", "specification": "*0"}.get(damage, "")
    with play(kafka, namespaces[0], tmp_path / "log", spec) as worker:
        assert worker.ended(60) == 1
        last = worker.events()[-1]
        assert last["event"] == "the recordings cannot be played"
        assert reason.format(path=path) in last["reason"]
        assert worker.output().splitlines()[-1].startswith("{"), "no traceback"


def test_it_stops_at_once_while_it_waits_for_the_time_of_an_event(
    kafka: str, namespaces: tuple[str, str], recordings: list[str], tmp_path: Path
) -> None:
    with play(kafka, namespaces[0], tmp_path / "log", *recordings, speed="1") as worker:
        worker.wait_for("started")
        eventually(lambda: worker.health()[1].get("progress", {}).get("detail", {}).get("records", 0) > 50, "records")
        status, seconds = worker.terminate()
        assert status == 0
        assert seconds < 2
        assert worker.events("stopped before the end")
    records = [r for p in read_topic(kafka, namespaces[0] + "trades.stocks") for r in p]
    assert records
    assert max(r["ts"] for r in records) < (START_MS + STRETCH_S * 500) * 1_000, "no closing clock, nothing ahead"


def test_kafka_that_does_not_fit_is_named(
    kafka: str, namespaces: tuple[str, str], recordings: list[str], tmp_path: Path
) -> None:
    with Worker("services.ingest", kafka, namespaces[0], tmp_path / "log", PARTITIONS="5") as worker:
        assert worker.ended(60) == 70
        assert "set PARTITIONS=6" in worker.events("fatal")[0]["reason"]
