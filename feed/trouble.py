"""Faults on demand: each has a name, parameters and an end, and may be asked for while the feed runs."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from math import inf, isfinite
from typing import Any, Final, TypeVar
from zlib import crc32

import msgspec

from feed import dialogue
from feed.client import Client
from feed.events import CRYPTO, STOCKS
from feed.faults import CloseConnection, DropConnection, RestAnswer
from feed.history import Row
from feed.kinds import (
    AnyFault,
    AtEntry,
    BigFrame,
    Close,
    Drop,
    DropInAuth,
    Duplicate,
    Fault,
    Garbage,
    MaxConnections,
    NoEv,
    RefuseAuth,
    RestError,
    RestLate,
    RestLimit,
    RestMissing,
    Silence,
    Slow,
    Spoil,
    Strike,
    limits,
)

GARBAGE: Final = b'[{"ev":"T","sym":"MARA" not JSON'
NO_EV: Final = b'{"sym":"MARA","p":1.0}'
TRADES_OF: Final = {STOCKS: "/v3/trades/", CRYPTO: "/v3/trades/X:"}
_ERROR: Final = b'{"status":"ERROR","error":"told to fail"}'
F = TypeVar("F", bound=Fault)


class _Pending(msgspec.Struct):
    """A fault of one cluster: until when it lasts, and how often it may still happen."""

    fault: AnyFault
    cluster: str
    ends: float
    left: float
    held: list[Client] = []

    def over(self, now: float) -> bool:
        return now >= self.ends or (self.left <= 0 and not any(client.held for client in self.held))


class Trouble:
    """The faults of one feed; see feed.faults.Faults. ``clients`` gives those that are connected and let in."""

    def __init__(self, seed: int = 1, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._random = random.Random(seed)
        self._pending: list[_Pending] = []
        self._happened: Counter[str] = Counter()
        self.clients: Callable[[], Iterable[Client]] = tuple

    def begin(self, fault: AnyFault) -> None:
        """Let ``fault`` happen from now on."""
        seconds, count = limits(fault)
        for cluster in (fault.cluster,) if fault.cluster else (STOCKS, CRYPTO):
            pending = _Pending(fault, cluster, self._now() + seconds, count)
            self._pending.append(pending)
            for client in [client for client in self.clients() if client.cluster == cluster]:
                if isinstance(fault, AtEntry):
                    client.drop()
                elif isinstance(fault, Strike):
                    self._strike(client, pending)

    def clear(self) -> None:
        """End every fault; a silent connection comes to its end now."""
        for pending in self._pending:
            for client in pending.held:
                client.release()
        self._pending.clear()

    def active(self) -> list[dict[str, Any]]:
        """The faults that are not over, each with the seconds and times it has left."""
        return [self._described(pending) for pending in self._current()]

    def happened(self) -> dict[str, int]:
        """How often each fault befell somebody."""
        return dict(sorted(self._happened.items()))

    # --- the moments at which the feed asks ----------------------------------------------------------------------

    async def on_connect(self, cluster: str) -> None:
        """Let everyone in."""

    async def on_auth(self, cluster: str, accepted: bool) -> bool:
        """Refuse, or drop the connection."""
        if self._take(DropInAuth, cluster):
            raise DropConnection
        return accepted and not self._take(RefuseAuth, cluster)

    async def on_subscribe(self, cluster: str, items: list[str]) -> list[str]:
        """Notice everything."""
        return items

    async def on_subscribed(self, cluster: str) -> None:
        """Turn away right after the confirmations."""
        if self._take(MaxConnections, cluster):
            raise CloseConnection(1008, dialogue.MAX_CONNECTIONS.message, dialogue.MAX_CONNECTIONS)

    def before_send(self, client: Client, frames: Sequence[bytes]) -> Sequence[bytes]:
        """End the connection, repeat, or add to what is sent."""
        if not self._pending:
            return frames
        changed = list(frames)
        for pending in self._current():
            fault = pending.fault
            if pending.cluster != client.cluster or pending.left <= 0:
                continue
            if isinstance(fault, Strike):
                self._strike(client, pending)
            elif isinstance(fault, Spoil):
                self._count(pending)
                changed = _spoiled(changed, fault)
            elif isinstance(fault, Duplicate):
                changed = [copy for frame in changed for copy in self._copies(frame, pending, fault.share)]
        return changed

    async def on_rest(self, path: str) -> RestAnswer | None:
        """Fail, or ask for patience."""
        cluster = _cluster_of(path)
        if error := self._take(RestError, cluster):
            return RestAnswer(error.status, _ERROR)
        if limit := self._take(RestLimit, cluster):
            return RestAnswer(429, _ERROR, {"Retry-After": str(limit.retry_after)})
        return None

    def rest_newest_ns(self, path: str) -> int | None:
        """Until when REST has trades."""
        late = self._take(RestLate, _cluster_of(path))
        return time.time_ns() - int(late.lag_s * 1e9) if late else None

    def rest_rows(self, path: str, rows: list[Row], last: bool) -> list[Row]:
        """Leave out what REST does not have for now."""
        missing = self._take(RestMissing, _cluster_of(path)) if self._pending else None
        if missing is None:
            return rows
        if missing.share is None:
            return [] if last else rows
        return [row for row in rows if crc32(row[2].i.encode()) % 1_000 >= missing.share * 1_000]

    # --- the faults that wait or last ----------------------------------------------------------------------------

    def _current(self) -> list[_Pending]:
        now = self._now()
        self._pending = [pending for pending in self._pending if not pending.over(now)]
        return self._pending

    def _take(self, kind: type[F], cluster: str) -> F | None:
        """The first fault of this kind, which happens now once more."""
        for pending in self._current():
            fault = pending.fault
            if isinstance(fault, kind) and pending.cluster == cluster:
                self._count(pending)
                return fault
        return None

    def _count(self, pending: _Pending) -> None:
        pending.left -= 1
        self._happened[_name(pending.fault)] += 1

    def _copies(self, frame: bytes, pending: _Pending, share: float) -> list[bytes]:
        if pending.left <= 0 or self._random.random() >= share:
            return [frame]
        self._count(pending)
        return [frame, frame]

    def _strike(self, client: Client, pending: _Pending) -> None:
        if client.closing or client.held:
            return
        fault = pending.fault
        self._count(pending)
        match fault:
            case Drop():
                client.drop()
            case Close():
                client.finish(CloseConnection(fault.code, fault.reason))
            case Slow(seconds=0):
                client.cut_slow()
            case Slow():
                client.hold(fault.seconds, client.cut_slow)
                pending.held.append(client)
            case Silence():
                client.hold(fault.seconds, None if fault.resume else client.drop, pong=fault.pong)
                pending.held.append(client)

    def _described(self, pending: _Pending) -> dict[str, Any]:
        told: dict[str, Any] = msgspec.to_builtins(pending.fault) | {"cluster": pending.cluster}
        if isfinite(pending.ends):
            told["seconds_left"] = round(pending.ends - self._now(), 1)
        if pending.left < inf:
            told["left"] = max(0, int(pending.left))
        return told


def _name(fault: Fault) -> str:
    return str(fault.__struct_config__.tag)


def _cluster_of(path: str) -> str:
    return CRYPTO if path.startswith(TRADES_OF[CRYPTO]) else STOCKS


def _spoiled(frames: list[bytes], fault: Spoil) -> list[bytes]:
    if isinstance(fault, Garbage):
        return [*frames, GARBAGE.ljust(fault.bytes, b"x" if fault.utf8 else b"\xff")]
    addition = NO_EV if isinstance(fault, NoEv) else b""
    if isinstance(fault, BigFrame):
        addition = b'{"ev":"A","pad":"' + b"x" * fault.bytes + b'"}'
    return [*frames[:-1], frames[-1][:-1] + b"," + addition + b"]"] if frames else [b"[" + addition + b"]"]
