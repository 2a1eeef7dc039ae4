"""The rows of a batch into their tables: COPY first; where a key stands already, by temporary table and merge."""

from __future__ import annotations

import time
from typing import Any

import psycopg
from psycopg import Connection, sql

from services.sink import metrics
from services.sink.batch import Batch, Lines
from services.sink.tables import CANDLES, EMPTY_AGGREGATES, TABLES, Table
from streaming.catalogue import begin_at_zero

CHUNK = 2_000
MERGE_AFTER_CLASH = 20


class Store:
    """Writes rows inside the caller's transaction, and remembers which tables met known keys lately."""

    def __init__(self) -> None:
        self._merging: dict[Table, int] = {}
        begin_at_zero(metrics.ROWS, [table.name for table in TABLES])

    def write(self, connection: Connection[Any], batch: Batch) -> None:
        """Write all rows of ``batch``."""
        for table in TABLES:
            lines = batch.tables.get(table)
            if lines is None:
                continue
            self._fresh(connection, table, lines)
            if lines.revised:
                _merge(connection, table, lines.revised)

    def committed(self, batch: Batch) -> None:
        """Count what ``write`` wrote, once it is visible."""
        metrics.BATCHES.inc()
        metrics.observe_latencies(batch.published, time.time_ns() // 1000)
        for table, lines in batch.tables.items():
            metrics.ROWS.labels(table.name).inc(len(lines.fresh) + len(lines.revised))

    def _fresh(self, connection: Connection[Any], table: Table, lines: Lines) -> None:
        if not lines.fresh:
            return
        if not self._merges(table):
            try:
                with connection.transaction():
                    _copy(connection, table, sql.Identifier(table.name), lines.fresh)
            except psycopg.errors.UniqueViolation:
                # Known keys come in stretches (a log read again): do not pay for a failed COPY each time.
                self._merging[table] = MERGE_AFTER_CLASH
            else:
                metrics.WRITES.labels(table.name, "copy").inc()
                return
        _merge(connection, table, lines.fresh)

    def _merges(self, table: Table) -> bool:
        left = self._merging.get(table, 0)
        self._merging[table] = max(0, left - 1)
        return left > 0


def _copy(connection: Connection[Any], table: Table, target: sql.Composable, lines: list[bytes]) -> None:
    with connection.cursor() as cursor, cursor.copy(table.copy_into(target)) as copy:
        for start in range(0, len(lines), CHUNK):
            copy.write(b"".join(lines[start : start + CHUNK]))


def _merge(connection: Connection[Any], table: Table, lines: list[bytes]) -> None:
    connection.execute(table.create_incoming)
    connection.execute(sql.SQL("TRUNCATE {}").format(table.incoming))
    _copy(connection, table, table.incoming, lines)
    for statement in (table.supersede, table.merge, table.keep_older):
        if statement is not None:
            connection.execute(statement)
    if table is CANDLES:
        connection.execute(EMPTY_AGGREGATES)
    metrics.WRITES.labels(table.name, "merge").inc()
