"""The file and the database table that hold the actions."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from market.stack import StackError
from marketdata.actions import Action, ActionTable, Rename, Split, day_text, format_actions

COLUMNS = ("kind", "symbol", "day", "old_shares", "new_shares", "new_symbol")
ARRAYS = ("%s::text[]", "%s::text[]", "%s::date[]", "%s::numeric[]", "%s::numeric[]", "%s::text[]")


@dataclass(frozen=True, slots=True)
class Change:
    """How many actions came, went and stayed."""

    added: int
    removed: int
    kept: int

    def __str__(self) -> str:
        return f"{self.added} added, {self.removed} removed, {self.kept} as before"


def change(before: Iterable[Action], after: Iterable[Action]) -> Change:
    """What became of ``before``."""
    old, new = set(before), set(after)
    return Change(len(new - old), len(old - new), len(old & new))


def with_splits(
    table: ActionTable, splits: Iterable[Split], symbols: Collection[str] | None, first: int, last: int
) -> tuple[ActionTable, list[str]]:
    """``table`` with what REST says of ``symbols`` (None: of all) from day ``first`` to ``last`` in place of its own.

    What lies outside stays, and so do changes of symbol, which REST does not list. The second result names splits of
    REST that were left out, because another one of that symbol and day came first.

    Raises:
        ActionsError: a split of REST contradicts a change of symbol.
    """
    inside: dict[tuple[str, int], Split] = {}
    refused = []
    for split in splits:
        known = inside.setdefault((split.symbol, split.day), split)
        if known != split:
            refused.append(f"{split.symbol} {day_text(split.day)}: {split.old:f} -> {split.new:f} is the second one")
    kept = [a for a in table.actions if not (isinstance(a, Split) and first <= a.day <= last and
                                             (symbols is None or a.symbol in symbols))]  # fmt: skip
    for rename in (a for a in kept if isinstance(a, Rename)):
        _once(inside, rename)
    return ActionTable([*kept, *inside.values()]), refused


def _once(splits: dict[tuple[str, int], Split], rename: Rename) -> None:
    """A split on the day of a change of symbol may be listed under both names: count it under the new one."""
    old, new = (splits.get((name, rename.day)) for name in (rename.old, rename.new))
    if old is not None and new is not None and old.factor == new.factor:
        del splits[rename.old, rename.day]


def write_file(path: Path, table: ActionTable) -> None:
    """Put ``table`` in the place of ``path`` at once, so that no reader sees half of it.

    Raises:
        StackError: the folder cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        written = path.with_name(f".{path.name}.{os.getpid()}")
        written.write_text(format_actions(table), "utf-8")
        written.replace(path)
    except OSError as error:
        raise StackError(f"{path} cannot be written: {error.strerror}") from error


def load(dsn: str, schema: str, table: ActionTable) -> Change:
    """Make the database's table equal to ``table``, in one transaction; a second time nothing changes.

    Raises:
        StackError: the schema has no such table yet, or the database does not answer.
    """
    try:
        with psycopg.connect(dsn, connect_timeout=10) as connection:
            return _load(connection, sql.Identifier(schema, "corporate_actions"), table)
    except psycopg.errors.UndefinedTable:
        raise StackError(
            f"schema {schema} has no table corporate_actions yet: start this version's sink, it migrates"
        ) from None
    except psycopg.Error as error:
        raise StackError(f"the database refuses: {str(error).strip().splitlines()[0]}") from error


def _load(connection: psycopg.Connection[Any], name: sql.Identifier, table: ActionTable) -> Change:
    columns = sql.SQL(", ").join(map(sql.Identifier, COLUMNS))
    connection.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(name))
    wanted = {_row(action) for action in table.actions}
    standing = set(connection.execute(sql.SQL("SELECT {} FROM {}").format(columns, name)).fetchall())
    # One statement each: every statement on this table makes the adjustments anew.
    if gone := list(standing - wanted):
        where = sql.SQL("(kind, symbol, day) IN (SELECT * FROM unnest(%s::text[], %s::text[], %s::date[]))")
        connection.execute(
            sql.SQL("DELETE FROM {} WHERE {}").format(name, where), [*map(list, zip(*gone, strict=True))][:3]
        )
    if new := list(wanted - standing):
        rows = sql.SQL("SELECT * FROM unnest({})").format(sql.SQL(", ").join(map(sql.SQL, ARRAYS)))
        connection.execute(
            sql.SQL("INSERT INTO {} ({}) {}").format(name, columns, rows), [*map(list, zip(*new, strict=True))]
        )
    return Change(len(wanted - standing), len(standing - wanted), len(wanted & standing))


def _row(action: Action) -> tuple[Any, ...]:
    day = date.fromisoformat(day_text(action.day))
    if isinstance(action, Split):
        return "split", action.symbol, day, action.old, action.new, None
    return "rename", action.old, day, None, None, action.new
