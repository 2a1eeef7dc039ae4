"""The commands ``market actions fetch``, ``list`` and ``load``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from market.actions import store
from market.actions.rest import SplitsClient
from market.shell import DEFAULT_DATA, DataDir, database_of, fail, say, stack_errors
from marketdata.actions import ActionsError, ActionTable, Rename, Split, day_number, day_text, names_of
from services.ingest.settings import IngestSettings
from services.sink.settings import SinkSettings
from streaming.actions import load_actions

actions_app = typer.Typer(no_args_is_help=True, help="Splits and changes of symbol.")
DAY = ["%Y-%m-%d"]
File = Annotated[
    Path | None, typer.Option("--file", envvar="CORPORATE_ACTIONS", help="the CSV file: kind,symbol,day,from,to")
]


@actions_app.command("fetch")
def fetch(
    first: Annotated[datetime, typer.Option("--from", formats=DAY, help="first day")],
    last: Annotated[datetime | None, typer.Option("--to", formats=DAY, help="last day; default: today")] = None,
    symbols: Annotated[str, typer.Option(help="A,B,C or * for all; default: SYMBOLS")] = "",
    file: File = None,
) -> None:
    """Bring the file's splits up to date from REST; what it says of other days, symbols and renames stays."""
    with _errors():
        settings = IngestSettings()
        names = [name.strip() for name in symbols.split(",") if name.strip()] or list(settings.symbols)
        wanted = None if "*" in names else names
        path, days = _named(file), (first.date(), (last or datetime.now(UTC)).date())
        before = load_actions(path) if path.exists() else ActionTable()
        after = _fetched(settings, before, wanted, days)
        said = store.change(before.actions, after.actions)
        if said.added or said.removed or not path.exists():
            store.write_file(path, after)
        for action in sorted(set(after.actions) - set(before.actions), key=after.actions.index):
            print(_shown(action))
        say(f"{path}: {said} ({settings.rest}, {days[0]} to {days[1]})")


@actions_app.command("list")
def list_actions(symbol: Annotated[str | None, typer.Option(help="only this one")] = None, file: File = None) -> None:
    """Print what the file says, by day."""
    with _errors():
        path = _named(file)
        chosen = [a for a in load_actions(path).actions if symbol is None or symbol in names_of(a)]
        if not chosen:
            say(f"{path}: none" if symbol is None else f"{path}: none of {symbol}")
        for action in chosen:
            print(_shown(action))


@actions_app.command("load")
def load(file: File = None, data_dir: DataDir = DEFAULT_DATA) -> None:
    """Make the database's table equal to the file; the adjusted views follow at once. Twice does no harm."""
    with _errors():
        table, settings = load_actions(_named(file)), SinkSettings()
        with contextlib.ExitStack() as stack:
            named = "postgres_dsn" in settings.model_fields_set
            dsn = settings.postgres_dsn if named else stack.enter_context(database_of(data_dir.absolute()))
            said = store.load(dsn, settings.database_schema, table)
        say(f"schema {settings.database_schema}: {said}")


def _fetched(
    settings: IngestSettings, table: ActionTable, symbols: list[str] | None, days: tuple[date, date]
) -> ActionTable:
    first, last = (day.isoformat() for day in days)
    if first > last:
        fail(f"--from {first} is after --to {last}")
    with SplitsClient(settings.rest, settings.api_key, settings.rest_calls_per_minute) as client:
        splits: list[Split] = []
        for symbol in [None] if symbols is None else symbols:
            splits += client.splits(symbol, first, last)
        refused = client.refused
    after, more = store.with_splits(table, splits, symbols, day_number(first), day_number(last))
    for text in (*refused, *more):
        say(f"left out: {text}")
    return after


def _named(file: Path | None) -> Path:
    return file or fail("which file? set CORPORATE_ACTIONS or give --file")


def _shown(action: Split | Rename) -> str:
    if isinstance(action, Rename):
        return f"{day_text(action.day)}  {action.old:<8} becomes {action.new}"
    word = "split" if action.new > action.old else "reverse split"
    text = f"{word} {action.old:f} -> {action.new:f}, prices before it x {float(action.factor):g}"
    return f"{day_text(action.day)}  {action.symbol:<8} {text}"


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    with stack_errors():
        try:
            yield
        except ActionsError as error:
            fail(str(error))
        except ValidationError as error:
            fail(f"the settings are not valid: {error}")
