"""Ten bugs, put in on purpose: a scenario of seconds finds each, and finds nothing where there is none."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from confluent_kafka import Producer
from prometheus_client.parser import text_string_to_metric_families

from feed.kinds import Duplicate
from feed.pump import wall_ms
from feed.server import FeedServer
from feed.settings import FeedSettings
from marketdata.records import Candle, Ratio, encode
from marketdata.topics import Topics
from marketdata.units import SECOND_US
from streaming.tails import END, read_ranges, read_tails
from tests.chaos.mutant import BUGS
from tests.integration.test_ingest_live import identity, sent, standing
from tests.integration.test_sink_support import candle, ratio
from tests.support.cutter import cutter
from tests.support.logs import STOCKS, T0, Entry, Feeder, LogBuilder, write
from tests.support.topics import new_namespace
from tests.support.workers import Worker, eventually

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]
PARTITIONS = 2
SYMBOLS = ("BTC-USD", "CLSK", "MARA", "RIOT")
NOTICED_US = 1_500_000
"""A clock may pass a gap's start by as much as the loss took to be noticed."""


@dataclass
class Here:
    """Where a scenario runs: servers, a namespace of its own, and the bug, if there is one."""

    kafka: str
    dsn: str
    namespace: str
    path: Path
    bug: str | None

    @property
    def topics(self) -> Topics:
        return Topics(self.namespace)

    def worker(self, service: str, **env: str) -> Worker:
        common = {"SERVICE": f"services.{service}", "BUG": self.bug or "none", "PARTITIONS": str(PARTITIONS)}
        own = {"POSTGRES_DSN": self.dsn, "SNAPSHOT_EVERY_S": "0.05", "SPOOL_DIR": str(self.path / "spool")}
        log = self.path / f"{service}-{time.monotonic_ns()}.log"
        return Worker("tests.chaos.mutant", self.kafka, self.namespace, log, **common | own | env)

    def read(self, topic: str) -> list[list[Any]]:
        """Every record of each partition, as it stands."""
        records: list[list[Any]] = [[] for _ in range(PARTITIONS)]
        for read in read_ranges(self.kafka, {(topic, p): (-END, END) for p in range(PARTITIONS)}):
            records[read.place[1]].append(msgspec.json.decode(read.value))
        return records


def finish(worker: Worker) -> None:
    """Let the worker go through its input, which stands in the log already, and write what it has to say."""

    def done() -> bool:
        checks = worker.health()[1]
        lags = checks["progress"]["detail"]["lag_records"]
        return len(lags) == PARTITIONS and not any(lags.values())

    eventually(done, "the end of the input")
    assert worker.terminate(60)[0] == 0, worker.output()


def processed(worker: Worker) -> float:
    """How many records the worker has gone through since it started, whatever became of their outputs."""
    port = worker.wait_for("started")["metrics_port"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        return sum(s.value for f in families for s in f.samples if s.name == "stage_records_total")


def simple_log(trades: int = 1_500) -> LogBuilder:
    log = LogBuilder(PARTITIONS)
    for i in range(trades):
        ts = T0 + i * 20_000
        if i % 10 == 0:
            log.clock(ts)
        log.stock(f"S{i % 7}", ts, 10 + i % 5, str(i))
    log.clock(T0 + trades * 20_000 + SECOND_US)
    return log


def stocks_of(log: LogBuilder, partition: int) -> list[Entry]:
    return [e for e in log.entries if e.topic == STOCKS and e.partition == partition]


def answered(here: Here, log: LogBuilder) -> bool:
    """Whether the last record of each partition, which is a clock, has its answer: then all before it have theirs."""
    last = {(here.topics.ratios, p): len(stocks_of(log, p)) - 1 for p in range(PARTITIONS)}
    tails = read_tails(here.kafka, last)
    return all(place in tails and tails[place][1] == offset for place, offset in last.items())


def unanswered(here: Here, log: LogBuilder) -> list[str]:
    """The records of trades.stocks that no record of ratios comes from: every one of this log has one."""
    found = {(p, record["src"][1]) for p, records in enumerate(here.read(here.topics.ratios)) for record in records}
    return [f"no answer to {p}/{n}" for p in range(PARTITIONS) for n in range(len(stocks_of(log, p)))
            if (p, n) not in found]  # fmt: skip


def outputs_held_back_and_a_kill(here: Here) -> list[str]:
    """The records come bit by bit, so that there are many runs, and a snapshot may be due after each."""
    log = simple_log()
    total = sum(len(stocks_of(log, p)) for p in range(PARTITIONS))
    with here.worker("ratio", HOLD="ratios") as first:
        first.wait_for("partitions assigned")
        with Feeder(here.kafka, here.namespace, log.entries, rate=1_000) as feeder:
            feeder.join()
        eventually(lambda: processed(first) == total, f"{total} records")
        first.kill()
    with here.worker("ratio") as second:
        finish(second)
    return unanswered(here, log)


def a_kill_when_all_is_written(here: Here) -> list[str]:
    log = simple_log()
    write(here.kafka, here.namespace, log.entries)
    with here.worker("ratio", SNAPSHOT_EVERY_S="0") as first:
        eventually(lambda: answered(here, log), "the last answer")
        first.kill()
    with here.worker("ratio", SNAPSHOT_EVERY_S="0") as second:
        finish(second)
    srcs = Counter(tuple(r["src"]) for records in here.read(here.topics.ratios) for r in records)
    return [f"{src} was written {times} times" for src, times in srcs.items() if times > 1]


def repeats_among_the_ratios(here: Here) -> list[str]:
    """A woken zombie writes again what its successor has written."""
    producer, trades = Producer({"bootstrap.servers": here.kafka}), 40
    records = [_ratio(n) for n in range(trades)]
    clock = b'{"kind":"clock","ts":%d,"epoch":1,"src":[0,9999,0]}' % (T0 + 600 * SECOND_US)
    for value in [*map(encode, records), *map(encode, records[:25]), clock]:
        producer.produce(here.topics.ratios, value, b"MARA", 0)
    assert producer.flush(20) == 0
    progress = here.topics.progress("stocks")
    with here.worker("aggregator", MARKETS="stocks") as worker:
        eventually(lambda: any(here.read(progress)[0]), "candles")
        assert worker.terminate(60)[0] == 0, worker.output()
    candles = [c for c in here.read(here.topics.candles("stocks", "1m"))[0] if c["hours"] == "all"]
    found = sum(c["price"]["tick_count"] for c in candles)
    return [] if found == trades else [f"{found} ticks in candles of {trades} trades"]


def _ratio(n: int) -> Ratio:
    return msgspec.structs.replace(ratio(n), ts=T0 + n * 10_000, src=(0, n, 0))


def two_rival_sinks(here: Here) -> list[str]:
    """One sleeps with records in hand, while the other goes on: a stored position may only grow.

    Nobody can see what the sleeper has in hand, so it is put to sleep up to six times.
    """
    query = b"SELECT next_offset FROM rivals.sink_positions WHERE topic LIKE '%ratios' AND partition = 0"
    quick = here.worker("sink", CONSUMER_GROUP="quick", BATCH_MS="20", DATABASE_SCHEMA="rivals")
    slow = here.worker("sink", CONSUMER_GROUP="slow", BATCH_MS="1500", DATABASE_SCHEMA="rivals")
    seen = [0]
    with quick, slow, psycopg.connect(here.dsn, autocommit=True) as connection:

        def stored() -> int:
            seen.append(connection.execute(query).fetchall()[0][0])
            return seen[-1]

        def send(first: int, last: int) -> None:
            _send(here, here.topics.ratios, [ratio(n) for n in range(first, last)])
            eventually(lambda: stored() >= last, "rows", pause=0.02)

        def wrote(misses: int) -> bool:
            """Whether the sleeper wrote what it had: it was refused since, or the position went back."""
            return len(slow.events("position miss")) > misses or stored() < max(seen)

        for worker in (quick, slow):
            worker.wait_for("positions taken up")
        for n in range(0, 6_000, 1_000):
            send(n, n + 100)
            time.sleep(0.4)  # the slow one stores them at once,
            send(n + 100, n + 500)
            time.sleep(0.4)  # reads these too, and waits for the time of its next batch
            slow.pause()
            misses = len(slow.events("position miss"))
            send(n + 500, n + 1_000)
            time.sleep(1)  # past its next batch's time: it writes what it has before it reads on
            slow.resume()
            deadline = time.monotonic() + 5
            while not (woken := wrote(misses)) and time.monotonic() < deadline:
                time.sleep(0.02)
            if woken:
                break
    return [f"from {a} back to {b}" for a, b in itertools.pairwise(seen) if b < a]


def an_older_revision_comes_last(here: Here) -> list[str]:
    """Another sink's position was lost: what it stored is read again from the beginning."""
    newest = candle(1, close=3.0, revision=2)
    again = [candle(1, close=1.0), candle(1, close=2.0, revision=1)]
    topic = here.topics.candles("stocks", "500ms")
    stored: list[tuple[Any, ...]] = []
    query = b"SELECT revision, close FROM revisions.candles"
    with here.worker("sink", DATABASE_SCHEMA="revisions"), psycopg.connect(here.dsn, autocommit=True) as connection:
        for part in ([newest], again):
            _send(here, topic, part)
            eventually(lambda: _stored(connection, topic) >= sum(map(len, here.read(topic))), "rows")
        stored = connection.execute(query).fetchall()
    return [] if [(r, float(c)) for r, c in stored] == [(2, 3.0)] else [f"stored is {stored}, newest is revision 2"]


def _stored(connection: Any, topic: str) -> int:
    with contextlib.suppress(psycopg.errors.UndefinedTable):
        query = b"SELECT sum(next_offset) FROM revisions.sink_positions WHERE topic = %s"
        return int(connection.execute(query, (topic,)).fetchone()[0] or 0)
    return 0


def _send(here: Here, topic: str, records: list[Ratio] | list[Candle]) -> None:
    producer = Producer({"bootstrap.servers": here.kafka, "enable.idempotence": True})
    for record in records:
        kind = [("kind", b"ratio")] if isinstance(record, Ratio) else None
        producer.produce(topic, encode(record), record.symbol.encode(), 0, headers=kind)
    assert producer.flush(20) == 0


def a_replaced_ingest_goes_on_writing(here: Here) -> list[str]:
    log = simple_log(300)
    log.epoch = 2
    log.clock(T0 + 100 * SECOND_US)
    log.epoch = 1
    for i in range(20):
        log.stock("S1", T0 + 100 * SECOND_US + i, 99.0, f"old{i}")
    log.epoch = 2
    log.clock(T0 + 200 * SECOND_US)
    write(here.kafka, here.namespace, log.entries)
    with here.worker("ratio"):
        eventually(lambda: answered(here, log), "the last answer")
    ids = [r["id"] for records in here.read(here.topics.ratios) for r in records if r["kind"] == "ratio"]
    return [f"{name} counts" for name in ids if name.startswith("old")]


def an_agent_fails_once(here: Here) -> list[str]:
    """What has ended is started again."""
    log = simple_log(300)
    log.stock("S1", T0 + 300 * 20_000, 11.0, "boom")
    log.clock(T0 + 100 * SECOND_US)
    write(here.kafka, here.namespace, log.entries)
    env = {"FAIL_ONCE": str(here.path / "failed")}
    with here.worker("ratio", **env) as first:
        eventually(lambda: not first.child.running or answered(here, log), "its end or the last answer")
        ended = not first.child.running
    assert (here.path / "failed").exists()
    if ended:
        with here.worker("ratio", **env):
            eventually(lambda: answered(here, log), "the last answer")
    return unanswered(here, log)


@contextlib.asynccontextmanager
async def live(here: Here) -> AsyncIterator[tuple[FeedServer, Any, Worker, int]]:
    """The bundled feed behind a proxy that can be cut, and ingest on it; since when (ms) it listens."""
    settings = FeedSettings(ws_port=0, rest_port=0, symbols=SYMBOLS, rate=400, burst=1, admin=True,
                            ledger=here.path / "ledger")  # fmt: skip
    async with FeedServer(settings) as feed, cutter(feed.ws_url) as sockets:
        urls = {f"{m.upper()}_URL": f"{sockets.url}/{m}" for m in ("stocks", "crypto")} | {"REST_URL": feed.rest_url}
        env = {"SYMBOLS": ",".join(SYMBOLS[1:]), "POLYGON_API_KEY": "", "CORRECTIONS_EVERY_S": "0"}
        with here.worker("ingest", **urls, **env) as worker:
            await asyncio.to_thread(worker.wait_for, "connected", 2)
            await asyncio.sleep(1)
            yield feed, sockets, worker, wall_ms()


async def cut_for_two_seconds(here: Here) -> tuple[list[list[Any]], set[Any]]:
    """The log of stocks, and what the feed's account has of the time."""
    async with live(here) as (feed, sockets, worker, since):
        sockets.cut()
        await asyncio.sleep(2)
        sockets.mend()
        await asyncio.to_thread(eventually, lambda: len(_filled(worker)) == 2, "the gaps are filled")
        await asyncio.sleep(0.5)
        feed.ledger.flush()
        lines = [line for line in sent(here.path / "ledger") if line["ts"] >= since and line["cluster"] == "stocks"]
        newest = max(line["ts"] for line in lines) * 1_000
        await asyncio.to_thread(eventually, lambda: _clock(here) > newest, "a clock that speaks for them", 90, 0.5)
        assert (await asyncio.to_thread(worker.terminate))[0] == 0
    return standing(here.kafka, here.topics.trades("stocks")), {identity(line) for line in lines}


def _clock(here: Here) -> int:
    """The clock that all partitions of stocks have passed."""
    partitions = standing(here.kafka, here.topics.trades("stocks"))
    return min(max((r["ts"] for r in p if r["kind"] == "clock"), default=0) for p in partitions)


def _filled(worker: Worker) -> set[str]:
    return {e["market"] for e in worker.events("gap in the feed") if e["status"] in {"filled", "given_up"}}


def the_feed_is_away(here: Here) -> list[str]:
    partitions, wanted = asyncio.run(cut_for_two_seconds(here))
    trades = [r for p in partitions for r in p if r["kind"] == "trade"]
    found = {(r["symbol"], r["exchange"], r.get("trf", 0), r["id"], r["ts"]) for r in trades}
    return [f"{key} is missing" for key in sorted(wanted - found, key=str)]


def clocks_while_the_feed_is_away(here: Here) -> list[str]:
    partitions, _ = asyncio.run(cut_for_two_seconds(here))
    wrong = []
    for partition in partitions:
        clock = 0
        for record in partition:
            if record["kind"] == "clock":
                clock = record["ts"]
            elif record.get("backfilled") and record["ts"] < clock - NOTICED_US:
                wrong.append(f"a trade of {record['ts']} stands below clock {clock}")
    return wrong


def every_frame_twice(here: Here) -> list[str]:
    async def run() -> None:
        async with live(here) as (feed, _, worker, _):
            assert feed._trouble is not None
            feed._trouble.begin(Duplicate(share=1, seconds=2))
            await asyncio.sleep(3)
            assert (await asyncio.to_thread(worker.terminate))[0] == 0

    asyncio.run(run())
    trades = [r for p in standing(here.kafka, here.topics.trades("stocks")) for r in p if r["kind"] == "trade"]
    ids = Counter((r["symbol"], r["exchange"], r.get("trf", 0), r["id"]) for r in trades)
    return [f"{key} stands {times} times" for key, times in ids.items() if times > 1]


SCENARIOS: dict[str, Callable[[Here], list[str]]] = {
    "snapshot_before_delivery": outputs_held_back_and_a_kill,
    "no_tail_suppression": a_kill_when_all_is_written,
    "no_readers_rule": repeats_among_the_ratios,
    "no_compare_and_set": two_rival_sinks,
    "no_dedupe": every_frame_twice,
    "epoch_ignored": a_replaced_ingest_goes_on_writing,
    "back_fill_skipped": the_feed_is_away,
    "clock_ahead_of_its_gap": clocks_while_the_feed_is_away,
    "exception_swallowed": an_agent_fails_once,
    "revision_order_ignored": an_older_revision_comes_last,
}


def test_every_bug_has_a_scenario() -> None:
    assert SCENARIOS.keys() == BUGS.keys()
    assert len(BUGS) == 10


@pytest.mark.parametrize("bug", SCENARIOS)
def test_the_scenario_finds_the_bug_and_nothing_where_there_is_none(
    bug: str, kafka: str, database: str, tmp_path: Path
) -> None:
    for put_in in (None, bug):
        path = tmp_path / (put_in or "sound")
        path.mkdir()
        with new_namespace(kafka, PARTITIONS) as namespace:
            began = time.monotonic()
            found = SCENARIOS[bug](Here(kafka, database, namespace, path, put_in))
        print(f"{put_in or 'no bug'}: {len(found)} found in {time.monotonic() - began:.1f} s, {found[:2]}")
        assert bool(found) == bool(put_in), found[:5]
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute(b"DROP SCHEMA IF EXISTS rivals CASCADE; DROP SCHEMA IF EXISTS revisions CASCADE")
