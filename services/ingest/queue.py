"""The queue between the sockets and the producer: bounded in memory, then on disk; full, it makes the reader wait."""

from __future__ import annotations

import asyncio
import time
from collections import deque

from services.ingest import metrics
from services.ingest.segments import Received
from services.ingest.spool import Spool

ROOM_S = 0.5
"""A spool that the disk refused is tried again after so long, even if nothing was taken."""


class FrameQueue:
    """First in, first out. Memory is bounded by frames and by bytes, at most one frame over; then comes the disk.

    ``added`` and ``taken`` count frames since the start.
    """

    def __init__(self, max_frames: int, max_bytes: int, spool: Spool) -> None:
        self._frames: deque[Received] = deque()
        self._bytes = 0
        self._max_frames = max_frames
        self._max_bytes = max_bytes
        self._spool = spool
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self.added = 0
        self.taken = 0

    def __len__(self) -> int:
        return len(self._frames) + self._spool.frames

    @property
    def full(self) -> bool:
        """Whether memory takes no more: frames go to the disk, or wait for room where that is full too."""
        return self._spool.frames > 0 or len(self._frames) >= self._max_frames or self._bytes >= self._max_bytes

    @property
    def fill(self) -> float:
        """How full memory is, by frames or by bytes, whichever is fuller; 1 where frames are on disk."""
        if self._spool.frames:
            return 1.0
        return min(1.0, max(len(self._frames) / self._max_frames, self._bytes / self._max_bytes))

    @property
    def oldest_ts(self) -> int | None:
        """The receive time in µs of the frame to be taken next."""
        oldest = self._frames[0] if self._frames else self._spool.peek()
        return oldest.received_ts if oldest else None

    async def put(self, frame: Received) -> None:
        """Add a frame, waiting for room first."""
        if not self._add(frame):
            waited = time.monotonic()
            while not self._add(frame):  # the other reader may have been faster
                self._room.clear()
                await self._until(self._room, ROOM_S)
            metrics.QUEUE_FULL.inc(time.monotonic() - waited)
        self.added += 1
        self._arrived.set()

    def take(self) -> Received | None:
        """The oldest frame, or None."""
        if self._frames:
            frame = self._frames.popleft()
            self._bytes -= len(frame.raw)
        elif (spooled := self._spool.take()) is not None:
            frame = spooled
        else:
            return None
        self.taken += 1
        self._room.set()
        return frame

    async def wait(self, seconds: float) -> None:
        """Until a frame is there, or for ``seconds``."""
        if len(self):
            return
        self._arrived.clear()
        await self._until(self._arrived, seconds)

    def close(self) -> None:
        """Keep on disk what is left, for the next start."""
        self._spool.close(list(self._frames))
        self._frames.clear()

    def _add(self, frame: Received) -> bool:
        if self.full:
            return self._spool.put(frame)
        self._frames.append(frame)
        self._bytes += len(frame.raw)
        return True

    @staticmethod
    async def _until(event: asyncio.Event, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return
