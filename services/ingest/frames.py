"""What a frame of the socket holds: trades, words of the server, and what cannot be read."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Final, NoReturn

import msgspec

from marketdata.records import UNREADABLE
from marketdata.vendor import (
    LULD,
    OTHER_CHANNELS,
    QUOTES,
    CryptoQuote,
    CryptoTrade,
    LuldBand,
    Status,
    StockQuote,
    StockTrade,
    VendorQuote,
    VendorTrade,
)

_Plain = StockTrade | CryptoTrade | Status
_Banded = _Plain | LuldBand
_Quoted = _Plain | StockQuote | CryptoQuote
_Event = _Quoted | LuldBand
_Wanted = tuple[bool, bool]
"""Whether price bands are read, and whether quotes are."""
_fast: Final[dict[_Wanted, msgspec.json.Decoder[list[_Event]]]] = {
    (False, False): msgspec.json.Decoder(list[_Plain]),
    (True, False): msgspec.json.Decoder(list[_Banded]),
    (False, True): msgspec.json.Decoder(list[_Quoted]),
    (True, True): msgspec.json.Decoder(list[_Event]),
}
_one: Final[dict[_Wanted, msgspec.json.Decoder[_Event]]] = {
    (False, False): msgspec.json.Decoder(_Plain),
    (True, False): msgspec.json.Decoder(_Banded),
    (False, True): msgspec.json.Decoder(_Quoted),
    (True, True): msgspec.json.Decoder(_Event),
}
_parts: Final = msgspec.json.Decoder(list[msgspec.Raw])


class _AnyEvent(msgspec.Struct):
    ev: str | None = None


_any: Final = msgspec.json.Decoder(_AnyEvent)


@dataclass(slots=True)
class Frame:
    """One frame, read. ``bad`` holds (reason, bytes) of each element that cannot be read."""

    trades: list[VendorTrade] = field(default_factory=list)
    bands: list[LuldBand] = field(default_factory=list)
    quotes: list[VendorQuote] = field(default_factory=list)
    statuses: list[Status] = field(default_factory=list)
    bad: list[tuple[str, bytes]] = field(default_factory=list)
    ignored: int = 0


def read_frame(raw: bytes, *, luld: bool = False, quotes: bool = False) -> Frame:
    """Read a frame, with ``luld`` its price bands too, with ``quotes`` its quotes.

    One bad element does not spoil the others.
    """
    frame, wanted = Frame(), (luld, quotes)
    try:
        events = _fast[wanted].decode(raw)
    except UNREADABLE:
        _read_parts(raw, frame, wanted)
        return frame
    for event in events:
        _sort(event, frame)
    return frame


def _sort(event: _Event, frame: Frame) -> None:
    if type(event) is StockTrade or type(event) is CryptoTrade:
        frame.trades.append(event)
    elif type(event) is StockQuote or type(event) is CryptoQuote:
        frame.quotes.append(event)
    elif type(event) is LuldBand:
        frame.bands.append(event)
    elif type(event) is Status:
        frame.statuses.append(event)


def _read_parts(raw: bytes, frame: Frame, wanted: _Wanted) -> None:
    try:
        parts = _split(raw)
    except (*UNREADABLE, ValueError) as error:
        frame.bad.append((f"not an array of events: {error}", raw))
        return
    for part in parts:
        try:
            _sort(_one[wanted].decode(part), frame)
        except UNREADABLE as error:
            channel = _channel(part)
            if channel == LULD and wanted[0]:
                frame.bad.append((f"not a price band: {error}", bytes(part)))
            elif channel in QUOTES and wanted[1]:
                frame.bad.append((f"not a quote: {error}", bytes(part)))
            elif channel in OTHER_CHANNELS:
                frame.ignored += 1
            else:
                frame.bad.append((f"not a trade: {error}", bytes(part)))


def _split(raw: bytes) -> list[msgspec.Raw]:
    """The elements of an array; a text that cannot be written down (half a surrogate pair) spoils only its own."""
    try:
        return _parts.decode(raw)
    except UNREADABLE:
        parts = json.loads(raw.decode(), parse_constant=_no_constant)
        if not isinstance(parts, list):
            raise
        return [msgspec.Raw(json.dumps(part).encode()) for part in parts]


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _channel(part: msgspec.Raw) -> str | None:
    try:
        return _any.decode(part).ev
    except UNREADABLE:
        return None
