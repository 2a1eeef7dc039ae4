"""What is stored: how far the sink's positions are, to be forgotten too, and schemas to drop."""

from __future__ import annotations

from typing import Any, Self

import psycopg
from psycopg import sql

from bench.context import Bench
from market.export import export_topics


class Stored:
    """Asks one schema, over one connection, how far the sink is."""

    def __init__(self, bench: Bench, schema: str) -> None:
        self._bench = bench
        self._connection: psycopg.Connection[Any] = psycopg.connect(bench.servers.dsn, autocommit=True)
        self._query = sql.SQL("SELECT topic, partition, next_offset FROM {}.sink_positions").format(
            sql.Identifier(schema)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def positions(self) -> dict[tuple[str, int], int]:
        """The next offset of every partition; empty before the schema is there."""
        try:
            return {(topic, p): offset for topic, p, offset in self._connection.execute(self._query)}
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
            return {}

    def everything(self) -> bool:
        """Whether all that stands in the topics is stored."""
        positions = self.positions()
        return all(
            positions.get(place, 0) >= end
            for place, end in self._bench.broker.ends(export_topics(self._bench.topics)).items()
        )


def drop_schema(bench: Bench, schema: str) -> None:
    """Drop a schema and what it holds."""
    with psycopg.connect(bench.servers.dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))


def forget_positions(bench: Bench, schema: str) -> None:
    """Let the next sink read the whole log again; its rows stay."""
    with psycopg.connect(bench.servers.dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("DELETE FROM {}.sink_positions").format(sql.Identifier(schema)))
