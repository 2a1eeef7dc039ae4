"""Quotes: the vendor's as records of ours, the last ones of each symbol, and which of them trades.stocks has too.

A side that nobody quotes, left out by the vendor or sent with a price of 0, is null. A crossed quote (ask below bid)
is kept as it came; it is no quote for the side of a trade, nor for a middle.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from marketdata.normalise import MAX_NAME, MAX_PRICE, MAX_SIZE, NormaliseError, check_time
from marketdata.records import Quote, Trade
from marketdata.units import SECOND_US
from marketdata.vendor import StockQuote, VendorQuote

MAX_AGE_US: Final = 900 * SECOND_US
"""A trade does not know a quote that is older than this."""
LONGEST: Final = 262_144
"""Quotes of one symbol that are kept at most, whatever their times: some 60 MB."""
FEW: Final = 64
"""Quotes of one symbol that may be kept past their time, so that not each new one moves the list."""


def normalise_quote(event: VendorQuote, received_ts: int, epoch: int) -> Quote:
    """The record of ``event``, received at ``received_ts`` µs.

    Raises:
        NormaliseError: a price, size, time or symbol that no quote can have.
    """
    symbol = event.sym if isinstance(event, StockQuote) else event.pair
    if not 0 < len(symbol) <= MAX_NAME:
        raise NormaliseError(f"a quote needs a symbol of 1 to {MAX_NAME} characters")
    ts = event.t * 1_000
    check_time(event.t, ts, received_ts)
    bid, bid_size = _side(event.bp, event.bs)
    ask, ask_size = _side(event.ap, event.as_)
    if not isinstance(event, StockQuote):
        return Quote(
            symbol=symbol, ts=ts, received_ts=received_ts, bid=bid, bid_size=bid_size, ask=ask, ask_size=ask_size,
            epoch=epoch, bid_exchange=event.x, ask_exchange=event.x,
        )  # fmt: skip
    return Quote(
        symbol=symbol, ts=ts, received_ts=received_ts, bid=bid, bid_size=bid_size, ask=ask, ask_size=ask_size,
        epoch=epoch, bid_exchange=event.bx, ask_exchange=event.ax, conditions=_conditions(event.c),
        indicators=event.i, sequence=event.q, tape=int(event.z),
    )  # fmt: skip


def _side(price: float | None, size: float | None) -> tuple[float | None, float]:
    """A side's price and size; without a price there is no size either."""
    if not price:
        return None, 0.0
    if not 0 < price < MAX_PRICE:
        raise NormaliseError(f"price {price!r} is not a positive number below {MAX_PRICE:g}, nor 0 for none")
    if size is not None and not 0 <= size < MAX_SIZE:
        raise NormaliseError(f"size {size!r} is not a number from 0 to {MAX_SIZE:g}")
    return price, size or 0.0


def _conditions(given: int | tuple[int, ...] | None) -> tuple[int, ...]:
    if given is None:
        return ()
    return given if isinstance(given, tuple) else (given,)


class _Line:
    """One symbol's quotes in the order of their times, of those of one time in the order of receipt."""

    __slots__ = ("quotes", "times")

    def __init__(self) -> None:
        self.times: list[int] = []
        self.quotes: list[Quote] = []

    def add(self, quote: Quote, keep_us: int) -> None:
        times, ts = self.times, quote.ts
        if not times or ts >= times[-1]:
            times.append(ts)
            self.quotes.append(quote)
        else:
            at = bisect_right(times, ts)
            times.insert(at, ts)
            self.quotes.insert(at, quote)
        if len(times) > FEW:
            self._forget(times[-1] - keep_us)

    def as_of(self, ts: int) -> Quote | None:
        at = bisect_right(self.times, ts)
        return self.quotes[at - 1] if at else None

    def _forget(self, before: int) -> None:
        """Drop what is older, but for the newest of it; done by halves, so that it costs little for each quote."""
        times = self.times
        old = bisect_left(times, before) - 1
        if old > len(times) // 2 or len(times) > LONGEST:
            cut = max(old, len(times) // 2)
            del times[:cut]
            del self.quotes[:cut]


class QuoteBook:
    """The quotes of a market's symbols: those of the last ``keep_us`` of a symbol's own time, and the one before."""

    def __init__(self, keep_us: int) -> None:
        self._keep = keep_us
        self._lines: dict[str, _Line] = {}

    def add(self, quote: Quote) -> None:
        """Take a quote as it comes."""
        line = self._lines.get(quote.symbol)
        if line is None:
            line = self._lines[quote.symbol] = _Line()
        line.add(quote, self._keep)

    def as_of(self, symbol: str, ts: int) -> Quote | None:
        """The last quote with a time at or before ``ts`` µs; None also where that is too far back to be known."""
        line = self._lines.get(symbol)
        return None if line is None else line.as_of(ts)

    def newest(self, symbol: str) -> int:
        """The newest time of a symbol's quotes, in µs; 0 without any."""
        line = self._lines.get(symbol)
        return line.times[-1] if line is not None else 0

    def stamped(self, trade: Trade) -> Trade:
        """The trade with the quote it met, if there is one with two sides."""
        quote = self.as_of(trade.symbol, trade.ts)
        if quote is None or quote.bid is None or quote.ask is None or trade.ts - quote.ts > MAX_AGE_US:
            return trade
        return msgspec.structs.replace(trade, bid=quote.bid, ask=quote.ask)

    def clear(self) -> None:
        """Forget all: what comes next is not known to follow on what came before."""
        self._lines.clear()


class Conflation:
    """Which quotes are copied: at each step the last one before it, of each symbol that has a new one."""

    def __init__(self, book: QuoteBook, copies: Callable[[str], bool] = lambda _: True) -> None:
        self._book = book
        self._copies = copies
        self._fresh: set[str] = set()
        self._copied: dict[str, Quote] = {}

    def note(self, symbol: str) -> None:
        """The book has another quote of ``symbol``."""
        if self._copies(symbol):
            self._fresh.add(symbol)

    def due(self, clock: int) -> Iterable[Quote]:
        """The quotes to copy before the clock of ``clock`` µs, in order of symbol."""
        found = []
        for symbol in sorted(self._fresh):
            quote = self._book.as_of(symbol, clock - 1)
            if quote is not None and quote is not self._copied.get(symbol):
                self._copied[symbol] = quote
                found.append(quote)
            if self._book.newest(symbol) < clock:
                self._fresh.discard(symbol)
        return found
