"""The aggregator's part for one partition sends candles under way by the wall clock, and only what is news."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from marketdata.calendar import new_york_hours
from marketdata.candles import CandleEngine
from marketdata.feature_book import FeatureBook, FeatureSettings
from marketdata.forming import Forming
from marketdata.intervals import levels
from marketdata.records import Clock, LiveCandles, Ratio, Record, encode
from marketdata.ticks import tick_of_ratio
from marketdata.topics import DEFAULT_INTERVALS, Topics
from services.aggregator.__main__ import stages
from services.aggregator.live import BEHIND_US, SAVED_US, SHARE, Budget, LiveSender
from services.aggregator.publisher import Publisher
from services.aggregator.settings import AggregatorSettings
from services.aggregator.stocks import StocksProcessor
from streaming.emitter import Emitter
from streaming.outbox import Outbox, Ticket
from streaming.snapshots import Snapshot

S, MS = 1_000_000, 1_000
BEGIN = 1_794_411_000 * S  # 2026-11-11 15:30 UTC, an hour after the opening bell
TOPICS = Topics("t.")
LIVE = TOPICS.live("stocks")
SESSIONS = new_york_hours()
LEVELS = levels(DEFAULT_INTERVALS, SESSIONS)
_decode = msgspec.json.Decoder(LiveCandles).decode


class Producer:
    """Keeps what is produced, by topic; ``away``: what was sent last is not acknowledged."""

    def __init__(self) -> None:
        self.written: dict[str, list[bytes]] = {}
        self.away = False
        self._asked: list[Any] = []

    def produce(self, topic: str, value: bytes, key: bytes, partition: int, done: Any, **_: Any) -> None:
        assert partition == 3
        self.written.setdefault(topic, []).append(value)
        self._asked += [done] if done is not None else []
        self.poll(0)

    def poll(self, _timeout: float) -> int:
        while self._asked and not self.away:
            self._asked.pop(0)(None, None)
        return 0


class Part:
    """One partition of stocks, and the wall clock."""

    def __init__(self, *, live: bool = True, features: bool = False) -> None:
        self.producer = Producer()
        producer: Any = self.producer
        self.outbox = Outbox(producer)
        self.emitter = Emitter(self.outbox, 3, [TOPICS.candles("stocks", i) for i in DEFAULT_INTERVALS] + [
            TOPICS.progress("stocks"), TOPICS.late("stocks")])  # fmt: skip
        self.engine = CandleEngine(LEVELS, 900 * S)
        book = FeatureBook(self.engine, LEVELS, FeatureSettings(sessions=SESSIONS))
        publisher = Publisher("stocks", TOPICS, LEVELS, 3, self.emitter, book, SESSIONS, ("all",))
        forming = Forming(self.engine, LEVELS, book if features else None)
        self.budget = Budget(timer=lambda: 0)
        sender = LiveSender("stocks", LIVE, self.emitter, self.engine, forming, self.budget) if live else None
        self.processor = StocksProcessor(3, self.engine, book, publisher, live=sender)
        self.log: list[bytes] = []
        self.now = BEGIN + 300 * MS

    def read(self, *records: Record, at: int | None = None) -> None:
        """A run of records."""
        self.emitter.begin(Ticket(lambda: None))
        for record in records:
            self.log.append(encode(msgspec.structs.replace(record, src=(3, len(self.log), 0))))
            self.processor.process(len(self.log) - 1, self.log[-1], self.now if at is None else at)
            self.processor.finish(self.now)
        self.processor.after_run(self.now)
        self.emitter.end()

    def idle(self, ms: int) -> None:
        """Time passes without a run; the worker looks every 5 ms."""
        for _ in range(0, ms, 5):
            self.now += 5 * MS
            self.outbox.serve()
            self.processor.after_run(self.now)
            self.emitter.hand_over()

    def sent(self) -> list[LiveCandles]:
        """What was sent since the last call."""
        return [_decode(value) for value in self.producer.written.pop(LIVE, [])]


def trade(n: int, ts: int, price: float = 10.0, symbol: str = "MARA", **fields: Any) -> Ratio:
    ratio = Ratio(
        symbol=symbol, ts=ts, received_ts=ts + 20 * MS, exchange=1, id=str(n), epoch=1, stock_price=price,
        stock_size=100.0, stock_volume=100, eligible=True, updates_open_close=True, updates_volume=True,
        src=(3, 0, 0), timestamp_out=ts, reference="BTC-USD", btc_price=1e5, btc_ts=ts, btc_age_us=0, btc_volume=1.0,
        ratio=price / 1e5, inverse_ratio=1e5 / price, reason=None,
    )  # fmt: skip
    return msgspec.structs.replace(ratio, **fields)


def clock(ts: int) -> Clock:
    return Clock(ts=ts, epoch=1)


def test_the_first_trade_is_sent_at_once_then_the_last_state_each_50_ms() -> None:
    part = Part()
    part.read(clock(BEGIN), trade(1, BEGIN + 10 * MS))
    (first,) = part.sent()
    assert (first.symbol, first.ts, first.timestamp_out) == ("MARA", BEGIN + 10 * MS, part.now)
    assert [candle.interval for candle in first.candles] == list(DEFAULT_INTERVALS)
    for n in range(2, 12):
        part.idle(10)
        part.read(trade(n, BEGIN + n * MS * 10, 10.0 + n))
    part.idle(200)
    records = part.sent()
    assert [record.candles[0].close for record in records] == [15.0, 20.0, 21.0]
    assert [(record.timestamp_out - first.timestamp_out) // MS for record in records] == [50, 100, 150]
    last = records[-1].candles[6]
    assert (last.interval, last.open, last.high, last.low, last.close, last.volume, last.tick_count) == (
        "1m", 10.0, 21.0, 10.0, 21.0, 1_100.0, 11
    )  # fmt: skip
    assert last.ratio is not None
    assert (last.ratio.open, last.ratio.high, last.ratio.low, last.ratio.close) == (1e-4, 21e-5, 1e-4, 21e-5)
    assert last.features is None
    part.idle(500)
    assert part.sent() == []


def test_a_late_trade_and_a_cancel_are_news_and_what_is_over_is_left_out() -> None:
    part = Part()
    part.read(clock(BEGIN), trade(1, BEGIN + 100 * MS), trade(2, BEGIN + 700 * MS, 12.0))
    part.sent()
    part.now += 6 * S
    part.read(clock(BEGIN + 6 * S))
    assert part.sent() == []
    part.read(trade(3, BEGIN + 200 * MS, 15.0, received_ts=part.now))
    (late,) = part.sent()
    assert [candle.interval for candle in late.candles] == list(DEFAULT_INTERVALS[3:])
    assert {candle.high for candle in late.candles} == {15.0}
    part.now += 60 * MS
    part.read(trade(3, BEGIN + 200 * MS, 15.0, received_ts=part.now, correction=10, eligible=False))
    (cancelled,) = part.sent()
    assert {candle.high for candle in cancelled.candles} == {12.0}


def test_features_come_with_the_setting_alone() -> None:
    for features in (False, True):
        part = Part(features=features)
        part.read(clock(BEGIN), trade(1, BEGIN + 100 * MS))
        (record,) = part.sent()
        found = {candle.interval for candle in record.candles if candle.features is not None}
        assert found == ({"15s", "1m"} if features else set())


def test_old_input_is_no_news_until_it_is_caught_up() -> None:
    part = Part()
    part.now = BEGIN + 600 * S
    part.read(clock(BEGIN), trade(1, BEGIN + 10 * MS), trade(2, BEGIN + 20 * MS, symbol="RIOT"))
    part.idle(100)
    assert part.sent() == []
    part.read(clock(part.now - BEHIND_US))
    assert {(record.symbol, record.ts) for record in part.sent()} == {
        ("MARA", BEGIN + 10 * MS), ("RIOT", BEGIN + 20 * MS)
    }  # fmt: skip


def test_trades_are_news_while_a_gap_holds_the_clock() -> None:
    part = Part()
    part.read(clock(BEGIN))
    part.now += 20 * S
    part.read(trade(1, BEGIN + 20 * S))
    assert len(part.sent()) == 1


def test_what_is_read_again_after_a_restart_is_not_sent() -> None:
    old = Part()
    old.read(clock(BEGIN), trade(1, BEGIN + 10 * MS), clock(BEGIN + 50 * MS))
    captured = old.processor.capture()
    part = Part()
    part.processor.restore(Snapshot(3, captured.begin, captured.newest, captured.mark, "", {}, {}))
    for offset in range(captured.begin, 3):
        part.processor.process(offset, old.log[offset], 0)
    part.processor.restored()
    part.log = list(old.log)
    part.idle(100)
    assert part.sent() == []
    part.read(trade(2, BEGIN + 60 * MS, 11.0))
    (record,) = part.sent()
    assert (record.candles[0].open, record.candles[0].close, record.candles[0].tick_count) == (10.0, 11.0, 2)


def test_while_kafka_is_away_what_is_live_waits_and_does_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streaming.emitter.MOST_OFFERED", 2)
    part = Part()
    part.producer.away = True
    for n in range(6):
        part.read(trade(n, BEGIN + n * MS, 10.0 + n))
        part.idle(100)
    assert [record.candles[0].close for record in part.sent()] == [10.0]
    part.producer.away = False
    part.idle(200)
    assert [record.candles[0].close for record in part.sent()] == [11.0, 12.0, 15.0]


def test_many_symbols_go_out_in_turns() -> None:
    part = Part()
    part.read(*(trade(n, BEGIN + n, symbol=f"S{n}") for n in range(250)))
    assert len(part.sent()) == 50
    part.idle(20)
    assert len({record.symbol for record in part.sent()}) == 200


def test_sending_takes_no_more_than_its_share() -> None:
    part = Part()
    part.budget.spent(part.now, 30 * MS, late=20 * MS)
    part.read(trade(1, BEGIN + 10 * MS))
    part.idle(SHARE * 30 - SAVED_US // MS - 5)
    assert part.sent() == []
    part.idle(5)
    assert len(part.sent()) == 1


def test_time_without_sending_is_saved_but_not_for_ever() -> None:
    budget = Budget()
    for _ in range(SAVED_US // (SHARE * MS)):
        assert budget.is_free(10 * S)
        budget.spent(10 * S, 1 * MS, late=0)
    assert budget.is_free(10 * S)
    budget.spent(10 * S, 1 * MS, late=0)
    assert not budget.is_free(10 * S + SHARE * MS - 1)
    assert budget.is_free(10 * S + SHARE * MS)


def test_behind_its_input_it_sends_less_but_once_a_second() -> None:
    for late, pause in ((24, 25), (49, 25), (50, 50), (100, 100), (500, 500), (60_000, 1_000)):
        budget = Budget()
        budget.spent(0, 5 * MS, late * MS)
        assert not budget.is_free(pause * MS - 1)
        assert budget.is_free(pause * MS)


def test_a_sender_tells_the_budget_how_late_it_is() -> None:
    part = Part()
    part.budget.timer = iter(range(0, 1_000 * MS * 1_000, 5 * MS * 1_000)).__next__  # each sending takes 5 ms
    part.read(trade(1, BEGIN + 10 * MS, received_ts=part.now - 200 * MS))
    assert len(part.sent()) == 1
    part.read(trade(2, BEGIN + 20 * MS, symbol="RIOT", received_ts=part.now))
    part.idle(SHARE * 5 * 8 - SAVED_US // MS - 5)
    assert part.sent() == []
    part.idle(5)
    assert len(part.sent()) == 1


def test_a_wall_clock_that_is_set_back_does_not_silence_the_budget() -> None:
    part = Part()
    part.budget.spent(part.now + 3_600 * S, 1 * MS, late=0)
    part.read(trade(1, BEGIN + 10 * MS))
    assert len(part.sent()) == 1


@pytest.mark.parametrize("on", [True, False])
def test_the_setting_makes_the_topic_or_leaves_it_alone(*, on: bool) -> None:
    stage = stages(AggregatorSettings(candles_live=on, markets=("stocks",)))[0]
    topic = Topics("").live("stocks")
    assert stage.paced == ((topic,) if on else ())
    assert topic not in stage.outputs
    part = Part(live=on)
    part.read(clock(BEGIN), trade(1, BEGIN + 10 * MS))
    assert bool(part.sent()) == on


def test_intervals_that_are_not_configured_are_not_shown() -> None:
    tree = levels(("15s", "1d"), SESSIONS)
    engine = CandleEngine(tree, 900 * S)
    forming = Forming(engine, tree)
    for n in range(3):
        engine.add("MARA", tick_of_ratio(trade(n, BEGIN + n * 600 * MS)), BEGIN)
        formed = forming.candles("MARA")
        assert formed is not None
        assert [(c.interval, c.tick_count) for c in formed[1]] == [("15s", n + 1), ("1d", n + 1)]
