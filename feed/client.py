"""One connected client: a bounded queue of frames, and the task that writes them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from feed.dialogue import SLOW_CONSUMER, Status, Subscriptions, frame
from feed.faults import CloseConnection

EVENTS_A_FRAME: Final = 400
BYTES_A_FRAME: Final = 512 * 1024  # half of what the official clients accept


class Client:
    """A socket, what it subscribed to, and what it has not read yet.

    Everything sent passes through one queue, so statuses, data and the final close keep their order. Past
    `max_queue_bytes` the queue is thrown away and the client is told `slow_consumer` and closed with 1008.
    """

    def __init__(self, socket: ServerConnection, cluster: str, max_queue_bytes: int, grace_s: float) -> None:
        self.socket = socket
        self.cluster = cluster
        self.subscriptions = Subscriptions(cluster)
        self.due: list[bytes] = []
        self.closing = False
        self._max_queue_bytes = max_queue_bytes
        self._grace_s = grace_s
        self._queue: deque[bytes | CloseConnection] = deque()
        self._queued_bytes = 0
        self._wake = asyncio.Event()
        self._flow = asyncio.Event()
        self._flow.set()
        self._end_hold: asyncio.TimerHandle | None = None
        self._after_hold: Callable[[], None] | None = None

    def send_status(self, *statuses: Status) -> None:
        """Queue the statuses, one frame each as the vendor does."""
        for status in statuses:
            self._put(frame(status))

    def send_frame(self, data: bytes) -> bool:
        """Queue a data frame; False if the client was too slow and is now being dropped."""
        if self._queued_bytes + len(data) > self._max_queue_bytes:
            self.cut_slow()
            return False
        self._put(data)
        return True

    def finish(self, close: CloseConnection, *statuses: Status) -> None:
        """Queue last words and the close; a client that does not take them within the grace time is cut off."""
        if self.closing:
            return
        self.send_status(*statuses)
        self.closing = True
        self._queue.append(close)
        self._wake.set()
        asyncio.get_running_loop().call_later(self._grace_s, self.socket.transport.abort)

    def drop(self) -> None:
        """End the connection at once, without a close frame."""
        self.closing = True
        # What was just said is written at the end of this turn of the loop: a reset before would swallow it.
        asyncio.get_running_loop().call_soon(self.socket.transport.abort)

    def cut_slow(self) -> None:
        """Throw away what it did not read, and tell it so."""
        self._queue.clear()
        self._queued_bytes = 0
        self.finish(CloseConnection(1008, SLOW_CONSUMER.message), SLOW_CONSUMER)

    @property
    def held(self) -> bool:
        """Whether it is sent nothing for now."""
        return self._end_hold is not None

    def hold(self, seconds: float, then: Callable[[], None] | None, *, pong: bool = True) -> None:
        """Send nothing for so long, nor answer pings without `pong`; then do `then`, or send what was held back."""
        self._flow.clear()
        self._after_hold = then
        self._end_hold = asyncio.get_running_loop().call_later(seconds, self.release)
        if not pong:
            self.socket.transport.pause_reading()

    def release(self) -> None:
        """End the hold now, if there is one."""
        if self._end_hold is None:
            return
        self._end_hold.cancel()
        self._end_hold = None
        if self._after_hold is not None and not self.closing:
            self._after_hold()
        self._flow.set()
        if not self.socket.transport.is_closing():
            self.socket.transport.resume_reading()

    def take_frames(self) -> list[bytes]:
        """The events collected in `due` as frames of a few hundred events, each far below 1 MiB."""
        frames, start, size = [], 0, 0
        for position, event in enumerate(self.due):
            if position > start and (position - start >= EVENTS_A_FRAME or size + len(event) > BYTES_A_FRAME):
                frames.append(b"[" + b",".join(self.due[start:position]) + b"]")
                start, size = position, 0
            size += len(event) + 1
        frames.append(b"[" + b",".join(self.due[start:]) + b"]")
        self.due = []
        return frames

    async def write(self) -> None:
        """Write what is queued until the connection ends. Only this task ever waits for the client."""
        try:
            while True:
                while self._queue:
                    if self._end_hold is not None:
                        await self._flow.wait()
                        continue
                    item = self._queue.popleft()
                    if isinstance(item, CloseConnection):
                        await self.socket.close(item.code, item.reason)
                        return
                    self._queued_bytes -= len(item)
                    await self.socket.send(item, text=True)
                self._wake.clear()
                await self._wake.wait()
        except ConnectionClosed:
            return

    def _put(self, data: bytes) -> None:
        if self.closing:
            return
        self._queue.append(data)
        self._queued_bytes += len(data)
        self._wake.set()
