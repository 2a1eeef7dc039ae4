"""Quotes of the simulated market: around each symbol's last price, of nothing but its trades."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from math import ceil, floor
from typing import Final, Protocol
from zlib import crc32

from feed.events import CryptoQuote, CryptoTrade, Event, StockQuote, StockTrade

SLOT_MS: Final = 10
SLOTS: Final = 100
"""Each symbol is quoted anew once a second, in a slot of its own."""
LATEST_MS: Final = 1_000
"""A print that is later than this met a quote that is long gone."""
LOT: Final = 100
CROSSED, NO_BID, NO_ASK = range(3)
"""What of a draw's highest 256 values makes a quote crossed or one-sided: each seldom, as it happens."""
_STOCK_SPREADS: Final = (1, 1, 1, 2, 1, 3, 1, 5)  # cents
_PAIR_SPREADS: Final = (1, 1, 50, 100, 200, 500, 1_000, 2_000)  # cents
_TAKERS: Final = (1, 1, 1, 2, 2, 2, 0, 0)
"""Which side a stock trade takes: the bid (1), the ask (2), or neither, at the middle."""
_VENUES: Final = (10, 12, 11, 8, 19, 2, 18, 21)


class Source(Protocol):
    """A market."""

    def advance(self, to_ms: int) -> list[Event]:
        """All events due up to and including `to_ms` that were not returned before."""


class Quoted:
    """A market with a quote right before each trade in time, and one a second of each symbol that has traded.

    What a quote says follows from the trades alone, so the market's own events are the same as without, and the same
    seed has the same quotes. `wanted` tells whether anybody listens to a channel: nothing is made for nobody.
    """

    def __init__(self, market: Source, wanted: Callable[[str], bool]) -> None:
        self._market = market
        self._wanted = wanted
        self._slot = 0
        self._last: dict[str, StockTrade | CryptoTrade] = {}
        self._times: dict[str, int] = {}
        self._by_slot: defaultdict[int, list[str]] = defaultdict(list)
        self._sequence = 0

    def advance(self, to_ms: int) -> list[Event]:
        """The market's events and the quotes among them, ascending by send time."""
        events = self._market.advance(to_ms)
        wanted = {"T": self._wanted("Q"), "XT": self._wanted("XQ")}
        if not any(wanted.values()):
            self._slot = 0
            return events
        slot = self._slot or (events[0].send_ms if events else to_ms) // SLOT_MS
        found: list[Event] = []
        for event in events:
            while (slot + 1) * SLOT_MS <= event.send_ms:
                slot += 1
                found += self._renewed(slot)
            if wanted.get(event.ev) and event.trade is not None and not event.correction:
                found += self._met(event, event.trade)
            found.append(event)
        while (slot + 1) * SLOT_MS <= to_ms:
            slot += 1
            found += self._renewed(slot)
        self._slot = slot
        return found

    def _met(self, event: Event, trade: StockTrade | CryptoTrade) -> list[Event]:
        """The quote that a trade met, some milliseconds before it; none for one that is reported late."""
        symbol = event.symbol
        if event.send_ms - trade.t > LATEST_MS:
            return []
        if symbol not in self._last:
            self._by_slot[crc32(symbol.encode()) % SLOTS].append(symbol)
        self._last[symbol] = trade
        draw = crc32(f"{symbol} {trade.i}".encode())
        return [self._quote(event.send_ms, symbol, trade, trade.t - 1 - draw % 4, draw)]

    def _renewed(self, slot: int) -> list[Event]:
        ms = slot * SLOT_MS
        return [
            self._quote(ms, symbol, self._last[symbol], ms, crc32(f"{symbol} {ms}".encode()))
            for symbol in self._by_slot.get(slot % SLOTS, ())
        ]

    def _quote(self, send_ms: int, symbol: str, trade: StockTrade | CryptoTrade, ts: int, draw: int) -> Event:
        """A quote around the trade's price; its time never goes back."""
        ts = self._times[symbol] = max(ts, self._times.get(symbol, 0))
        self._sequence += 1
        if isinstance(trade, StockTrade):
            return Event(send_ms, "Q", symbol, _of_stock(trade, ts, draw, self._sequence), None)
        return Event(send_ms, "XQ", symbol, _of_pair(trade, ts, send_ms, draw), None)


def _sides(cents: float, taker: int, spread: int, draw: int) -> tuple[float | None, float | None]:
    """Bid and ask in USD of a price in cents: at the price the side that was taken, the other a spread away."""
    bid, ask = floor(cents), ceil(cents)
    if taker != 1:
        bid = (ask if taker else bid) - spread
    if taker != 2:
        ask = (floor(cents) if taker else ask) + spread
    rare = draw >> 24
    if rare == CROSSED:
        bid, ask = ask, bid
    return (
        None if rare == NO_BID or bid <= 0 else bid / 100,
        None if rare == NO_ASK or ask <= 0 else ask / 100,
    )


def _of_stock(trade: StockTrade, ts: int, draw: int, sequence: int) -> StockQuote:
    bid, ask = _sides(round(trade.p * 100, 2), _TAKERS[draw >> 3 & 7], _STOCK_SPREADS[draw >> 6 & 7], draw)
    return StockQuote(
        trade.sym, ts, sequence, trade.z, bx=_VENUES[draw >> 9 & 7], ax=_VENUES[draw >> 12 & 7], bp=bid, ap=ask,
        bs=LOT * (1 + (draw >> 15 & 7)) if bid else None, as_=LOT * (1 + (draw >> 18 & 7)) if ask else None, c=0,
    )  # fmt: skip


def _of_pair(trade: CryptoTrade, ts: int, send_ms: int, draw: int) -> CryptoQuote:
    taker = trade.c[0] if trade.c else 0
    bid, ask = _sides(round(trade.p * 100), taker, _PAIR_SPREADS[draw >> 6 & 7], draw)
    return CryptoQuote(
        trade.pair, ts, trade.x, send_ms, bp=bid, ap=ask, bs=(1 + (draw >> 9 & 63)) / 16 if bid else None,
        as_=(1 + (draw >> 15 & 63)) / 16 if ask else None,
    )  # fmt: skip
