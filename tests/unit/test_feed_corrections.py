"""Trades that the simulated market takes back."""

import json
from collections import Counter
from functools import cache

import pytest

from feed.corrections import LATEST_MS, SOONEST_MS, Corrected
from feed.events import CORRECTION_RECORDS, Event, StockTrade
from feed.history import History, ticker_of
from feed.hub import Hub
from feed.ledger import Ledger
from feed.model import MarketModel
from feed.pump import Pump
from feed.rest_query import read_query
from feed.symbols import DEFAULT_SYMBOLS
from tests.unit.test_feed_hub import Listener, hub_of

START = 1_709_478_000_000


def market() -> MarketModel:
    return MarketModel(list(DEFAULT_SYMBOLS), 3, 200, START)


@cache
def corrected(share: float = 0.05, *, chop: int = 1_000) -> list[Event]:
    source = Corrected(market(), share, 3)
    return [event for ms in range(START, START + 100_001, chop) for event in source.advance(ms)]


def is_record(event: Event) -> bool:
    return event.correction in CORRECTION_RECORDS


def test_the_trades_are_the_same_with_and_without() -> None:
    source = market()
    plain = [event for ms in range(START, START + 100_001, 1_000) for event in source.advance(ms)]
    assert [event for event in corrected() if not is_record(event)] == plain


def test_they_do_not_depend_on_how_the_market_is_asked() -> None:
    assert corrected(chop=1_000) == corrected(chop=20) == sorted(corrected(), key=lambda event: event.send_ms)


def test_a_share_is_taken_back_under_its_own_identity_after_it_was_sent() -> None:
    events = corrected()
    sent = {(e.symbol, e.trade.x, e.trade.trfi, e.trade.i): e for e in events if isinstance(e.trade, StockTrade)
            and not is_record(e)}  # fmt: skip
    records = [event for event in events if is_record(event)]
    taken = {id(record.about) for record in records}
    early = [id(e.trade) for e in sent.values() if e.send_ms < START + 100_000 - LATEST_MS]
    assert 0.03 < sum(trade in taken for trade in early) / len(early) < 0.07
    assert Counter(r.correction for r in records).keys() == CORRECTION_RECORDS
    for record in records:
        trade = record.trade
        assert isinstance(trade, StockTrade)
        original = sent[record.symbol, trade.x, trade.trfi, trade.i]
        assert original.trade is record.about
        assert SOONEST_MS <= record.send_ms - original.send_ms < LATEST_MS
        assert trade.t == record.send_ms
        assert isinstance(original.trade, StockTrade)
        assert (trade.s, trade.c) == (original.trade.s, original.trade.c)
        assert (trade.p == original.trade.p) == (record.correction != 12)


def test_rest_and_the_ledger_tell_of_them_and_the_socket_does_not() -> None:
    now = [START]
    client, ledger, history = Listener("stocks", "T.*"), Ledger(), History(10**9, 10**6)
    hub: Hub = hub_of(client)
    pump = Pump(Corrected(market(), 0.05, 3), hub, history, ledger, now_ms=lambda: now[0])
    for _ in range(2_000):
        now[0] += 50
        pump.tick()
    marks: Counter[int] = Counter()
    for ticker in {ticker_of(e.trade) for e in corrected() if e.trade}:
        rows = history.page(ticker, read_query(ticker, {}).span, 10**6, descending=False)
        marks.update(map(history.correction, rows))
    assert marks[8] == marks[10] > marks[7] == marks[11] > 10
    assert marks[1] == marks[12] > 10
    assert ledger.summary()["corrections"] == marks[10] + marks[11] + marks[12]
    sent = [(event["sym"], event["x"], event["i"]) for raw in client.frames for event in json.loads(raw)]
    assert len(sent) == len(set(sent)) == sum(ledger.summary()["stocks"].values())


@pytest.mark.parametrize("share", [0, -1, 1.1])
def test_a_share_is_a_share(share: float) -> None:
    with pytest.raises(ValueError, match="share"):
        Corrected(market(), share, 1)
