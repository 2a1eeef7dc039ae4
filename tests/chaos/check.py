"""Holds a finished chaos run against two truths; imports nothing of the project and knows only its public contracts.

(A) Every derived topic and table equals that of a fresh, undisturbed run over a copy of the same trades.* log.
(B) trades.* hold each trade of the feed's ledger once; ticks equal an as-of join over that log, and candles equal
plain sums over those trades.

    python tests/chaos/check.py --bootstrap B --dsn D --namespace N. --fresh-namespace F. --schema S --fresh-schema FS
        --ledger PATH [--intervals 500ms,1s,5s,15s,1m] [--horizon 900] [--json]

Exit status 0 only if nothing is lost, doubled or different. Times are µs; a partition's work is one task, and two
tasks run side by side.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import multiprocessing
import re
import sys
import time
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import psycopg
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from psycopg import sql

SECOND: Final = 1_000_000
TRADING_DAY_SHIFT: Final = 5 * 3_600 * SECOND
MAX_BTC_AGE: Final = 120 * SECOND
BATCH: Final = 10_000
EXAMPLES: Final = 5
CORRECTION_RECORDS: Final = frozenset({10, 11, 12})
KINDS: Final = ("lost", "doubled", "different")
UNITS: Final = {"ms": 1_000, "s": SECOND, "m": 60 * SECOND, "h": 3_600 * SECOND}
Src = tuple[int, int, int]
Identity = tuple[str, int, int, str, int, int]
OrderKey = tuple[int, int, int, tuple[int, int, bytes], int]
T = TypeVar("T")

# --- what is counted -----------------------------------------------------------------------------------------------


@dataclass
class Tally:
    """By check: how much was compared and what was wrong with it, with the first of each kind in words."""

    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    symbols: list[tuple[str, str]] = field(default_factory=list)

    def compared(self, check: str, number: int = 1) -> None:
        self._of(check)["compared"] += number

    def wrong(self, check: str, kind: str, *what: object) -> None:
        """One more that is ``kind`` (lost, doubled or different)."""
        self._of(check)[kind] += 1
        self._example(check, kind, [what])

    def merge(self, other: Tally) -> None:
        for check, counts in other.counts.items():
            mine = self._of(check)
            for kind, number in counts.items():
                mine[kind] += number
        for name, some in other.examples.items():
            kept = self.examples.setdefault(name, [])
            kept += some[: EXAMPLES - len(kept)]
        self.notes += other.notes
        self.symbols += other.symbols

    @property
    def failed(self) -> int:
        return sum(counts[kind] for counts in self.counts.values() for kind in KINDS)

    def _of(self, check: str) -> dict[str, int]:
        return self.counts.setdefault(check, dict.fromkeys(("compared", *KINDS), 0))

    def _example(self, check: str, kind: str, some: list[tuple[object, ...]]) -> None:
        kept = self.examples.setdefault(f"{check}: {kind}", [])
        if len(kept) < EXAMPLES:
            kept += [" ".join(map(_readable, what)) for what in some]


def _readable(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def compare_sorted(
    check: str, found: Iterable[T], expected: Iterable[T], key: Callable[[T], Any], tally: Tally
) -> None:
    """Compare two streams whose keys rise; equal items cost no key."""
    left, right = iter(found), iter(expected)
    a, b, number = next(left, None), next(right, None), 0
    while a is not None or b is not None:
        number += 1
        if a is not None and b is not None and (a == b or key(a) == key(b)):
            if a != b:
                tally.wrong(check, "different", "\n      found   ", a, "\n      expected", b)
            a, b = next(left, None), next(right, None)
        elif a is None or (b is not None and key(b) < key(a)):
            tally.wrong(check, "lost", b)
            b = next(right, None)
        else:
            tally.wrong(check, "doubled", a)
            a = next(left, None)
    tally.compared(check, number)


def compare_lists(
    check: str, found: Sequence[tuple[Any, bytes]], expected: Sequence[tuple[Any, bytes]], tally: Tally
) -> None:
    """Compare (key, value) pairs whose order counts and whose keys may come again."""
    tally.compared(check, max(len(found), len(expected)))
    if found == expected:
        return
    got, wanted = _numbered(found), _numbered(expected)
    for key, value in wanted.items():
        if key not in got:
            tally.wrong(check, "lost", value)
        elif got[key] != value:
            tally.wrong(check, "different", "\n      found   ", got[key], "\n      expected", value)
    for key in got.keys() - wanted.keys():
        tally.wrong(check, "doubled", got[key])
    if got == wanted:
        tally.wrong(check, "different", "the same records in another order")


def _numbered(pairs: Sequence[tuple[Any, bytes]]) -> dict[tuple[Any, int], bytes]:
    """Each key with how often it came before."""
    before: dict[Any, int] = defaultdict(int)
    numbered = {}
    for key, value in pairs:
        numbered[key, before[key]] = value
        before[key] += 1
    return numbered


# --- records and their identities ----------------------------------------------------------------------------------


class Record(msgspec.Struct, gc=False):
    """What a clock, trade or reference of trades.* says, as far as it matters here."""

    kind: str
    ts: int
    epoch: int
    symbol: str = ""
    received_ts: int = 0
    price: float = 0.0
    size: float = 0.0
    exchange: int = 0
    id: str = ""
    sequence: int = 0
    trf: int = 0
    correction: int = 0
    backfilled: bool = False
    conditions: tuple[int, ...] = ()


class LedgerLine(msgspec.Struct, gc=False):
    """A trade as the feed's ledger tells it; ``ts`` is ms. Without ``price`` it tells identities alone."""

    cluster: str
    symbol: str
    exchange: int
    id: str
    ts: int
    trf: int | None = None
    correction: int = 0
    price: float | None = None
    size: float | str | None = None
    conditions: tuple[int, ...] = ()
    sequence: int = 0


class _Named(msgspec.Struct, gc=False):
    cluster: str
    symbol: str
    ts: int


class _Derived(msgspec.Struct, gc=False):
    """What tells records of a derived topic apart."""

    src: Src
    symbol: str = ""
    interval: str = ""
    timestamp_in: int = 0
    end: int = 0
    revision: int = 0
    exchange: int = 0
    trf: int = 0
    id: str = ""
    ts: int = 0
    correction: int = 0


decode_record: Final = msgspec.json.Decoder(Record).decode
_decode_line: Final = msgspec.json.Decoder(LedgerLine).decode
_decode_named: Final = msgspec.json.Decoder(_Named).decode
_decode_derived: Final = msgspec.json.Decoder(_Derived).decode


def identity_of(record: Record) -> Identity:
    """Symbol, exchange, TRF, id, trading day and whether it is a record about a trade."""
    correction = record.correction if record.correction in CORRECTION_RECORDS else 0
    day = (record.ts - TRADING_DAY_SHIFT) // (86_400 * SECOND)
    return (record.symbol, record.exchange, record.trf, record.id, day, correction)


def order_of(record: Record) -> OrderKey:
    """The order of trades: (ts, sequence, exchange, id), an all-digit id as a number; the TRF where all are equal."""
    number = record.id.isascii() and record.id.isdigit()
    key = (0, int(record.id), b"") if number else (1, 0, record.id.encode())
    return (record.ts, record.sequence, record.exchange, key, record.trf)


def described(record: Record | None) -> str:
    if record is None:
        return "none"
    return (
        f"{record.symbol} {record.ts} exchange {record.exchange} trf {record.trf} id {record.id} "
        f"price {record.price} size {record.size} sequence {record.sequence} correction {record.correction}"
    )


# --- a partition of trades.*, as one who keeps to the contract reads it --------------------------------------------


class Taken(msgspec.Struct, gc=False):
    """An accepted trade: where it stood, the clock there, and what became of it."""

    record: Record
    offset: int
    clock: int
    late: bool
    reference: Record | None = None
    cancelled: bool = False


class Log:
    """Takes a partition's records in order: drops older epochs, repeated identities and clocks that go back.

    A repeat by a newer epoch is what a take-over leaves; a repeat within an epoch is a doubled trade.
    """

    def __init__(self, check: str, tally: Tally, horizon: int, reference: str = "BTC-USD") -> None:
        self.trades: dict[str, list[Taken]] = defaultdict(list)
        self.references: dict[Identity, Record] = {}
        self.cancels: dict[str, list[Taken]] = defaultdict(list)
        self.accepted: dict[Identity, Record] = {}
        self.first_clock: int | None = None
        self.clock = 0
        self.last_clock_offset = -1
        self.old_epochs = 0
        self.repeats = 0
        self._check = check
        self._tally = tally
        self._horizon = horizon
        self._reference = reference
        self._epoch = 0
        self._history: list[tuple[OrderKey, Record]] = []
        self._backfilled: list[tuple[OrderKey, int, int, Record]] = []

    def take(self, offset: int, record: Record) -> None:
        """The next record of the partition."""
        if record.epoch < self._epoch:
            self.old_epochs += 1
            return
        self._epoch = record.epoch
        if record.kind == "clock":
            if self.first_clock is None:
                self.first_clock = record.ts
            if record.ts > self.clock:
                self.clock, self.last_clock_offset = record.ts, offset
        elif record.kind == "reference":
            if self._is_new(self.references, record):
                self._take_reference(offset, record)
        elif record.kind != "trade":
            return  # bands and copies of quotes: no trades, and no part of a candle that is checked here
        elif self._is_new(self.accepted, record):
            self._take_trade(offset, record)

    def _is_new(self, seen: dict[Identity, Record], record: Record) -> bool:
        identity = identity_of(record)
        first = seen.setdefault(identity, record)
        if first is record:
            return True
        self.repeats += 1
        if first.epoch == record.epoch:
            self._tally.wrong(self._check, "doubled", "within epoch", record.epoch, described(record))
        return False

    def _take_reference(self, offset: int, record: Record) -> None:
        if record.symbol != self._reference or record.correction in CORRECTION_RECORDS:
            return
        entry = (order_of(record), record)
        if not self._history or entry[0] > self._history[-1][0]:
            self._history.append(entry)
        else:
            insort(self._history, entry, key=lambda e: e[0])
        if record.backfilled:
            insort(self._backfilled, (entry[0], offset, self.clock, record), key=lambda e: e[0])

    def _take_trade(self, offset: int, record: Record) -> None:
        taken = Taken(record, offset, self.clock, record.ts < self.clock - self._horizon)
        if record.correction in CORRECTION_RECORDS:
            self.cancels[record.symbol].append(taken)
            return
        if not taken.late:
            taken.reference = self._as_of(record.ts)
        self.trades[record.symbol].append(taken)

    def _as_of(self, ts: int) -> Record | None:
        history = self._history
        if history and history[-1][0][0] <= ts:
            return history[-1][1]
        at = bisect_left(history, ts + 1, key=lambda e: e[0][0])
        return history[at - 1][1] if at else None

    def finish(self) -> None:
        """When all records are taken: what came later and still changes an earlier answer."""
        for symbol, trades in self.trades.items():
            for taken in trades if self._backfilled else ():
                self._revise(taken)
            for cancel in self.cancels.get(symbol, ()):
                self._cancel(trades, cancel)

    def _revise(self, taken: Taken) -> None:
        """The last back-filled reference at or before the trade counts, if it came while the trade was in reach."""
        if taken.late:
            return
        ts, known = taken.record.ts, taken.reference
        floor = order_of(known) if known is not None else (ts - MAX_BTC_AGE - 1,)
        at = bisect_left(self._backfilled, ts + 1, key=lambda e: e[0][0])
        for i in range(at - 1, -1, -1):
            key, offset, clock, record = self._backfilled[i]
            if key <= floor or key[0] < ts - MAX_BTC_AGE:
                return
            if offset > taken.offset and ts >= clock - self._horizon:
                taken.reference = record
                return

    def _cancel(self, trades: list[Taken], cancel: Taken) -> None:
        """The original by exchange, TRF and id, else the nearest earlier one of that exchange, price and size."""
        about, oldest = cancel.record, cancel.clock - self._horizon
        there = [
            t
            for t in trades
            if t.offset < cancel.offset and not t.late and not t.cancelled and t.record.exchange == about.exchange
            if t.record.ts >= oldest
        ]
        by_id = [t for t in there if (t.record.id, t.record.trf) == (about.id, about.trf)]
        alike = [
            t
            for t in there
            if (t.record.price, t.record.size) == (about.price, about.size) and order_of(t.record) <= order_of(about)
        ]
        if found := by_id or alike:
            max(found, key=lambda t: order_of(t.record)).cancelled = cancel.offset < self.last_clock_offset


def expected_answer(taken: Taken) -> tuple[Record | None, str | None]:
    """The matched BTC trade of a stock trade, or why there is none."""
    if taken.late:
        return None, "past_horizon"
    if taken.reference is None:
        return None, "no_reference"
    if taken.record.ts - taken.reference.ts > MAX_BTC_AGE:
        return None, "stale_reference"
    return taken.reference, None


# --- the ledger ----------------------------------------------------------------------------------------------------


def compare_with_ledger(
    check: str, accepted: Mapping[Identity, Record], ledger: Mapping[Identity, LedgerLine], began: int, tally: Tally
) -> int:
    """Every trade of the ledger once in the log, with what the ledger says of it, and no other.

    Trades before ``began``, the log's first clock, were made when nobody listened yet; how many are missing of them.
    """
    before = 0
    for identity, line in ledger.items():
        record = accepted.get(identity)
        if record is None:
            if line.ts * 1_000 < began:
                before += 1
            else:
                tally.wrong(check, "lost", line)
        elif differing := _unlike(record, line):
            tally.wrong(check, "different", differing, described(record), "in the ledger", line)
    for identity in accepted.keys() - ledger.keys():
        tally.wrong(check, "doubled", "not in the ledger:", described(accepted[identity]))
    tally.compared(check, len(ledger.keys() | accepted.keys()) - before)
    return before


def _unlike(record: Record, line: LedgerLine) -> list[str]:
    if line.price is None or line.size is None:
        return ["ts"] if record.ts != line.ts * 1_000 else []
    # The socket says a crypto trade's side among its conditions, and we in a field of its own.
    conditions = record.conditions if line.cluster == "crypto" else line.conditions
    pairs = {
        "ts": (record.ts, line.ts * 1_000),
        "price": (record.price, line.price),
        "size": (record.size, float(line.size)),
        "sequence": (record.sequence, line.sequence),
        "conditions": (record.conditions, conditions),
    }
    return [name for name, (found, said) in pairs.items() if found != said]


class Ledger:
    """The ledger's lines by symbol, as bytes: children of a fork share them, and decode what they need."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._lines: dict[tuple[str, str], list[bytes]] = defaultdict(list)
        self.last: dict[str, int] = defaultdict(int)
        """The event time in µs of each cluster's last trade."""
        for line in lines:
            if line.endswith(b"\n"):  # a feed that was killed may have left half a line
                named = _decode_named(line)
                self._lines[named.cluster, named.symbol].append(line)
                self.last[named.cluster] = max(self.last[named.cluster], named.ts * 1_000)
        self._joined = {place: b"".join(some) for place, some in self._lines.items()}
        self._lines.clear()

    @property
    def symbols(self) -> list[tuple[str, str]]:
        """(cluster, symbol), each once."""
        return sorted(self._joined)

    def trades(self, cluster: str, symbol: str) -> dict[Identity, LedgerLine]:
        """That symbol's lines by their identity; one that the feed says twice counts once."""
        found = {}
        for raw in self._joined.get((cluster, symbol), b"").splitlines():
            line = _decode_line(raw)
            line.trf = line.trf or 0
            found[identity_of(as_record(line))] = line
        return found


def as_record(line: LedgerLine) -> Record:
    """What the ledger says, in the form of the log."""
    return Record(
        "trade", line.ts * 1_000, 0, line.symbol, 0, line.price or 0.0, float(line.size or 0), line.exchange, line.id,
        line.sequence, line.trf or 0, line.correction,
    )  # fmt: skip


# --- candles, plainly ----------------------------------------------------------------------------------------------


class Counted(msgspec.Struct, gc=False):
    """A trade that candles count, and for what."""

    order: OrderKey
    price: float
    size: float
    high_low: bool = True
    open_close: bool = True
    volume: bool = True
    ratio: float | None = None


BAR: Final = (
    "open", "high", "low", "close", "tick_count", "trade_count", "avg", "vwap", "volume", "ratio_open", "ratio_high",
    "ratio_low", "ratio_close", "ratio_tick_count", "ratio_avg", "ratio_twap",
)  # fmt: skip
PRICE_ONLY: Final = BAR[:9]
CLOSE_ENOUGH: Final = frozenset({"avg", "vwap", "volume", "ratio_avg", "ratio_twap"})
Bar = dict[str, float | int | None]


class Columns:
    """A symbol's counted trades in their order, as columns: any candle is a slice of them."""

    def __init__(self, trades: Iterable[Counted]) -> None:
        ordered = sorted(trades, key=lambda t: t.order)
        formed = [t for t in ordered if t.high_low]
        edges = [t for t in formed if t.open_close]
        sized = [t for t in ordered if t.volume]
        joined = [(t.order[0], t.ratio) for t in formed if t.ratio is not None]
        self.formed_ts = [t.order[0] for t in formed]
        self.price = [t.price for t in formed]
        self.size = [t.size for t in formed]
        self.weight = [t.price * t.size for t in formed]
        self.edge_ts = [t.order[0] for t in edges]
        self.edge = [t.price for t in edges]
        self.sized_ts = [t.order[0] for t in sized]
        self.sized = [t.size for t in sized]
        self.ratio_ts = [ts for ts, _ in joined]
        self.ratio = [ratio for _, ratio in joined]
        self.stood = [ratio * (later - ts) for (ts, ratio), (later, _) in itertools.pairwise(joined)]

    def bar(self, start: int, end: int) -> Bar:
        """The candle of [start, end)."""
        a, b = bisect_left(self.formed_ts, start), bisect_left(self.formed_ts, end)
        c, d = bisect_left(self.edge_ts, start), bisect_left(self.edge_ts, end)
        e, f = bisect_left(self.sized_ts, start), bisect_left(self.sized_ts, end)
        price, weight = self.price[a:b], math.fsum(self.size[a:b])
        bar: Bar = dict.fromkeys(BAR)
        bar.update(tick_count=b - a, trade_count=f - e, volume=math.fsum(self.sized[e:f]))
        if price:
            bar.update(high=max(price), low=min(price), avg=math.fsum(price) / len(price))
            bar["vwap"] = math.fsum(self.weight[a:b]) / weight if weight else None
        if c < d:
            bar.update(open=self.edge[c], close=self.edge[d - 1])
        return bar | self._ratio(start, end)

    def _ratio(self, start: int, end: int) -> Bar:
        a, b = bisect_left(self.ratio_ts, start), bisect_left(self.ratio_ts, end)
        if a == b:
            return {"ratio_tick_count": 0}
        ratio, first, last = self.ratio[a:b], self.ratio_ts[a], self.ratio_ts[b - 1]
        stood = math.fsum(self.stood[a : b - 1]) + ratio[-1] * (end - last)
        return {
            "ratio_open": ratio[0], "ratio_high": max(ratio), "ratio_low": min(ratio), "ratio_close": ratio[-1],
            "ratio_tick_count": b - a, "ratio_avg": math.fsum(ratio) / (b - a), "ratio_twap": stood / (end - first),
        }  # fmt: skip


def length_of(interval: str) -> int:
    """µs of ``500ms``, ``15s``, ``1m``."""
    digits = interval.rstrip("hms")
    return int(digits) * UNITS[interval[len(digits) :]]


CandleKey = tuple[str, int]
"""(interval, start)."""


def expected_keys(times: Iterable[int], intervals: Sequence[str], clock: int) -> set[CandleKey]:
    """The candles that exist where trades of these event times were counted and the clock has reached ``clock``."""
    keys, of = set(), list(times)
    for interval in intervals:
        length = length_of(interval)
        keys |= {(interval, start) for start in {ts - ts % length for ts in of} if start + length <= clock}
    return keys


def compare_candles(
    check: str, symbol: str, found: Mapping[CandleKey, Bar], keys: set[CandleKey], columns: Columns,
    fields: Sequence[str], tally: Tally,
) -> None:  # fmt: skip
    """Every candle of ``keys`` as its newest revision stands in the table, and no other."""
    tally.compared(check, len(keys))
    for key in sorted(keys):
        if key not in found:
            tally.wrong(check, "lost", symbol, key)
            continue
        wanted, got = columns.bar(key[1], key[1] + length_of(key[0])), found[key]
        if differing := [name for name in fields if not same(name, got[name], wanted[name])]:
            pairs = {name: f"{got[name]} instead of {wanted[name]}" for name in differing}
            tally.wrong(check, "different", symbol, key, pairs)
    for key in sorted(found.keys() - keys):
        tally.wrong(check, "doubled", symbol, key, "no trade of it was counted")


def same(name: str, found: float | None, wanted: float | None) -> bool:
    """Exact where no order of addition matters; no ratio at all and a count of none are the same."""
    if name == "ratio_tick_count":
        return (found or 0) == wanted
    if found is None or wanted is None or name not in CLOSE_ENOUGH:
        return found == wanted
    return math.isclose(found, wanted, rel_tol=1e-9, abs_tol=1e-12)


# --- Kafka ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Options:
    bootstrap: str
    dsn: str
    namespace: str
    fresh_namespace: str
    schema: str
    fresh_schema: str
    intervals: tuple[str, ...]
    horizon: int
    reference: str


def read(bootstrap: str, topic: str, partitions: Sequence[int]) -> Iterator[tuple[int, int, bytes | None, bytes]]:
    """(partition, offset, key, value) of all that stands in these partitions now."""
    consumer = Consumer({
        "bootstrap.servers": bootstrap, "group.id": "chaos-check", "enable.auto.commit": False, "log_level": 3,
        "fetch.wait.max.ms": 20, "queued.max.messages.kbytes": 32_768,
    })  # fmt: skip
    try:
        left = {}
        for p in partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=30)
            if high > low:
                left[p] = high
        consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in left])
        yield from _until(consumer, topic, left)
    finally:
        consumer.close()


def _until(consumer: Consumer, topic: str, ends: dict[int, int]) -> Iterator[tuple[int, int, bytes | None, bytes]]:
    reached, deadline = dict.fromkeys(ends, 0), time.monotonic() + 60
    while remaining := sum(end - reached[p] for p, end in ends.items()):
        messages = consumer.consume(min(BATCH, remaining), 0.5)
        if messages:
            deadline = time.monotonic() + 60
        elif time.monotonic() > deadline:
            raise TimeoutError(f"{topic}: nothing more for 60 s, at {reached} of {ends}")
        for message in messages:
            if message.error() is not None:
                raise RuntimeError(f"{topic}: {message.error()}")
            p, offset = message.partition(), message.offset()
            if offset < ends[p]:
                reached[p] = offset + 1
                yield p, offset, message.key(), message.value() or b""


def partitions_of(bootstrap: str, topic: str) -> list[int]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "chaos-check", "log_level": 3})
    try:
        return sorted(consumer.list_topics(topic, timeout=30).topics[topic].partitions)
    finally:
        consumer.close()


_VARIES: Final = re.compile(rb'"(?:timestamp_out|latency_ms)":[^,}]*,?')
_VARIES_TOO: Final = re.compile(rb'"(?:timestamp_out|latency_ms)":[^,}]*,?|"src":\[[^\]]*\],?')


def under_rule(
    records: Iterable[tuple[int, bytes]], *, keep_src: bool = True, dropped: list[int] | None = None
) -> Iterator[tuple[tuple[Any, ...], bytes]]:
    """(key, what must be equal) of (partition, value) pairs, under the reader's rule: only a rising src is accepted.

    The key is the src, or where that differs from run to run what names the record. ``dropped`` gets a number for
    each record that the rule drops.
    """
    last: dict[int, Src] = {}
    varies = _VARIES if keep_src else _VARIES_TOO
    for partition, value in records:
        d = _decode_derived(value)
        if partition in last and d.src <= last[partition]:
            if dropped is not None:
                dropped.append(1)
            continue
        last[partition] = d.src
        named = (partition, d.symbol, d.interval, d.timestamp_in, d.end, d.revision, d.exchange, d.trf, d.id, d.ts)
        key = d.src if keep_src else (*named, d.correction)
        yield key, varies.sub(b"", value)


# --- PostgreSQL ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Table:
    """A table's key beside the symbol, and the columns that are looked at one by one."""

    name: str
    key: tuple[str, ...]
    wanted: tuple[str, ...] = ()
    src_varies: str = "false"
    """SQL: whether a row's src may differ from run to run."""


ASIDE: Final = frozenset({"symbol", "published_at", "timestamp_out", "known_at", "latency_ms"})
TICKS: Final = Table(
    "ratio_ticks_live",
    ("time", "exchange", "trf", "trade_id"),
    (
        "stock_price", "stock_volume", "stock_size", "sequence", "received_at", "btc_price", "btc_volume", "btc_time",
        "btc_age_us", "ratio", "inverse_ratio", "reason", "reference", "eligible", "updates_open_close",
        "updates_volume",
    ),
)  # fmt: skip
AGGREGATES: Final = Table(
    "ratio_aggregates_500ms",
    ("time",),
    ("open_ratio", "high_ratio", "low_ratio", "close_ratio", "tick_count", "avg_ratio", "twap_ratio"),
    "true",
)
CANDLES: Final = Table("candles", ("interval", "hours", "start"), BAR, "market = 'stocks'")
REVISIONS: Final = Table("candle_revisions", ("interval", "hours", "start", "revision"), (), "market = 'stocks'")
LATE: Final = Table(
    "late_trades", ("time", "exchange", "trf", "trade_id", "correction"), (), "market = 'stocks'"
)  # fmt: skip
TABLES: Final = (TICKS, AGGREGATES, CANDLES, REVISIONS, LATE)
AGGREGATE_FIELDS: Final = {
    "ratio_open": "open_ratio", "ratio_high": "high_ratio", "ratio_low": "low_ratio", "ratio_close": "close_ratio",
    "ratio_tick_count": "tick_count", "ratio_avg": "avg_ratio", "ratio_twap": "twap_ratio",
}  # fmt: skip
Row = list[bytes]


class Database:
    """Rows of one symbol at a time, as COPY writes them, times as µs."""

    def __init__(self, dsn: str) -> None:
        self._connection = psycopg.connect(dsn, autocommit=True)
        self._selects: dict[tuple[str, str], sql.Composed] = {}

    def close(self) -> None:
        self._connection.close()

    def rows(self, schema: str, table: Table, symbol: str) -> Iterator[bytes]:
        """The lines of a symbol by key: the key, what is wanted, then every other column that must be equal."""
        if (schema, table.name) not in self._selects:
            self._selects[schema, table.name] = self._select(schema, table)
        query = sql.SQL("COPY ({} WHERE symbol = {} ORDER BY {}) TO STDOUT").format(
            self._selects[schema, table.name], symbol, sql.SQL(", ").join(map(sql.Identifier, table.key))
        )
        with self._connection.cursor() as cursor, cursor.copy(query) as copy:
            for line in copy:
                yield bytes(line)[:-1]

    def _select(self, schema: str, table: Table) -> sql.Composed:
        types = self._types(schema, table)
        first = (*table.key, *table.wanted)
        columns = [*first, *sorted(types.keys() - {*first, *ASIDE})]
        return sql.SQL("SELECT {} FROM {}").format(
            sql.SQL(", ").join(_expression(table, name, types[name]) for name in columns),
            sql.Identifier(schema, table.name),
        )

    def symbols(self, schema: str, table: Table) -> set[str]:
        query = sql.SQL("SELECT DISTINCT symbol FROM {}").format(sql.Identifier(schema, table.name))
        return {symbol for (symbol,) in self._connection.execute(query)}

    def has(self, schema: str, table: Table) -> bool:
        return bool(self._types(schema, table))

    def _types(self, schema: str, table: Table) -> dict[str, str]:
        columns = "SELECT column_name, data_type FROM information_schema.columns"
        query = f"{columns} WHERE table_schema = %s AND table_name = %s"
        return dict(self._connection.execute(query, (schema, table.name)).fetchall())


def _expression(table: Table, column: str, kind: str) -> sql.Composed:
    name = sql.Identifier(column)
    if kind == "timestamp with time zone":
        return sql.SQL("(date_part('epoch', {}) * 1e6)::bigint").format(name)
    if column.startswith("src_"):
        return sql.SQL("CASE WHEN {} THEN NULL ELSE {} END").format(sql.SQL(table.src_varies), name)
    return sql.SQL("{}").format(name)


def key_of(table: Table) -> Callable[[bytes], tuple[int | bytes, ...]]:
    """How a line of the table is ordered."""
    width = len(table.key)
    texts = {i for i, name in enumerate(table.key) if name in {"trade_id", "interval", "hours"}}

    def key(line: bytes) -> tuple[int | bytes, ...]:
        parts = line.split(b"\t", width)[:width]
        return tuple(part if i in texts else int(part) for i, part in enumerate(parts))

    return key


def number(cell: bytes) -> float | None:
    return None if cell == b"\\N" else float(cell)


def text(cell: bytes) -> str | None:
    """A text column of COPY; its escapes for backslash and blanks undone."""
    if cell == b"\\N":
        return None
    plain = cell.decode()
    return plain if "\\" not in plain else re.sub(r"\\(.)", lambda m: ESCAPES.get(m[1], m[1]), plain)


ESCAPES: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}

# --- ticks and candles of one symbol -------------------------------------------------------------------------------


def compare_ticks(
    check: str, symbol: str, lines: Iterable[bytes], trades: Sequence[Taken], tally: Tally
) -> dict[Identity, Counted]:
    """Each stock trade has its one row, with the BTC trade of an independent as-of join; what candles count of it."""
    wanted = {(t.record.ts, t.record.exchange, t.record.trf, t.record.id): t for t in trades}
    tally.compared(check, len(wanted))
    counted = {}
    for line in lines:
        row = line.split(b"\t")
        key = (int(row[0]), int(row[1]), int(row[2]), text(row[3]) or "")
        taken = wanted.pop(key, None)
        if taken is None:
            tally.wrong(check, "doubled", symbol, "no trade of the log is", line)
            continue
        if differing := _tick_differs(row, taken):
            tally.wrong(check, "different", described(taken.record), differing)
        high_low, open_close, volume = (cell == b"t" for cell in row[17:20])
        counted[identity_of(taken.record)] = Counted(
            order_of(taken.record), float(row[4]), float(row[6]), high_low, open_close, volume, number(row[13])
        )
    for taken in wanted.values():
        tally.wrong(check, "lost", described(taken.record))
    return counted


def _tick_differs(row: Row, taken: Taken) -> str:
    """What differs between a row, its columns as in TICKS, and the trade with its answer, in words."""
    trade = taken.record
    btc, reason = expected_answer(taken)
    answer: tuple[float | None, ...] = (None,) * 6
    if btc is not None:
        answer = (btc.price, btc.size, btc.ts, trade.ts - btc.ts, trade.price / btc.price, btc.price / trade.price)
    wanted = (trade.price, int(trade.size), trade.size, trade.sequence, trade.received_ts, *answer)
    found = [number(cell) for cell in row[4:15]]
    named = list(zip(TICKS.wanted, found, wanted, strict=False))
    named.append(("reason", text(row[15]), reason))  # type: ignore[arg-type]
    named.append(("reference", text(row[16]), None if btc is None else btc.symbol))  # type: ignore[arg-type]
    return "; ".join(f"{name} is {a}, not {b}" for name, a, b in named if a != b)


class CandleCheck:
    """Holds one symbol's stored candles against its trades."""

    def __init__(self, symbol: str, log: Log, options: Options, tally: Tally) -> None:
        self._symbol = symbol
        self._tally = tally
        self._intervals = options.intervals
        there = [t for t in log.trades.get(symbol, ()) if not t.late and t.offset < log.last_clock_offset]
        self.keys = expected_keys((t.record.ts for t in there), options.intervals, log.clock)
        self._counts = [identity_of(t.record) for t in there if not t.cancelled]

    def against(
        self, check: str, candles: Mapping[CandleKey, Bar], trades: Mapping[Identity, Counted], fields: Sequence[str]
    ) -> Columns:
        """Compare with what ``trades`` give; those that are missing there were counted as lost elsewhere."""
        columns = Columns(trades[i] for i in self._counts if i in trades)
        compare_candles(check, self._symbol, candles, self.keys, columns, fields, self._tally)
        return columns

    def aggregates(self, check: str, rows: Mapping[CandleKey, Bar], columns: Columns) -> None:
        """A bucket that holds a ratio has a row in ratio_aggregates_500ms; one whose ratios went may stay, empty."""
        keys = {key for key in self.keys if key[0] == "500ms"}
        joined = {ts - ts % length_of("500ms") for ts in columns.ratio_ts}
        keys = {key for key in keys if key[1] in joined}
        rows = {key: row for key, row in rows.items() if key in keys or row["ratio_tick_count"]}
        compare_candles(check, self._symbol, rows, keys, columns, tuple(AGGREGATE_FIELDS), self._tally)


def candles_of(lines: Iterable[bytes], intervals: Sequence[str]) -> dict[CandleKey, Bar]:
    """Rows of ``candles`` (columns as in CANDLES) over all hours."""
    found = {}
    for line in lines:
        row = line.split(b"\t")
        interval = text(row[0]) or ""
        if row[1] == b"all" and interval in intervals:
            found[interval, int(row[2])] = dict(zip(BAR, map(number, row[3:]), strict=False))
    return found


def aggregates_of(lines: Iterable[bytes]) -> dict[CandleKey, Bar]:
    """Rows of ``ratio_aggregates_500ms`` under the names that candles have."""
    return {
        ("500ms", int(row[0])): dict(zip(AGGREGATE_FIELDS, map(number, row[1:]), strict=False))
        for row in (line.split(b"\t") for line in lines)
    }


# --- tasks ---------------------------------------------------------------------------------------------------------

LEDGER: Ledger
"""Set before the workers are forked, which share it."""


def check_trades(options: Options, market: str, partition: int) -> Tally:
    """One partition of trades.*: equal in both namespaces, and all that follows from it in the tables."""
    tally = Tally()
    log = read_log(options, market, partition, tally)
    log.finish()
    _ledger(options, log, market, partition, tally)
    database = Database(options.dsn)
    try:
        for symbol in sorted(log.trades):
            _symbol(options, database, log, market, symbol, tally)
    finally:
        database.close()
    if log.repeats or log.old_epochs:
        tally.notes.append(
            f"trades.{market}/{partition}: {log.repeats} repeats, {log.old_epochs} records of an older epoch dropped"
        )
    if late := sum(t.late for trades in log.trades.values() for t in trades):
        tally.notes.append(f"trades.{market}/{partition}: {late} trades logged past the revision horizon")
    return tally


def read_log(options: Options, market: str, partition: int, tally: Tally) -> Log:
    """The partition as agents accept it, compared byte for byte with its copy on the way."""
    log = Log(f"B trades.{market}: once each", tally, options.horizon, options.reference)
    name = f"trades.{market}"

    def taken() -> Iterator[tuple[int, bytes | None, bytes]]:
        symbols: dict[str, str] = {}
        for _, offset, key, value in read(options.bootstrap, options.namespace + name, [partition]):
            try:
                record = decode_record(value)
            except msgspec.MsgspecError as error:
                tally.wrong(
                    f"B {name}: once each", "different", f"partition {partition} offset {offset}:", error, value
                )
            else:
                record.symbol = symbols.setdefault(record.symbol, record.symbol)
                log.take(offset, record)
            yield offset, key, value

    fresh = (r[1:] for r in read(options.bootstrap, options.fresh_namespace + name, [partition]))
    compare_sorted(f"A {name}: copy", taken(), fresh, lambda r: r[0], tally)
    return log


def _ledger(options: Options, log: Log, market: str, partition: int, tally: Tally) -> None:
    check = f"B trades.{market}: once each"
    by_symbol: dict[str, dict[Identity, Record]] = defaultdict(dict)
    for identity, record in log.accepted.items():
        by_symbol[record.symbol][identity] = record
    began, before = log.first_clock or 0, 0
    for symbol, accepted in by_symbol.items():
        tally.symbols.append((market, symbol))
        before += compare_with_ledger(check, accepted, LEDGER.trades(market, symbol), began, tally)
    if market == "stocks":
        said = LEDGER.trades("crypto", options.reference)
        compare_with_ledger("B trades.stocks: references", log.references, said, began, tally)
    if before:
        tally.notes.append(
            f"trades.{market}/{partition}: {before} trades of the ledger are from before its first clock"
        )


def _symbol(options: Options, database: Database, log: Log, market: str, symbol: str, tally: Tally) -> None:
    """Every table's rows of the symbol in both schemas, and the same against trades and ledger."""

    def compared(table: Table) -> list[bytes]:
        found = list(database.rows(options.schema, table, symbol))
        expected = database.rows(options.fresh_schema, table, symbol)
        compare_sorted(f"A {table.name}", found, expected, key_of(table), tally)
        return found

    if market == "stocks":
        trades = compare_ticks("B ratio_ticks_live: as-of join", symbol, compared(TICKS), log.trades[symbol], tally)
    else:
        trades = {identity_of(t.record): as_counted(t.record) for t in log.trades[symbol]}
    candles = candles_of(compared(CANDLES), options.intervals)
    check = CandleCheck(symbol, log, options, tally)
    columns = check.against(f"B candles {market}: from trades", candles, trades, BAR)
    if market == "stocks":
        check.aggregates("B ratio_aggregates_500ms: from trades", aggregates_of(compared(AGGREGATES)), columns)
    lines = LEDGER.trades(market, symbol)
    if any(line.price is None or line.size is None for line in lines.values()):
        tally.notes.append(f"{symbol}: the ledger has no prices, so no candles come from it")
    else:
        check.against(f"B candles {market}: from the ledger", candles, _told(lines, trades), PRICE_ONLY)
    compared(REVISIONS)
    if database.has(options.schema, LATE):
        compared(LATE)


def as_counted(record: Record) -> Counted:
    """A crypto trade: it counts for everything."""
    return Counted(order_of(record), record.price, record.size)


def _told(lines: Mapping[Identity, LedgerLine], trades: Mapping[Identity, Counted]) -> dict[Identity, Counted]:
    """The ledger's trades; what they count for is taken from the rows."""
    told = {}
    for identity, line in lines.items():
        record = as_record(line)
        row = trades.get(identity)
        if row is not None:
            told[identity] = Counted(
                order_of(record), record.price, record.size, row.high_low, row.open_close, row.volume
            )
    return told


def check_ratios(options: Options, partition: int) -> Tally:
    """One partition of ratios, both namespaces side by side under the reader's rule."""
    return _check_derived(options, "ratios", [partition])


def check_topic(options: Options, name: str) -> Tally:
    """A derived topic. What is made of ratios has another src after a restart, for ratios may hold repeats."""
    return _check_derived(options, name, None)


def _check_derived(options: Options, name: str, partitions: list[int] | None) -> Tally:
    tally = Tally()
    dropped: list[int] = []

    def accepted(namespace: str, *, keep_src: bool) -> Iterator[tuple[tuple[Any, ...], bytes]]:
        topic = namespace + name
        some = partitions_of(options.bootstrap, topic) if partitions is None else partitions
        values = ((p, value) for p, _, _, value in read(options.bootstrap, topic, some))
        return under_rule(values, keep_src=keep_src, dropped=dropped if namespace == options.namespace else None)

    if name == "ratios":
        found, fresh = (accepted(n, keep_src=True) for n in (options.namespace, options.fresh_namespace))
        compare_sorted(f"A {name}", found, fresh, lambda pair: pair[0], tally)
    else:
        keep = ".stocks" not in name
        whole = [
            sorted(accepted(n, keep_src=keep), key=_partition) for n in (options.namespace, options.fresh_namespace)
        ]
        compare_lists(f"A {name}", whole[0], whole[1], tally)
    if dropped:
        tally.notes.append(f"{name}: {len(dropped)} repeats dropped by the reader's rule")
    return tally


def _partition(pair: tuple[tuple[Any, ...], bytes]) -> int:
    """The first of a key: partitions come in any order, the records of each in theirs."""
    return int(pair[0][0])


def check_gaps(options: Options) -> Tally:
    """The last word on each gap, and how much stands on the dead letter topics."""
    tally = Tally()
    gaps = [json.loads(v) for _, _, _, v in read(options.bootstrap, f"{options.namespace}feed.gaps", [0])]
    compare_gaps(gaps, LEDGER.last, tally)
    for service in ("ingest", "ratio", "aggregator", "sink"):
        letters = sum(1 for _ in read(options.bootstrap, f"{options.namespace}{service}.dlq", [0]))
        if letters:
            tally.notes.append(f"{service}.dlq: {letters} letters")
    return tally


def compare_gaps(gaps: Iterable[dict[str, Any]], ends: Mapping[str, int], tally: Tally) -> None:
    """No gap is left open and none was given up, but for one that began after its cluster's last trade (``ends``)."""
    last = {(gap["cluster"], gap["start"]): gap for gap in gaps}
    tally.compared("B feed.gaps", len(last))
    for gap in last.values():
        if gap["status"] == "open" and gap["start"] > ends[gap["cluster"]]:
            tally.notes.append(f"feed.gaps: left open, but no trade came after its start: {gap}")
        elif gap["status"] != "filled":
            tally.wrong("B feed.gaps", "lost", gap)
    length = sum((gap["end"] or gap["start"]) - gap["start"] for gap in last.values()) / SECOND
    brought = sum(gap.get("trades", 0) for gap in last.values())
    tally.notes.append(f"feed.gaps: {len(last)} gaps of {length:.1f} s in all brought {brought} trades")


def check_strays(options: Options) -> Tally:
    """Which symbols the tables hold at all, for the parent to compare with those of the log."""
    tally, database = Tally(), Database(options.dsn)
    try:
        for schema in (options.schema, options.fresh_schema):
            for table in TABLES:
                if database.has(schema, table):
                    tally.examples[f"stray {schema}.{table.name}"] = sorted(database.symbols(schema, table))
    finally:
        database.close()
    return tally


def run_task(task: tuple[str, Options, tuple[Any, ...]]) -> Tally:
    name, options, arguments = task
    tally: Tally = TASKS[name](options, *arguments)
    return tally


TASKS: Final[dict[str, Callable[..., Tally]]] = {
    "trades": check_trades, "ratios": check_ratios, "topic": check_topic, "gaps": check_gaps, "strays": check_strays,
}  # fmt: skip


def count_partitions(options: Options) -> tuple[int, int]:
    """Of trades.stocks and trades.crypto."""
    return (
        len(partitions_of(options.bootstrap, f"{options.namespace}trades.stocks")),
        len(partitions_of(options.bootstrap, f"{options.namespace}trades.crypto")),
    )


def tasks_of(options: Options, stocks: int, crypto: int) -> list[tuple[str, Options, tuple[Any, ...]]]:
    """The longest first."""
    topics = [f"candles.{m}.{i}" for i in options.intervals for m in ("stocks", "crypto")]
    topics += [f"{name}.{m}" for name in ("candles.progress", "trades.late") for m in ("stocks", "crypto")]
    topics.append("ratio_mark")
    return [
        *(("trades", options, ("stocks", p)) for p in range(stocks)),
        *(("trades", options, ("crypto", p)) for p in range(crypto)),
        *(("ratios", options, (p,)) for p in range(stocks)),
        *(("topic", options, (name,)) for name in topics),
        ("gaps", options, ()),
        ("strays", options, ()),
    ]


REQUIRED: Final = (
    "A ratios", "A ratio_mark", "A ratio_ticks_live", "A candles",
    "B trades.stocks: once each", "B trades.crypto: once each",
    "B trades.stocks: references", "B ratio_ticks_live: as-of join", "B candles stocks: from trades",
    "B candles crypto: from trades", "B candles stocks: from the ledger", "B candles crypto: from the ledger",
    "B ratio_aggregates_500ms: from trades",
)  # fmt: skip


def check(options: Options, ledger: Path, jobs: int = 2) -> Tally:
    """Everything, ``jobs`` partitions at a time."""
    global LEDGER  # noqa: PLW0603 - forked workers share what it holds
    with ledger.open("rb") as lines:
        LEDGER = Ledger(lines)
    total = Tally()
    context = multiprocessing.get_context("fork")
    with context.Pool(jobs, maxtasksperchild=1) as pool:  # a worker a task: its memory goes back
        counts = pool.apply(count_partitions, (options,))
        for tally in pool.imap_unordered(run_task, tasks_of(options, *counts), chunksize=1):
            total.merge(tally)
    finish(total, LEDGER)
    return total


def finish(total: Tally, ledger: Ledger) -> None:
    """What only the whole can tell: symbols that are nowhere, in two partitions, or in no log; checks of nothing."""
    for cluster, symbol in set(ledger.symbols) - set(total.symbols):
        check = f"B trades.{cluster}: once each"
        for line in ledger.trades(cluster, symbol).values():
            total.compared(check)
            total.wrong(check, "lost", line)
    for place in {p for p in total.symbols if total.symbols.count(p) > 1}:
        total.wrong(f"B trades.{place[0]}: once each", "doubled", place[1], "stands in more than one partition")
    logged = {symbol for _, symbol in total.symbols}
    for name in [n for n in total.examples if n.startswith("stray ")]:
        table = name.rpartition(".")[2]
        for symbol in set(total.examples.pop(name)) - logged:
            total.wrong(f"A {table}", "doubled", f"{name.removeprefix('stray ')} has {symbol}, which is in no log")
    for check in REQUIRED:
        if not total.counts.get(check, {}).get("compared"):
            total.wrong(check, "lost", "nothing was there to compare")


# --- the report ----------------------------------------------------------------------------------------------------


def report(total: Tally) -> str:
    width = max(map(len, total.counts), default=10)
    lines = [f"{'':{width}}  {'compared':>10} " + " ".join(f"{kind:>10}" for kind in KINDS)]
    for check in sorted(total.counts):
        counts = total.counts[check]
        lines.append(f"{check:{width}}  {counts['compared']:>10,} " + " ".join(f"{counts[k]:>10,}" for k in KINDS))
    sums = {kind: sum(counts[kind] for counts in total.counts.values()) for kind in ("compared", *KINDS)}
    lines.append(f"{'all':{width}}  {sums['compared']:>10,} " + " ".join(f"{sums[k]:>10,}" for k in KINDS))
    for name, some in sorted(total.examples.items()):
        lines += ["", name, *(f"    {example}" for example in some)]
    lines += ["", *sorted(total.notes)] if total.notes else []
    return "\n".join(lines)


def as_json(total: Tally) -> str:
    fields = {"ok": not total.failed, "checks": total.counts, "examples": total.examples, "notes": total.notes}
    return json.dumps(fields, indent=1)


def parse(arguments: Sequence[str] | None = None) -> tuple[Options, Path, int, bool]:
    parser = argparse.ArgumentParser(
        prog="check.py", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    for name in ("bootstrap", "dsn", "namespace", "fresh-namespace", "schema", "fresh-schema"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--ledger", type=Path, required=True)
    parser.add_argument("--intervals", default="500ms,1s,5s,15s,1m")
    parser.add_argument("--horizon", type=int, default=900, help="REVISION_HORIZON_S of both runs")
    parser.add_argument("--reference", default="BTC-USD")
    parser.add_argument("--jobs", type=int, default=2, help="partitions looked at side by side")
    parser.add_argument("--json", action="store_true")
    o = parser.parse_args(arguments)
    options = Options(o.bootstrap, o.dsn, o.namespace, o.fresh_namespace, o.schema, o.fresh_schema,
                      tuple(o.intervals.split(",")), o.horizon * SECOND, o.reference)  # fmt: skip
    return options, o.ledger, o.jobs, o.json


def main(arguments: Sequence[str] | None = None) -> int:
    options, ledger, jobs, as_data = parse(arguments)
    began = time.monotonic()
    total = check(options, ledger, jobs)
    print(as_json(total) if as_data else report(total))
    verdict = "nothing lost, doubled or different" if not total.failed else f"{total.failed:,} are wrong"
    print(f"checked in {time.monotonic() - began:.1f} s: {verdict}", file=sys.stderr)
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
