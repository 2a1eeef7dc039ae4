"""Middles of quotes: a stock's against BTC's, whether or not either trades.

Decided at the steps of the clocks, as marks are, from copies of quotes that stand before a clock and from nothing
older than a price may be: who reads the log again from there on makes the same ones as one who never stopped.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Final, Literal, NamedTuple

from marketdata.marks import MarkSettings, has_ratio
from marketdata.records import Clock, QuoteCopy, RatioMid, Reference, Src

_by_symbol: Final = attrgetter("symbol")


class BtcPrice(NamedTuple):
    """What BTC is worth: the middle of its quote, or the price of its last trade; ``ts`` in µs."""

    symbol: str
    price: float
    ts: int
    source: Literal["quote", "trade"]


class Mids:
    """The last quotes of one partition. ``references``: the first is BTC, quotes of the others are passed over.

    A symbol's middle is due when it has another quote than at the last step, or BTC another price.
    """

    def __init__(self, references: tuple[str, ...], settings: MarkSettings) -> None:
        self._references = references
        self._settings = settings
        self._ahead: list[QuoteCopy] = []  # not yet before a step
        self._quotes: dict[str, QuoteCopy] = {}  # the last ones before the last step, BTC's too
        self._price: float | None = None  # BTC's at the last step

    def quote(self, copy: QuoteCopy) -> None:
        """Take the copy of a quote."""
        if copy.symbol == self._references[0] or copy.symbol not in self._references:
            self._ahead.append(copy)

    def due(self, clock: int, trade: Reference | None) -> tuple[BtcPrice | None, list[QuoteCopy]]:
        """BTC's price and the stocks' quotes whose middles are due at a clock (µs) that is a step, by symbol.

        ``trade`` is the last BTC trade that happened before ``clock``.
        """
        if not self._quotes and not self._ahead:
            return None, []  # quotes are not subscribed
        fresh = self._take(clock)
        btc = self._btc(clock, trade)
        before, self._price = self._price, None if btc is None else btc.price
        if btc is None:
            return None, []
        oldest = clock - self._settings.max_stock_age_us
        quotes = self._quotes
        for symbol in [symbol for symbol, quote in quotes.items() if quote.ts < oldest]:
            del quotes[symbol]
        symbols = fresh if before == btc.price else quotes
        found = [quotes[symbol] for symbol in symbols if symbol in quotes and symbol != btc.symbol]
        found.sort(key=_by_symbol)
        return btc, [quote for quote in found if (mid := middle(quote)) is not None and has_ratio(mid, btc.price)]

    def _take(self, clock: int) -> list[str]:
        """Make the copies from before ``clock`` the last ones; their symbols, each once."""
        ahead, self._ahead = self._ahead, []
        fresh: dict[str, None] = {}
        for copy in ahead:
            if copy.ts >= clock:
                self._ahead.append(copy)
                continue
            held = self._quotes.get(copy.symbol)
            if held is None or copy.ts >= held.ts:
                self._quotes[copy.symbol] = copy
                fresh[copy.symbol] = None
        return list(fresh)

    def _btc(self, clock: int, trade: Reference | None) -> BtcPrice | None:
        symbol, oldest = self._references[0], clock - self._settings.max_btc_age_us
        quote = self._quotes.get(symbol)
        mid = None if quote is None or quote.ts < oldest else middle(quote)
        if quote is not None and mid is not None:
            return BtcPrice(symbol, mid, quote.ts, "quote")
        if trade is None or trade.ts < oldest:
            return None
        return BtcPrice(trade.symbol, trade.price, trade.ts, "trade")


def middle(quote: QuoteCopy) -> float | None:
    """Half-way between bid and ask; None where a side is missing or the quote is crossed."""
    bid, ask = quote.bid, quote.ask
    return None if bid is None or ask is None or ask < bid else (bid + ask) / 2


def mid_of(quote: QuoteCopy, btc: BtcPrice, clock: Clock, src: Src, now: int) -> RatioMid:
    """The record of a middle that is due at ``clock``, published at ``now`` µs."""
    mid, price = middle(quote), btc.price
    if mid is None or quote.bid is None or quote.ask is None:
        raise ValueError(f"a quote without a middle: {quote}")
    return RatioMid(
        quote.symbol, clock.ts, clock.epoch, quote.bid, quote.ask, mid, quote.ts, btc.symbol, price, btc.ts,
        btc.source, mid / price, price / mid, src, now,
    )  # fmt: skip
