"""How the two big tables are stored: TimescaleDB's hypertables where it is loaded, else daily partitions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
import structlog
from psycopg import Connection

from services.sink.tables import RETENTION_DAYS

log = structlog.stdlib.get_logger()


@dataclass(frozen=True, slots=True)
class Mode:
    """``name`` is plain or timescaledb; ``extension_schema`` is where the extension's functions are."""

    name: str
    extension_schema: str | None = None


PLAIN = Mode("plain")


def choose_mode(connection: Connection[Any], schema: str) -> Mode:
    """The mode of ``schema``: what its tables are already, else what the server can do (autocommit connection)."""
    kind = connection.execute(
        "SELECT relkind FROM pg_class WHERE oid = to_regclass(format('%%I.ratio_ticks_live', %s::text))", (schema,)
    ).fetchone()
    mode = PLAIN if kind and kind[0] in {"p", b"p"} else _timescaledb(connection)
    log.info("storage mode", mode=mode.name, schema=schema)
    return mode


def _timescaledb(connection: Connection[Any]) -> Mode:
    if not _loadable(connection):
        return PLAIN
    try:
        connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
    except psycopg.errors.InsufficientPrivilege as error:
        log.warning(
            "timescaledb is there but may not be created", error=str(error), action="daily partitions instead"
        )
        return PLAIN
    found = connection.execute(
        "SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'timescaledb'"
    ).fetchone()
    return Mode("timescaledb", found[0]) if found else PLAIN


def _loadable(connection: Connection[Any]) -> bool:
    """Available and preloaded: without the preload CREATE EXTENSION ends the connection."""
    available = connection.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'timescaledb'").fetchone()
    preloaded = connection.execute(
        "SELECT setting FROM pg_settings WHERE name = 'shared_preload_libraries'"
    ).fetchone()
    if preloaded is not None:
        return available is not None and "timescaledb" in preloaded[0]
    # Only privileged roles see the setting. An extension that was created before could only be so preloaded.
    return connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'").fetchone() is not None


def set_retention(connection: Connection[Any], mode: Mode, on: bool) -> None:
    """Let TimescaleDB drop chunks past their age, or no longer (plain mode: see ``partitions``)."""
    if mode.extension_schema is None:
        return
    functions = psycopg.sql.Identifier(mode.extension_schema)
    remove = psycopg.sql.SQL("SELECT {}.remove_retention_policy(%s::regclass, if_exists => TRUE)").format(functions)
    add = psycopg.sql.SQL("SELECT {}.add_retention_policy(%s::regclass, make_interval(days => %s))").format(functions)
    with connection.transaction():
        for table, days in RETENTION_DAYS.items():
            connection.execute(remove, (table,))
            if on:
                connection.execute(add, (table, days))
