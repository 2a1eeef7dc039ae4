"""Reading recordings: JSON lines, plain or .gz, ascending in time."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, cast

import msgspec

from marketdata.normalise import EARLIEST_US, LATEST_US
from marketdata.records import UNREADABLE
from marketdata.vendor import OTHER_CHANNELS, StockTrade, VendorTrade

BUFFER: Final = 1 << 20
Aside = Callable[[str | None, bytes], None]
"""Takes a line that is no trade, with the reason; None for a channel that is known and not read here."""


class RecordingError(RuntimeError):
    """A recording that cannot be played; the message names file and line."""


class _AnyEvent(msgspec.Struct):
    ev: str = ""


@dataclass(frozen=True, slots=True)
class Extent:
    """What a recording covers: its first and last event time in ms, and whether it holds both markets."""

    first_ms: int
    last_ms: int
    mixed: bool


_strict: Final = msgspec.json.Decoder(VendorTrade)
_lenient: Final = msgspec.json.Decoder(VendorTrade, strict=False)


def survey(path: Path) -> Extent:
    """Look through a recording before anything of it is written.

    Raises:
        RecordingError: it cannot be read, holds no trade, or is not ascending in time.
    """
    first, last, crypto, stocks = 0, 0, False, False
    for event in read_events(path, _ignore):
        first, last = first or event.t, event.t
        if type(event) is StockTrade:
            stocks = True
        else:
            crypto = True
    if not first:
        raise RecordingError(f"{path} holds no trade")
    return Extent(first, last, crypto and stocks)


def read_events(path: Path, aside: Aside) -> Iterator[VendorTrade]:
    """The trades of a recording in ascending time; other lines go to ``aside``.

    Raises:
        RecordingError: the file cannot be read, or an event is earlier than the one before it.
    """
    last = 0
    decode = _strict.decode
    for number, line in enumerate(_lines(path), 1):
        event: VendorTrade | None
        try:
            event = decode(line)
        except UNREADABLE:
            event = read_event(line, aside)
            if event is None:
                continue
        time_ms = event.t
        if not EARLIEST_US <= time_ms * 1_000 < LATEST_US:
            aside(f"time {time_ms} is not in milliseconds of this century", line)
            continue
        if time_ms < last:
            raise RecordingError(f"{path} line {number}: time {time_ms} is before {last}; sort the file by t")
        last = time_ms
        yield event


def read_event(line: bytes, aside: Aside) -> VendorTrade | None:
    """The trade of a line, whole numbers written as 12.0 allowed; None where there is none."""
    try:
        return cast("VendorTrade", _lenient.decode(line))
    except UNREADABLE as error:
        if not line.strip():
            return None
        known = _channel(line) in OTHER_CHANNELS
        aside(None if known else f"not a trade: {error}", line)
    return None


def _channel(line: bytes) -> str:
    try:
        return msgspec.json.decode(line, type=_AnyEvent).ev
    except UNREADABLE:
        return ""


def _lines(path: Path) -> Iterator[bytes]:
    number = 0
    with _open(path) as lines:
        try:
            for line in lines:
                number += 1
                yield line
        except (OSError, EOFError, zlib.error) as error:
            raise RecordingError(f"{path} cannot be read past line {number}: {error}") from error


def _open(path: Path) -> IO[bytes]:
    try:
        file = path.open("rb", buffering=BUFFER)
    except OSError as error:
        raise RecordingError(f"cannot open the recording {path}: {error.strerror}") from error
    if path.suffix != ".gz":
        return file
    # A larger buffer than gzip's own halves the time a line takes.
    return io.BufferedReader(cast("io.RawIOBase", gzip.GzipFile(fileobj=file)), BUFFER)


def _ignore(_reason: str | None, _line: bytes) -> None:
    """What is no trade is put aside when the recording is played."""
