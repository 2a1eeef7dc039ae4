"""The simulated market: a seeded stream of trades, the same for every run and every way of asking for it."""

from __future__ import annotations

from bisect import bisect_right
from heapq import heappop, heappush
from math import exp, sqrt
from operator import attrgetter
from random import Random
from typing import Final

from feed.activity import STEP_MS, Activity
from feed.events import CryptoTrade, Event, StockTrade
from feed.shapes import MINUTES_LATE, ON_TIME, SHAPE_BITS, crypto_shapes, stock_shapes
from feed.symbols import is_pair, profile

DAY_MS: Final = 86_400_000
IDS_A_MS: Final = 100  # first id = 100 x ms since midnight: a feed restarted later in the day never reuses an id
PICK_BITS: Final = 18
NOISE_BITS: Final = 16
PAIR_RATE: Final = 45.0  # crypto trades a second and pair, as measured
PAIR_SHARE: Final = 0.2
BTC_SIGMA: Final = 1.5e-4  # log-price moves, per square root of a second
OWN_SIGMA: Final = 2.0e-4
BTC_PULL: Final = 1 / 3600  # a second: how fast a deviation from the base price fades
OWN_PULL: Final = 1 / 1800
BTC_LIMIT: Final = 0.25  # log-price bounds, far outside what the pull allows
OWN_LIMIT: Final = 0.25
MAX_GAP_MS: Final = 60_000
_send_ms = attrgetter("send_ms")


class MarketModel:
    """Correlated symbols with a power law of activity, uneven seconds, odd lots and late TRF prints.

    Time is passed in (ms since the epoch); nothing reads a clock. `rate` is trades a second over all symbols.
    """

    def __init__(
        self,
        symbols: list[str],
        seed: int,
        rate: float,
        start_ms: int,
        *,
        block_seconds: int = 60,
        burst: float = 10.0,
    ) -> None:
        rng = self._rng = Random(seed)
        self._step_ms = start_ms
        self._activity = Activity(rng, rate, block_seconds, burst)
        self._profiles = [profile(symbol, rng) for symbol in symbols]
        self._shapes = stock_shapes(rng)
        self._crypto_shapes = crypto_shapes(rng)
        self._noise = [rng.gauss(0.0, 1.0) for _ in range(1 << NOISE_BITS)]
        self._pick = _pick_table(symbols, rate, rng)
        self._btc = 0.0
        self._own = [0.0] * len(symbols)
        self._last_ms = [start_ms] * len(symbols)
        first = start_ms % DAY_MS * IDS_A_MS
        self._ids = [first] * len(symbols)
        self._sequences = [first] * 4  # by tape
        self._ready: list[Event] = []
        self._late: list[tuple[int, int, Event]] = []
        self._late_count = 0

    def advance(self, to_ms: int) -> list[Event]:
        """All events due up to and including `to_ms` that were not returned before, ascending by send time."""
        while self._step_ms <= to_ms:
            self._queue(self.step())
        cut = bisect_right(self._ready, to_ms, key=_send_ms)
        due, self._ready = self._ready[:cut], self._ready[cut:]
        return due

    def _queue(self, events: list[Event]) -> None:
        """Keep a step's events by send time; those due after the step wait in a heap."""
        end, ready, late = self._step_ms, self._ready, self._late
        for event in events:
            if event.send_ms < end:
                ready.append(event)
            else:
                self._late_count += 1
                heappush(late, (event.send_ms, self._late_count, event))
        while late and late[0][0] < end:
            ready.append(heappop(late)[2])
        ready.sort(key=_send_ms)

    def step(self) -> list[Event]:
        """The trades that happen in the next 10 ms, ascending by event time `t`; do not mix with `advance`."""
        start = self._step_ms
        self._step_ms = start + STEP_MS
        rng, profiles, pick, ids = self._rng, self._profiles, self._pick, self._ids
        count = self._activity.next_step()
        self._move_btc(rng)
        draw, price_of, events = rng.getrandbits, self._price, []
        for byte in sorted(rng.randbytes(count)):
            bits = draw(62)
            index = pick[bits & ((1 << PICK_BITS) - 1)]
            ms = start + (byte * STEP_MS >> 8)
            ids[index] += 1
            price = price_of(index, ms, bits >> PICK_BITS)
            shape = bits >> (PICK_BITS + NOISE_BITS) & ((1 << SHAPE_BITS) - 1)
            if is_pair(profiles[index].symbol):
                events.append(self._crypto(index, ms, price, shape))
            else:
                events.append(self._stock(index, ms, price, shape))
        return events

    def _move_btc(self, rng: Random) -> None:
        seconds = STEP_MS / 1000
        moved = self._btc * (1 - BTC_PULL * seconds) + rng.gauss(0.0, BTC_SIGMA * sqrt(seconds))
        self._btc = min(BTC_LIMIT, max(-BTC_LIMIT, moved))

    def _price(self, index: int, ms: int, bits: int) -> float:
        """The symbol's price in USD, its own part moved by the time since its last trade."""
        gap = ms - self._last_ms[index]
        own = self._own[index]
        if gap > 0:
            self._last_ms[index] = ms
            seconds = min(gap, MAX_GAP_MS) / 1000
            noise = self._noise[bits & ((1 << NOISE_BITS) - 1)]
            own += noise * OWN_SIGMA * sqrt(seconds) - own * OWN_PULL * seconds
            self._own[index] = own = min(OWN_LIMIT, max(-OWN_LIMIT, own))
        known = self._profiles[index]
        return known.base * exp(known.beta * self._btc + own)

    def _stock(self, index: int, ms: int, price: float, shape: int) -> Event:
        venue, trf, lag, shares, exact, conditions, offset, lateness = self._shapes[shape]
        known = self._profiles[index]
        tape = known.tape
        self._sequences[tape] += 1
        trade = StockTrade(
            known.symbol, venue, str(self._ids[index]), tape,
            max(1, int(price * 100.0 + 0.5) * 100 + offset) / 10_000, shares, ms, self._sequences[tape],
            conditions, exact, trf, None if trf is None else ms - lag,
        )  # fmt: skip
        send_ms = ms if lateness == ON_TIME else ms + self._delay(lateness)
        return Event(send_ms, "T", known.symbol, trade)

    def _delay(self, lateness: int) -> int:
        if lateness == MINUTES_LATE:
            return self._rng.randrange(10_000, 240_000)
        return min(10_000, 50 + int(self._rng.expovariate(1 / 1500)))

    def _crypto(self, index: int, ms: int, price: float, shape: int) -> Event:
        venue, size, side, offset, delay = self._crypto_shapes[shape]
        symbol = self._profiles[index].symbol
        received = ms + delay
        trade = CryptoTrade(
            symbol, round(price * (1.0 + offset), 2), ms, size, str(self._ids[index]), venue, side, received
        )
        return Event(received, "XT", symbol, trade)


def _pick_table(symbols: list[str], rate: float, rng: Random) -> list[int]:
    """Symbol indexes, each as often as its share of trades: pairs at their own rate, stocks by a power law."""
    pairs = [index for index, symbol in enumerate(symbols) if is_pair(symbol)]
    stocks = [index for index, symbol in enumerate(symbols) if not is_pair(symbol)]
    rng.shuffle(stocks)
    share = min(PAIR_SHARE, PAIR_RATE * len(pairs) / rate) if stocks else 1.0
    weights = dict.fromkeys(pairs, share / max(1, len(pairs)))
    power = {index: (rank + 1) ** -0.9 for rank, index in enumerate(stocks)}
    scale = (1.0 - share * bool(pairs)) / (sum(power.values()) or 1.0)
    weights |= {index: weight * scale for index, weight in power.items()}
    size = 1 << PICK_BITS
    table = [index for index, weight in weights.items() for _ in range(max(1, round(weight * size)))]
    busiest = max(weights, key=weights.__getitem__)
    return table + [busiest] * (size - len(table)) if len(table) < size else _thin(table, busiest, size)


def _thin(table: list[int], busiest: int, size: int) -> list[int]:
    """Cut the table to its size at the busiest symbol's expense, which spares those with a single place."""
    surplus = len(table) - size
    first = table.index(busiest)
    return table[:first] + table[first + surplus :]
