"""Which symbols the model trades, and what each is like: price, tie to BTC, tape."""

from __future__ import annotations

from random import Random
from string import ascii_uppercase
from typing import Final

import msgspec

DEFAULT_SYMBOLS: Final = ("BTDR", "CAN", "CIFR", "CLSK", "CORZ", "HIVE", "HUT", "MARA", "RIOT", "BTC-USD")
MAX_SYMBOLS: Final = 10_000
PAIR_SIGMA: Final = 2.0e-5  # a pair is close to the common factor itself
STOCK_SIGMA: Final = 1.5e-4
# Start price in USD and beta to BTC; everything else is drawn from the seed.
_KNOWN: Final = {
    "BTC-USD": (65_000.0, 1.0),
    "BTDR": (7.9, 1.1),
    "CAN": (1.6, 1.2),
    "CIFR": (3.4, 1.5),
    "CLSK": (17.4, 1.7),
    "CORZ": (4.1, 1.2),
    "HIVE": (3.6, 1.3),
    "HUT": (8.8, 1.4),
    "MARA": (22.9, 1.8),
    "RIOT": (12.3, 1.6),
}


class Profile(msgspec.Struct, frozen=True):
    """What stays the same for a symbol: `base` price (USD) it reverts to, `beta` to the BTC factor, tape.

    `sigma` is how far its own log-price wanders, per square root of a second.
    """

    symbol: str
    base: float
    beta: float
    tape: int
    sigma: float


def is_pair(symbol: str) -> bool:
    """Whether the symbol is a crypto pair such as BTC-USD."""
    return "-" in symbol


def symbol_list(named: list[str], count: int | None = None) -> list[str]:
    """The named symbols, followed by synthetic tickers until there are `count` in all.

    Raises:
        ValueError: a name is empty or repeated, or `count` is not between the named ones and 10,000.
    """
    if not named or not all(named) or len(set(named)) != len(named):
        raise ValueError(f"symbols must be distinct and not empty, got {','.join(named) or 'none'}")
    if count is None:
        return list(named)
    if not len(named) <= count <= MAX_SYMBOLS:
        raise ValueError(f"symbol count must be {len(named)}..{MAX_SYMBOLS}, got {count}")
    taken, result = set(named), list(named)
    number = 0
    while len(result) < count:
        ticker = _synthetic(number)
        number += 1
        if ticker not in taken:
            result.append(ticker)
    return result


def _synthetic(number: int) -> str:
    letters = ""
    for _ in range(3):
        number, digit = divmod(number, 26)
        letters = ascii_uppercase[digit] + letters
    return "S" + letters


def profile(symbol: str, rng: Random) -> Profile:
    """The symbol's profile; an unknown one gets a price of a few to a few hundred USD from `rng`."""
    drawn = (round(min(900.0, max(2.0, rng.lognormvariate(3.6, 1.0))), 2), rng.uniform(0.0, 0.6))
    tape = rng.choice((1, 1, 2, 3, 3))
    base, beta = _KNOWN.get(symbol, drawn)
    return Profile(symbol, base, beta, tape, PAIR_SIGMA if is_pair(symbol) else STOCK_SIGMA)
