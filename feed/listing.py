"""One symbol of the simulated market: its price as it moves, and its trades."""

from __future__ import annotations

from math import exp, sqrt
from random import Random
from typing import Final

from feed.events import CryptoTrade, StockTrade
from feed.shapes import CryptoShape, StockShape
from feed.symbols import is_pair, profile

OWN_PULL: Final = 1 / 1800  # a second: how fast a deviation from the base price fades
OWN_LIMIT: Final = 0.25  # log-price bound, far outside what the pull allows
MAX_GAP_MS: Final = 60_000


class Listing:
    """A symbol whose price follows BTC by its beta, wanders by itself, and is drawn back to its base."""

    __slots__ = ("_base", "_beta", "_id", "_last_ms", "_own", "_sigma", "is_pair", "symbol", "tape")

    def __init__(self, symbol: str, rng: Random, start_ms: int, first_id: int) -> None:
        known = profile(symbol, rng)
        self.symbol = symbol
        self.tape = known.tape
        self.is_pair = is_pair(symbol)
        self._base = known.base
        self._beta = known.beta
        self._sigma = known.sigma
        self._own = 0.0
        self._last_ms = start_ms
        self._id = first_id

    def price(self, ms: int, btc: float, noise: float) -> float:
        """The price in USD at `ms`, given BTC's log deviation and a standard normal draw."""
        gap = ms - self._last_ms
        own = self._own
        if gap > 0:
            self._last_ms = ms
            seconds = min(MAX_GAP_MS, gap) * 0.001
            own += noise * self._sigma * sqrt(seconds) - own * OWN_PULL * seconds
            if not -OWN_LIMIT < own < OWN_LIMIT:
                own = OWN_LIMIT if own > 0 else -OWN_LIMIT
            self._own = own
        return self._base * exp(self._beta * btc + own)

    def stock_trade(self, ms: int, price: float, shape: StockShape, sequence: int) -> StockTrade:
        """A trade of this shape around the price, in whole cents or, off exchange, in parts of one."""
        venue, trf, lag, shares, exact, conditions, offset, _ = shape
        self._id += 1
        ticks = int(price * 100.0 + 0.5) * 100 + offset  # of 1e-4 USD
        return StockTrade(
            self.symbol,
            venue,
            str(self._id),
            self.tape,
            ticks / 10_000,
            shares,
            ms,
            sequence,
            conditions,
            exact,
            trf,
            None if trf is None else ms - lag,
        )

    def crypto_trade(self, ms: int, price: float, shape: CryptoShape) -> CryptoTrade:
        """A trade of this shape around the price, in cents."""
        venue, size, side, offset, delay = shape
        self._id += 1
        cents = round(price * (1.0 + offset), 2)
        return CryptoTrade(self.symbol, cents, ms, size, str(self._id), venue, side, ms + delay)
