"""The simulated market: a seeded stream of trades, the same for every run and every way of asking for it."""

from __future__ import annotations

from bisect import bisect_right
from heapq import heappop, heappush
from math import sqrt
from operator import attrgetter
from random import Random
from typing import Final

from feed.activity import STEP_MS, Activity
from feed.events import Event
from feed.listing import Listing
from feed.shapes import MINUTES_LATE, SHAPE_BITS, crypto_shapes, stock_shapes

DAY_MS: Final = 86_400_000
IDS_A_MS: Final = 100  # first id = 100 x ms since midnight: a feed restarted later in the day never reuses an id
PICK_BITS: Final = 18
NOISE_BITS: Final = 16
PAIR_RATE: Final = 45.0  # crypto trades a second and pair, as measured
PAIR_SHARE: Final = 0.2
BTC_SIGMA: Final = 1.5e-4  # log-price moves, per square root of a second
BTC_PULL: Final = 1 / 3600  # a second
BTC_LIMIT: Final = 0.25
_PICK, _NOISE, _SHAPE = (1 << PICK_BITS) - 1, (1 << NOISE_BITS) - 1, (1 << SHAPE_BITS) - 1
_SHAPE_AT: Final = PICK_BITS + NOISE_BITS
_DRAWN: Final = _SHAPE_AT + SHAPE_BITS
_send_ms = attrgetter("send_ms")


class MarketModel:
    """Correlated symbols with a power law of activity, uneven seconds, odd lots and late TRF prints.

    Time is passed in (ms since the epoch); nothing reads a clock. `rate` is trades a second over all symbols,
    exact over each block of seconds; `burst` the busiest second's multiple of it, 1 for a steady stream.
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
        if rate <= 0:
            raise ValueError(f"rate must be above 0 trades a second, got {rate}")
        rng = self._rng = Random(seed)
        first = start_ms % DAY_MS * IDS_A_MS
        self._step_ms = start_ms
        self._activity = Activity(rng, rate, block_seconds, burst)
        self._pick = _pick_table([Listing(symbol, rng, start_ms, first) for symbol in symbols], rate, rng)
        self._stock_shapes = stock_shapes(rng)
        self._crypto_shapes = crypto_shapes(rng)
        self._noise = [rng.gauss(0.0, 1.0) for _ in range(1 << NOISE_BITS)]
        self._btc = 0.0
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
        count = self._activity.next_step()
        btc = self._move_btc()
        draw, pick, noise = self._rng.getrandbits, self._pick, self._noise
        stock, crypto, events = self._stock, self._crypto, []
        for byte in sorted(self._rng.randbytes(count)):
            bits = draw(_DRAWN)  # one draw for symbol, noise and shape: the generator is the dearest call here
            listing = pick[bits & _PICK]
            ms = start + (byte * STEP_MS >> 8)
            price = listing.price(ms, btc, noise[bits >> PICK_BITS & _NOISE])
            make = crypto if listing.is_pair else stock
            events.append(make(listing, ms, price, bits >> _SHAPE_AT & _SHAPE))
        return events

    def _move_btc(self) -> float:
        seconds = STEP_MS / 1000
        moved = self._btc * (1 - BTC_PULL * seconds) + self._rng.gauss(0.0, BTC_SIGMA * sqrt(seconds))
        self._btc = min(BTC_LIMIT, max(-BTC_LIMIT, moved))
        return self._btc

    def _stock(self, listing: Listing, ms: int, price: float, number: int) -> Event:
        shape = self._stock_shapes[number]
        sequences, tape = self._sequences, listing.tape
        sequences[tape] = sequence = sequences[tape] + 1
        trade = listing.stock_trade(ms, price, shape, sequence)
        lateness = shape[-1]
        return Event(ms + self._delay(lateness) if lateness else ms, "T", listing.symbol, trade, trade)

    def _crypto(self, listing: Listing, ms: int, price: float, number: int) -> Event:
        shape = self._crypto_shapes[number]
        trade = listing.crypto_trade(ms, price, shape)
        return Event(ms + shape[-1], "XT", listing.symbol, trade, trade)

    def _delay(self, lateness: int) -> int:
        if lateness == MINUTES_LATE:
            return self._rng.randrange(10_000, 240_000)
        return min(10_000, 50 + int(self._rng.expovariate(1 / 1500)))


def _pick_table(listings: list[Listing], rate: float, rng: Random) -> list[Listing]:
    """Listings, each as often as its share of trades: pairs at their own rate, stocks by a power law."""
    pairs = [listing for listing in listings if listing.is_pair]
    stocks = [listing for listing in listings if not listing.is_pair]
    rng.shuffle(stocks)
    share = min(PAIR_SHARE, PAIR_RATE * len(pairs) / rate) if stocks else 1.0
    power = [(rank + 1) ** -0.9 for rank in range(len(stocks))]
    weights = [share / len(pairs) for _ in pairs]
    whole = sum(power)
    weights += [weight / whole * (1.0 - share) for weight in power]
    places = [max(1, round(weight * (1 << PICK_BITS))) for weight in weights]
    # The busiest takes up what rounding left over; those with a single place keep it.
    places[places.index(max(places))] += (1 << PICK_BITS) - sum(places)
    ordered = pairs + stocks
    return [listing for listing, number in zip(ordered, places, strict=True) for _ in range(number)]
