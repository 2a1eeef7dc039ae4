"""Quotes of the simulated market."""

import json
from collections.abc import Callable
from itertools import pairwise

import msgspec
import pytest

from feed.corrections import Corrected
from feed.events import CryptoQuote, Event, StockQuote, StockTrade
from feed.model import MarketModel
from feed.quotes import Quoted
from feed.symbols import DEFAULT_SYMBOLS
from tests.unit.test_feed_hub import Listener, hub_of

START = 1_709_478_000_000
SECONDS = 60


def source(seed: int = 3) -> Corrected:
    return Corrected(MarketModel(list(DEFAULT_SYMBOLS), seed, 200, START), 0.05, seed)


def events(wanted: Callable[[str], bool] = lambda _: True, chop: int = 10, seed: int = 3) -> list[Event]:
    market = Quoted(source(seed), wanted)
    return [e for ms in range(START, START + SECONDS * 1_000 + 1, chop) for e in market.advance(ms)]


def is_quote(event: Event) -> bool:
    return event.ev in {"Q", "XQ"}


def wire(found: list[Event]) -> list[bytes]:
    return [msgspec.json.encode(event.payload) for event in found if is_quote(event)]


@pytest.mark.parametrize("wanted", [{"Q", "XQ"}, {"Q"}, {"XQ"}, set()], ids=["both", "stocks", "crypto", "none"])
def test_the_market_is_the_same_with_and_without(wanted: set[str]) -> None:
    market = source()
    plain = [e for ms in range(START, START + SECONDS * 1_000 + 1, 10) for e in market.advance(ms)]
    found = events(wanted.__contains__)
    assert [event for event in found if not is_quote(event)] == plain
    assert bool(wanted) == any(map(is_quote, found))


def test_the_same_seed_has_the_same_quotes_however_it_is_asked() -> None:
    assert wire(events(chop=10)) == wire(events(chop=50)) == wire(events(chop=1_000))
    assert wire(events(seed=3)) != wire(events(seed=4))


def test_quotes_come_in_order_and_never_from_the_future() -> None:
    found = events()
    assert all(a.send_ms <= b.send_ms for a, b in pairwise(found))
    last: dict[str, int] = {}
    for event in filter(is_quote, found):
        assert isinstance(event.payload, StockQuote | CryptoQuote)
        assert last.get(event.symbol, 0) <= event.payload.t <= event.send_ms
        last[event.symbol] = event.payload.t
    assert set(last) == set(DEFAULT_SYMBOLS)


def test_every_symbol_is_quoted_each_second_and_a_trade_in_time_meets_a_quote_around_it() -> None:
    found = events()
    around = met = 0
    for at, event in enumerate(found):
        trade = event.trade
        if not isinstance(trade, StockTrade) or event.correction or event.send_ms - trade.t > 1_000:
            continue
        met += 1
        quote = found[at - 1].payload
        assert isinstance(quote, StockQuote)
        assert quote.sym == trade.sym
        around += bool(quote.bp and quote.ap and quote.bp <= trade.p <= quote.ap)
    assert met > 5_000
    assert met * 0.97 < around < met, "seldom one-sided or crossed"
    renewed = {event.send_ms // 1_000 for event in found if is_quote(event) and event.symbol == "RIOT"}
    assert len(renewed) >= SECONDS - 1


def test_a_side_that_nobody_quotes_is_left_out_and_some_quotes_are_crossed() -> None:
    quotes = [json.loads(raw) for raw in wire(events())]
    one_sided = [q for q in quotes if ("bp" in q) != ("ap" in q)]
    assert one_sided
    assert all(("bp" in q) == ("bs" in q) and ("ap" in q) == ("as" in q) for q in quotes)
    assert any(q["bp"] > q["ap"] for q in quotes if "bp" in q and "ap" in q)
    assert len(one_sided) < 0.02 * len(quotes)


def test_the_hub_knows_which_channels_are_listened_to() -> None:
    stocks = Listener("stocks", "T.MARA")
    hub = hub_of(stocks)
    assert (hub.has("T"), hub.has("Q")) == (True, False)
    stocks.subscriptions.add(["Q.*"])
    hub.subscriptions_changed()
    assert hub.has("Q")
    hub.remove(stocks)
    assert not hub.has("Q")
