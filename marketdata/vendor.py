"""The vendor's events as they come on the socket and in recordings. Unknown fields are ignored.

Source: the vendor's WebSocket specification; private fields of recordings begin with an underscore.
"""

from __future__ import annotations

import msgspec


class StockTrade(msgspec.Struct, tag_field="ev", tag="T", gc=False):
    """A stock trade: ``t`` SIP time in ms, ``s`` whole shares, ``ds`` the exact size where it has fractions."""

    sym: str
    p: float
    t: int
    i: str | int
    x: int = 0
    s: float = 0
    ds: str | None = None
    c: tuple[int, ...] = ()
    z: float = 0
    q: int = 0
    trfi: int = 0
    trft: int = 0
    corr: int = msgspec.field(name="_corr", default=0)


class CryptoTrade(msgspec.Struct, tag_field="ev", tag="XT", gc=False):
    """A crypto trade: ``c`` holds the taker's side (1 sell, 2 buy), ``r`` the vendor's receive time in ms."""

    pair: str
    p: float
    t: int
    s: float
    i: str | int = ""
    x: int = 0
    c: tuple[int, ...] = ()
    r: int = 0


class Status(msgspec.Struct, tag_field="ev", tag="status", gc=False):
    """A word of the server about the connection."""

    status: str = ""
    message: str = ""


VendorTrade = StockTrade | CryptoTrade
OTHER_CHANNELS = frozenset({"Q", "A", "AM", "XQ", "XA", "XAS", "XL2", "LULD"})
"""Events that are known and not read here."""
