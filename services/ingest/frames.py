"""What a frame of the socket holds: trades, words of the server, and what cannot be read."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Final, NoReturn

import msgspec

from marketdata.records import UNREADABLE
from marketdata.vendor import OTHER_CHANNELS, CryptoTrade, Status, StockTrade, VendorTrade

_fast: Final = msgspec.json.Decoder(list[StockTrade | CryptoTrade | Status])
_one: Final = msgspec.json.Decoder(StockTrade | CryptoTrade | Status)
_parts: Final = msgspec.json.Decoder(list[msgspec.Raw])


class _AnyEvent(msgspec.Struct):
    ev: str | None = None


_any: Final = msgspec.json.Decoder(_AnyEvent)


@dataclass(slots=True)
class Frame:
    """One frame, read. ``bad`` holds (reason, bytes) of each element that cannot be read."""

    trades: list[VendorTrade] = field(default_factory=list)
    statuses: list[Status] = field(default_factory=list)
    bad: list[tuple[str, bytes]] = field(default_factory=list)
    ignored: int = 0


def read_frame(raw: bytes) -> Frame:
    """Read a frame; one bad element does not spoil the others."""
    frame = Frame()
    try:
        events = _fast.decode(raw)
    except UNREADABLE:
        _read_parts(raw, frame)
        return frame
    for event in events:
        _sort(event, frame)
    return frame


def _sort(event: StockTrade | CryptoTrade | Status, frame: Frame) -> None:
    if type(event) is Status:
        frame.statuses.append(event)
    else:
        frame.trades.append(event)  # type: ignore[arg-type]


def _read_parts(raw: bytes, frame: Frame) -> None:
    try:
        parts = _split(raw)
    except (*UNREADABLE, ValueError) as error:
        frame.bad.append((f"not an array of events: {error}", raw))
        return
    for part in parts:
        try:
            _sort(_one.decode(part), frame)
        except UNREADABLE as error:
            if _channel(part) in OTHER_CHANNELS:
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
