"""The sink under kills, rivals, restarts of the database and another log under the same name."""

from __future__ import annotations

import contextlib
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from market.native import PostgresServer, choose_port
from marketdata.records import Candle
from tests.integration.test_sink_support import (
    Bench,
    at,
    bench,
    candle,
    eventually,
    expected_ticks,
    ratio,
)

pytestmark = pytest.mark.integration
__all__ = ["bench"]
TICKS = "SELECT time, symbol, trade_id, stock_price, ratio, stock_size, btc_price, src_offset FROM ratio_ticks_live"


class Feed:
    """Sends ratios and candles, revised ones among them, in the background until told to stop."""

    def __init__(self, bench: Bench, step: int = 400) -> None:
        self.ratios = [ratio(n) for n in range(40_000)]
        self.candles: list[Candle] = []
        for n in range(2_000):
            self.candles.append(candle(n, out=n))
            if n % 5 == 0 and n:
                older = random.randrange(n)
                revision = 1 + max(c.revision for c in self.candles if c.timestamp_in == candle(older).timestamp_in)
                self.candles.append(candle(older, close=float(n), revision=revision, out=n))
        self._bench = bench
        self._step = step
        self.sent = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> Feed:
        self._thread.start()
        return self

    def _run(self) -> None:
        share = len(self.candles) / len(self.ratios)
        for start in range(0, len(self.ratios), self._step):
            self._bench.send_ratios(self.ratios[start : start + self._step])
            self._bench.send_candles(self.candles[int(start * share) : int((start + self._step) * share)])
            self._bench.send_noise(50)
            time.sleep(0.08)
        self.sent.set()

    def check(self) -> None:
        """Each row once, positions at the ends, revisions complete and the highest on top."""
        assert self.sent.wait(120)
        self._bench.wait_positions()
        assert sorted(self._bench.rows(TICKS)) == expected_ticks(self.ratios)
        sent = sorted((at(c.timestamp_in), c.revision, at(c.timestamp_out)) for c in self.candles)
        newest = {start: (start, revision, out) for start, revision, out in sent}
        rows = sorted(self._bench.rows("SELECT start, revision, known_at FROM candles"))
        assert rows == sorted(newest.values())
        older = sorted(self._bench.rows("SELECT start, revision, known_at FROM candle_revisions"))
        assert older == sorted(set(sent) - set(newest.values()))
        aggregates = self._bench.rows("SELECT time, revision, published_at FROM ratio_aggregates_500ms")
        assert sorted(aggregates) == sorted(newest.values())


def test_a_restart_in_the_middle(bench: Bench) -> None:
    feed = Feed(bench).start()
    for _ in range(3):
        with bench.sink(BATCH_ROWS="500"):
            time.sleep(3)
    with bench.sink():
        feed.check()


def test_killed_again_and_again_each_row_stands_once(bench: Bench) -> None:
    feed = Feed(bench).start()
    for _ in range(6):
        sink = bench.start(BATCH_ROWS="300", BATCH_MS="5")
        sink.port()
        before = bench.positions()
        eventually(lambda before=before: bench.positions() != before or feed.sent.is_set(), "progress")  # type: ignore[misc]
        time.sleep(random.random() * 0.5)
        sink.kill()
    with bench.sink():
        feed.check()


def test_rivals_on_the_same_partitions_neither_double_nor_lose(bench: Bench) -> None:
    feed = Feed(bench).start()
    with bench.sink(CONSUMER_GROUP="a", BATCH_MS="3"), bench.sink(CONSUMER_GROUP="b", BATCH_MS="3") as rival:
        time.sleep(2)
        rival.process.send_signal(signal.SIGSTOP)  # paused and resumed, it comes with old batches in hand
        time.sleep(3)
        rival.process.send_signal(signal.SIGCONT)
        feed.check()
        assert sum(sink.value("sink_position_misses_total") for sink in bench.started) > 0


def test_two_members_of_a_group_share_and_take_over(bench: Bench) -> None:
    feed = Feed(bench).start()
    first = bench.start()
    with bench.sink():
        time.sleep(4)
        first.kill()
        feed.check()


def test_a_sink_frozen_in_the_middle_of_a_copy_is_put_aside(bench: Bench) -> None:
    with bench.sink():
        bench.send_ratios([ratio(0)])
        bench.wait_positions()
    with contextlib.closing(psycopg.connect(bench.database, application_name="market sink")) as frozen:
        frozen.execute("UPDATE sink_positions SET next_offset = 99")
        frozen.pgconn.send_query(b"COPY ratio_ticks_live FROM STDIN")
        with bench.sink():
            bench.send_ratios([ratio(1)])
            bench.wait_positions()
        assert "ended a stalled sink" in bench.logs()
    assert bench.rows("SELECT count(*) FROM ratio_ticks_live") == [(2,)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PostgresServer]:
    """A PostgreSQL of this test's own, to be stopped and killed."""
    made = PostgresServer(tmp_path / "postgres", choose_port())
    made.start()
    yield made
    made.stop("immediate")


def test_two_rivals_and_twenty_kills(bench: Bench) -> None:
    feed = Feed(bench, step=120).start()
    rivals = [bench.start(CONSUMER_GROUP=group, BATCH_ROWS="300", BATCH_MS="5") for group in "ab"]
    for n in range(20):
        rivals[n % 2].port()
        before = bench.positions()
        eventually(lambda before=before: bench.positions() != before or feed.sent.is_set(), "progress")  # type: ignore[misc]
        time.sleep(random.random() * 0.3)
        rivals[n % 2].kill()
        rivals[n % 2] = bench.start(CONSUMER_GROUP="ab"[n % 2], BATCH_ROWS="300", BATCH_MS="5")
    feed.check()
    for rival in rivals:
        rival.stop()


def restart(server: PostgresServer) -> None:
    server.stop("immediate")
    time.sleep(1.5)
    server.start()


def crash(server: PostgresServer) -> None:
    server.kill()
    server.start()


@pytest.mark.parametrize("fault", [restart, crash])
def test_the_database_goes_away_in_the_middle(
    bench: Bench, server: PostgresServer, fault: Callable[[PostgresServer], None]
) -> None:
    bench.database = server.dsn
    feed = Feed(bench).start()
    with bench.sink(BATCH_ROWS="500", BATCH_MS="5") as sink:
        sink.port()
        for _ in range(3):
            time.sleep(2)
            fault(server)
        feed.check()
        assert sink.value("sink_database_waits_total") > 0


def test_a_stop_while_the_database_is_away_is_soon_and_clean(bench: Bench, server: PostgresServer) -> None:
    bench.database = server.dsn
    with bench.sink():
        bench.send_ratios([ratio(0)])
        bench.wait_positions()
        server.stop("immediate")
        bench.send_ratios([ratio(1)])
        time.sleep(1)
    server.start()
    with bench.sink():
        bench.wait_positions()
    assert bench.rows("SELECT count(*) FROM ratio_ticks_live") == [(2,)]


def test_a_stop_while_the_database_is_frozen_is_soon_and_clean(bench: Bench, server: PostgresServer) -> None:
    bench.database = server.dsn
    with bench.sink():
        bench.send_ratios([ratio(0)])
        bench.wait_positions()
        server.pause()
        bench.send_ratios([ratio(1)])
        time.sleep(1)
    server.resume()
    with bench.sink():
        bench.wait_positions()
    assert bench.rows("SELECT count(*) FROM ratio_ticks_live") == [(2,)]


def test_a_database_that_lost_its_last_moments_is_found_out_in_quiet_times(bench: Bench) -> None:
    with bench.sink():
        bench.send_ratios([ratio(n) for n in range(50)])
        bench.wait_positions()
        with psycopg.connect(bench.database) as connection:  # as a backup or a late replica would have it
            connection.execute("DELETE FROM ratio_ticks_live WHERE src_offset >= 20")
            connection.execute(
                "UPDATE sink_positions SET next_offset = 20, src_offset = 19 WHERE partition = 0 AND topic = %s",
                (bench.topics.ratios,),
            )
        bench.wait_positions()
    assert bench.rows("SELECT count(*) FROM ratio_ticks_live") == [(50,)]


def test_records_that_expired_unread_are_passed_over_and_said(bench: Bench, kafka: str) -> None:
    bench.send_ratios([ratio(n) for n in range(50)])
    admin = AdminClient({"bootstrap.servers": kafka})
    for future in admin.delete_records([TopicPartition(bench.topics.ratios, 0, 30)]).values():
        future.result(20)
    with bench.sink():
        bench.wait_positions()
    assert "records expired before they were read" in bench.logs()
    assert bench.rows("SELECT min(src_offset), count(*) FROM ratio_ticks_live") == [(30, 20)]


def test_a_database_recreated_is_filled_from_the_beginning(bench: Bench) -> None:
    bench.send_ratios([ratio(n) for n in range(50)])
    with bench.sink():
        bench.wait_positions()
    with psycopg.connect(bench.database, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    with bench.sink():
        bench.wait_positions()
    assert bench.rows("SELECT count(*) FROM ratio_ticks_live") == [(50,)]


@contextmanager
def recreated(bench: Bench, topics: Any, kafka: str) -> Iterator[None]:
    """The ratios topic deleted, then made again under its old name."""
    admin = AdminClient({"bootstrap.servers": kafka})
    name = bench.topics.ratios
    admin.delete_topics([name])[name].result(20)
    eventually(lambda: name not in admin.list_topics(timeout=5).topics, "the topic gone")
    topics(name, partitions=2)
    yield


def test_another_log_under_the_same_name_is_merged_by_natural_keys(bench: Bench, topics: Any, kafka: str) -> None:
    bench.send_ratios([ratio(n) for n in range(80)])
    with bench.sink():
        bench.wait_positions()
    with recreated(bench, topics, kafka):
        bench.send_ratios([ratio(n) for n in range(120)])
        bench.send_ratios([ratio(7, src_offset=500, revision=1, price=50.0)])
    with bench.sink():
        bench.wait_positions()
    assert "another one than the stored positions belong to" in bench.logs()
    rows = bench.rows(
        "SELECT count(*), count(*) FILTER (WHERE stock_price = 50), max(revision) FROM ratio_ticks_live"
    )
    assert rows == [(120, 1, 1)]


def test_a_log_recreated_under_a_running_sink(bench: Bench, topics: Any, kafka: str) -> None:
    with bench.sink():
        bench.send_ratios([ratio(n) for n in range(80)])
        bench.wait_positions()
        with recreated(bench, topics, kafka):
            bench.send_ratios([ratio(n) for n in range(60)])
            bench.send_ratios([ratio(n) for n in range(200, 210)])
        bench.wait_positions()
    assert bench.rows("SELECT count(*) FROM ratio_ticks_live") == [(90,)]


def test_a_changed_migration_is_refused(bench: Bench) -> None:
    with bench.sink():
        bench.wait_positions()
    with psycopg.connect(bench.database, autocommit=True) as connection:
        connection.execute("UPDATE schema_migrations SET checksum = 'other' WHERE name LIKE '001%'")
    process = bench.start()
    assert process.process.wait(20) == 70
    assert "001_tables.sql was applied to schema public with other contents" in process.log.read_text()
