"""The vendor's events as they stand on the wire, and which cluster and channel each belongs to."""

from __future__ import annotations

from typing import Any, Final

import msgspec

STOCKS: Final = "stocks"
CRYPTO: Final = "crypto"
CHANNELS: Final[dict[str, frozenset[str]]] = {
    STOCKS: frozenset({"T", "Q", "A", "AM", "LULD"}),
    CRYPTO: frozenset({"XT", "XQ", "XA", "XAS", "XL2"}),
}
CLUSTER_OF: Final = {channel: cluster for cluster, channels in CHANNELS.items() for channel in channels}
CORRECTION_RECORDS: Final = frozenset({10, 11, 12})
"""Cancel, error and correction records: REST shows them, the socket never sends them."""


class StockTrade(msgspec.Struct, tag_field="ev", tag="T", omit_defaults=True, gc=False):
    """A stock trade. `t` and `trft` are milliseconds; `s` is whole shares, `ds` the exact size if fractional."""

    sym: str
    x: int
    i: str
    z: int
    p: float
    s: int
    t: int
    q: int
    c: tuple[int, ...] | None = None
    ds: str | None = None
    trfi: int | None = None
    trft: int | None = None


class CryptoTrade(msgspec.Struct, tag_field="ev", tag="XT", omit_defaults=True, gc=False):
    """A crypto trade. `t` is the exchange's time and `r` when the vendor got it, both milliseconds."""

    pair: str
    p: float
    t: int
    s: float
    i: str
    x: int
    c: tuple[int, ...] | None = None
    r: int | None = None


class StockQuote(msgspec.Struct, tag_field="ev", tag="Q", omit_defaults=True, gc=False):
    """The best bid and ask of a stock; `bs` and `as` are shares, a side that nobody quotes is left out."""

    sym: str
    t: int
    q: int
    z: int
    bx: int | None = None
    bp: float | None = None
    bs: int | None = None
    ax: int | None = None
    ap: float | None = None
    as_: int | None = msgspec.field(name="as", default=None)
    c: int | None = None


class CryptoQuote(msgspec.Struct, tag_field="ev", tag="XQ", omit_defaults=True, gc=False):
    """The best bid and ask of a pair on one exchange; `r` is when the vendor got it, in milliseconds as `t`."""

    pair: str
    t: int
    x: int
    r: int
    bp: float | None = None
    bs: float | None = None
    ap: float | None = None
    as_: float | None = msgspec.field(name="as", default=None)


Trade = StockTrade | CryptoTrade


class Event(msgspec.Struct, gc=False):
    """One event with the moment it is due on the wire (`send_ms`, never before its own time in a live market).

    `payload` is what is encoded: the trade itself, or the public fields of a played record, whose `trade` is None
    for quotes, bars and other kinds. `correction` is REST's; of a correction record, `about` is the trade it is about
    if it is known.
    """

    send_ms: int
    ev: str
    symbol: str
    payload: Trade | StockQuote | CryptoQuote | dict[str, Any]
    trade: Trade | None
    correction: int = 0
    about: Trade | None = None
