"""Numbered SQL files, each applied once, in its own transaction, while an advisory lock keeps other sinks out.

``NNN_name.sql`` runs everywhere, ``NNN_name.plain.sql`` and ``NNN_name.timescaledb.sql`` in that mode of storage.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

import structlog
from psycopg import Connection, sql

from services.sink.storage import Mode

_NAME = re.compile(r"^\d{3}_\w+?(?:\.(?P<mode>plain|timescaledb))?\.sql$")
log = structlog.stdlib.get_logger()


class MigrationChangedError(RuntimeError):
    """A file that was applied already has other contents now: the database is not what the file says."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its name, the mode it is for (None: every mode) and its SQL."""

    name: str
    mode: str | None
    body: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the SQL."""
        return hashlib.sha256(self.body.encode()).hexdigest()


def read_migrations(folder: Traversable | None = None) -> list[Migration]:
    """The migrations of ``folder`` (default: the package's own), in order of their names."""
    folder = folder or files("services.sink") / "migrations"
    found = [(entry, match) for entry in folder.iterdir() if (match := _NAME.match(entry.name))]
    return sorted(
        (Migration(entry.name, match["mode"], entry.read_text("utf-8")) for entry, match in found),
        key=lambda migration: migration.name,
    )


def migrate(connection: Connection[Any], schema: str, mode: Mode, migrations: list[Migration]) -> list[str]:
    """Bring ``schema`` up to date over an autocommit connection; returns the names applied now.

    Raises:
        MigrationChangedError: an applied file has changed since.
        psycopg.Error: a file failed; it left nothing behind, those before it stand.
    """
    connection.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (f"sink migrations {schema}",))
    try:
        connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
        _search(connection, schema)
        applied = _applied(connection)
        for migration in migrations:
            if migration.name in applied and applied[migration.name] != migration.checksum:
                raise MigrationChangedError(
                    f"migration {migration.name} was applied to schema {schema} with other contents: restore the "
                    "file and put the change into a new, higher number"
                )
        due = [m for m in migrations if m.name not in applied and m.mode in {None, mode.name}]
        for migration in due:
            _apply(connection, schema, mode, migration)
        return [migration.name for migration in due]
    finally:
        connection.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", (f"sink migrations {schema}",))


def _applied(connection: Connection[Any]) -> dict[str, str]:
    connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_migrations (name TEXT PRIMARY KEY, checksum TEXT NOT NULL, "
        "applied_at TIMESTAMPTZ NOT NULL DEFAULT now())"
    )
    return dict(connection.execute("SELECT name, checksum FROM schema_migrations").fetchall())


def _apply(connection: Connection[Any], schema: str, mode: Mode, migration: Migration) -> None:
    # The extension's functions live in a schema of their own choosing; tables always go to ours, the first.
    _search(connection, schema, *([mode.extension_schema] if mode.extension_schema else []))
    with connection.transaction():
        connection.execute(migration.body.encode())
        connection.execute(
            "INSERT INTO schema_migrations (name, checksum) VALUES (%s, %s)", (migration.name, migration.checksum)
        )
    _search(connection, schema)
    log.info("migration applied", name=migration.name, schema=schema)


def _search(connection: Connection[Any], *schemas: str) -> None:
    names = sql.SQL(", ").join(map(sql.Identifier, schemas))
    connection.execute(sql.SQL("SET search_path = {}").format(names))
