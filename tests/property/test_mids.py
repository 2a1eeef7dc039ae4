"""Middles of quotes against their definition, and through kills at random, for any copies, trades and clocks."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketdata.records import Clock, QuoteCopy, RatioMid, Record, Reference, Trade
from tests.property.test_marks import FORWARD, HORIZON, LATE, MAX_AGE, MS, NOW, T0, TOPICS, play

TOPIC = TOPICS.ratio_mid
BTC, OTHER = "BTC-USD", "ETH-USD"
KINDS = ("A", "A", "B", BTC, BTC, OTHER, "trade", "stock", "old", "clock", "clock", "clock")
SIDES = (
    (1.0, 2.0),
    (1.0, 2.0),
    (2.0, 2.0),
    (1.5, 3.0),
    (1.5, 1.5),
    (2.0, 1.0),
    (None, 2.0),
    (1.0, None),
    (None, None),
)
Step = tuple[str, int, int, tuple[float | None, float | None]]

steps = st.lists(
    st.tuples(st.sampled_from(KINDS), st.sampled_from(FORWARD), st.sampled_from(LATE), st.sampled_from(SIDES)),
    min_size=10,
    max_size=150,
)


def log_of(script: list[Step]) -> list[Record]:
    """Times are late by the third of each step (below 0: ahead)."""
    log: list[Record] = []
    now, clock = T0, 0
    for n, (kind, forward, late, (bid, ask)) in enumerate(script):
        now += forward
        ts = (now - late) // MS * MS
        fields: dict[str, Any] = {"ts": ts, "received_ts": now, "size": 1.0, "exchange": 1, "id": str(n), "epoch": 2}
        if kind == "clock":
            if (at := now - now % (50 * MS)) > clock:
                clock = at
                log.append(Clock(ts=at, epoch=2))
        elif kind == "trade":
            log.append(Reference(symbol=BTC, price=bid or 2.5, **fields))
        elif kind == "stock":
            log.append(Trade(symbol="A", price=bid or 2.5, **fields))
        else:
            symbol, epoch = ("A", 1) if kind == "old" and log else (kind if kind != "old" else "A", 2)
            log.append(QuoteCopy(symbol=symbol, ts=ts, received_ts=now, bid=bid, bid_size=1, ask=ask, ask_size=1,
                                 epoch=epoch))  # fmt: skip
    return log


def middle(quote: QuoteCopy) -> float | None:
    if quote.bid is None or quote.ask is None or quote.bid > quote.ask:
        return None
    return (quote.bid + quote.ask) / 2


def expected(log: list[Record]) -> list[RatioMid]:
    """The definition, word by word: at each step all that stands above is looked at again."""
    made: list[RatioMid] = []
    clock = 0
    last: dict[str, QuoteCopy] = {}
    price_before: float | None = None
    for offset, record in enumerate(log):
        if not isinstance(record, Clock):
            continue
        before, clock = clock, record.ts
        if clock // (250 * MS) == before // (250 * MS):
            continue
        newest = newest_quotes(log[:offset], clock)
        btc = newest.pop(BTC, None)
        price, ts, source = btc_price(btc, log[:offset], clock)
        n = 0
        for symbol in "AB":
            quote = newest.get(symbol)
            mid = None if quote is None or quote.ts < clock - HORIZON else middle(quote)
            if quote is None or mid is None or price is None:
                continue
            if price == price_before and last.get(symbol) is quote:
                continue
            made.append(RatioMid(symbol, clock, 2, quote.bid, quote.ask, mid, quote.ts, BTC, price, ts,  # type: ignore[arg-type]
                                 source, mid / price, price / mid, (0, offset, n), NOW))  # type: ignore[arg-type] # fmt: skip
            n += 1
        last, price_before = newest, price
    return made


def newest_quotes(above: list[Record], clock: int) -> dict[str, QuoteCopy]:
    """The last quote of each symbol before the clock; of an older epoch none below a newer one."""
    newest: dict[str, QuoteCopy] = {}
    epoch = 0
    for record in above:
        old = record.epoch < epoch  # type: ignore[attr-defined]
        epoch = max(epoch, record.epoch)  # type: ignore[attr-defined]
        if isinstance(record, QuoteCopy) and not old and record.ts < clock:
            held = newest.get(record.symbol)
            if held is None or held.ts <= record.ts:
                newest[record.symbol] = record
    return newest


def btc_price(quote: QuoteCopy | None, above: list[Record], clock: int) -> tuple[float | None, int, str]:
    """The middle of BTC's quote, else its last trade, neither of them too old."""
    if quote is not None and quote.ts >= clock - MAX_AGE and (mid := middle(quote)) is not None:
        return mid, quote.ts, "quote"
    trades = [record for record in above if isinstance(record, Reference) and record.ts < clock]
    trade = max(trades, key=lambda t: (t.ts, int(t.id)), default=None)
    return (None, 0, "") if trade is None or trade.ts < clock - MAX_AGE else (trade.price, trade.ts, "trade")


def mids_of(written: dict[str, list[bytes]]) -> list[RatioMid]:
    return [msgspec.json.decode(value, type=RatioMid) for value in written[TOPIC]]


def random_script(rng: random.Random, length: int) -> list[Step]:
    return [tuple(map(rng.choice, (KINDS, FORWARD, LATE, SIDES))) for _ in range(length)]  # type: ignore[misc]


@settings(max_examples=300, deadline=None)
@given(steps)
def test_mids_are_their_definition(script: list[Step]) -> None:
    log = log_of(script)
    assert mids_of(play(log)) == expected(log)


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
    found = mids_of(whole)
    assert found == expected(log)
    assert len(found) > 100
    assert {mid.btc_source for mid in found} == {"quote", "trade"}
    for n in range(10):
        assert play(log, 0.2, 0.02, n) == whole
