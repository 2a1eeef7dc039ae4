"""What the commands share: where data is, which servers to use, and how a command ends."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from market.native import NativeError, PostgresServer
from market.stack import ServerPair, Servers, StackError, only_one, running_servers

DataDir = Annotated[Path, typer.Option(envvar="MARKET_DATA", help="where data, logs and state are kept")]
DEFAULT_DATA = Path(".data")


def say(text: str) -> None:
    """A line of our own, apart from the candles on standard output."""
    print(text, file=sys.stderr, flush=True)


def fail(text: str) -> NoReturn:
    """A clear last line and status 1."""
    say(f"market: {text}")
    raise typer.Exit(1)


@contextlib.contextmanager
def servers_of(data_dir: Path) -> Iterator[Servers]:
    """The servers named in the environment, those of a running stack, or a pair started for this command."""
    named = os.environ.get("KAFKA_BOOTSTRAP_SERVERS"), os.environ.get("POSTGRES_DSN")
    if named[0] and named[1]:
        yield Servers(named[0], named[1])
    elif found := running_servers(data_dir):
        yield found
    else:
        with only_one(data_dir):
            pair = ServerPair(data_dir)
            try:
                yield pair.start(say)
            finally:
                pair.stop()


@contextlib.contextmanager
def database_of(data_dir: Path) -> Iterator[str]:
    """The database of a running stack, or the same database started for this command."""
    if found := running_servers(data_dir):
        yield found.dsn
        return
    with only_one(data_dir):
        server = PostgresServer(data_dir / "postgres")
        server.start()
        try:
            yield server.dsn
        finally:
            server.stop()


@contextlib.contextmanager
def stopping() -> Iterator[list[int]]:
    """A list that is empty until the first SIGINT or SIGTERM; a second one interrupts at once."""
    received: list[int] = []

    def stop(number: int, _frame: object) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)
        say("")

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    yield received


@contextlib.contextmanager
def stack_errors() -> Iterator[None]:
    """What a user can do something about, as one clear text instead of a traceback."""
    try:
        yield
    except (StackError, NativeError) as error:
        fail(str(error))
    except KeyboardInterrupt:
        fail("interrupted")


@contextlib.contextmanager
def kafka_of(data_dir: Path) -> Iterator[str]:
    """The Kafka named in the environment, or that of ``servers_of``."""
    if named := os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        yield named
    else:
        with servers_of(data_dir) as servers:
            yield servers.bootstrap
