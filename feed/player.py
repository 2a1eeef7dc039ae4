"""Plays recorded JSON-lines files as if they happened now."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from heapq import merge
from itertools import chain
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from feed.events import CLUSTER_OF, CryptoTrade, Event, StockTrade, Trade
from feed.model import DAY_MS

log = structlog.get_logger()
_BAR_TIMES: Final = ("s", "e")
_TIMES: Final = ("t", "r", "trft", "pt")
_BARS: Final = frozenset({"A", "AM", "XA", "XAS"})
_TRADES: Final[dict[str, type[StockTrade | CryptoTrade]]] = {"T": StockTrade, "XT": CryptoTrade}
Record = dict[str, Any]


class PlayError(ValueError):
    """A recording cannot be played; the message names the file and the line."""


class Player:
    """Recorded events, merged by time and shifted so that the first one is due at `start_ms`.

    Files that begin on the same UTC day keep their distance; a file of another day is laid beside them, its
    own first event at `start_ms` as well. At `speed` N the distances shrink to 1/N, event times included, so that
    an event's time is still the time it is sent. Fields beginning with `_` are private and never sent.
    """

    def __init__(self, paths: list[Path], start_ms: int, speed: float = 1.0) -> None:
        if speed <= 0:
            raise PlayError(f"speed must be above 0, got {speed}")
        self._start_ms = start_ms
        self._speed = speed
        self._events = merge(*self._streams(paths), key=lambda event: event.send_ms)
        self._next = next(self._events, None)

    def advance(self, to_ms: int) -> list[Event]:
        """All events due up to and including `to_ms` that were not returned before."""
        due = []
        event = self._next
        while event is not None and event.send_ms <= to_ms:
            due.append(event)
            event = next(self._events, None)
        if event is None and self._next is not None:
            log.info("recording played to its end")
        self._next = event
        return due

    def _streams(self, paths: list[Path]) -> list[Iterator[Event]]:
        opened: list[tuple[int, Path, Iterator[Record]]] = []
        for path in paths:
            records = _records(path)
            first = next(records, None)
            if first is None:
                raise PlayError(f"{path} holds no events")
            opened.append((_time_of(first), path, chain((first,), records)))
        first_of_day: dict[int, int] = {}
        for first_ms, _, _ in opened:
            day = first_ms // DAY_MS
            first_of_day[day] = min(first_ms, first_of_day.get(day, first_ms))
        return [self._shifted(path, records, first_of_day[first_ms // DAY_MS]) for first_ms, path, records in opened]

    def _shifted(self, path: Path, records: Iterator[Record], origin_ms: int) -> Iterator[Event]:
        for record in records:
            channel = record["ev"]
            payload = {name: value for name, value in record.items() if not name.startswith("_")}
            for name in _BAR_TIMES if channel in _BARS else _TIMES:
                if name in payload:
                    payload[name] = self._start_ms + int((payload[name] - origin_ms) / self._speed)
            symbol = record.get("sym") or record.get("pair") or record.get("T") or ""
            trade = _trade(channel, payload, path)
            yield Event(_time_of(payload), channel, symbol, payload, trade, record.get("_corr", 0))


def _records(path: Path) -> Iterator[Record]:
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _record(line, f"{path}:{number}")
    except (OSError, EOFError) as error:
        raise PlayError(f"cannot read recording {path}: {error}") from error


def _record(line: bytes, place: str) -> Record:
    try:
        record = msgspec.json.decode(line)
    except msgspec.DecodeError as error:
        raise PlayError(f"{place}: not JSON: {error}") from error
    if not isinstance(record, dict) or record.get("ev") not in CLUSTER_OF:
        raise PlayError(f"{place}: not an event of the feed")
    if not isinstance(record.get("e" if record["ev"] in _BARS else "t"), int):
        raise PlayError(f"{place}: the event has no time")
    return record


def _trade(channel: str, payload: Record, path: Path) -> Trade | None:
    """The record as a trade, None if it is a quote, a bar or another kind."""
    if channel not in _TRADES:
        return None
    try:
        # Crypto ids are documented as integers and seen as strings.
        return msgspec.convert({**payload, "i": str(payload.get("i", ""))}, _TRADES[channel])
    except msgspec.ValidationError as error:
        raise PlayError(f"{path}: {error} in {payload}") from error


def _time_of(record: Record) -> int:
    """When the event is due, in ms: a bar at its end."""
    time_ms: int = record["e" if record["ev"] in _BARS else "t"]
    return time_ms
