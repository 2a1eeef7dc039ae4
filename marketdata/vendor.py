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


class Status(msgspec.Struct, tag_field="ev", tag="status", gc=False):
    """A word of the server about the connection."""

    status: str = ""
    message: str = ""


VendorTrade = StockTrade | CryptoTrade
OTHER_CHANNELS: Final = frozenset({"Q", "A", "AM", "XQ", "XA", "XAS", "XL2", "LULD"})
"""Events that are known and not read here."""
