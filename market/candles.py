"""``market candles``: a symbol's newest finished candles as a table."""

from __future__ import annotations

import sys
import textwrap
from datetime import UTC, datetime
from typing import Annotated, Final, Literal

import msgspec
import typer
from confluent_kafka import KafkaException

from market.history import CandleHistory
from market.shell import DEFAULT_DATA, DataDir, fail, kafka_of, say, stack_errors, stopping
from marketdata.candle_buffer import CANDLE_BUFFER
from marketdata.hours import ALL, REGULAR
from marketdata.intervals import EXCHANGE_DAY
from marketdata.records import Candle, encode
from marketdata.topics import Topics
from streaming.tails import TailError

HEADER: Final = (
    f"{'start (UTC)':<21} {'session':<7} {'open':>11} {'high':>11} {'low':>11} {'close':>11} {'volume':>12} "
    f"{'trades':>6} {'vwap':>11} {'ratio close':>12}"
)
_GREEN, _RED, _OFF = "\x1b[32m", "\x1b[31m", "\x1b[0m"


def candles(  # noqa: PLR0917 - typer reads the options from the parameters
    symbol: Annotated[str, typer.Argument(help="MARA, BTC-USD")],
    interval: Annotated[str, typer.Argument(help="one of INTERVALS")] = "1m",
    count: Annotated[int, typer.Option("-n", min=1, help="how many")] = 20,
    hours: Annotated[Literal["all", "regular"] | None, typer.Option(help="default: all, of 1d regular")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="go on with those that come; Ctrl-C ends")] = False,
    features: Annotated[bool, typer.Option("--features", help="below each candle those of its features")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the records, one a line")] = False,
    namespace: Annotated[str, typer.Option(envvar="NAMESPACE", help="topic prefix, with its dot")] = "",
    data_dir: DataDir = DEFAULT_DATA,
) -> None:
    """Show a symbol's newest finished candles, each in its last revision, from Kafka."""
    wanted = hours or (REGULAR if interval == EXCHANGE_DAY else ALL)
    table = Table(as_json=as_json, features=features)
    with stopping() as stopped, stack_errors(), kafka_of(data_dir.absolute()) as bootstrap:
        try:
            history = CandleHistory(
                bootstrap,
                Topics(namespace),
                symbol,
                interval=interval,
                hours=wanted,
                capacity=max(count, CANDLE_BUFFER),
            )
            history.read(count)
            found = history.buffer.newest(count)
            if not found:
                say(f"no candle of {symbol}, {interval}, {wanted} hours")
            table.show(found)
            if follow:
                for candle in history.follow(lambda: bool(stopped)):
                    table.show([candle])
        except (TailError, KafkaException) as error:
            fail(f"Kafka at {bootstrap}: {error}")


class Table:
    """Prints candles; on a terminal those that closed above the one before green, below it red."""

    def __init__(self, *, as_json: bool, features: bool) -> None:
        self._json = as_json
        self._features = features
        self._terminal = sys.stdout.isatty()
        self._before: float | None = None
        self._begun = as_json

    def show(self, found: list[Candle]) -> None:
        """Print a line for each, the heading first."""
        if found and not self._begun:
            self._begun = True
            print(HEADER)
        for candle in found:
            print(encode(candle).decode() if self._json else self._coloured(candle))
        sys.stdout.flush()

    def _coloured(self, candle: Candle) -> str:
        text = line(candle)
        if self._features:
            text += feature_lines(candle)
        before, close = self._before, candle.price.close
        self._before = close if close is not None else before
        if not self._terminal or close is None or before is None or close == before:
            return text
        return f"{_GREEN if close > before else _RED}{text}{_OFF}"


def line(candle: Candle) -> str:
    """One candle, numbers to the right; ``-`` is null."""
    price, start = candle.price, datetime.fromtimestamp(candle.timestamp_in // 1_000_000, UTC)
    prices = " ".join(f"{_number(value):>11}" for value in (price.open, price.high, price.low, price.close))
    text = (
        f"{start:%Y-%m-%d %H:%M:%S}.{candle.timestamp_in // 100_000 % 10} {candle.session or '-':<7} {prices} "
        f"{_number(price.volume):>12} {price.trade_count:>6} {_number(price.vwap):>11} "
        f"{_number(candle.ratio.close if candle.ratio else None):>12}"
    )
    return f"{text} revision {candle.revision}" if candle.revision else text


def feature_lines(candle: Candle) -> str:
    """The features that are not null, by name; nothing for a candle without."""
    blocks = {"": candle.features, "ratio: ": candle.ratio_features}
    found = [
        prefix + "  ".join(f"{name}={_number(value)}" for name, value in msgspec.structs.asdict(block).items()
                           if value is not None)
        for prefix, block in blocks.items() if block is not None
    ]  # fmt: skip
    indent = " " * 6
    return "".join(f"\n{textwrap.fill(one, 118, initial_indent=indent, subsequent_indent=indent)}" for one in found)


def _number(value: float | str | None) -> str:
    """For a reader: 20.015, 1,027,300, 0.00022157."""
    if value is None or isinstance(value, str):
        return value or "-"
    return f"{value:,.4f}".rstrip("0").rstrip(".") if abs(value) >= 1 else f"{value:.5g}"
