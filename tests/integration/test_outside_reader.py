"""Other programs read our topics, by nothing but what contracts/ and docs/reading.md tell them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from jsonschema import Draft202012Validator

from marketdata.partition import partition_of
from marketdata.records import Candle, Clock, PriceBlock, Record, Reference, Trade, encode
from marketdata.topics import Topics
from streaming.tails import read_tails
from tests.conftest import MakeTopics
from tests.outside import Seen, outside_programs

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]
PARTITIONS = 3
SYMBOLS = ("MARA", "RIOT", "CLSK", "HUT", "BTDR")
START = 1_709_650_800_000_000  # Tuesday 2024-03-05 15:00 UTC, 10:00 in New York
SPAN = 62_000_000
STEP = 200_000
WINDOW = 15_000_000
READING = (ROOT / "docs" / "reading.md").read_text()


def stock_trades() -> list[Trade]:
    """One every 200 ms, the symbols in turn; the first ones before any BTC price."""
    return [
        Trade(symbol=SYMBOLS[n % len(SYMBOLS)], ts=START + n * STEP, received_ts=START + n * STEP + 3_000,
              price=10 + (n * 37 % 101) / 100, size=float(1 + n % 7), exchange=4, id=str(n), epoch=1, sequence=n + 1)
        for n in range(SPAN // STEP)
    ]  # fmt: skip


TRADES = stock_trades()


def log() -> Iterator[Record]:
    """The trades, BTC every second from the first second on, and a clock at each second."""
    for n, trade in enumerate(TRADES):
        if n and trade.ts % 1_000_000 == 0:
            yield Clock(ts=trade.ts, epoch=1)
            yield Reference(symbol="BTC-USD", ts=trade.ts, received_ts=trade.ts, price=65_000.0 + n, size=0.5,
                            exchange=1, id=f"b{n}", epoch=1)  # fmt: skip
        yield trade
    yield Clock(ts=START + 2 * SPAN, epoch=1)


def write_log(bootstrap: str, topic: str) -> Counter[str]:
    """Produce as ingest does, and count the records of each kind."""
    written: Counter[str] = Counter()
    producer = Producer({"bootstrap.servers": bootstrap, "compression.type": "lz4", "linger.ms": 5})
    for record in log():
        kind = str(record.__struct_config__.tag)
        symbol = getattr(record, "symbol", None)
        own = [partition_of(record.symbol, PARTITIONS)] if type(record) is Trade else range(PARTITIONS)
        for partition in own:
            producer.produce(topic, encode(record), symbol, partition, headers=[("kind", kind.encode())])
            written[kind] += 1
    assert producer.flush(20) == 0
    return written


@contextlib.contextmanager
def running(name: str, env: dict[str, str], directory: Path) -> Iterator[None]:
    """A service as a process of its own; SIGTERM must end it well."""
    path = directory / f"{name}.log"
    with path.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", f"services.{name}"], env=env, stdout=output, stderr=output, cwd=directory
        )
        try:
            yield
        except BaseException:
            print(path.read_text()[-4_000:])
            raise
        finally:
            process.terminate()
            try:
                code = process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                code = process.wait()
    assert code == 0, path.read_text()[-4_000:]


def ends(admin: AdminClient, topic: str) -> dict[int, int]:
    wanted = {TopicPartition(topic, p): OffsetSpec.latest() for p in range(PARTITIONS)}
    return {place.partition: f.result(10).offset for place, f in admin.list_offsets(wanted).items()}


def wait_until_derived(bootstrap: str, source: str, derived: str) -> None:
    """The last record of each source partition is a clock, which leaves a trace in ``derived``."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    deadline = time.monotonic() + 90
    while True:
        tails = read_tails(bootstrap, [(derived, p) for p in range(PARTITIONS)])
        done = {p: src[1] + 1 for (_, p), src in tails.items()}
        if done == (wanted := ends(admin, source)):
            return
        assert time.monotonic() < deadline, f"{derived} stands at {done} of {wanted} in {source}"
        time.sleep(0.2)


@pytest.fixture
def names(topics: MakeTopics, namespace: str) -> Topics:
    """All topics of this test's namespace."""
    made = Topics(namespace)
    for count in (PARTITIONS, 1):
        topics(*[s.name for s in made.specs(PARTITIONS) if s.partitions == count], partitions=count)
    return made


def play(kafka: str, names: Topics, directory: Path) -> Counter[str]:
    """Write the log and have the ratio service and the aggregator work it off."""
    written = write_log(kafka, names.trades("stocks"))
    env = os.environ | {
        "KAFKA_BOOTSTRAP_SERVERS": kafka, "NAMESPACE": names.namespace, "PARTITIONS": str(PARTITIONS),
        "MARKETS": "stocks", "METRICS_PORT": "0",
    }  # fmt: skip
    with running("ratio", env, directory), running("aggregator", env, directory):
        wait_until_derived(kafka, names.trades("stocks"), names.ratios)
        wait_until_derived(kafka, names.ratios, names.progress("stocks"))
    return written


def validated(seen: list[Seen]) -> list[dict[str, Any]]:
    """The records, each checked against the committed schema of its kind."""
    schemas = {p.name.split(".")[0]: json.loads(p.read_text()) for p in (ROOT / "contracts").glob("*.schema.json")}
    validators = {kind: Draft202012Validator(schema) for kind, schema in schemas.items()}
    records = [json.loads(one.value) for one in seen]
    for record in records:
        validators[record["kind"]].validate(record)
    return records


def check_ratios(seen: list[Seen], written: Counter[str]) -> None:
    records = validated(seen)
    assert Counter(r["kind"] for r in records) == {
        "ratio": len(TRADES), "clock": written["clock"], "reference": written["reference"],
    }  # fmt: skip
    assert all(one.headers == {"kind": r["kind"]} for one, r in zip(seen, records, strict=True))
    assert all(one.key == r.get("symbol", "") for one, r in zip(seen, records, strict=True))
    ratios = {r["id"]: r for r in records if r["kind"] == "ratio"}
    assert [ratios[t.id].get("reason") for t in TRADES[:5]] == ["no_reference"] * 5
    for n, trade in enumerate(TRADES[5:], 5):
        btc = 65_000.0 + n - n % 5
        assert (ratios[trade.id]["btc_price"], ratios[trade.id]["ratio"]) == (btc, trade.price / btc)


def check_candles(seen: list[Seen]) -> None:
    every = {(c["symbol"], c["timestamp_in"], c["hours"]): c for c in validated(seen)}
    assert len(every) == len(seen)
    candles = {(symbol, start): c for (symbol, start, hours), c in every.items() if hours == "all"}
    trades: dict[tuple[str, int], list[Trade]] = {}
    for t in TRADES:
        trades.setdefault((t.symbol, t.ts - t.ts % WINDOW), []).append(t)
    assert candles.keys() == trades.keys()
    for place, inside in trades.items():
        price, ratio = candles[place]["price"], candles[place]["ratio"]
        assert price["high"] == max(t.price for t in inside)
        assert (price["open"], price["close"]) == (inside[0].price, inside[-1].price)
        assert price["volume"] == sum(t.size for t in inside)
        assert ratio["tick_count"] == sum(t.ts >= START + 1_000_000 for t in inside)
    assert all(one.key == json.loads(one.value)["symbol"] for one in seen)
    assert all(one.partition == partition_of(one.key, PARTITIONS) for one in seen)


def check_order(seen: list[Seen]) -> None:
    """One writer wrote once: src grows strictly in each partition, and names that partition."""
    last: dict[int, list[int]] = {}
    for one in seen:
        src = json.loads(one.value)["src"]
        assert src[0] == one.partition
        assert src > last.get(one.partition, [-1, -1, -1])
        last[one.partition] = src


def snippet(language: str, containing: str) -> str:
    """A code block of docs/reading.md."""
    blocks = re.findall(rf"```{language}\n(.*?)```", READING, re.DOTALL)
    return next(str(block) for block in blocks if containing in block)


def read_by_the_page(kafka: str, topic: str, group: str, count: int) -> list[str]:
    """Run the Python of docs/reading.md as it stands but for names, until it has printed ``count`` lines."""
    code = snippet("python", "SrcFilter()")
    for theirs, ours in (("127.0.0.1:9092", kafka), ("candles.stocks.15s", topic), ('"desk"', f'"{group}"')):
        assert theirs in code
        code = code.replace(theirs, ours)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert process.stdout is not None
        return [process.stdout.readline() for _ in range(count)]
    finally:
        process.kill()
        process.wait()


def test_other_programs_read_what_the_contracts_promise(
    kafka: str, names: Topics, tmp_path: Path, not_run: Callable[[str], None]
) -> None:
    written = play(kafka, names, tmp_path)
    programs, missing = outside_programs()
    for line in missing:
        not_run(f"reading our topics from outside with {line}")
    seen = {
        name: [read(kafka, topic) for topic in (names.trades("stocks"), names.ratios, names.candles("stocks", "15s"))]
        for name, read in programs.items()
    }
    print({name: [len(records) for records in found] for name, found in seen.items()})
    trades, ratios, candles = seen["aiokafka"]
    assert all(found == seen["aiokafka"] for found in seen.values()), "two programs read different things"
    assert Counter(r["kind"] for r in validated(trades)) == written
    only_trades = [json.loads(one.value)["id"] for one in trades if one.headers["kind"] == "trade"]
    assert sorted(only_trades, key=int) == [t.id for t in TRADES]
    check_ratios(ratios, written)
    check_candles(candles)
    check_order(ratios)
    check_order(candles)


def candle(partition: int, offset: int, revision: int = 0) -> Candle:
    block = PriceBlock(1.0, 2.0, 0.5, float(offset), 1.25, 1.5, 10.0, 4, 4)
    start = START + offset * WINDOW
    return Candle(symbol=f"S{partition}", interval="15s", hours="all", timestamp_in=start, end=start + WINDOW,
                  timestamp_out=start + WINDOW, latency_ms=0.0, revision=revision, price=block, ratio=None,
                  src=(partition, offset, 0))  # fmt: skip


def test_the_python_of_the_page_drops_what_a_replaced_writer_repeats(kafka: str, topics: MakeTopics) -> None:
    [topic] = topics("candles.stocks.15s", partitions=PARTITIONS)
    first = [candle(p, offset) for p in range(PARTITIONS) for offset in range(9, 13)]
    repeats = first[2:4] + first[6:8]  # as a paused writer adds that comes back
    last = [candle(p, 20, revision=1) for p in range(PARTITIONS)]
    producer = Producer({"bootstrap.servers": kafka})
    for one in [*first, *repeats, *last]:
        producer.produce(topic, encode(one), one.symbol, one.src[0])
    assert producer.flush(10) == 0
    lines = read_by_the_page(kafka, topic, f"{topic}.desk", len(first) + len(last))
    assert Counter(lines) == Counter(
        f"{c.symbol} {c.timestamp_in} {c.revision} {c.price.close}\n" for c in [*first, *last]
    )


def test_the_check_of_the_page_accepts_a_record_and_refuses_a_changed_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    code = compile(snippet("python", "jsonschema.validate"), "docs/reading.md", "exec")
    line = encode(TRADES[0]).decode()
    exec(code, {"line": line})  # noqa: S102
    import jsonschema

    with pytest.raises(jsonschema.ValidationError, match="price"):
        exec(code, {"line": line.replace('"price"', '"cost"')})  # noqa: S102


@pytest.mark.parametrize("containing", ["kind=trade ", "-o beginning"])
def test_the_shell_lines_of_the_page(
    kafka: str, names: Topics, not_run: Callable[[str], None], containing: str
) -> None:
    """The filter for outsiders, run to the end of the topic; needs kcat."""
    if not shutil.which("kcat"):
        not_run("the shell lines of docs/reading.md: kcat is not on PATH")
        return
    topic = names.trades("stocks")
    written = write_log(kafka, topic)
    line = next(x for x in snippet("sh", containing).splitlines() if containing in x).partition("  #")[0]
    line = re.sub(r"-t \S+", f"-t {topic}", line.replace("127.0.0.1:9092", kafka)).replace("kcat ", "kcat -q -e ", 1)
    output = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60, check=True).stdout
    lines = output.splitlines()
    if containing == "-o beginning":
        assert len(lines) == written.total()
        assert Counter(x.split()[2] for x in lines) == {f"kind={kind}": n for kind, n in written.items()}
    else:
        assert sorted((json.loads(x)["id"] for x in lines), key=int) == [t.id for t in TRADES]
