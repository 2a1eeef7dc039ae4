"""Quotes: what is one, which one a trade met, and which are copied."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketdata.normalise import NormaliseError
from marketdata.quotes import FEW, MAX_AGE_US, Conflation, QuoteBook, normalise_quote
from marketdata.records import Quote, Trade, encode
from marketdata.vendor import CryptoQuote, StockQuote

MS, S = 1_000, 1_000_000
T_MS = 1_709_650_800_000
NOW = T_MS * MS


def event(**changes: Any) -> StockQuote:
    fields: dict[str, Any] = {"sym": "MARA", "t": T_MS, "bp": 20.1, "bs": 200, "bx": 12, "ap": 20.12, "as_": 100,
                              "ax": 11, "c": 1, "i": (604,), "z": 3.0, "q": 7}  # fmt: skip
    return StockQuote(**fields | changes)


def quote(ts: int, bid: float | None = 20.0, ask: float | None = 20.5, symbol: str = "MARA") -> Quote:
    return Quote(symbol=symbol, ts=NOW + ts, received_ts=NOW + ts, bid=bid, bid_size=1, ask=ask, ask_size=1, epoch=1)


def trade(ts: int, symbol: str = "MARA") -> Trade:
    return Trade(symbol=symbol, ts=NOW + ts, received_ts=NOW, price=20.0, size=1, exchange=1, id="1", epoch=1)


def test_a_quote_of_a_stock() -> None:
    assert normalise_quote(event(), NOW + 5, 3) == Quote(
        symbol="MARA", ts=NOW, received_ts=NOW + 5, bid=20.1, bid_size=200, ask=20.12, ask_size=100, epoch=3,
        bid_exchange=12, ask_exchange=11, conditions=(1,), indicators=(604,), sequence=7, tape=3,
    )  # fmt: skip


def test_a_quote_of_a_pair() -> None:
    found = normalise_quote(CryptoQuote("BTC-USD", T_MS, 65_000.0, 0.5, 65_001.0, 0.25, 23, T_MS), NOW, 1)
    assert (found.symbol, found.bid_exchange, found.ask_exchange) == ("BTC-USD", 23, 23)
    assert (found.bid, found.bid_size, found.ask, found.ask_size) == (65_000.0, 0.5, 65_001.0, 0.25)


@pytest.mark.parametrize("none", [None, 0, 0.0])
def test_a_side_without_a_price_is_null(none: float | None) -> None:
    found = normalise_quote(event(ap=none), NOW, 1)
    assert (found.ask, found.ask_size, found.bid) == (None, 0, 20.1)
    assert b'"ask":null' in encode(found)
    assert normalise_quote(event(ap=none, bp=none), NOW, 1).bid is None


def test_a_crossed_quote_is_kept_as_it_came() -> None:
    assert normalise_quote(event(bp=21.0), NOW, 1).bid == 21.0


@pytest.mark.parametrize(
    "wrong",
    [{"bp": -1.0}, {"ap": 1e12}, {"ap": float("inf")}, {"bp": float("nan")}, {"bs": -1}, {"as_": 1e15}, {"t": 1},
     {"t": T_MS + 7_200_000}, {"sym": ""}, {"sym": "A" * 65}],
    ids=str,
)  # fmt: skip
def test_what_no_quote_can_have(wrong: dict[str, Any]) -> None:
    with pytest.raises(NormaliseError):
        normalise_quote(event(**wrong), NOW, 1)


def test_a_trade_meets_the_last_quote_at_or_before_it() -> None:
    book = QuoteBook(10 * S)
    for ts, bid in ((0, 1.0), (5, 2.0), (5, 3.0), (9, 4.0)):
        book.add(quote(ts, bid))
    found = {ts: book.stamped(trade(ts)).bid for ts in (-1, 0, 4, 5, 8, 9, 10)}
    assert found == {-1: None, 0: 1.0, 4: 1.0, 5: 3.0, 8: 3.0, 9: 4.0, 10: 4.0}
    assert book.stamped(trade(9, "RIOT")) == trade(9, "RIOT")
    assert b"bid" not in encode(trade(9))


def test_a_quote_with_one_side_takes_the_place_of_the_one_before() -> None:
    book = QuoteBook(S)
    book.add(quote(0))
    book.add(quote(1, ask=None))
    assert (book.stamped(trade(0)).bid, book.stamped(trade(1)).bid) == (20.0, None)


def test_a_crossed_quote_is_on_the_trade_as_it_came() -> None:
    book = QuoteBook(S)
    book.add(quote(0, 20.5, 20.0))
    assert (book.stamped(trade(1)).bid, book.stamped(trade(1)).ask) == (20.5, 20.0)


def test_an_old_quote_and_one_of_another_connection_do_not_count() -> None:
    book = QuoteBook(S)
    book.add(quote(0))
    assert book.stamped(trade(MAX_AGE_US)).bid == 20.0
    assert book.stamped(trade(MAX_AGE_US + 1)).bid is None
    book.clear()
    assert book.stamped(trade(1)).bid is None


@given(st.lists(st.integers(0, 400), max_size=200), st.lists(st.integers(0, 400), max_size=20))
def test_the_book_is_as_good_as_one_that_forgets_nothing(times: list[int], asked: list[int]) -> None:
    """As far back as it keeps; farther back it may know nothing, never something else."""
    keep, book, quotes = 50, QuoteBook(50), []
    for n, ts in enumerate(times):
        quotes.append(quote(ts, bid=1.0 + n))
        book.add(quotes[-1])
    newest = max(times, default=0)
    for ts in asked:
        wanted = max((q for q in quotes if q.ts <= NOW + ts), key=lambda q: (q.ts, q.bid), default=None)
        found = book.as_of("MARA", NOW + ts)
        assert found == wanted or (found is None and ts < newest - keep)


def test_the_book_does_not_grow_without_end() -> None:
    book = QuoteBook(100)
    for ts in range(100_000):
        book.add(quote(ts))
    line = book._lines["MARA"]
    assert len(line.times) == len(line.quotes) <= 2 * 100 + FEW + 2


def copies(conflation: Conflation, clock: int) -> list[tuple[str, int]]:
    return [(q.symbol, q.ts - NOW) for q in conflation.due(NOW + clock)]


def test_a_step_copies_the_last_quote_before_it_once() -> None:
    book = QuoteBook(S)
    conflation = Conflation(book)
    for each in (quote(10), quote(20), quote(30), quote(15, symbol="CAN"), quote(99, symbol="HUT")):
        book.add(each)
        conflation.note(each.symbol)
    assert copies(conflation, 10) == []
    assert copies(conflation, 30) == [("CAN", 15), ("MARA", 20)]
    assert copies(conflation, 40) == [("MARA", 30)]
    assert copies(conflation, 50) == []
    assert copies(conflation, 100) == [("HUT", 99)]


def test_only_the_symbols_that_are_asked_for_are_copied() -> None:
    book = QuoteBook(S)
    conflation = Conflation(book, {"BTC-USD"}.__contains__)
    for symbol in ("BTC-USD", "ETH-USD"):
        book.add(quote(1, symbol=symbol))
        conflation.note(symbol)
    assert copies(conflation, 2) == [("BTC-USD", 1)]


def test_copies_of_random_quotes_are_their_definition() -> None:
    rng = Random(5)
    book, quotes = QuoteBook(S), []
    conflation = Conflation(book)
    last: dict[str, Quote] = {}
    for clock in range(250, 100_000, 250):
        for _ in range(rng.randrange(4)):
            quotes.append(quote(clock - rng.randrange(-300, 400), bid=rng.random(), symbol=rng.choice("AB")))
            book.add(quotes[-1])
            conflation.note(quotes[-1].symbol)
        wanted = []
        for symbol in "AB":
            before = [q for q in quotes if q.symbol == symbol and q.ts < NOW + clock]
            newest = max(enumerate(before), key=lambda pair: (pair[1].ts, pair[0]), default=(0, None))[1]
            if newest is not None and newest is not last.get(symbol):
                last[symbol] = newest
                wanted.append(newest)
        assert list(conflation.due(NOW + clock)) == wanted
