"""Migrations, daily partitions and the modes of storage on a real PostgreSQL."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from services.sink.batch import Batch
from services.sink.database import Database
from services.sink.migrate import Migration, MigrationChangedError, migrate, read_migrations
from services.sink.partitions import DailyPartitions
from services.sink.positions import LogId, Move, Position, PositionMissError
from services.sink.settings import SinkSettings
from services.sink.storage import PLAIN, choose_mode
from services.sink.tables import TICKS

pytestmark = pytest.mark.integration
NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
GOOD = (
    b"2026-03-10 00:00:00+00,MARA,1,2,3,4,5,6,7,t1,8,9,true,true,true,null,null,null,null,null,"
    b"2026-03-10 00:00:00+00,2026-03-10 00:00:00+00,0,0,0,0\n"
)
TODAY = (NOW.date() - datetime(1970, 1, 1, tzinfo=UTC).date()).days


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database, autocommit=True) as made:
        yield made


def partitions(connection: psycopg.Connection[Any], table: str = "ratio_ticks_live") -> list[str]:
    rows = connection.execute(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::regclass", (table,)
    )
    return sorted(name for (name,) in rows)


def test_migrations_apply_once_and_side_by_side(database: str) -> None:
    done: list[list[str]] = []

    def run() -> None:
        with psycopg.connect(database, autocommit=True) as connection:
            done.append(migrate(connection, "replay_1", PLAIN, read_migrations()))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ours = [migration.name for migration in read_migrations() if migration.mode in {None, PLAIN.name}]
    assert ours[:2] == ["001_tables.sql", "002_by_day.plain.sql"]
    assert sorted(done) == [[], [], [], ours]


def test_a_failed_migration_leaves_nothing_and_is_tried_again(connection: psycopg.Connection[Any]) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero):
        migrate(connection, "public", PLAIN, [Migration("001_a.sql", None, "CREATE TABLE a (); SELECT 1 / 0")])
    assert migrate(connection, "public", PLAIN, [Migration("001_a.sql", None, "CREATE TABLE a ()")]) == ["001_a.sql"]
    with pytest.raises(MigrationChangedError, match=r"001_a\.sql"):
        migrate(connection, "public", PLAIN, [Migration("001_a.sql", None, "CREATE TABLE b ()")])


def test_the_promised_columns_stand_first_with_their_types(connection: psycopg.Connection[Any]) -> None:
    migrate(connection, "public", PLAIN, read_migrations())
    query = (
        "SELECT column_name, data_type, character_maximum_length, numeric_scale FROM information_schema.columns "
        "WHERE table_name = %s ORDER BY ordinal_position"
    )
    decimals = [(name, "numeric", None, None) for name in ("open_ratio", "high_ratio", "low_ratio", "close_ratio")]
    first = [("time", "timestamp with time zone", None, None), ("symbol", "character varying", 10, None)]
    assert connection.execute(query, ("ratio_ticks_live",)).fetchall()[:7] == [
        *first,
        *((name, "numeric", None, None) for name in ("btc_price", "stock_price", "ratio", "btc_volume")),
        ("stock_volume", "bigint", None, 0),
    ]
    assert connection.execute(query, ("ratio_aggregates_500ms",)).fetchall()[:8] == [
        *first, *decimals, ("avg_ratio", "numeric", None, None), ("tick_count", "integer", None, 0),
    ]  # fmt: skip


def test_days_are_made_once_also_by_two_at_the_same_time(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        migrate(connection, "public", PLAIN, read_migrations())
    failures: list[Exception] = []

    def run() -> None:
        try:
            with psycopg.connect(database, autocommit=True) as connection:
                DailyPartitions().ensure(connection, [("ratio_ticks_live", TODAY - n) for n in range(15)])
        except psycopg.Error as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with psycopg.connect(database) as connection:
        assert len(partitions(connection)) == 15


def test_days_past_their_age_are_dropped_and_one_in_use_waits(database: str, connection: Any) -> None:
    migrate(connection, "public", PLAIN, read_migrations())
    days = DailyPartitions()
    tables = ("ratio_ticks_live", "ratio_aggregates_500ms")
    days.ensure(connection, [(table, TODAY - n) for table in tables for n in (0, 7, 8, 90, 91)])
    with psycopg.connect(database) as reader:
        reader.execute("SELECT * FROM ratio_ticks_live_20260302")  # 8 days ago, in use until the transaction's end
        assert days.drop_old(connection, NOW) == [
            "ratio_ticks_live_20251209", "ratio_ticks_live_20251210", "ratio_aggregates_500ms_20251209",
        ]  # fmt: skip
    assert days.drop_old(connection, NOW) == ["ratio_ticks_live_20260302"]
    assert partitions(connection) == ["ratio_ticks_live_20260303", "ratio_ticks_live_20260310"]
    days.ensure(connection, [("ratio_ticks_live", TODAY - 8)])  # what was known is asked anew
    assert "ratio_ticks_live_20260302" in partitions(connection)


def test_rows_and_positions_are_written_together_or_not_at_all(database: str) -> None:
    sink = Database(SinkSettings(postgres_dsn=database), threading.Event())
    sink.prepare()
    place = ("ratios", 0)
    assert sink.claim([place], LogId("c", {"ratios": "a"})) == {place: Position(0, None)}

    def batch(base: int, line: bytes) -> Batch:
        made = Batch(moves={place: Move(base, base + 1, (0, base, 0))}, days={(TICKS.name, TODAY)})
        made.add(TICKS, line, 0, 0)
        return made

    good, unreadable = (GOOD.replace(b"t1", name) for name in (b"t1", b"t2,x"))
    sink.write(batch(0, good))
    with pytest.raises(psycopg.DataError):
        sink.write(batch(1, unreadable))
    with pytest.raises(PositionMissError):
        sink.write(batch(0, GOOD.replace(b"t1", b"t3")))
    sink.write(batch(1, good))  # the same key: merged
    assert sink.claim([place], LogId("c", {"ratios": "a"})) == {place: Position(2, (0, 1, 0))}
    assert sink.claim([place], LogId("c", {"ratios": "b"})) == {place: Position(0, None)}
    sink.log_id = LogId("c", {"ratios": "a"})
    with pytest.raises(PositionMissError):  # the position belongs to another log by now
        sink.write(batch(0, good))
    sink.close()
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT trade_id FROM ratio_ticks_live").fetchall() == [("t1",)]


def test_without_the_extension_the_mode_is_plain(connection: psycopg.Connection[Any]) -> None:
    available = connection.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'timescaledb'").fetchone()
    preloaded = connection.execute("SHOW shared_preload_libraries").fetchone()
    expected = "timescaledb" if available and preloaded and "timescaledb" in preloaded[0] else "plain"
    assert choose_mode(connection, "public").name == expected
    migrate(connection, "other", PLAIN, read_migrations())
    assert choose_mode(connection, "other") == PLAIN  # what a schema is, it stays


def test_a_schema_with_timescaledb(not_run: Callable[[str], None]) -> None:
    dsn = os.environ.get("TIMESCALE_DSN")
    if not dsn:
        not_run("the sink's tables as hypertables (TIMESCALE_DSN names no server)")
        return
    schema = f"t{secrets.token_hex(4)}"
    for retention, jobs in (("on", 2), ("off", 0), ("on", 2)):
        Database(
            SinkSettings(postgres_dsn=dsn, database_schema=schema, retention=retention), threading.Event()
        ).prepare()
        with psycopg.connect(dsn, autocommit=True) as connection:
            tables = connection.execute(
                "SELECT hypertable_name FROM timescaledb_information.hypertables WHERE hypertable_schema = %s",
                (schema,),
            )
            assert {name for (name,) in tables} == {"ratio_ticks_live", "ratio_aggregates_500ms", "candles"}
            found = connection.execute(
                "SELECT count(*) FROM timescaledb_information.jobs WHERE hypertable_schema = %s "
                "AND proc_name = 'policy_retention'",
                (schema,),
            ).fetchone()
            assert found == (jobs,)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA {schema} CASCADE".encode())
