"""The command ``market``: run the stack, replay recordings, look into topics and the database."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import time
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer

from market.actions.command import actions_app
from market.candles import candles
from market.doctor.command import doctor
from market.export import canonical_export
from market.live import LiveView
from market.native.pgbin import find_binaries
from market.native.unprivileged import reachable_data_dir, server_account
from market.prepare import db_app, topics_app
from market.repairs import dlq_app, rebuild
from market.replay import Replay, drop_replay
from market.shell import DEFAULT_DATA, DataDir, database_of, fail, say, servers_of, stack_errors, stopping
from market.stack import (
    Options,
    ServerPair,
    Servers,
    Services,
    only_one,
    real_feed_wanted,
    running_servers,
)
from market.status import ports
from market.status.command import status
from marketdata.topics import Topics

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False)
app.add_typer(dlq_app, name="dlq")
app.add_typer(actions_app, name="actions")
app.add_typer(topics_app, name="topics")
app.add_typer(db_app, name="db")
app.command()(rebuild)
app.command()(doctor)
app.command()(status)
app.command()(candles)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"market-pipeline {metadata.version('market-pipeline')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options of the command itself."""


@app.command()
def run(
    seconds: Annotated[float | None, typer.Option(help="stop after this long from the first healthy state")] = None,
    intervals: Annotated[str, typer.Option(help="which finished candles to show")] = "15s,1m",
    data_dir: DataDir = DEFAULT_DATA,
) -> None:
    """Start everything and show finished candles; Ctrl-C stops all of it and keeps the data."""
    options = Options(data_dir.absolute(), feed=not real_feed_wanted())
    with stopping() as stopped, stack_errors(), only_one(options.data_dir):
        pair = ServerPair(options.data_dir)
        try:
            _run(options, pair, stopped, seconds, tuple(intervals.split(",")))
        finally:
            say(f"stopping (data stays in {options.data_dir})")
            pair.stop()


def _run(
    options: Options, pair: ServerPair, stopped: list[int], seconds: float | None, intervals: tuple[str, ...]
) -> None:
    began = time.monotonic()
    servers = pair.start(say)
    services = Services(options, servers, say)
    try:
        say("starting the services" if options.feed else "starting the services on the vendor's feed")
        services.start()
        with ports.known(options.data_dir, services.metrics):
            services.wait_healthy()
            say(f"healthy after {time.monotonic() - began:.1f} s. {where_to_look(servers, services)}")
            deadline = None if seconds is None else time.monotonic() + seconds
            view = LiveView(servers.bootstrap, options.topics, intervals, services.metrics)

            def over() -> bool:
                services.check()
                return bool(stopped) or (deadline is not None and time.monotonic() >= deadline)

            view.run(over)
    finally:
        services.stop()


def where_to_look(servers: Servers, services: Services) -> str:
    """Addresses for a user who wants to see more."""
    metrics = ", ".join(f"{name} :{port}" for name, port in services.metrics.items())
    return (
        f"Kafka {servers.bootstrap} | database `make psql` ({servers.dsn}) | /metrics and /health on 127.0.0.1: "
        f"{metrics} | Ctrl-C stops"
    )


@app.command()
def replay(  # noqa: PLR0917 - typer reads the options from the parameters
    files: Annotated[list[str], typer.Argument(help="PATH[@START][*LAPS|*end], .jsonl or .jsonl.gz")],
    name: Annotated[str, typer.Option(help="names the namespace and the schema; default: the time")] = "",
    speed: Annotated[str, typer.Option(help="max, or N times real time")] = "max",
    workers: Annotated[int, typer.Option(min=1, help="processes a stage")] = 1,
    export: Annotated[Path | None, typer.Option(help="write the canonical export to this file")] = None,
    keep: Annotated[bool, typer.Option(help="keep the topics and the schema afterwards")] = True,
    data_dir: DataDir = DEFAULT_DATA,
) -> None:
    """Play recordings through in a namespace of their own and print counts and the export's SHA-256."""
    name = name or time.strftime("%Y%m%d_%H%M%S")
    options = Options(data_dir.absolute(), f"replay-{name}.", f"replay_{name}".replace("-", "_").lower(),
                      workers=workers, feed=False,
                      environment={"SOURCE": "files", "FILES": ",".join(files), "SPEED": speed,
                                   "CANDLES_LIVE": "false"})  # fmt: skip
    with stopping(), stack_errors(), servers_of(options.data_dir) as servers:
        say(f"replaying into topics {options.namespace}* and schema {options.schema}")
        seconds = Replay(options, servers, say).run()
        _report(servers, options, seconds, export)
        if not keep:
            drop_replay(servers, options.topics, options.schema, say)


def _report(servers: Servers, options: Options, seconds: float, path: Path | None) -> None:
    with contextlib.ExitStack() as stack:
        write = stack.enter_context(path.open("wb")).write if path else None
        result = canonical_export(servers.bootstrap, options.topics, write=write)
    for topic, count in result.records.items():
        print(f"{topic:<24} {count:>10,}")
    print(f"{'non-null ratios':<24} {result.non_null_ratios:>10,}")
    print(f"{'repeats dropped':<24} {result.repeats_dropped:>10,}")
    print(f"{'seconds':<24} {seconds:>10,.1f}")
    print(f"sha256 {result.sha256}")


@app.command()
def export(
    namespace: Annotated[str, typer.Option(help="topic prefix, with its dot")] = "",
    out: Annotated[Path | None, typer.Option(help="write the lines here")] = None,
    data_dir: DataDir = DEFAULT_DATA,
) -> None:
    """Print counts and the SHA-256 of a namespace's canonical export."""
    with stack_errors(), servers_of(data_dir.absolute()) as servers:
        _report(servers, Options(data_dir.absolute(), namespace), 0.0, out)


@app.command()
def psql(
    command: Annotated[str | None, typer.Option("--command", "-c", help="run this SQL and exit")] = None,
    data_dir: DataDir = DEFAULT_DATA,
) -> None:
    """Open the database with psql, starting it if it does not run."""
    client = shutil.which("psql") or str(find_binaries().directory / "psql")
    with stack_errors(), database_of(data_dir.absolute()) as dsn:
        arguments = ["-c", command] if command else []
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C belongs to psql
        status = subprocess.run([client, "-v", "ON_ERROR_STOP=1", dsn, *arguments], check=False).returncode
    raise typer.Exit(status)


@app.command()
def watch(
    intervals: Annotated[str, typer.Option(help="which finished candles to show")] = "15s,1m",
    data_dir: DataDir = DEFAULT_DATA,
) -> None:
    """Show finished candles of a stack that runs already."""
    with stopping() as stopped, stack_errors():
        servers = running_servers(data_dir.absolute()) or fail("no stack runs here: start one with `make run`")
        services = ports.service_ports(data_dir.absolute())
        LiveView(servers.bootstrap, Topics(), tuple(intervals.split(",")), services).run(lambda: bool(stopped))


@app.command()
def clean(data_dir: DataDir = DEFAULT_DATA) -> None:
    """Delete the data folder: topics, database and logs."""
    folder = data_dir.absolute()
    if not folder.exists():
        say(f"nothing to delete in {folder}")
        return
    with stack_errors(), only_one(folder):
        shutil.rmtree(reachable_data_dir(folder / "postgres", server_account()))
        shutil.rmtree(folder)
    say(f"deleted {folder}")


def main() -> None:
    """Entry point of the ``market`` command."""
    app()


if __name__ == "__main__":
    main()
