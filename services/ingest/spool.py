"""Frames on disk, first in, first out: where they wait while Kafka is away, and where the next start finds them."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

import structlog

from services.ingest import metrics
from services.ingest.segments import SUFFIX, Home, Received, count_frames, pack, unpack

log = structlog.stdlib.get_logger()
SEGMENT_BYTES: Final = 16 * 1024 * 1024
FIRST: Final = 1_000_000
"""Number of the first segment: what memory held at the end is put before it."""
SAY_EVERY_S: Final = 10.0
RETRY_S: Final = 1.0


class _Segment:
    """One file: ``size`` bytes of whole frames, ``frames`` not taken yet; ``old`` if another process wrote it."""

    __slots__ = ("frames", "home", "old", "path", "size")

    def __init__(self, path: Path, home: Home, *, old: bool) -> None:
        self.path = path
        self.home = home
        self.old = old
        self.size = path.stat().st_size if old else 0
        self.frames = count_frames(path) if old else 0


class Spool:
    """Frames beyond memory, in a directory of this process's own under ``directory``, made when the first one comes.

    ``limit`` is in bytes of files. A file is deleted when its last frame was taken.
    """

    def __init__(self, directory: Path, limit: int) -> None:
        self._directory = directory
        self._own = directory / f"{time.time_ns():020d}-{os.getpid()}"
        self._limit = limit
        self._segment_bytes = min(SEGMENT_BYTES, limit // 8)
        self._home: Home | None = None
        self._segments: deque[_Segment] = deque()
        self._number = FIRST
        self._writer: int | None = None
        self._reader: BinaryIO | None = None
        self._head: Received | None = None
        self._known_from: Mapping[str, int] = {}
        self._too_old = 0
        self._refused_until = 0.0
        self._said = -SAY_EVERY_S
        self.frames = 0
        self.bytes = 0

    def adopt(self, known_from: Mapping[str, int]) -> int:
        """Take over what dead processes left, to be taken first; returns how many frames.

        Of these, a frame received before ``known_from`` (µs, by market) is passed over: whether it was written is not
        known any more, and the vendor's history has it.
        """
        self._known_from = known_from
        with suppress(FileNotFoundError):
            for path in sorted(self._directory.iterdir()):
                if path.is_dir() and (home := Home.claim(path)) is not None:
                    self._take_over(home)
        if self.frames:
            log.warning("frames of an earlier process are read first", frames=self.frames, bytes=self.bytes)
        return self.frames

    def put(self, frame: Received) -> bool:
        """Append a frame; False where the limit is reached or the disk takes no more."""
        data = pack(frame)
        if self.bytes + len(data) > self._limit:
            if self._limit:
                self._say("the spool is full", limit_bytes=self._limit)
            return False
        if time.monotonic() < self._refused_until:
            return False
        try:
            self._append(data)
        except OSError as error:
            self._refused_until = time.monotonic() + RETRY_S
            self._say("the spool cannot be written", directory=str(self._directory), error=str(error),
                      remedy="free space there, or set SPOOL_DIR")  # fmt: skip
            return False
        if not self.frames:
            log.warning(
                "frames wait on disk", directory=str(self._own), reason="Kafka takes none, or fewer than come"
            )
        self._counted(1, len(data))
        return True

    def peek(self) -> Received | None:
        """The oldest frame, which stays."""
        while self._head is None and self._segments:
            self._read()
        return self._head

    def take(self) -> Received | None:
        """The oldest frame, or None."""
        frame, self._head = self.peek(), None
        if frame is not None:
            self._counted(-1, 0)
            if not self.frames:
                while self._segments:
                    self._drop()
                log.info("no frames wait on disk any more", too_old=self._too_old)
        return frame

    def close(self, rest: list[Received]) -> None:
        """Keep for the next start what is on disk, and before it ``rest``, which memory held."""
        if rest:
            self._keep(rest)
        homes = {segment.home for segment in self._segments}
        if homes:
            log.warning("frames are left for the next start", frames=self.frames, directory=str(self._directory))
        self._shut()
        for home in homes | ({self._home} if self._home else set()):
            home.close()

    def _take_over(self, home: Home) -> None:
        for path in home.files():
            segment = _Segment(path, home, old=True)
            self._segments.append(segment)
            self._counted(segment.frames, segment.size)
        if not home.files():
            home.close()

    def _append(self, data: bytes) -> None:
        writer = self._writer
        if writer is None or self._segments[-1].size >= self._segment_bytes:
            writer = self._open_next()
        segment = self._segments[-1]
        try:
            written = os.write(writer, data)
            if written < len(data):
                raise OSError(f"only {written} of {len(data)} bytes were taken")
        except OSError:
            with suppress(OSError):
                os.ftruncate(writer, segment.size)
            raise
        segment.size += len(data)
        segment.frames += 1

    def _open_next(self) -> int:
        if self._home is None:
            self._home = Home.make(self._own)
        path = self._own / f"{self._number:09d}{SUFFIX}"
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        if self._writer is not None:
            os.close(self._writer)
        self._writer = opened
        self._number += 1
        self._segments.append(_Segment(path, self._home, old=False))
        return opened

    def _read(self) -> None:
        """Move to the next frame; where none is left in the first file, drop that."""
        segment = self._segments[0]
        if not segment.frames:
            self._drop()
            return
        if self._reader is None:
            self._reader = segment.path.open("rb")
        frame = unpack(self._reader)
        if frame is None:
            log.error("frames on disk cannot be read", file=str(segment.path), frames=segment.frames,
                      action="passed over; the gap is filled from the vendor's history")  # fmt: skip
            self._counted(-segment.frames, 0)
            segment.frames = 0
            return
        segment.frames -= 1
        if segment.old and frame.received_ts < self._known_from.get(frame.market, 0):
            self._too_old += 1
            self._counted(-1, 0)
            return
        self._head = frame

    def _drop(self) -> None:
        """Delete the first file."""
        segment = self._segments.popleft()
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        if not self._segments and self._writer is not None:
            os.close(self._writer)
            self._writer = None
        with suppress(OSError):
            segment.path.unlink()
        self._counted(0, -segment.size)
        if segment.home is not self._home and all(s.home is not segment.home for s in self._segments):
            segment.home.close()

    def _keep(self, rest: list[Received]) -> None:
        try:
            if self._home is None:
                self._home = Home.make(self._own)
            path = self._own / f"{FIRST - 1:09d}{SUFFIX}"
            path.write_bytes(b"".join(map(pack, rest)))
        except OSError as error:
            log.error("frames are lost at the stop", frames=len(rest), error=str(error),  # noqa: TRY400
                      action="the gap is filled from the vendor's history at the next start")  # fmt: skip
            return
        segment = _Segment(path, self._home, old=True)
        self._segments.appendleft(segment)
        self._counted(segment.frames, segment.size)

    def _shut(self) -> None:
        if self._reader is not None:
            self._reader.close()
        if self._writer is not None:
            os.close(self._writer)
        self._reader = self._writer = None

    def _counted(self, frames: int, size: int) -> None:
        self.frames += frames
        self.bytes += size
        metrics.SPOOL_FRAMES.set(self.frames)
        metrics.SPOOL_BYTES.set(self.bytes)

    def _say(self, what: str, **where: object) -> None:
        now = time.monotonic()
        if now - self._said >= SAY_EVERY_S:
            self._said = now
            log.error(what, action="reading stops until there is room; what is missed is filled in later", **where)
