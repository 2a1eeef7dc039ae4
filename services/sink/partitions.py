"""Daily partitions of the promised tables without TimescaleDB: made before the first row, dropped past their age."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import structlog
from psycopg import Connection, sql

from services.sink.tables import BY_DAY, RETENTION_DAYS, ROW_RETENTION

EPOCH = date(1970, 1, 1)
log = structlog.stdlib.get_logger()


class DailyPartitions:
    """Knows which days stand; ``ensure`` costs nothing for a known day."""

    def __init__(self) -> None:
        self._known: set[tuple[str, int]] = set()

    def forget(self) -> None:
        """Ask the database again: after a new connection, or where a partition is missing."""
        self._known.clear()

    def ensure(self, connection: Connection[Any], days: Iterable[tuple[str, int]]) -> None:
        """Create what is missing of ``days``: (table, days since the epoch). Autocommit connection."""
        for table, day in sorted(set(days) - self._known):
            _create(connection, table, EPOCH + timedelta(days=day))
            self._known.add((table, day))

    def drop_old(self, connection: Connection[Any], now: datetime) -> list[str]:
        """Drop the days that lie wholly past their table's age; a day in use is left for the next time."""
        dropped = []
        for table, keep in RETENTION_DAYS.items():
            first_kept = now.astimezone(UTC).date() - timedelta(days=keep)
            for name in _partitions(connection, table):
                day = datetime.strptime(name[-8:], "%Y%m%d").replace(tzinfo=UTC).date()
                if day < first_kept and _drop(connection, name):
                    dropped.append(name)
        if dropped:
            self.forget()
            log.info("old days dropped", partitions=dropped)
        return dropped


def delete_old_rows(connection: Connection[Any], now: datetime) -> None:
    """Delete what is past its age from the small tables, which are not kept by day."""
    for table, (column, keep) in ROW_RETENTION.items():
        deleted = connection.execute(
            sql.SQL("DELETE FROM {} WHERE {} < %s").format(sql.Identifier(table), sql.Identifier(column)),
            (now - timedelta(days=keep),),
        ).rowcount
        if deleted:
            log.info("old rows deleted", table=table, rows=deleted, older_than_days=keep)


def partition_name(table: str, day: date) -> str:
    """The partition's name; its last eight characters are the day."""
    return f"{table}_{day:%Y%m%d}"


def days_ahead(now: datetime) -> list[tuple[str, int]]:
    """Today and tomorrow of every table, so that midnight finds its partition."""
    today = (now.astimezone(UTC).date() - EPOCH).days
    return [(table.name, day) for table in BY_DAY for day in (today, today + 1)]


def _create(connection: Connection[Any], table: str, day: date) -> None:
    name = partition_name(table, day)
    # CREATE ... PARTITION OF would lock out readers of the whole table; ATTACH does not.
    attach = sql.SQL(
        "CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS);"
        "ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ({start}) TO ({end})"
    ).format(
        name=sql.Identifier(name),
        table=sql.Identifier(table),
        start=sql.Literal(f"{day:%Y-%m-%d} 00:00:00+00"),
        end=sql.Literal(f"{day + timedelta(days=1):%Y-%m-%d} 00:00:00+00"),
    )
    with connection.transaction():
        connection.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || '.' || %s, 0))", (name,)
        )
        if connection.execute("SELECT to_regclass(quote_ident(%s))", (name,)).fetchone() == (None,):
            connection.execute(attach)


def _partitions(connection: Connection[Any], table: str) -> list[str]:
    rows = connection.execute(
        "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
        "WHERE i.inhparent = to_regclass(quote_ident(%s)) ORDER BY 1",
        (table,),
    )
    return [name for (name,) in rows]


def _drop(connection: Connection[Any], name: str) -> bool:
    try:
        with connection.transaction():
            connection.execute("SET LOCAL lock_timeout = '1s'")
            connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(name)))
    except psycopg.errors.LockNotAvailable:
        return False
    return True
