"""What trades look like beside their price: tables of ready-made shapes, drawn once from the seed.

The mixes (venues, sizes, conditions, odd lots) follow a recorded NYSE TAQ day and the vendor's list of conditions.
"""

from __future__ import annotations

from random import Random
from typing import Final, TypeVar

SHAPE_BITS: Final = 14
ODD_LOT_SHARE: Final = 0.45
ODD_LOT: Final = 37
TRF: Final = 4
K = TypeVar("K")
ON_TIME, SECONDS_LATE, MINUTES_LATE = 0, 1, 2


def _spread(weights: dict[K, int]) -> tuple[K, ...]:
    """Each value as often as its weight, so that one plain choice is a weighted one."""
    return tuple(value for value, weight in weights.items() for _ in range(weight))


_VENUES: Final = _spread({
    4: 310, 12: 170, 10: 140, 8: 90, 11: 80, 19: 70, 2: 40, 18: 40, 21: 30, 15: 22, 7: 10, 20: 8, 17: 5, 1: 4, 3: 3,
    9: 1, 14: 1,
})  # fmt: skip
_CRYPTO_VENUES: Final = _spread({1: 40, 10: 30, 23: 15, 6: 10, 2: 5})
_TRF_IDS: Final = _spread({201: 5, 202: 85, 203: 10})
_LATENESS: Final = _spread({ON_TIME: 970, SECONDS_LATE: 29, MINUTES_LATE: 1})
_ODD_SIZES: Final = _spread(
    {
        1: 43,
        2: 12,
        3: 8,
        5: 16,
        10: 16,
        15: 14,
        20: 13,
        25: 8,
        30: 7,
        40: 8,
        50: 17,
        60: 6,
        80: 6,
        99: 4,
    }
)
_LOT_SIZES: Final = _spread(
    {100: 820, 200: 80, 300: 25, 400: 11, 500: 11, 1000: 5, 150: 8, 137: 4, 2500: 2, 12_000: 1}
)
# Regular-hours conditions; odd lots add 37.
_LIT: Final[tuple[tuple[int, ...], ...]] = _spread({(): 620, (14,): 375, (41,): 3, (14, 41): 2})
_OFF: Final[tuple[tuple[int, ...], ...]] = _spread({
    (): 960, (10,): 12, (10, 2): 6, (20,): 6, (2,): 4, (22,): 3, (32,): 3, (7,): 2, (29,): 2, (53, 52): 1, (52,): 1,
})  # fmt: skip

StockShape = tuple[int, int | None, int, int, str | None, tuple[int, ...] | None, int, int]
"""Exchange, TRF id, TRF lag ms, shares, decimal size, conditions, price offset in 1e-4 USD, lateness."""
CryptoShape = tuple[int, float, tuple[int, ...], float, int]
"""Exchange, size, side condition, price offset in USD per 1 USD, delay in ms until the vendor received it."""


def stock_shapes(rng: Random) -> list[StockShape]:
    """16,384 shapes of stock trades in regular hours: 45 % odd lots, some of them fractional, 31 % off exchange."""
    return [_stock_shape(rng) for _ in range(1 << SHAPE_BITS)]


def crypto_shapes(rng: Random) -> list[CryptoShape]:
    """16,384 shapes of crypto trades: log-normal sizes, the side known for nearly all."""
    return [_crypto_shape(rng) for _ in range(1 << SHAPE_BITS)]


def _stock_shape(rng: Random) -> StockShape:
    venue = rng.choice(_VENUES)
    off_exchange = venue == TRF
    odd = rng.random() < ODD_LOT_SHARE
    shares, exact = rng.choice(_ODD_SIZES if odd else _LOT_SIZES), None
    if off_exchange and rng.random() < 0.12:  # brokers' fractional orders are filled off exchange
        shares, exact = _fraction(rng, 0 if odd and rng.random() < 0.6 else shares)
    conditions = rng.choice(_OFF if off_exchange else _LIT) + ((ODD_LOT,) if odd else ())
    offset = rng.choice((-50, -25, -10, 0, 10, 25, 50)) if off_exchange else rng.choice((-100, 0, 0, 100))
    if not off_exchange:
        return venue, None, 0, shares, exact, conditions or None, offset, ON_TIME
    return (
        venue, rng.choice(_TRF_IDS), rng.randrange(1, 12), shares, exact, conditions or None, offset,
        rng.choice(_LATENESS),
    )  # fmt: skip


def _fraction(rng: Random, whole: int) -> tuple[int, str]:
    """Whole shares and the exact size with up to six decimals, never a whole number."""
    millionths = rng.randrange(1, 1_000_000)
    if rng.random() < 0.4:
        millionths = rng.choice((100_000, 250_000, 500_000, 750_000))
    return whole, f"{whole}.{millionths:06d}".rstrip("0")


def _crypto_shape(rng: Random) -> CryptoShape:
    side = 0 if rng.random() < 0.01 else rng.choice((1, 2))
    size = max(1e-6, round(rng.lognormvariate(-4.5, 1.8), 8))
    offset = rng.choice((-1, 1)) * rng.random() * 4e-5
    delay = min(400, 5 + int(rng.expovariate(1 / 25)))
    return rng.choice(_CRYPTO_VENUES), size, (side,), offset, delay
