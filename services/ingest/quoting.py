"""Quotes of the live source: each is written, trades are stamped with them, some are copied into trades.stocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from marketdata.marks import is_step
from marketdata.normalise import NormaliseError
from marketdata.quotes import Conflation, QuoteBook, normalise_quote
from marketdata.records import Trade
from marketdata.topics import MARKETS
from marketdata.units import SECOND_US
from marketdata.vendor import StockQuote, VendorQuote
from services.ingest import metrics
from services.ingest.writer import Writer

KEPT_US: Final = SECOND_US
"""How far quotes reach back behind the clock, for trades that come late."""


class Quoting:
    """The quotes of both markets. A connection made anew begins without any: those it missed are never filled in.

    ``behind_us`` is how far a market's clock may stand behind its newest quote, ``late_us`` how much later than that
    of crypto the clock of stocks is; ``connected_ts`` tells when a market's connection was made, in µs.
    """

    def __init__(
        self, writer: Writer, references: tuple[str, ...], behind_us: int, late_us: int,
        connected_ts: Callable[[str], int],
    ) -> None:  # fmt: skip
        self._writer = writer
        self._connected_ts = connected_ts
        keep = behind_us + KEPT_US
        self._books = {"stocks": QuoteBook(keep), "crypto": QuoteBook(keep + max(late_us, 0))}
        self._stocks = Conflation(self._books["stocks"])
        self._references = Conflation(self._books["crypto"], frozenset(references).__contains__)
        self._since = dict.fromkeys(MARKETS, 0)

    def take(self, market: str, events: list[VendorQuote], received_ts: int) -> None:
        """Write the quotes of one frame, received at ``received_ts`` µs; what is none becomes a dead letter."""
        writer, book = self._writer, self._book(market, received_ts)
        conflation = self._stocks if market == "stocks" else self._references
        for event in events:
            try:
                if (type(event) is StockQuote) != (market == "stocks"):
                    raise NormaliseError(f"{type(event).__name__} on the {market} cluster")
                quote = normalise_quote(event, received_ts, writer.epoch)
            except NormaliseError as error:
                writer.dead_letter(str(error), msgspec.json.encode(event), received_ts)
                continue
            book.add(quote)
            conflation.note(quote.symbol)
            writer.quote(market, quote)
        metrics.QUOTES.labels(market).inc(len(events))

    def stamped(self, market: str, trade: Trade) -> Trade:
        """The trade with the last quote at or before it of those received so far on its connection."""
        return self._book(market, trade.received_ts).stamped(trade)

    def before_clock(self, clock: int) -> None:
        """Copy the quotes that belong before the clock of ``clock`` µs of trades.stocks, if it is a step."""
        if not is_step(self._writer.newest_clock("stocks"), clock):
            return
        for quote in self._references.due(clock):
            self._writer.quote_copy(quote, everywhere=True)
        for quote in self._stocks.due(clock):
            self._writer.quote_copy(quote, everywhere=False)

    def _book(self, market: str, received_ts: int) -> QuoteBook:
        """The market's book; empty again from the first frame of a new connection on."""
        book, since = self._books[market], self._connected_ts(market)
        if since != self._since[market] and received_ts >= since:
            self._since[market] = since
            book.clear()
        return book
