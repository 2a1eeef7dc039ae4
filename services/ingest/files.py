"""The file source: recordings merged by (time, crypto before stocks, order in file), with clocks between."""

from __future__ import annotations

import gzip
import heapq
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import IO, Final, cast

import msgspec
import structlog

from marketdata.clock import FileClock
from marketdata.normalise import NormaliseError, normalise
from marketdata.recording import UNTIL_END, Placement, RecordingSpec, parse_spec
from marketdata.records import UNREADABLE
from marketdata.topics import MARKETS
from marketdata.vendor import OTHER_CHANNELS, StockTrade, VendorTrade
from services.ingest import metrics
from services.ingest.writer import Writer

log = structlog.stdlib.get_logger()
SAY_EVERY_S: Final = 5.0
BadLine = Callable[[str, bytes], None]
_time: Final = attrgetter("t")
_decoder: Final = msgspec.json.Decoder(VendorTrade)


class RecordingError(RuntimeError):
    """A recording that cannot be played; the message names file and line."""


class _AnyEvent(msgspec.Struct):
    ev: str = ""


def read_events(path: Path, bad: BadLine) -> Iterator[VendorTrade]:
    """The trades of a recording in ascending time; what cannot be read goes to ``bad``.

    Raises:
        RecordingError: the file cannot be read, or an event is earlier than the one before it.
    """
    last = 0
    for number, line in enumerate(_lines(path), 1):
        event = _event(line, bad)
        if event is None:
            continue
        if event.t < last:
            raise RecordingError(f"{path} line {number}: time {event.t} is before {last}; sort the file by t")
        last = event.t
        yield event


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
        return cast("IO[bytes]", gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")
    except OSError as error:
        raise RecordingError(f"cannot open the recording {path}: {error.strerror}") from error


def _event(line: bytes, bad: BadLine) -> VendorTrade | None:
    try:
        return cast("VendorTrade", _decoder.decode(line))
    except UNREADABLE as error:
        if not line.strip():
            return None
        if _channel(line) in OTHER_CHANNELS:
            metrics.IGNORED.inc()
        else:
            bad(f"not a trade: {error}", line)
    return None


def _channel(line: bytes) -> str:
    try:
        return msgspec.json.decode(line, type=_AnyEvent).ev
    except UNREADABLE:
        return ""


class FileSource:
    """Plays recordings into a writer. ``speed`` 0 is full speed; it changes no byte of the log."""

    def __init__(self, files: tuple[str, ...], writer: Writer, speed: float, stopped: Callable[[], bool]) -> None:
        self._specs = [parse_spec(text) for text in files]
        self._writer = writer
        self._speed = speed
        self._stopped = stopped
        self._span = (0, 1)
        self.reached = 0

    def run(self) -> dict[str, int]:
        """Play to the end (or until stopped) and return the number of events by market.

        Raises:
            RecordingError: see :func:`read_events`.
        """
        self._began = time.monotonic()
        said = self._began
        clock, writer, epoch = FileClock(), self._writer, self._writer.epoch
        counts = dict.fromkeys(MARKETS, 0)
        received = {market: metrics.RECEIVED.labels(market) for market in MARKETS}
        for n, event in enumerate(self._merged()):
            ts = event.t * 1_000
            for value in clock.before(ts):
                self._clock(value)
            if self._speed:
                self._pace(ts)
                if self._stopped():
                    return counts
            market = "stocks" if type(event) is StockTrade else "crypto"
            counts[market] += 1
            received[market].inc()
            try:
                writer.trade(market, normalise(event, ts, epoch))
            except NormaliseError as error:
                writer.dead_letter(str(error), msgspec.json.encode(event), ts)
            self.reached = ts
            if n & 0x3FF == 0:
                if self._stopped():
                    return counts
                said = self._say(said)
                writer.poll()
        for value in clock.end():
            self._clock(value)
        return counts

    def _clock(self, value: int) -> None:
        if self._speed:
            self._pace(value)
        for market in MARKETS:
            self._writer.clock(market, value)

    def _pace(self, ts: int) -> None:
        due = self._began + (ts - self._span[0] * 1_000) / 1e6 / self._speed
        while (wait := due - time.monotonic()) > 0.001 and ts <= self._span[1] * 1_000:
            self._writer.poll()
            time.sleep(min(wait, 0.2))
            if self._stopped():
                return

    def _say(self, said: float) -> float:
        now = time.monotonic()
        if now - said < SAY_EVERY_S:
            return said
        first, last = self._span
        share = (self.reached / 1_000 - first) / max(last - first, 1)
        log.info("playing", percent=round(100 * share, 1), records=self._writer.records,
                 records_per_s=round(self._writer.records / (now - self._began)))  # fmt: skip
        return now

    def _merged(self) -> Iterator[VendorTrade]:
        spans = [self._scan(Path(spec.path)) for spec in self._specs]
        places = [Placement.of(spec, *span) for spec, span in zip(self._specs, spans, strict=True)]
        ends = [
            span[1] + place.shift_ms + (spec.laps - 1) * place.length_ms
            for spec, span, place in zip(self._specs, spans, places, strict=True)
            if spec.laps != UNTIL_END
        ]
        if not ends:
            raise RecordingError("at least one file must have an end of its own: not all can be repeated *end")
        starts = [span[0] + place.shift_ms for span, place in zip(spans, places, strict=True)]
        self._span = (min(starts), max(ends))
        streams = [self._laps(spec, place, max(ends)) for spec, place in zip(self._specs, places, strict=True)]
        return crypto_first(heapq.merge(*streams, key=_time))

    def _laps(self, spec: RecordingSpec, place: Placement, end_ms: int) -> Iterator[VendorTrade]:
        number = 0
        while spec.laps == UNTIL_END or number < spec.laps:
            for event in place.lap(read_events(Path(spec.path), self._bad(number)), number):
                if spec.laps == UNTIL_END and event.t > end_ms:
                    return
                yield event
            number += 1

    def _bad(self, lap: int) -> BadLine:
        """Bad lines are put aside on the first lap only: later laps read the same ones."""
        return self._dead_letter if lap == 0 else _ignore

    def _dead_letter(self, reason: str, line: bytes) -> None:
        self._writer.dead_letter(reason, line, self.reached)

    @staticmethod
    def _scan(path: Path) -> tuple[int, int]:
        """(first, last) event time of a recording in ms."""
        times = [event.t for event in _first_and_last(read_events(path, _ignore))]
        if not times:
            raise RecordingError(f"{path} holds no trade")
        return times[0], times[-1]


def crypto_first(events: Iterable[VendorTrade]) -> Iterator[VendorTrade]:
    """``events``, ascending in time, with crypto before stocks at the same time, each in their order."""
    for _, group in groupby(events, key=_time):
        yield from sorted(group, key=_is_stock)


def _is_stock(event: VendorTrade) -> bool:
    return type(event) is StockTrade


def _first_and_last(events: Iterator[VendorTrade]) -> Iterator[VendorTrade]:
    last = None
    for event in events:
        if last is None:
            yield event
        last = event
    if last is not None:
        yield last


def _ignore(_reason: str, _line: bytes) -> None:
    """The line was put aside before."""
