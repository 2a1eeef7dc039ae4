"""The database side: one connection, one transaction a batch, patience while the database is away."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from itertools import count
from typing import Any, TypeVar

import psycopg
import structlog
from psycopg import Connection, sql

from services.sink import metrics, positions
from services.sink.batch import Batch
from services.sink.evict import evict_stalled_rivals
from services.sink.migrate import migrate, read_migrations
from services.sink.partitions import DailyPartitions, days_ahead, delete_old_rows
from services.sink.patience import LONGEST_WAIT_S, StoppedError
from services.sink.positions import LogId, Position
from services.sink.settings import SinkSettings
from services.sink.storage import PLAIN, Mode, choose_mode, set_retention
from services.sink.store import KnownKeysError, Store
from services.sink.tables import TABLES
from streaming.places import Place

T = TypeVar("T")
APPLICATION = "market sink"
AWAY = (psycopg.OperationalError, psycopg.InterfaceError)
"""Away, restarting, out of room, locked, deadlocked: all pass, so all are waited for."""
MADE_ANEW = (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName)
"""The tables are gone under a connection that lives on: they are made again, and the positions then start anew."""
UPKEEP_S = 3600.0
SESSION = (
    "SET lock_timeout = '5s'; SET idle_in_transaction_session_timeout = '15s'; SET timezone = 'UTC'; "
    "SET jit = off; "  # statements of milliseconds would be compiled for seconds
    # Rows are looked up by their keys: while a table is small the planner would rather read all of it, each time.
    "SET enable_hashjoin = off; SET enable_mergejoin = off"
)
log = structlog.stdlib.get_logger()


class Database:
    """Writes batches. Used from one thread at a time; ``stop`` may be set from any."""

    def __init__(self, settings: SinkSettings, stop: threading.Event) -> None:
        self._settings = settings
        self._stop = stop
        self._connection: Connection[Any] | None = None
        self._ready = False
        self._mode: Mode = PLAIN
        self._days = DailyPartitions()
        self._store = Store()
        self._upkept: datetime | None = None
        self.log_id = LogId("", {})

    def prepare(self) -> None:
        """Bring the schema up to date and the retention into force; waits while the database is away."""
        self._patiently(lambda _: None)

    def claim(self, places: Iterable[Place], log_id: LogId) -> dict[Place, Position]:
        """The stored positions of ``places`` in the log that ``log_id`` names."""
        wanted = list(places)
        self.log_id = log_id
        return self._patiently(lambda connection: positions.claim(connection, log_id, wanted))

    def write(self, batch: Batch) -> None:
        """Commit ``batch`` and its positions, both or neither.

        Raises:
            PositionMissError: another sink has moved a position; nothing was written.
            StoppedError: the process ends and the database is away.
        """
        self._patiently(lambda connection: self._write(connection, batch))

    def abandon(self) -> None:
        """From another thread, with ``stop`` set: make a write that still hangs fail, as a lost connection would."""
        connection = self._connection
        if connection is None or connection.closed:
            return
        with contextlib.suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as same:
            same.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._ready = False

    def _prepare(self, connection: Connection[Any]) -> None:
        schema = self._settings.database_schema
        self._mode = choose_mode(connection, schema)
        done = migrate(connection, schema, self._mode, read_migrations())
        set_retention(connection, self._mode, self._settings.drops_old_days)
        self._days.forget()
        log.info("database ready", schema=schema, migrations_applied=done, retention=self._settings.drops_old_days)

    def _write(self, connection: Connection[Any], batch: Batch) -> None:
        self._upkeep(connection)
        if self._mode.name == "plain":
            self._days.ensure(connection, batch.days)
        try:
            self._transact(connection, batch)
        except psycopg.errors.CheckViolation:
            self._days.forget()  # a day's partition was dropped under us
            self._days.ensure(connection, batch.days)
            raise psycopg.OperationalError("a daily partition was missing, it is made again") from None
        self._store.committed(batch)

    def _transact(self, connection: Connection[Any], batch: Batch) -> None:
        for _ in range(len(TABLES) + 1):  # each may meet known keys once
            with contextlib.suppress(KnownKeysError), metrics.BATCH_SECONDS.time(), connection.transaction():
                positions.move(connection, batch.moves, self.log_id)
                self._store.write(connection, batch)
                return
        raise AssertionError("a table that is merged does not tell of known keys")

    def _upkeep(self, connection: Connection[Any]) -> None:
        now = datetime.now(UTC)
        if self._upkept is not None and (now - self._upkept).total_seconds() < UPKEEP_S:
            return
        self._upkept = now
        if not self._settings.drops_old_days:
            return
        delete_old_rows(connection, now)
        if self._mode.name == "plain":
            self._days.drop_old(connection, now)
            self._days.ensure(connection, days_ahead(now))

    def _patiently(self, work: Callable[[Connection[Any]], T]) -> T:
        for attempt in count():
            try:
                return work(self._connected())
            except AWAY as error:
                self._lost(error, attempt)
            except MADE_ANEW as error:
                self.close()
                self._lost(error, attempt)
        raise AssertionError("count() has no end")

    def _lost(self, error: Exception, attempt: int) -> None:
        metrics.WAITS.inc()
        if isinstance(error, psycopg.errors.LockNotAvailable) and self._connection is not None:
            evict_stalled_rivals(self._connection, APPLICATION)
        if self._connection is not None and self._connection.broken:
            self.close()
        wait = min(LONGEST_WAIT_S, 0.1 * 2**attempt)
        log.warning(
            "database not available",
            error=str(error).strip(),
            sqlstate=getattr(error, "sqlstate", None),
            attempt=attempt + 1,
            action=f"again in {wait} s",
        )
        if self._stop.wait(wait):
            self.close()
            raise StoppedError

    def _connected(self) -> Connection[Any]:
        if self._ready and self._connection is not None and not self._connection.closed:
            return self._connection
        self.close()
        connection = self._connection = self._connect()  # known from here on: ``abandon`` can end what follows
        connection.execute(SESSION)
        schema = sql.Identifier(self._settings.database_schema)
        connection.execute(sql.SQL("SET search_path = {}").format(schema))
        self._prepare(connection)  # at each connection: it may be another database by now
        self._ready = True
        return connection

    def _connect(self) -> Connection[Any]:
        return psycopg.connect(
            self._settings.postgres_dsn,
            autocommit=True,
            application_name=APPLICATION,
            client_encoding="utf8",  # else a database of no encoding gives bytes for text
            connect_timeout=5,
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=20_000,
        )
