"""After the drain: every trade once in the log, with one ratio and one row, and candles that count them all.

What is right is worked out from the feed's own REST side and from the log, one partition at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import psycopg
from psycopg import sql

from bench.context import Bench
from bench.live import Feed, stock_symbols
from bench.pipeline.compare import INTERVALS, Count, Counts, Identity, Key, compare, identity_of, said_of, same_count
from feed.symbols import DEFAULT_SYMBOLS, is_pair
from marketdata.calendar import new_york_hours, trading_day
from marketdata.partition import partition_of
from marketdata.records import Clock, Ratio, Reference, Trade
from marketdata.topics import MARKETS
from streaming.reader import SrcFilter
from streaming.tails import END, read_ranges

_TICKS: Final = sql.SQL(
    "COPY (SELECT symbol, exchange, trf, trade_id, (extract(epoch FROM time) * 1000000)::bigint, stock_price, "
    "stock_size, ratio FROM {} WHERE src_partition = {}) TO STDOUT"
)
_CANDLES: Final = sql.SQL(
    "COPY (SELECT symbol, interval, (extract(epoch FROM start) * 1000000)::bigint, tick_count, trade_count, volume "
    "FROM {} WHERE market = {} AND hours = 'all' AND interval = ANY ({}) AND \"end\" <= to_timestamp({} / 1e6) "
    "AND src_partition = {} AND (tick_count > 0 OR trade_count > 0)) TO STDOUT"
)
_logged: Final = msgspec.json.Decoder(Trade | Clock | Reference).decode
_derived: Final = msgspec.json.Decoder(Ratio | Clock | Reference).decode
Before = dict[str, set[Identity]]
"""By symbol, the trades sent before anybody listened: the log may have them, from REST, and need not."""
Row = tuple[float, float, float | None]
"""Price, size and ratio."""


@dataclass(slots=True)
class Checked:
    """How much was compared, and what was wrong with it."""

    compared: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def symbols_of(market: str) -> list[str]:
    """The symbols that are subscribed of a market."""
    return stock_symbols() if market == "stocks" else [name for name in DEFAULT_SYMBOLS if is_pair(name)]


def sent_before(feed: Feed) -> Before:
    """What the feed has sent up to now."""
    return {
        symbol: {identity_of(trade) for trade in feed.trades(market, symbol)}
        for market in MARKETS
        for symbol in symbols_of(market)
    }


def check(bench: Bench, feed: Feed, schema: str, before: Before, until: int) -> Checked:
    """Compare everything; of candles those that end at or before ``until`` µs."""
    checked = Checked()
    with psycopg.connect(bench.servers.dsn) as connection:
        output = _Output(bench, connection, schema)
        for market in MARKETS:
            for partition in range(bench.broker.partitions):
                _Partition(output, market, partition, checked).check(feed, before, until)
    return checked


@dataclass(frozen=True, slots=True)
class _Output:
    """Where the pipeline has written: its topics, and its tables in ``schema``."""

    bench: Bench
    connection: psycopg.Connection[Any]
    schema: str


class _Partition:
    """One partition of a market's log and all that was made of it."""

    def __init__(self, output: _Output, market: str, partition: int, checked: Checked) -> None:
        self._output = output
        self._bench = output.bench
        self._market = market
        self._partition = partition
        self._checked = checked

    def check(self, feed: Feed, before: Before, until: int) -> None:
        log = dict(self._log())
        self._sent(log, feed, before)
        if self._market == "stocks":
            self._rows(self._ratios(log))
        counts = Counts(until, new_york_hours())
        for trade in log.values():
            counts.add(trade, stocks=self._market == "stocks")
        expected = counts.counts()
        self._note("candles", compare(self._named("candles"), self._candles(until), expected, same=same_count),
                   len(expected))  # fmt: skip

    def _log(self) -> Iterator[tuple[int, Trade]]:
        for offset, value in self._values(self._bench.topics.trades(self._market)):
            record = _logged(value)
            if type(record) is Trade:
                yield offset, record

    def _sent(self, log: dict[int, Trade], feed: Feed, before: Before) -> None:
        partitions = self._bench.broker.partitions
        own = [s for s in symbols_of(self._market) if partition_of(s, partitions) == self._partition]
        early = set().union(*(before[symbol] for symbol in own))
        sent = {identity_of(trade): said_of(trade) for s in own for trade in feed.trades(self._market, s)}
        must = {identity: said for identity, said in sent.items() if identity not in early}
        found = ((identity_of(trade), said_of(trade)) for trade in log.values())
        self._note("trades", compare(self._named("trades"), found, must, optional=early), len(must))

    def _ratios(self, log: dict[int, Trade]) -> dict[Identity, Row]:
        """One for each trade of the log, revisions aside; what the rows must say."""
        newest: dict[Identity, Row] = {}
        expected = {identity_of(trade): (offset, trade.price, trade.size) for offset, trade in log.items()}
        rule, topic = SrcFilter(), self._bench.topics.ratios

        def read() -> Iterator[tuple[Identity, tuple[int, float, float]]]:
            for _, value in self._values(topic):
                record = _derived(value)
                if record.src is None or not rule.accept(topic, self._partition, record.src):
                    continue
                if type(record) is Ratio:
                    identity, price, size = identity_of(record), record.stock_price, record.stock_size
                    newest[identity] = (price, size, record.ratio)
                    if not record.revision:
                        yield identity, (record.src[1], price, size)

        wrong = compare(self._named("ratios"), read(), expected)
        if rule.dropped:
            wrong.append(f"{self._named('ratios')}: {rule.dropped:,} records repeated, and nobody was restarted")
        self._note("ratios", wrong, len(expected))
        return newest

    def _rows(self, expected: dict[Identity, Row]) -> None:
        query = _TICKS.format(sql.Identifier(self._output.schema, "ratio_ticks_live"), self._partition)
        found = (
            (
                (symbol, int(exchange), int(trf), trade_id, trading_day(int(ts))),
                (float(price), float(size), None if ratio is None else float(ratio)),
            )
            for symbol, exchange, trf, trade_id, ts, price, size, ratio in self._copied(query)
        )
        self._note("rows", compare(self._named("rows"), found, expected), len(expected))

    def _candles(self, until: int) -> Iterator[tuple[Key, Count]]:
        query = _CANDLES.format(
            sql.Identifier(self._output.schema, "candles"), self._market, list(INTERVALS), until, self._partition
        )
        for symbol, interval, start, ticks, trades, volume in self._copied(query):
            yield (symbol, interval, int(start)), Count(int(ticks), int(trades), float(volume))

    def _copied(self, query: sql.Composed) -> Iterator[tuple[Any, ...]]:
        with self._output.connection.cursor() as cursor, cursor.copy(query) as copy:
            yield from copy.rows()

    def _values(self, topic: str) -> Iterator[tuple[int, bytes]]:
        """(offset, value) of all that stands in the partition of ``topic``."""
        for read in read_ranges(self._bench.servers.bootstrap, {(topic, self._partition): (0, END)}):
            yield read.offset, read.value

    def _named(self, what: str) -> str:
        return f"{what} of {self._market}/{self._partition}"

    def _note(self, what: str, wrong: list[str], compared: int) -> None:
        self._checked.compared[what] += compared
        self._checked.wrong += wrong
