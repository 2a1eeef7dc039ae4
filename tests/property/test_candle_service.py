"""The aggregator's part for one partition of stocks, killed and restored at random: the same bytes on every topic."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from marketdata.calendar import new_york_hours
from marketdata.candles import CandleEngine
from marketdata.feature_book import FeatureBook, FeatureSettings
from marketdata.intervals import Interval, levels
from marketdata.records import Band, Candle, Clock, Luld, Ratio, Record, encode
from marketdata.topics import DEFAULT_INTERVALS, Topics
from services.aggregator.publisher import Publisher
from services.aggregator.stocks import StocksProcessor
from streaming.emitter import Emitter
from streaming.outbox import Outbox, Ticket
from streaming.snapshots import Snapshot

S = 1_000_000
BEGIN = 1_794_403_800 * S  # 2026-11-11 13:30 UTC, an hour before the opening bell
HORIZON = 150 * S
NOW = 1_800_000_000 * S
TOPICS = Topics("t.")
SESSIONS = new_york_hours()
LEVELS = levels(DEFAULT_INTERVALS, SESSIONS)
FEATURES = FeatureSettings(("15s", "1m", "5m", "1h"), ("all", "regular"), SESSIONS)
STATES: dict[int, Any] = {15: "normal", 17: "paused", 18: "normal", 21: "normal", 23: "limit", 24: "normal"}
OUTPUTS = (
    *dict.fromkeys(TOPICS.candles("stocks", level.name) for level in LEVELS),
    TOPICS.progress("stocks"),
    TOPICS.late("stocks"),
)
_candle = msgspec.json.Decoder(Candle).decode


def log_of(seed: int, records: int) -> list[Record]:
    """Trades, late ones, cancels, changed answers of the join, price bands, clocks and long quiet stretches."""
    rng = random.Random(seed)
    made: list[Record] = []
    trades: list[Ratio] = []
    clock = BEGIN
    for n in range(records):
        src, draw = (0, n, 0), rng.random()
        if draw < 0.3:
            clock += rng.choices((50_000, 1_000_000, 9 * S, 65 * S, 1_900 * S), (30, 30, 20, 4, 0.3))[0]
            made.append(Clock(ts=clock, epoch=1, src=src))
        elif draw < 0.36 and trades:
            old = rng.choice(trades[-30:])
            fields: dict[str, Any] = (
                {"correction": 10, "eligible": False, "received_ts": clock}
                if rng.random() < 0.5
                else {"revision": 1, "ratio": 0.5 + rng.random(), "timestamp_out": clock}
            )
            made.append(msgspec.structs.replace(old, src=src, **fields))
        elif draw < 0.4:
            late = rng.choice((0, 0, 0, 300_000, 12 * S, 70 * S, 140 * S))
            made.append(Band(
                symbol=rng.choice("ABC"), ts=clock + 100_000 - late, received_ts=clock, epoch=1, sequence=n % 3,
                limit_up=float(rng.randrange(10, 20)), limit_down=rng.choice((None, 5.5)),
                indicators=(rng.choice((*STATES, 16, 22, 99)),), src=src,
            ))  # fmt: skip
        else:
            late = rng.choice((0, 0, 0, 0, 300_000, 12 * S, 70 * S, 140 * S, 170 * S))
            price = rng.randrange(900, 1_100) / 100
            trade = Ratio(
                symbol=rng.choice("ABC"), ts=clock + 100_000 - late, received_ts=clock, exchange=1, id=str(n),
                epoch=1, stock_price=price, stock_size=float(rng.randrange(1, 400)), stock_volume=1,
                eligible=rng.random() < 0.9,
                updates_open_close=rng.random() < 0.9, updates_volume=True, src=src, timestamp_out=clock,
                reference="BTC-USD", btc_price=9e4, btc_ts=clock, btc_age_us=0, btc_volume=1.0,
                ratio=price / 9e4 if rng.random() < 0.9 else None, inverse_ratio=9e4 / price, reason=None,
            )  # fmt: skip
            trades.append(trade)
            made.append(trade)
    return made


class Producer:
    """Keeps what is produced, by topic."""

    def __init__(self) -> None:
        self.written: dict[str, list[bytes]] = {topic: [] for topic in OUTPUTS}

    def produce(self, topic: str, value: bytes, _key: Any, _partition: int, done: Any, **_: Any) -> None:
        self.written[topic].append(value)
        if done is not None:
            done(None, None)

    def tails(self) -> dict[str, Any]:
        ends = {topic: values[-1] for topic, values in self.written.items() if values}
        return {topic: tuple(msgspec.json.decode(value)["src"]) for topic, value in ends.items()}


class Service:
    """Dies and comes back as the real one does."""

    def __init__(self, log: list[Record], levels: tuple[Interval, ...], *, carry: bool) -> None:
        self.carry = carry
        self.levels = levels
        self.log = [encode(record) for record in log]
        self.producer = Producer()
        self.states: dict[str, bytes] = {}
        self.snapshot: Snapshot | None = None
        self._delivered: dict[str, int] = {}
        self.begin()

    def begin(self) -> None:
        producer: Any = self.producer
        self.outbox = Outbox(producer)
        self.emitter = Emitter(self.outbox, 0, OUTPUTS)
        self.begin_run()
        engine = CandleEngine(self.levels, HORIZON, SESSIONS if self.carry else None)
        book = FeatureBook(engine, self.levels, FEATURES)
        publisher = Publisher("stocks", TOPICS, self.levels, 0, self.emitter, book, SESSIONS, ("all", "regular"))
        self.processor = StocksProcessor(0, engine, book, publisher)

    def end_run(self) -> None:
        self.emitter.end()
        self.outbox.send_all()

    def begin_run(self) -> None:
        self.end_run()
        self.emitter.begin(Ticket(lambda: None))

    def store(self, position: int) -> None:
        self.begin_run()  # all before it is sent
        c = self.processor.capture()
        for symbol, state in c.states.items():
            if state is None:
                self.states.pop(symbol, None)
            else:
                self.states[symbol] = state
        self.snapshot = Snapshot(position, c.begin, c.newest, c.mark, "", dict(self.states), {})
        self._delivered = {topic: len(values) for topic, values in self.producer.written.items()}

    def die(self, rng: random.Random) -> int:
        """Lose all but a prefix of what was not delivered yet, and begin again; where to go on."""
        self.end_run()
        for topic, values in self.producer.written.items():
            del values[rng.randint(self._delivered.get(topic, 0), len(values)) :]
        self.begin()
        if self.snapshot is None:
            self.states = {}
        else:
            self.states = dict(self.snapshot.states)
            self.emitter.mute()
            self.processor.restore(self.snapshot)
            for offset in range(self.snapshot.begin, self.snapshot.position):
                self.processor.process(offset, self.log[offset], 0)
            self.processor.restored()
        self.emitter.resume(self.producer.tails())
        return self.snapshot.position if self.snapshot is not None else 0


def play(
    log: list[Record],
    snapshots: float = 0,
    deaths: float = 0,
    seed: int = 0,
    *,
    levels: tuple[Interval, ...] = LEVELS,
    carry: bool = False,
) -> dict[str, list[bytes]]:
    """What stands there in the end; chances that a snapshot follows a clock, and that a kill precedes a record."""
    rng, service, offset = random.Random(seed), Service(log, levels, carry=carry), 0
    while offset < len(log):
        if rng.random() < deaths:
            offset = service.die(rng)
            deaths *= 0.9
            continue
        settled = service.processor.process(offset, service.log[offset], NOW)
        offset += 1
        if rng.random() < deaths:  # also between the candles that come first and the rest
            offset = service.die(rng)
            deaths *= 0.9
            continue
        service.processor.finish(NOW)
        if settled and rng.random() < snapshots:
            service.store(offset)
    service.end_run()
    return service.producer.written


def in_force(bands: list[Band], end: int) -> Luld | None:
    """The last word before ``end``, of that trading day (it begins at 05:00 UTC), told in the order of time."""
    begin = (end - 1 - 5 * 3_600 * S) // (86_400 * S) * 86_400 * S + 5 * 3_600 * S
    luld = None
    for band in sorted((b for b in bands if begin <= b.ts < end), key=lambda b: (b.ts, b.sequence)):
        state = STATES.get(band.indicators[0], luld.state if luld else "normal")
        since = luld.since if luld and luld.state == state else band.ts
        luld = Luld(band.limit_up, band.limit_down, state, since)
    return luld


def check_bands(log: list[Record], candles: list[Candle]) -> None:
    """Each candle has the band in force at its end, of those that stood above the clock that published it."""
    bands = {symbol: [b for b in log if type(b) is Band and b.symbol == symbol] for symbol in "ABC"}
    for candle in candles:
        known = [b for b in bands[candle.symbol] if b.src and b.src < candle.src]
        assert candle.luld == in_force(known, candle.end), candle
    states = {(c.luld.state if c.luld else None, c.revision > 0) for c in candles}
    assert states >= {(s, revised) for s in ("normal", "limit", "paused") for revised in (False, True)}
    assert (None, False) in states


def check_revisions(candles: list[Candle]) -> None:
    """Each candle's revisions are 0, 1, 2 and so on, whatever came late."""
    following: dict[tuple[str, ...], int] = {}
    for candle in candles:
        key = (candle.symbol, candle.interval, candle.hours, str(candle.timestamp_in))
        assert candle.revision == following.get(key, 0), candle
        following[key] = candle.revision + 1
    assert max(following.values()) > 2


@pytest.mark.parametrize(("seed", "carry"), [(0, False), (1, False), (2, True), (3, True)])
def test_one_that_was_killed_writes_what_one_never_stopped_does(seed: int, *, carry: bool) -> None:
    log = log_of(seed, 2_500)
    whole = play(log, carry=carry)
    candles = [_candle(value) for value in whole[TOPICS.candles("stocks", "15s")]]
    assert {c.hours for c in candles} == {"all", "regular"}
    assert any(c.revision and c.features and c.features.sma_20 for c in candles)
    every = [_candle(v) for t in OUTPUTS[:-2] for v in whole[t]]
    check_bands(log, every)
    check_revisions(every)
    for n in range(3):
        again = play(log, 0.1, 0.01, n, carry=carry)
        for topic in OUTPUTS:
            assert again[topic] == whole[topic], topic


@pytest.mark.parametrize("carry", [False, True])
def test_intervals_that_are_not_configured_are_not_published_and_change_nothing(*, carry: bool) -> None:
    """Also not 500ms, of which all are made; in 1d and 4h alone other candles are rolled up than in all."""
    log, names = log_of(4, 2_500), ("15s", "1m", "4h", "1d")
    whole = play(log, carry=carry)
    few = play(log, 0.1, 0.01, 1, levels=levels(names, SESSIONS), carry=carry)
    kept = {*(TOPICS.candles("stocks", name) for name in names), TOPICS.late("stocks")}
    progress = TOPICS.progress("stocks")
    assert all(whole[TOPICS.candles("stocks", name)] for name in names[:-1])
    for topic in {*OUTPUTS} - {progress}:
        assert few[topic] == (whole[topic] if topic in kept else []), topic
    told = [[(p["interval"], p["end"]) for p in map(msgspec.json.decode, found[progress])] for found in (few, whole)]
    assert told[0] == [(interval, end) for interval, end in told[1] if interval in names]
