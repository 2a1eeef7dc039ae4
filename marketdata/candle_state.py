"""What a candle engine must store of a symbol: all that its trades inside the revision horizon cannot tell."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from marketdata.bands import BandsState
from marketdata.bar import Bar, Quoted
from marketdata.order import OrderKey, id_key, id_text

_PLAIN: Final = (
    "open", "high", "low", "close", "ticks", "trades", "ratio_open", "ratio_high", "ratio_low", "ratio_close",
    "ratio_ticks", "ratio_first_ts", "ratio_last_ts",
)  # fmt: skip
_SUMS: Final = (
    "price_sum", "price_weight", "priced_size", "volume", "bought", "sold", "ratio_sum", "ratio_time_sum",
)  # fmt: skip


class BarState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A bar: ``plain`` values, and the sums, which pass 64 bits, as hexadecimal text; ``quoted`` in the same way."""

    plain: tuple[float | int | None, ...]
    sums: tuple[str, ...]
    quoted: tuple[str, ...] | None = None


class BucketState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A bucket that began before the trades that will be read again; ``parts`` are those that ended before them."""

    level: str
    start: int
    revision: int
    has_ratio: bool
    parts: tuple[tuple[int, BarState], ...]


class RevisedState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A bucket that its trades make again, but that was published more than once."""

    level: str
    start: int
    revision: int


class CancelState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Which trade the cancel at ``offset`` took out: a second look might find another one."""

    offset: int
    ts: int
    sequence: int
    exchange: int
    id: str
    trf: int

    @property
    def key(self) -> OrderKey:
        """The trade's place in the order of trades."""
        return (self.ts, self.sequence, self.exchange, id_key(self.id), self.trf)


class SymbolState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One symbol's part of a snapshot; ``flow`` is what the tick rule knew after the trades that are gone.

    ``features`` are histories of candles before those trades, by the key of their level. ``carried``: the clock since
    which empty candles are published, and the last closes of price and ratio before those trades. ``bands``: all that
    can still be asked for.
    """

    buckets: tuple[BucketState, ...] = ()
    revised: tuple[RevisedState, ...] = ()
    cancels: tuple[CancelState, ...] = ()
    flow: tuple[float | None, int] | None = None
    features: tuple[tuple[str, bytes], ...] = ()
    carried: tuple[int, float | None, float | None] | None = None
    bands: BandsState = ()


class EngineMark(NamedTuple):
    """Where re-reading begins: the clock there, and the event time before which trades are in the symbols' states."""

    clock: int
    oldest: int


def pack_bar(bar: Bar) -> BarState:
    """``bar`` as it is stored."""
    return BarState(
        tuple(getattr(bar, name) for name in _PLAIN),
        tuple(format(getattr(bar, name), "x") for name in _SUMS),
        None if bar.quoted is None else tuple(format(value, "x") for value in bar.quoted),
    )


def unpack_bar(state: BarState) -> Bar:
    """The bar of ``state``, equal in every bit."""
    bar = Bar()
    for name, value in zip(_PLAIN, state.plain, strict=True):
        setattr(bar, name, value)
    for name, text in zip(_SUMS, state.sums, strict=True):
        setattr(bar, name, int(text, 16))
    if state.quoted is not None:
        bar.quoted = Quoted(*(int(text, 16) for text in state.quoted))
    return bar


def pack_cancel(offset: int, key: OrderKey) -> CancelState:
    """The cancel at ``offset`` took out the trade of ``key``."""
    ts, sequence, exchange, identity, trf = key
    return CancelState(offset, ts, sequence, exchange, id_text(identity), trf)


encode_state: Final = msgspec.json.Encoder().encode
decode_state: Final = msgspec.json.Decoder(SymbolState).decode
