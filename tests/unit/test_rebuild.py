"""A day's candles made anew: the same bits where nothing was missing, right where something was."""

from __future__ import annotations

import random
from typing import Any

import msgspec

from marketdata.calendar import new_york_hours
from marketdata.candles import CandleEngine, Closed
from marketdata.hours import hours_of
from marketdata.intervals import Interval, levels
from marketdata.rebuild import MARGIN_US, DayRebuild, Key, blocks, changed
from marketdata.records import Candle, Ratio, Trade, encode
from marketdata.ticks import tick_of_ratio
from marketdata.units import DAY_US, SECOND_US

DAY = 1_514_851_200 * SECOND_US  # 2018-01-02
OPEN = DAY + 14 * 3_600 * SECOND_US
SESSIONS = new_york_hours()
LEVELS = levels(("500ms", "1s", "5s", "15s", "1m", "1h", "24h", "1d"), SESSIONS)
HORIZON = 900 * SECOND_US
_decode = msgspec.json.Decoder(Candle).decode


def ratio(ts: int, trade_id: str, price: float = 10.0, **changes: Any) -> Ratio:
    made = Ratio(
        symbol="MARA", ts=ts, received_ts=ts, exchange=4, id=trade_id, epoch=1, stock_price=price, stock_size=100.0,
        stock_volume=100, eligible=True, updates_open_close=True, updates_volume=True, src=(0, 0, 0),
        timestamp_out=ts,
        reference="BTC-USD", btc_price=9e4, btc_ts=ts, btc_age_us=0, btc_volume=1.0, ratio=price / 9e4,
        inverse_ratio=9e4 / price, reason=None,
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def rebuilt(records: list[Any], symbol: str = "MARA", intervals: tuple[Interval, ...] = LEVELS) -> dict[Key, Closed]:
    day = DayRebuild(symbol, DAY, intervals, SESSIONS)
    for offset, record in enumerate(records):
        day.take(record, offset)
    return dict(day.candles())


def published(closed: Closed, revision: int = 0) -> Candle:
    """As a reader of the topic has it."""
    price, block = blocks(closed)
    return _decode(encode(Candle(
        symbol=closed.symbol, interval=LEVELS[closed.level].name, hours="all", timestamp_in=closed.start,
        end=closed.end, timestamp_out=0, latency_ms=0.0, revision=revision, price=price, ratio=block, src=(0, 0, 0),
    )))  # type: ignore[arg-type]  # fmt: skip


def live(records: list[Ratio]) -> dict[Key, Candle]:
    """What the aggregator's engine publishes, with a clock 250 ms behind: the last revision of each candle."""
    engine, newest, clock = CandleEngine(LEVELS, HORIZON), {}, 0
    for offset, record in enumerate(records):
        tick = tick_of_ratio(record)
        if record.correction == 10:
            engine.cancel("MARA", tick, record.id, record.received_ts, offset)
        else:
            engine.add("MARA", tick, record.received_ts)
        clock = max(clock, record.received_ts - 250_000)
        for closed in engine.advance(clock):
            newest |= by_hours(closed)
    for closed in engine.advance(DAY + 2 * DAY_US):
        newest |= by_hours(closed)
    return newest


def by_hours(closed: Closed) -> dict[Key, Candle]:
    level = LEVELS[closed.level]
    hours = hours_of(level, closed.start, SESSIONS)
    return {(level.name, name, closed.start): published(closed, closed.revision) for name in hours}


def a_session(seed: int, trades: int = 1_500) -> list[Ratio]:
    rng, ts, made = random.Random(seed), OPEN, []
    for i in range(trades):
        ts += rng.choice((0, 1, 40, 900)) * 1_000
        if made and rng.random() < 0.03:
            original = rng.choice(made[-50:])
            made.append(msgspec.structs.replace(original, correction=10, received_ts=ts))
            continue
        late = rng.choice((0, 0, 0, 700_000, 20 * SECOND_US))
        flags = {name: rng.random() < 0.9 for name in ("eligible", "updates_open_close", "updates_volume")}
        price = rng.randrange(900, 1_100) / 100
        answer = {} if rng.random() < 0.9 else {"ratio": None, "inverse_ratio": None, "btc_price": None}
        made.append(
            ratio(ts - late, str(i), price, stock_size=rng.randrange(1, 500) / 4, received_ts=ts, **flags | answer)
        )
    return made


def test_where_nothing_was_missing_every_candle_has_the_same_bits() -> None:
    for seed in range(5):
        records = a_session(seed)
        newest = live(records)
        candles = rebuilt(records)
        assert candles.keys() == newest.keys()
        assert any(candle.revision for candle in newest.values())
        assert list(changed(candles.items(), newest, DAY + DAY_US)) == []


def test_a_trade_and_a_cancel_past_the_horizon_change_the_candles_that_hold_them_and_no_others() -> None:
    records = a_session(1)
    newest = live(records)
    late = ratio(OPEN + 10 * SECOND_US + 1, "late", 50.0, stock_size=7.0)
    high = max((r for r in records if not r.correction), key=lambda r: r.stock_price)
    cancel = msgspec.structs.replace(high, correction=10)
    found = {key: (c, old) for key, c, old in
             changed(rebuilt([*records, late, cancel]).items(), newest, DAY + DAY_US)}  # fmt: skip
    touched = set()
    for level in LEVELS:
        for ts in (late.ts, high.ts):
            start = level.bucket(ts)
            in_hours = level.sessions is None or SESSIONS.is_regular(ts)
            if start is not None and in_hours:
                touched |= {(level.name, hours, start[0]) for hours in hours_of(level, start[0], SESSIONS)}
    assert found.keys() == touched
    closed, old = found["24h", "all", DAY]
    assert old is not None
    assert (closed.bar.high, closed.bar.trades) == (50.0, old.price.trade_count + 1 - high.updates_volume)


def test_a_cancel_that_stands_before_its_original_counts_too() -> None:
    original = ratio(OPEN, "1")
    for records in ([original, ratio(OPEN, "1", correction=10)], [ratio(OPEN, "1", correction=10), original]):
        candles = rebuilt(records)
        assert {c.bar.trades for c in candles.values()} == {0}
        assert list(changed(candles.items(), {}, DAY + DAY_US)) == [], "what nobody saw need not be taken back"


def test_repeats_and_other_symbols_and_days_do_not_count() -> None:
    other = msgspec.structs.replace(ratio(OPEN, "2"), symbol="RIOT")
    day_before, day_after = ratio(DAY - 1, "3"), ratio(DAY + DAY_US, "4")
    candles = rebuilt(
        [ratio(OPEN, "1"), ratio(OPEN, "1"), other, day_before, day_after, ratio(DAY - 2 * MARGIN_US, "5")]
    )
    assert candles["24h", "all", DAY].bar.trades == 1
    whole = ("500ms", "1s", "5s", "15s", "1m")
    assert candles.keys() == {(name, "all", OPEN) for name in whole} | {("1h", "all", OPEN), ("24h", "all", DAY)}


def test_a_cancel_after_midnight_takes_the_trade_it_means() -> None:
    """By exchange, price and size: the nearest earlier one, which is the next day's where that has one."""
    of_day, next_day = ratio(DAY + DAY_US - SECOND_US, "1"), ratio(DAY + DAY_US + SECOND_US, "2")
    cancel = ratio(DAY + DAY_US + 2 * SECOND_US, "unknown", correction=10)
    assert rebuilt([of_day, next_day, cancel])["24h", "all", DAY].bar.trades == 1
    assert rebuilt([of_day, cancel])["24h", "all", DAY].bar.trades == 0


def test_a_later_answer_of_the_join_replaces_the_first() -> None:
    first = ratio(OPEN, "1", ratio=None, reason="no_reference")
    again = ratio(OPEN, "1", revision=1)
    bar = rebuilt([first, again])["1m", "all", OPEN].bar
    assert (bar.trades, bar.ratio_close) == (1, again.ratio)


def test_candles_that_can_still_change_by_themselves_are_left_alone() -> None:
    candles = rebuilt([ratio(OPEN, "1")])
    names = {interval for (interval, _, _), _, _ in changed(candles.items(), {}, OPEN + 5 * SECOND_US)}
    assert names == {"500ms", "1s", "5s"}


def test_only_configured_intervals_are_made_again() -> None:
    records = [ratio(OPEN, "1"), ratio(OPEN + 70 * SECOND_US, "2", price=11.0)]
    few = rebuilt(records, intervals=levels(("1m", "1h"), SESSIONS))
    assert few.keys() == {key for key in rebuilt(records) if key[0] in {"1m", "1h"}}
    assert few["1h", "all", OPEN].bar.close == 11.0


def test_a_crypto_pair_from_its_trades() -> None:
    trade = Trade(symbol="BTC-USD", ts=OPEN, received_ts=OPEN, price=9e4, size=0.5, exchange=1, id="a", epoch=1)
    bar = rebuilt([trade], "BTC-USD")["1m", "all", OPEN].bar
    assert (bar.close, bar.price_block().volume, bar.ratio_ticks) == (9e4, 0.5, 0)
