"""The vendor's events as they come on the socket and in recordings. Unknown fields are ignored.

Source: the vendor's WebSocket specification; private fields of recordings begin with an underscore. Numbers are
bounded by what readers of the topics and the database can hold: one past that is garbage, told apart here.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

Code = Annotated[int, Meta(ge=0, lt=2**31)]
TimeMs = Annotated[int, Meta(ge=0, lt=2**43)]
Sequence = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Tape = Annotated[float, Meta(ge=0, lt=2**31)]


class StockTrade(msgspec.Struct, tag_field="ev", tag="T", gc=False):
    """A stock trade: ``t`` SIP time in ms, ``s`` whole shares, ``ds`` the exact size where it has fractions."""

    sym: str
    p: float
    t: TimeMs
    i: str | int
    x: Code = 0
    s: float = 0
    ds: str | None = None
    c: tuple[Code, ...] = ()
    z: Tape = 0
    q: Sequence = 0
    trfi: Code = 0
    trft: TimeMs = 0
    corr: Code = msgspec.field(name="_corr", default=0)


class CryptoTrade(msgspec.Struct, tag_field="ev", tag="XT", gc=False):
    """A crypto trade: ``c`` holds the taker's side (1 sell, 2 buy), ``r`` the vendor's receive time in ms."""

    pair: str
    p: float
    t: TimeMs
    s: float
    i: str | int = ""
    x: Code = 0
    c: tuple[Code, ...] = ()
    r: TimeMs = 0


class LuldBand(msgspec.Struct, tag_field="ev", tag="LULD", gc=False):
    """A stock's price bands ``h`` and ``l``, 0 where none is in force, and the LULD indicators.

    ``t`` is documented in ms and was seen in ns: take it by its size.
    """

    symbol: str = msgspec.field(name="T")
    t: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    h: float = 0
    l: float = 0  # noqa: E741 - the vendor's name
    i: tuple[Code, ...] = ()
    z: Tape = 0
    q: Sequence = 0


class StockQuote(msgspec.Struct, tag_field="ev", tag="Q", gc=False):
    """A stock's best bid and ask. A side that nobody quotes is left out, or its price is 0."""

    sym: str
    t: TimeMs
    bp: float | None = None
    bs: float | None = None
    bx: Code = 0
    ap: float | None = None
    as_: float | None = msgspec.field(name="as", default=None)
    ax: Code = 0
    c: Code | tuple[Code, ...] | None = None
    i: tuple[Code, ...] = ()
    z: Tape = 0
    q: Sequence = 0


class CryptoQuote(msgspec.Struct, tag_field="ev", tag="XQ", gc=False):
    """A pair's best bid and ask on the exchange ``x``."""

    pair: str
    t: TimeMs
    bp: float | None = None
    bs: float | None = None
    ap: float | None = None
    as_: float | None = msgspec.field(name="as", default=None)
    x: Code = 0
    r: TimeMs = 0


class Status(msgspec.Struct, tag_field="ev", tag="status", gc=False):
    """A word of the server about the connection."""

    status: str = ""
    message: str = ""


VendorTrade = StockTrade | CryptoTrade
VendorQuote = StockQuote | CryptoQuote
QUOTES: Final = frozenset({"Q", "XQ"})
LULD: Final = "LULD"
OTHER_CHANNELS: Final = frozenset({"Q", "A", "AM", "XQ", "XA", "XAS", "XL2", LULD})
"""Events that are known and not read here; price bands and quotes are, where they are subscribed."""
