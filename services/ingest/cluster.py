"""One connection to one cluster of the feed, made anew whenever it is lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from random import Random
from urllib.parse import urlsplit, urlunsplit

import msgspec
import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from marketdata.vendor import Status
from services.ingest import metrics
from services.ingest.backoff import Backoff
from services.ingest.frames import read_frame
from services.ingest.hostclock import wall_us
from services.ingest.queue import FrameQueue
from services.ingest.segments import Received

log = structlog.stdlib.get_logger()
DIALOGUE_TIMEOUT_S = 10.0
_STATUS = b'"status"'
_encode = msgspec.json.encode

REMEDIES = {
    "auth_failed": "check POLYGON_API_KEY and that the plan includes this market; next try in 60 s",
    "auth_timeout": "the server did not take the key in time; trying again",
    "max_connections": "another process uses this key's one connection: stop it; trying again",
    "slow_consumer": "this reader was too slow; see ingest_queue_full_seconds_total",
}


class RefusedError(RuntimeError):
    """The server said no; the status is its word for why."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.message or status.status)
        self.status = status.status


class Cluster:
    """Keeps one market's connection: dialogue, subscription, silence watchdog, reconnection.

    ``connected`` is true from the subscription to the loss; ``flowing`` from the first data after it;
    ``last_frame_ts`` is the receive time in µs of the newest frame, ``last_data_ts`` of the newest with data;
    ``lost_at`` the monotonic time of the loss, None while connected; ``missing_from`` the receive time in µs of the
    last frame before a loss, until whoever records gaps has taken note of it.
    """

    def __init__(
        self,
        market: str,
        url: str,
        key: str,
        channels: tuple[str, ...],
        queue: FrameQueue,
        *,
        silence_timeout_s: Callable[[], float],
        max_frame_bytes: int,
    ) -> None:
        self.market = market
        self._url = url
        self._key = key
        self._channels = channels
        self._queue = queue
        self._silence_timeout_s = silence_timeout_s
        self._max_frame_bytes = max_frame_bytes
        self._backoff = Backoff(Random())  # noqa: S311 - jitter, not a secret
        self.connected = False
        self.flowing = False
        self.connected_ts = 0
        self.last_frame_ts = self.last_data_ts = 0
        self.lost_at: float | None = time.monotonic()
        self.missing_from: int | None = None

    async def run(self) -> None:
        """Connect and read for ever; ends only by cancellation."""
        while True:
            reason, refused = await self._attempt()
            self._lost()
            metrics.RECONNECTS.labels(self.market, reason).inc()
            delay = self._backoff.next_delay(time.monotonic(), refused=refused)
            log.warning("connection lost", market=self.market, reason=reason, action=f"trying again in {delay:.1f} s",
                        remedy=REMEDIES.get(reason))  # fmt: skip
            await asyncio.sleep(delay)

    async def _attempt(self) -> tuple[str, bool]:
        """One connection from its beginning to its end: (why it ended, whether the key was refused)."""
        try:
            async with connect(
                self._url,
                proxy=None if "//127.0.0.1" in self._url or "//localhost" in self._url else True,
                max_size=self._max_frame_bytes,
                compression=None,
                open_timeout=DIALOGUE_TIMEOUT_S,
                close_timeout=1,
                ping_interval=10,
                ping_timeout=10,
            ) as socket:
                await self._dialogue(socket)
                await self._read(socket)
        except RefusedError as error:
            return error.status, error.status == "auth_failed"
        except ConnectionClosed as error:
            close = error.rcvd or error.sent
            return f"closed {close.code if close else 1006}", False
        except TimeoutError:
            return "silence" if self.connected else "timeout", False
        except (OSError, InvalidHandshake, InvalidURI) as error:
            return type(error).__name__, False
        return "closed", False

    async def _dialogue(self, socket: ClientConnection) -> None:
        await self._expect(socket, "connected")
        await socket.send(_encode({"action": "auth", "params": self._key}).decode())
        await self._expect(socket, "auth_success")
        await socket.send(_encode({"action": "subscribe", "params": ",".join(self._channels)}).decode())
        self.connected, self.lost_at = True, None
        self.connected_ts = wall_us()
        metrics.CONNECTED.labels(self.market).set(1)
        log.info("connected", market=self.market, url=_shown(self._url), channels=len(self._channels))

    async def _expect(self, socket: ClientConnection, wanted: str) -> None:
        """Read until the server says ``wanted``; RefusedError where it says no."""
        async with asyncio.timeout(DIALOGUE_TIMEOUT_S):
            while True:
                for status in read_frame(await socket.recv(decode=False)).statuses:
                    if status.status == wanted:
                        return
                    _refusal(status)

    async def _read(self, socket: ClientConnection) -> None:
        flowing_since = 0.0
        while True:
            async with asyncio.timeout(self._silence_timeout_s()):
                raw = await socket.recv(decode=False)
            self.last_frame_ts = wall_us()
            metrics.FRAMES.labels(self.market).inc()
            metrics.BYTES.labels(self.market).inc(len(raw))
            if _STATUS in raw:
                for status in read_frame(raw).statuses:
                    _refusal(status)
            else:
                self.last_data_ts = self.last_frame_ts
                if not self.flowing:
                    self.flowing, flowing_since = True, time.monotonic()
            await self._queue.put(Received(self.market, self.last_frame_ts, raw))
            if self.flowing:
                self._backoff.flowed(time.monotonic() - flowing_since)

    def _lost(self) -> None:
        if self.lost_at is None:
            self.lost_at = time.monotonic()
        if self.connected and self.missing_from is None:
            self.missing_from = self.last_frame_ts
        self.connected = self.flowing = False
        metrics.CONNECTED.labels(self.market).set(0)


def _refusal(status: Status) -> None:
    if status.status in REMEDIES or status.status == "force_disconnect":
        raise RefusedError(status)
    if status.status == "error":
        log.error("the feed reports an error", message=status.message)


def _shown(url: str) -> str:
    """``url`` as it may be logged: without user, password and query, which can hold a key."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


async def cancelled(task: asyncio.Task[None]) -> None:
    """Cancel ``task`` and wait for its end."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
