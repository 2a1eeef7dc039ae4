"""The bounded queue between the sockets and the producer: full, it makes the reader wait."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import NamedTuple

from services.ingest import metrics


class Received(NamedTuple):
    """A frame as it came, with the market of its cluster and its receive time in µs."""

    market: str
    received_ts: int
    raw: bytes


class FrameQueue:
    """First in, first out, bounded by frames and by bytes: at most one frame over either.

    ``added`` and ``taken`` count frames since the start.
    """

    def __init__(self, max_frames: int, max_bytes: int) -> None:
        self._frames: deque[Received] = deque()
        self._bytes = 0
        self._max_frames = max_frames
        self._max_bytes = max_bytes
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self.added = 0
        self.taken = 0

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def full(self) -> bool:
        """Whether a reader has to wait."""
        return len(self._frames) >= self._max_frames or self._bytes >= self._max_bytes

    @property
    def oldest_ts(self) -> int | None:
        """The receive time in µs of the frame to be taken next."""
        return self._frames[0].received_ts if self._frames else None

    async def put(self, frame: Received) -> None:
        """Add a frame, waiting for room first."""
        if self.full:
            waited = time.monotonic()
            while self.full:  # the other reader may have been faster
                self._room.clear()
                await self._room.wait()
            metrics.QUEUE_FULL.inc(time.monotonic() - waited)
        self._frames.append(frame)
        self._bytes += len(frame.raw)
        self.added += 1
        self._arrived.set()

    def take(self) -> Received | None:
        """The oldest frame, or None."""
        if not self._frames:
            return None
        frame = self._frames.popleft()
        self._bytes -= len(frame.raw)
        self.taken += 1
        if not self.full:
            self._room.set()
        return frame

    async def wait(self, seconds: float) -> None:
        """Until a frame is there, or for ``seconds``."""
        if self._frames:
            return
        self._arrived.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._arrived.wait()
        except TimeoutError:
            return
