"""The command line: `python -m feed` runs the feed, `python -m feed record` writes recordings."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NoReturn

import structlog
import typer
import uvloop

from feed.recorder import record
from feed.server import FeedServer
from feed.settings import FeedSettings
from feed.symbols import DEFAULT_SYMBOLS, symbol_list

log = structlog.get_logger()
app = typer.Typer(add_completion=False, help="The bundled Polygon-compatible market data feed.")
_SYMBOLS = ",".join(DEFAULT_SYMBOLS)
_START = datetime(2024, 3, 5, 15, tzinfo=UTC)
Symbols = Annotated[str, typer.Option(envvar="FEED_SYMBOLS", help="comma list; a name with a dash is a crypto pair")]
SymbolCount = Annotated[
    int | None,
    typer.Option(envvar="FEED_SYMBOL_COUNT", help="symbols in all: --symbols, then synthetic ones (to 10,000)"),
]
Seed = Annotated[int, typer.Option(envvar="FEED_SEED", help="same seed, same market")]


@app.callback(invoke_without_command=True)
def serve(  # noqa: PLR0917
    context: typer.Context,
    ws_port: Annotated[int, typer.Option(envvar="FEED_WS_PORT", help="0 takes a free one")] = 8765,
    rest_port: Annotated[int, typer.Option(envvar="FEED_REST_PORT", help="0 takes a free one")] = 8766,
    host: Annotated[str, typer.Option(envvar="FEED_HOST")] = "127.0.0.1",
    symbols: Symbols = _SYMBOLS,
    symbol_count: SymbolCount = None,
    rate: Annotated[float, typer.Option(envvar="TRADE_FREQUENCY", help="trades a second, all symbols")] = 50.0,
    burst: Annotated[float, typer.Option(envvar="FEED_BURST", help="busiest second / mean; 1 = steady")] = 10.0,
    seed: Seed = 1,
    play: Annotated[
        list[Path] | None, typer.Option(envvar="FEED_PLAY", help="recorded JSON lines (.gz too); repeat for more")
    ] = None,
    speed: Annotated[float, typer.Option(envvar="FEED_SPEED", help="times real time, for --play")] = 1.0,
    ledger: Annotated[Path | None, typer.Option(envvar="FEED_LEDGER", help="append what was sent here")] = None,
    api_key: Annotated[str | None, typer.Option(envvar="FEED_API_KEY", help="the only key; default any")] = None,
    max_connections: Annotated[int, typer.Option(envvar="FEED_MAX_CONNECTIONS", help="per cluster and key")] = 1,
    history_minutes: Annotated[float, typer.Option(envvar="FEED_HISTORY_MINUTES", help="what REST keeps")] = 30.0,
    history_trades: Annotated[int, typer.Option(envvar="FEED_HISTORY_TRADES", help="at most")] = 2_000_000,
    corrections: Annotated[
        float, typer.Option(envvar="FEED_CORRECTIONS", help="share of stock trades taken back later, in REST only")
    ] = 0.0,
    splits: Annotated[
        Path | None, typer.Option(envvar="FEED_SPLITS", help="JSON lines for /v3/reference/splits")
    ] = None,
    luld_seconds: Annotated[
        float, typer.Option(envvar="FEED_LULD_SECONDS", help="how often a stock's price bands are told")
    ] = 30.0,
    pauses: Annotated[
        float, typer.Option(envvar="FEED_PAUSES", help="trading pauses an hour of each of Nasdaq's stocks")
    ] = 0.0,
    admin: Annotated[bool, typer.Option("--admin", envvar="FEED_ADMIN", help="faults by POST /admin/faults")] = False,
    scenario: Annotated[
        Path | None, typer.Option(envvar="FEED_SCENARIO", help="faults from this file of JSON lines")
    ] = None,
    duration: Annotated[float | None, typer.Option(envvar="FEED_DURATION", help="stop after so many seconds")] = None,
) -> None:
    """Run the feed until SIGINT or SIGTERM."""
    if context.invoked_subcommand is not None:
        return
    _log_to_stderr()
    try:
        settings = FeedSettings(
            host=host,
            ws_port=ws_port,
            rest_port=rest_port,
            symbols=tuple(_names(symbols, symbol_count)),
            rate=rate,
            burst=burst,
            seed=seed,
            play=tuple(play or ()),
            speed=speed,
            ledger=ledger,
            api_key=api_key or None,
            max_connections=max_connections,
            history_minutes=history_minutes,
            history_trades=history_trades,
            duration_s=duration,
            corrections=corrections,
            splits=splits,
            luld_seconds=luld_seconds,
            pauses=pauses,
            admin=admin,
            scenario=scenario,
        )
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run(settings))
    except (OSError, ValueError) as error:
        _fail("feed stopped", error)


@app.command("record")
def record_command(  # noqa: PLR0917
    out: Annotated[Path, typer.Option(help="directory for stocks.jsonl.gz and crypto.jsonl.gz")],
    trades: Annotated[int, typer.Option(min=1, help="in all")] = 500_000,
    seconds: Annotated[int, typer.Option(min=1, help="of event time")] = 120,
    start: Annotated[datetime, typer.Option(formats=["%Y-%m-%dT%H:%M:%SZ"], help="UTC")] = _START,
    symbols: Symbols = _SYMBOLS,
    symbol_count: SymbolCount = None,
    seed: Seed = 1,
) -> None:
    """Write a recording of the simulated market; the same options give the same bytes."""
    _log_to_stderr()
    began = time.monotonic()
    start_ms = int(start.replace(tzinfo=UTC).timestamp() * 1000)
    try:
        names = _names(symbols, symbol_count)
        paths = record(out, names, seed, trades=trades, seconds=seconds, start_ms=start_ms)
    except (OSError, ValueError) as error:
        _fail("recording failed", error)
    took = round(time.monotonic() - began, 1)
    log.info("recording written", trades=trades, files=[str(path) for path in paths.values()], took_s=took)


async def _run(settings: FeedSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with FeedServer(settings) as feed:
        log.info(
            "feed ready", ws=feed.ws_url, rest=feed.rest_url, plays=[str(path) for path in settings.play] or "model"
        )
        await _until_stopped(feed, stop, settings.duration_s)
        log.info("feed stopping", trades_sent=feed.ledger.total)


async def _until_stopped(feed: FeedServer, stop: asyncio.Event, duration_s: float | None) -> None:
    """Wait for a signal, the end of the duration, or a failure of the market, which is raised."""
    stopped, failed = asyncio.create_task(stop.wait()), asyncio.create_task(feed.wait())
    done, pending = await asyncio.wait({stopped, failed}, timeout=duration_s, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    for task in done:
        task.result()


def _names(symbols: str, count: int | None) -> list[str]:
    return symbol_list([name.strip() for name in symbols.split(",")], count)


def _fail(what: str, error: Exception) -> NoReturn:
    log.error(what, reason=str(error))
    raise typer.Exit(1) from error


def _log_to_stderr() -> None:
    structlog.configure(
        processors=[
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.add_log_level,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
