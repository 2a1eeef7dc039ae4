"""One candle's exact content, and how two neighbours make a longer one.

Sums are whole numbers, so the order of trades and the way of rolling up cannot change a bit of them: prices and
sizes in units of 1e-9, ratios in units of 2**-80 (a power of two: the product with a float is exact). Only output
divides.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter
from typing import Final, NamedTuple

import msgspec

from marketdata.order import OrderKey, order_key
from marketdata.records import PriceBlock, RatioBlock

UNIT: Final = 10**9
RATIO_UNIT: Final = 1 << 80
_RATIO_UNIT_F: Final = float(RATIO_UNIT)


class Tick(msgspec.Struct, frozen=True, gc=False):
    """A trade inside a bucket. The first five fields are its place in the order of trades, which ``order_of`` gives.

    ``quote`` is the bid and ask that it met, the ask not below the bid; None where there was no such quote. Millions
    are kept: the garbage collector would visit each tuple of its own making again and again.
    """

    ts: int
    sequence: int
    exchange: int
    id: str
    trf: int
    price: float
    size: float
    high_low: bool
    open_close: bool
    volume: bool
    ratio: float | None
    side: int = 0
    quote: tuple[float, float] | None = None


_time_and_sequence: Final = attrgetter("ts", "sequence")


def order_of(tick: Tick) -> OrderKey:
    """A tick's place in the order of trades, to sort by. Ticks themselves have no order: prices may be missing."""
    return order_key(tick.ts, tick.sequence, tick.exchange, tick.id, tick.trf)


SELL: Final = 1
BUY: Final = 2


class Flow(NamedTuple):
    """What the tick rule knows after a trade: the last price, and whether a buyer (2) or a seller (1) moved it."""

    price: float | None = None
    side: int = 0


class Quoted(NamedTuple):
    """Of the price-forming ticks with a quote: how many, and the sums of ask - bid and of 2 |price - middle| in UNIT.

    ``sides`` counts those whose volume went to a side by the quote rule.
    """

    ticks: int
    spread: int
    effective: int
    sides: int

    def plus(self, other: Quoted) -> Quoted:
        """Both together."""
        return Quoted(
            self.ticks + other.ticks, self.spread + other.spread, self.effective + other.effective,
            self.sides + other.sides,
        )  # fmt: skip


class Bar:
    """The aggregate of some trades in one span of time; ``bought`` and ``sold`` are volumes by the taker's side.

    ``quoted`` is None where no tick has a quote.
    """

    __slots__ = (
        "bought", "close", "high", "low", "open", "price_sum", "price_weight", "priced_size", "quoted", "ratio_close",
        "ratio_first_ts", "ratio_high", "ratio_last_ts", "ratio_low", "ratio_open", "ratio_sum", "ratio_ticks",
        "ratio_time_sum", "sold", "ticks", "trades", "volume",
    )  # fmt: skip

    def __init__(self) -> None:
        self.open: float | None = None
        self.high: float | None = None
        self.low: float | None = None
        self.close: float | None = None
        self.price_sum = 0
        self.price_weight = 0  # sum of price * size, in UNIT * UNIT
        self.priced_size = 0
        self.volume = 0
        self.ticks = 0
        self.trades = 0
        self.bought = 0
        self.sold = 0
        self.quoted: Quoted | None = None
        self.ratio_open: float | None = None
        self.ratio_high: float | None = None
        self.ratio_low: float | None = None
        self.ratio_close: float | None = None
        self.ratio_sum = 0
        self.ratio_ticks = 0
        self.ratio_first_ts = 0
        self.ratio_last_ts = 0
        self.ratio_time_sum = 0  # each ratio times the µs until the next, in RATIO_UNIT

    def carrying(self, close: float | None, ratio_close: float | None) -> Bar:
        """A copy that shows the last closes where no trade formed a price, a ratio."""
        copy = Bar()
        for name in Bar.__slots__:
            setattr(copy, name, getattr(self, name))
        if not copy.ticks:
            copy.open = copy.high = copy.low = copy.close = close
        if not copy.ratio_ticks:
            copy.ratio_open = copy.ratio_high = copy.ratio_low = copy.ratio_close = ratio_close
        return copy

    def price_block(self) -> PriceBlock:
        """Prices and volume as they are published."""
        ticks, priced = self.ticks, self.priced_size
        return PriceBlock(
            self.open,
            self.high,
            self.low,
            self.close,
            self.price_sum / (ticks * UNIT) if ticks else self.close,
            self.price_weight / (priced * UNIT) if priced else None,
            self.volume / UNIT,
            ticks,
            self.trades,
        )

    def ratio_block(self, end: int) -> RatioBlock:
        """Ratios as they are published; ``end`` in µs closes the time weight of the last one."""
        ticks = self.ratio_ticks
        if not ticks or self.ratio_close is None:
            carried = self.ratio_close
            return RatioBlock(carried, carried, carried, carried, carried, carried, 0)
        time_sum = self.ratio_time_sum + _exact_ratio(self.ratio_close) * (end - self.ratio_last_ts)
        return RatioBlock(
            self.ratio_open,
            self.ratio_high,
            self.ratio_low,
            self.ratio_close,
            self.ratio_sum / (ticks * RATIO_UNIT),
            time_sum / ((end - self.ratio_first_ts) * RATIO_UNIT),
            ticks,
        )


def _exact_ratio(ratio: float) -> int:
    return int(ratio * _RATIO_UNIT_F)


def bar_of(ticks: list[Tick]) -> Bar:
    """The bar of some ticks, without sides; ``ticks`` are in their order after it."""
    bar = Bar()
    for key in (_time_and_sequence, order_of):  # the first is the cheaper one, and nearly always tells all apart
        if add_ticks(bar, ticks):
            return bar
        ticks.sort(key=key)
    add_ticks(bar, ticks)
    return bar


def add_ticks(bar: Bar, ticks: list[Tick], first: int = 0) -> bool:
    """Add the ticks from number ``first`` on; ``bar`` holds those before them.

    False, and nothing is added, where one comes before its neighbour in the order of trades. Nearly all come in it,
    so that it is seen on the way: to sort them would cost as much again.
    """
    new = ticks[first:] if first else ticks
    if not _add_prices(bar, new, ticks[first - 1] if first else None):
        return False
    _add_ratios(bar, new)
    for tick in new:
        if tick.quote is not None and tick.high_low:
            _add_quote(bar, tick, tick.quote)
    return True


def take_sides(bar: Bar, ticks: list[Tick], before: Flow) -> Flow:
    """Split the volume of sorted ``ticks`` into ``bar``'s bought and sold; what is known after them.

    A side that the feed names counts. Else, of trades that form prices, one above the middle of its quote is a
    buyer's, below it a seller's; the tick rule decides on those at the middle or without a quote: up from the last
    different price is a buyer's, down a seller's (Lee and Ready 1991). The rest has no side.
    """
    last, side = before
    for tick in ticks:
        if not tick.high_low:
            continue
        price = tick.price
        if tick.side:
            side = tick.side
        elif last is not None and price != last:
            side = BUY if price > last else SELL
        last = price
        taken = side
        if tick.quote is not None and not tick.side:
            taken = quote_side(price, tick.quote) or side
        if tick.volume and taken:
            if taken == BUY:
                bar.bought += round(tick.size * UNIT)
            else:
                bar.sold += round(tick.size * UNIT)
    return Flow(last, side)


def _add_prices(bar: Bar, ticks: list[Tick], before: Tick | None) -> bool:
    """Volume and prices; False, and nothing is added, where the ticks do not go on in their order after ``before``.

    Each trade passes here: what it changes is kept at hand until the end.
    """
    last_ts = 0 if before is None else before.ts
    volume, trades, count = bar.volume, bar.trades, bar.ticks
    price_sum, weight, priced = bar.price_sum, bar.price_weight, bar.priced_size
    first, high, low, close = bar.open, bar.high, bar.low, bar.close
    for tick in ticks:
        ts = tick.ts
        if ts <= last_ts and before is not None and (ts < last_ts or _comes_before(tick, before)):
            return False
        before, last_ts = tick, ts
        size = round(tick.size * UNIT)
        if tick.volume:
            volume += size
            trades += 1
        if not tick.high_low:
            continue
        price = tick.price
        exact = round(price * UNIT)
        count += 1
        price_sum += exact
        weight += exact * size
        priced += size
        if high is None or price > high:
            high = price
        if low is None or price < low:
            low = price
        if tick.open_close:
            if first is None:
                first = price
            close = price
    bar.volume, bar.trades, bar.ticks = volume, trades, count
    bar.price_sum, bar.price_weight, bar.priced_size = price_sum, weight, priced
    bar.open, bar.high, bar.low, bar.close = first, high, low, close
    return True


def _comes_before(tick: Tick, other: Tick) -> bool:
    """Of two ticks of one time."""
    return tick.sequence <= other.sequence and order_of(tick) < order_of(other)


def quote_side(price: float, quote: tuple[float, float]) -> int:
    """The quote rule: BUY above the middle, SELL below it, 0 at it."""
    above = _above_middle(price, quote)
    return BUY if above > 0 else SELL if above else 0


def _above_middle(price: float, quote: tuple[float, float]) -> int:
    """2 (price - middle), exactly, in UNIT."""
    return 2 * round(price * UNIT) - round(quote[0] * UNIT) - round(quote[1] * UNIT)


def _add_quote(bar: Bar, tick: Tick, quote: tuple[float, float]) -> None:
    above = _above_middle(tick.price, quote)
    spread = round(quote[1] * UNIT) - round(quote[0] * UNIT)
    met = Quoted(1, spread, abs(above), 1 if above and tick.volume and not tick.side else 0)
    bar.quoted = met if bar.quoted is None else bar.quoted.plus(met)


def _add_ratios(bar: Bar, ticks: list[Tick]) -> None:
    """Ratios of price-forming trades, each weighed by the time until the next."""
    count, total, time_sum = bar.ratio_ticks, bar.ratio_sum, bar.ratio_time_sum
    high, low, close, last_ts = bar.ratio_high, bar.ratio_low, bar.ratio_close, bar.ratio_last_ts
    exact = 0 if close is None else _exact_ratio(close)
    for tick in ticks:
        ratio = tick.ratio
        if ratio is None or not tick.high_low:
            continue
        ts = tick.ts
        if high is None or low is None:
            bar.ratio_open = high = low = ratio
            bar.ratio_first_ts = ts
        else:
            time_sum += exact * (ts - last_ts)
            if ratio > high:
                high = ratio
            elif ratio < low:
                low = ratio
        exact = _exact_ratio(ratio)
        total += exact
        count += 1
        close, last_ts = ratio, ts
    bar.ratio_ticks, bar.ratio_sum, bar.ratio_time_sum = count, total, time_sum
    bar.ratio_high, bar.ratio_low, bar.ratio_close, bar.ratio_last_ts = high, low, close, last_ts


def roll_up(bars: Iterable[Bar]) -> Bar:
    """The bar of consecutive, non-overlapping bars, given in order of time."""
    total = Bar()
    for bar in bars:
        _roll_price(total, bar)
        if bar.ratio_ticks:
            _roll_ratio(total, bar)
    return total


def _roll_price(total: Bar, bar: Bar) -> None:
    total.price_sum += bar.price_sum
    total.price_weight += bar.price_weight
    total.priced_size += bar.priced_size
    total.volume += bar.volume
    total.ticks += bar.ticks
    total.trades += bar.trades
    total.bought += bar.bought
    total.sold += bar.sold
    if bar.quoted is not None:
        total.quoted = bar.quoted if total.quoted is None else total.quoted.plus(bar.quoted)
    if total.open is None:
        total.open = bar.open
    if bar.close is not None:
        total.close = bar.close
    if bar.high is not None and (total.high is None or bar.high > total.high):
        total.high = bar.high
    if bar.low is not None and (total.low is None or bar.low < total.low):
        total.low = bar.low


def _roll_ratio(total: Bar, bar: Bar) -> None:
    if total.ratio_close is None:
        total.ratio_open, total.ratio_high, total.ratio_low = bar.ratio_open, bar.ratio_high, bar.ratio_low
        total.ratio_first_ts = bar.ratio_first_ts
    else:
        idle = bar.ratio_first_ts - total.ratio_last_ts
        total.ratio_time_sum += _exact_ratio(total.ratio_close) * idle
        total.ratio_high = max(total.ratio_high, bar.ratio_high)  # type: ignore[type-var]
        total.ratio_low = min(total.ratio_low, bar.ratio_low)  # type: ignore[type-var]
    total.ratio_time_sum += bar.ratio_time_sum
    total.ratio_sum += bar.ratio_sum
    total.ratio_ticks += bar.ratio_ticks
    total.ratio_close = bar.ratio_close
    total.ratio_last_ts = bar.ratio_last_ts
