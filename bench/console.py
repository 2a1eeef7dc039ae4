"""What the commands share: their options' numbers, their last line, and a report's head."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import typer
from confluent_kafka import KafkaException
from psycopg import OperationalError

from bench import machine
from bench.context import Bench, BenchError, Choices, say, servers_of, temporary_directory
from bench.kafka import Broker
from bench.stats import TooShortError
from bench.tables import as_text
from market.native import NativeError
from market.stack import Servers
from streaming.logs import configure_logs
from streaming.tails import TailError

FAILURES = (BenchError, NativeError, TooShortError, TailError, KafkaException, OperationalError, OSError)
"""What ends a command with one clear line."""


def fail(text: str) -> NoReturn:
    """A clear last line and status 1."""
    say(f"bench: {text}")
    raise typer.Exit(1)


def whole_numbers(text: str, option: str = "--rates") -> tuple[int, ...]:
    """The numbers of a list with commas; the command ends where it is none."""
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError:
        fail(f"{option} takes whole numbers separated by commas, not {text!r}")
    if min(found) < 1:
        fail(f"{option} must be above 0")
    return found


@contextlib.contextmanager
def working_folder() -> Iterator[Path]:
    """A temporary folder to measure in. A failure inside ends the command, and a signal stops what was started."""
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))  # as Ctrl-C does
    configure_logs("bench", "WARNING")
    try:
        with temporary_directory() as directory:
            yield directory
    except FAILURES as error:
        fail(str(error))


ServersIn = Callable[[Path], contextlib.AbstractContextManager[tuple[Servers, bool]]]
"""Starts the servers a measurement needs, or takes those that are named: (them, whether they are ours)."""


@contextlib.contextmanager
def measuring(choices: Choices, servers_in: ServersIn = servers_of) -> Iterator[tuple[Bench, dict[str, Any]]]:
    """Where to measure, and the report's head; a failure inside ends the command."""
    load = machine.load_before()
    with working_folder() as directory, servers_in(directory) as (servers, own):
        where = Bench(servers, Broker(servers.bootstrap, choices.partitions), directory, choices, "bench.")
        yield where, machine.circumstances(load, servers.dsn, own) | {"void": machine.load_reasons(load)}


def reported(choices: Choices, measure: Callable[[Bench], dict[str, Any]]) -> dict[str, Any]:
    """Start servers and measure; the circumstances, then what ``measure`` found. A failure ends the command."""
    with measuring(choices) as (where, head):
        return head | measure(where)


def some_of(names: Sequence[str], only: str | None) -> tuple[str, ...]:
    """Those of ``names`` that the option names, all where it names none; an unknown one ends the command."""
    wanted = tuple(only.split(",")) if only else tuple(names)
    if unknown := set(wanted) - set(names):
        fail(f"--only takes some of {', '.join(names)}, not {', '.join(sorted(unknown))}")
    return wanted


def print_report(report: dict[str, Any], *, as_json: bool) -> None:
    """Print the report whole, or as a table for readers."""
    print(json.dumps(report, indent=2) if as_json else as_text(report))
