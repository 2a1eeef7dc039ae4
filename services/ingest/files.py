"""The file source: recordings merged by (time, crypto before stocks, order in file), with clocks between."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import Final

import msgspec
import structlog

from marketdata.clock import FileClock
from marketdata.normalise import NormaliseError, normalise
from marketdata.recording import UNTIL_END, Placement, RecordingSpec, crypto_first, is_stock, parse_spec
from marketdata.topics import MARKETS
from marketdata.vendor import StockTrade, VendorTrade
from services.ingest import metrics
from services.ingest.recordings import Extent, RecordingError, read_events, survey
from services.ingest.writer import Writer

log = structlog.stdlib.get_logger()
SAY_EVERY_S: Final = 5.0
LOOK_EVERY: Final = 1_024
"""Events between two looks at signals, deliveries and the progress line."""


class _StoppedError(Exception):
    """A signal came: leave the recordings where they are."""


class FileSource:
    """Plays recordings into a writer. ``speed`` 0 is full speed; it changes no byte of the log."""

    def __init__(self, files: tuple[str, ...], writer: Writer, speed: float, stopped: Callable[[], bool]) -> None:
        self._specs = [parse_spec(text) for text in files]
        self._writer = writer
        self._speed = speed
        self._stopped = stopped
        self._span_ms = (0, 1)
        self._began = self._said = self.moved_at = time.monotonic()
        self._events = dict.fromkeys(MARKETS, 0)
        self._counted = dict.fromkeys(MARKETS, 0)
        self.reached = 0

    @property
    def records(self) -> int:
        """Records handed to the producer so far."""
        return self._writer.records

    def run(self) -> dict[str, int]:
        """Play to the end, or until stopped, and return the number of trades read by market.

        Raises:
            RecordingError: a recording cannot be read or is not ascending in time.
        """
        merged = self._merged()
        self._began = self._said = time.monotonic()
        with suppress(_StoppedError):
            self._play(merged)
        self._count()
        return self._events

    def _play(self, merged: Iterator[VendorTrade]) -> None:
        clock, writer, epoch, speed = FileClock(), self._writer, self._writer.epoch, self._speed
        events, since = self._events, 0
        for event in merged:
            ts = event.t * 1_000
            market = "stocks" if type(event) is StockTrade else "crypto"
            events[market] += 1
            since += 1
            try:
                trade = normalise(event, ts, epoch)
            except NormaliseError as error:
                writer.dead_letter(str(error), msgspec.json.encode(event), ts)
                continue
            for value in clock.before(ts):
                self._clock(value)
            if speed:
                self._pace(ts)
            writer.trade(market, trade)
            self.reached = ts
            if since >= LOOK_EVERY:
                self._look()
                since = 0
        for value in clock.end():
            self._clock(value)

    def _clock(self, value: int) -> None:
        if self._speed:
            self._pace(value)
        for market in MARKETS:
            self._writer.clock(market, value)

    def _pace(self, ts: int) -> None:
        """Wait until ``ts`` is due; what lies after the last event is not waited for."""
        first, last = self._span_ms
        due = self._began + (min(ts, last * 1_000) - first * 1_000) / 1e6 / self._speed
        while (wait := due - time.monotonic()) > 0.001:
            self._look()
            time.sleep(min(wait, 0.2))

    def _look(self) -> None:
        self._writer.poll()
        self.moved_at = now = time.monotonic()
        if self._stopped():
            raise _StoppedError
        if now - self._said >= SAY_EVERY_S:
            self._said = now
            self._count()
            first, last = self._span_ms
            share = (self.reached / 1_000 - first) / max(last - first, 1)
            log.info("playing", percent=round(100 * min(max(share, 0), 1), 1), records=self._writer.records,
                     records_per_s=round(self._writer.records / (now - self._began)))  # fmt: skip

    def _count(self) -> None:
        for market, events in self._events.items():
            metrics.RECEIVED.labels(market).inc(events - self._counted[market])
            self._counted[market] = events

    def _merged(self) -> Iterator[VendorTrade]:
        if not self._specs:
            raise RecordingError("FILES names no recording")
        extents = [survey(Path(spec.path)) for spec in self._specs]
        places = [Placement.of(s, e.first_ms, e.last_ms) for s, e in zip(self._specs, extents, strict=True)]
        known = list(zip(self._specs, extents, places, strict=True))
        ends = [e.last_ms + p.shift_ms + (s.laps - 1) * p.length_ms for s, e, p in known if s.laps != UNTIL_END]
        if not ends:
            raise RecordingError("at least one file must have an end of its own: not all can be repeated *end")
        self._span_ms = (min(e.first_ms + p.shift_ms for _, e, p in known), max(ends))
        streams = [self._laps(spec, extent, place, max(ends)) for spec, extent, place in known]
        # Equal keys keep the order of the streams, so the order of the files.
        return heapq.merge(*streams, key=_place_in_log)

    def _laps(self, spec: RecordingSpec, extent: Extent, place: Placement, end_ms: int) -> Iterator[VendorTrade]:
        number = 0
        first_ms = extent.first_ms + place.shift_ms
        endless = spec.laps == UNTIL_END
        while number < max(spec.laps, 1) or (endless and first_ms + number * place.length_ms <= end_ms):
            events = read_events(Path(spec.path), self._aside if number == 0 else _known)
            if place.shift_ms or number:
                events = place.lap(events, number)
            if endless:
                events = takewhile(lambda event: event.t <= end_ms, events)
            yield from crypto_first(events) if extent.mixed else events
            number += 1

    def _aside(self, reason: str | None, line: bytes) -> None:
        if reason is None:
            metrics.IGNORED.inc()
        else:
            self._writer.dead_letter(reason, line, self.reached)


def _place_in_log(event: VendorTrade) -> tuple[int, bool]:
    return event.t, is_stock(event)


def _known(_reason: str | None, _line: bytes) -> None:
    """Later laps read the same lines: they were put aside on the first."""
