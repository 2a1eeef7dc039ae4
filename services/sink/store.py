"""The rows of a batch into their tables: COPY first; where a key stands already, by temporary table and merge."""

from __future__ import annotations

import time
from typing import Any

import psycopg
from psycopg import Connection, sql

from services.sink import metrics
from services.sink.batch import Batch
from services.sink.tables import CANDLES, EMPTY_AGGREGATES, TABLES, Table
from streaming.catalogue import begin_at_zero

CHUNK = 256
"""Lines handed over at once: below 128 KB, the memory for them is not asked of the system each time."""


class KnownKeysError(Exception):
    """A key stands already: nothing was written, and the table's rows will be merged the next time."""


class Store:
    """Writes rows inside the caller's transaction, and remembers which tables meet known keys.

    Known keys come in stretches, of a log that is read again: once a table has met one its rows are merged, until all
    of a batch were new. Merging costs more than COPY, and a COPY that fails costs the most.
    """

    def __init__(self) -> None:
        self._merging: set[Table] = set()
        begin_at_zero(metrics.ROWS, [table.name for table in TABLES])

    def write(self, connection: Connection[Any], batch: Batch) -> None:
        """Write all rows of ``batch``.

        Raises:
            KnownKeysError: the transaction has failed, and is to be tried again.
        """
        for table in TABLES:
            lines = batch.tables.get(table)
            if lines is None:
                continue
            if lines.fresh:
                self._fresh(connection, table, lines.fresh)
            if lines.revised:
                _merge(connection, table, lines.revised, supersedes=True)

    def committed(self, batch: Batch) -> None:
        """Count what ``write`` wrote, once it is visible."""
        metrics.BATCHES.inc()
        metrics.observe_latencies(batch.published, time.time_ns() // 1000)
        for table, lines in batch.tables.items():
            metrics.ROWS.labels(table.name).inc(len(lines.fresh) + len(lines.revised))

    def _fresh(self, connection: Connection[Any], table: Table, lines: list[bytes]) -> None:
        if table in self._merging:
            if _merge(connection, table, lines, supersedes=False):
                self._merging.discard(table)
            return
        try:
            _copy(connection, table, sql.Identifier(table.name), lines)
        except psycopg.errors.UniqueViolation as error:
            self._merging.add(table)
            raise KnownKeysError(table.name) from error
        metrics.WRITES.labels(table.name, "copy").inc()


def _copy(connection: Connection[Any], table: Table, target: sql.Composable, lines: list[bytes]) -> None:
    with connection.cursor() as cursor, cursor.copy(table.copy_into(target)) as copy:
        for start in range(0, len(lines), CHUNK):
            copy.write(b"".join(lines[start : start + CHUNK]))


def _merge(connection: Connection[Any], table: Table, lines: list[bytes], *, supersedes: bool) -> bool:
    """Whether all were new; first revisions supersede nothing.

    Statements go in one string where they can: on a busy machine each answer that is waited for takes milliseconds.
    """
    metrics.WRITES.labels(table.name, "merge").inc()
    connection.execute(table.empty_incoming, prepare=False)
    _copy(connection, table, table.incoming, lines)
    before = [table.forget_known, table.supersede if supersedes else None]
    after = [table.keep_older, EMPTY_AGGREGATES if table is CANDLES else None]
    steps = [step for step in (*before, table.merge, *after) if step is not None]
    answers = connection.execute(sql.SQL("; ").join(steps), prepare=False)
    for _ in range(steps.index(table.merge)):
        answers.nextset()
    return answers.rowcount == len(lines)
