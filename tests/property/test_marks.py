"""Marks against their definition, and through kills at random, for any order of trades, BTC copies and clocks."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketdata.calendar import TradingHours
from marketdata.conditions import updates_of
from marketdata.join import JoinSettings, RatioJoin
from marketdata.marks import Marks, MarkSettings
from marketdata.mids import Mids
from marketdata.order import order_key
from marketdata.records import Clock, RatioMark, Record, Reference, Trade, encode
from marketdata.topics import Topics
from services.ratio.processor import RatioProcessor
from streaming.emitter import Emitter
from streaming.outbox import Outbox, Ticket
from streaming.snapshots import Snapshot

MS, S = 1_000, 1_000_000
T0 = 1_700_000_000 * S
MAX_AGE, HORIZON = 5 * S, 20 * S
NOW = 7
ALWAYS_OPEN = TradingHours({}, (0, 0))
TOPICS = Topics("t.")
TOPIC = TOPICS.ratio_mark
KINDS = (
    "stock",
    "stock",
    "stock",
    "btc",
    "btc",
    "btc",
    "filled",
    "odd",
    "cancel",
    "repeat",
    "clock",
    "clock",
    "clock",
)
FORWARD = (0, 0, 10 * MS, 30 * MS, 50 * MS, 200 * MS, 250 * MS, 700 * MS, 3 * S)
LATE = (-4 * S, -300 * MS, -20 * MS, 0, 0, 0, 0, 20 * MS, 400 * MS, 6 * S, 30 * S)
Step = tuple[str, str, int, int, int, int]

steps = st.lists(
    st.tuples(
        st.sampled_from(KINDS), st.sampled_from("ABC"), st.sampled_from(FORWARD), st.sampled_from(LATE),
        st.integers(1, 3), st.integers(0, 99),
    ),
    min_size=10,
    max_size=150,
)  # fmt: skip


def log_of(script: list[Step]) -> list[Record]:
    """Times are late by the fourth of each step (below 0: ahead); few prices, and ids in no order of time."""
    log: list[Record] = []
    now, clock = T0, 0
    for n, (kind, symbol, forward, late, price, number) in enumerate(script):
        now += forward
        if kind == "clock":
            if (ts := now - now % (50 * MS)) > clock:
                clock = ts
                log.append(Clock(ts=ts, epoch=1))
            continue
        if kind == "repeat":
            if log:
                log.append(log[-1 - number % len(log)])
            continue
        ts = (now - late) // MS * MS
        fields: dict[str, Any] = {"ts": ts, "received_ts": now, "price": float(price), "size": 1.0, "exchange": 1,
                                  "id": f"{number:02}{n}", "epoch": 1}  # fmt: skip
        if kind in {"btc", "filled"}:
            log.append(Reference(symbol="BTC-USD", backfilled=kind == "filled", **fields))
        else:
            odd = {"conditions": (2,)} if kind == "odd" else {"correction": 10} if kind == "cancel" else {}
            log.append(Trade(symbol=symbol, **odd, **fields))
    return log


def key(trade: Trade) -> Any:
    return order_key(trade.ts, trade.sequence, trade.exchange, trade.id, trade.trf)


def expected(log: list[Record]) -> list[RatioMark]:
    """The definition, word by word: at each step all trades that stand above are looked at again."""
    made: list[RatioMark] = []
    last: dict[str, tuple[Trade, Reference]] = {}
    clock = 0
    above: list[tuple[Trade, int]] = []  # with the clock above each
    for offset, record in enumerate(log):
        if isinstance(record, Trade):
            above.append((record, clock))
            continue
        assert isinstance(record, Clock)
        before, clock = clock, max(clock, record.ts)
        if clock // (250 * MS) == before // (250 * MS):
            continue
        btc = max((t for t, _ in above if isinstance(t, Reference) and t.ts < clock), key=key, default=None)
        if btc is None or clock - btc.ts > MAX_AGE:
            continue
        n = 0
        for symbol in "ABC":
            counts = [
                t for t, then in above
                if t.symbol == symbol and then <= t.ts < clock and t.correction != 10
                if updates_of(t.conditions, regular_hours=True).high_low
            ]  # fmt: skip
            trade = max(counts, key=key, default=None)
            if trade is None or clock - trade.ts > HORIZON or btc.ts <= trade.ts:
                continue
            if symbol in last:
                marked, at = last[symbol]
                if key(btc) <= key(at) or (key(trade), btc.price) == (key(marked), at.price):
                    continue
            last[symbol] = trade, btc
            made.append(RatioMark(symbol, clock, 1, trade.price, trade.ts, "BTC-USD", btc.price, btc.ts,
                                  trade.price / btc.price, btc.price / trade.price, (0, offset, n), NOW))  # fmt: skip
            n += 1
    return made


class Producer:
    """Keeps what is produced, by topic: all of it will be delivered, up to where a kill cuts it off."""

    def __init__(self) -> None:
        self.written: dict[str, list[bytes]] = {TOPICS.ratios: [], TOPIC: [], TOPICS.ratio_mid: []}

    def produce(self, topic: str, value: bytes, _key: Any, _partition: int, done: Any, **_: Any) -> None:
        self.written[topic].append(value)
        if done is not None:
            done(None, None)

    def tails(self) -> dict[str, Any]:
        return {
            topic: tuple(msgspec.json.decode(values[-1])["src"]) for topic, values in self.written.items() if values
        }


class Service:
    """The ratio agent's part for one partition; it dies and comes back as the real one does."""

    def __init__(self, log: list[Record]) -> None:
        self.log = [encode(record) for record in log]
        self.clocks = [isinstance(record, Clock) for record in log]
        self.producer = Producer()
        self.snapshot: Snapshot | None = None
        self._delivered: dict[str, int] = {}
        self.begin()

    def begin(self) -> None:
        producer: Any = self.producer
        self.outbox = Outbox(producer)
        self.emitter = Emitter(self.outbox, 0, (TOPICS.ratios, TOPIC, TOPICS.ratio_mid))
        self.begin_run()
        join = RatioJoin("BTC-USD", ALWAYS_OPEN, JoinSettings(MAX_AGE, HORIZON))
        age = MarkSettings(MAX_AGE, HORIZON)
        mids = Mids(("BTC-USD", "ETH-USD"), age)
        self.processor = RatioProcessor(0, self.emitter, TOPICS, join, Marks(age), mids=mids)

    def end_run(self) -> None:
        self.emitter.end()
        self.outbox.send_all()

    def begin_run(self) -> None:
        self.end_run()
        self.emitter.begin(Ticket(lambda: None))

    def store(self, position: int) -> None:
        self.begin_run()  # all before it is sent
        c = self.processor.capture()
        self.snapshot = Snapshot(position, c.begin, c.newest, c.mark, "", {}, {})
        self._delivered = {topic: len(values) for topic, values in self.producer.written.items()}

    def die(self, rng: random.Random) -> int:
        """Lose all but a prefix of what was not delivered yet, and begin again; where to go on."""
        self.end_run()
        for topic, values in self.producer.written.items():
            del values[rng.randint(self._delivered.get(topic, 0), len(values)) :]
        self.begin()
        if self.snapshot is not None:
            self.emitter.mute()
            self.processor.restore(self.snapshot)
            for offset in range(self.snapshot.begin, self.snapshot.position):
                self.processor.process(offset, self.log[offset], 0)
            self.processor.restored()
        self.emitter.resume(self.producer.tails())
        return self.snapshot.position if self.snapshot is not None else 0


def play(log: list[Record], snapshots: float = 0, deaths: float = 0, seed: int = 0) -> dict[str, list[bytes]]:
    """What stands there in the end; chances that a snapshot follows a clock, and a kill precedes a record."""
    rng, service, offset = random.Random(seed), Service(log), 0
    while offset < len(log):
        if rng.random() < deaths:
            offset = service.die(rng)
            deaths *= 0.8
            continue
        settled = service.processor.process(offset, service.log[offset], NOW)
        offset += 1
        if settled and rng.random() < snapshots:
            service.store(offset)
    service.end_run()
    return service.producer.written


def marks_of(values: list[bytes]) -> list[RatioMark]:
    return [msgspec.json.decode(value, type=RatioMark) for value in values]


def random_script(rng: random.Random, length: int) -> list[Step]:
    some = (KINDS, "ABC", FORWARD, LATE, (1, 2, 3), range(100))
    return [tuple(map(rng.choice, some)) for _ in range(length)]  # type: ignore[misc]


@settings(max_examples=300, deadline=None)
@given(steps)
def test_marks_are_their_definition(script: list[Step]) -> None:
    log = log_of(script)
    assert marks_of(play(log)[TOPIC]) == expected(log)


@settings(max_examples=200, deadline=None)
@given(steps, st.integers(0, 1 << 32))
def test_one_that_was_killed_writes_what_one_never_stopped_does(script: list[Step], seed: int) -> None:
    log = log_of(script)
    assert play(log, 0.3, 0.05, seed) == play(log)


@pytest.mark.parametrize("seed", range(4))
def test_long_runs_with_many_kills(seed: int) -> None:
    """Longer than the horizon by far, so that most is no longer read again."""
    log = log_of(random_script(random.Random(seed), 1_500))
    whole = play(log)
    found = marks_of(whole[TOPIC])
    assert found == expected(log)
    assert len(found) > 100
    for n in range(10):
        assert play(log, 0.2, 0.02, n) == whole
