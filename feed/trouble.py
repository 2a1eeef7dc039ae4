"""Faults on demand: each has a name, parameters and an end, and may be asked for while the feed runs."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, Final, Literal
from zlib import crc32

import msgspec

from feed import dialogue
from feed.client import Client
from feed.events import CRYPTO, STOCKS
from feed.faults import CloseConnection, DropConnection, RestAnswer
from feed.history import Row

BIG_FRAME: Final = 1_200_000
GARBAGE: Final = b'[{"ev":"T","sym":"MARA" not JSON'
NO_EV: Final = b'[{"sym":"MARA","p":1.0}]'
_ERROR: Final = b'{"status":"ERROR","error":"told to fail"}'


class FaultError(ValueError):
    """A fault that cannot be had; the message says what can."""


class Fault(msgspec.Struct, tag_field="fault", forbid_unknown_fields=True, kw_only=True):
    """Base of all faults. ``cluster``: stocks, crypto, or both where it is left out."""

    cluster: Literal["stocks", "crypto"] | None = None


class Drop(Fault, tag="drop"):
    """The connection is gone without a close frame."""


class Close(Fault, tag="close"):
    """The connection is closed with this WebSocket code."""

    code: Annotated[int, msgspec.Meta(ge=1000, le=4999)] = 1000
    reason: str = "told to close"


class Slow(Fault, tag="slow"):
    """The client is told that it reads too slowly, and cut off."""


class Garbage(Fault, tag="garbage"):
    """One frame that is not JSON."""


class NoEv(Fault, tag="no_ev"):
    """One frame with an element without ev."""


class BigFrame(Fault, tag="big_frame"):
    """One frame of over 1 MiB, with the trades that were due in it."""


class Lasting(Fault, tag=None):
    """A fault that lasts for some seconds."""

    seconds: Annotated[float, msgspec.Meta(ge=0)] = 5.0


class Silence(Lasting, tag="silence"):
    """The connection stays open and nothing comes: what is due is lost."""


class Duplicate(Lasting, tag="duplicate"):
    """Some frames are sent twice."""

    share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.2


class RefuseAuth(Lasting, tag="refuse_auth"):
    """The connection is dropped, and the key refused for a while."""


class DropInAuth(Fault, tag="drop_in_auth"):
    """The connection is dropped, and so are the next ones, at the key."""

    count: Annotated[int, msgspec.Meta(ge=1)] = 1


class MaxConnections(Fault, tag="max_connections"):
    """The connection is dropped, and the next ones are turned away right after they subscribed."""

    count: Annotated[int, msgspec.Meta(ge=1)] = 1


class RestError(Lasting, tag="rest_error"):
    """REST answers with this status."""

    status: int = 500


class RestLimit(Lasting, tag="rest_limit"):
    """REST answers 429, with Retry-After."""

    retry_after: int = 1


class RestMissing(Lasting, tag="rest_missing"):
    """REST leaves out a share of the trades."""

    share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.2


class RestLate(Lasting, tag="rest_late"):
    """REST does not have the trades of the last seconds yet."""

    lag_s: float = 3.0


AnyFault = (Drop | Close | Slow | Garbage | NoEv | BigFrame | Silence | Duplicate | RefuseAuth | DropInAuth
        | MaxConnections | RestError | RestLimit | RestMissing | RestLate)  # fmt: skip
NAMES: Final = tuple(sorted(str(kind.__struct_config__.tag) for kind in AnyFault.__args__))
_decode = msgspec.json.Decoder(AnyFault).decode


def read_fault(raw: bytes) -> AnyFault:
    """The fault that a JSON object asks for.

    Raises:
        FaultError: there is no such fault, or it has no such parameter.
    """
    try:
        fault: AnyFault = _decode(raw)
    except msgspec.MsgspecError as error:
        raise FaultError(f"{error}; faults are {', '.join(NAMES)}") from error
    return fault


class Trouble:
    """The faults of one feed; see feed.faults.Faults. ``clients`` gives those that are connected."""

    def __init__(self, seed: int = 1, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._random = random.Random(seed)
        self._lasting: list[tuple[float, Lasting]] = []
        self._frames: list[tuple[str, Fault]] = []  # by cluster, for its next data
        self._refusals: dict[type[Fault], dict[str, int]] = {DropInAuth: {}, MaxConnections: {}}
        self.clients: Callable[[], Iterable[Client]] = tuple

    def begin(self, fault: AnyFault) -> None:
        """Let ``fault`` happen from now on."""
        if isinstance(fault, Lasting):
            self._lasting.append((self._now() + fault.seconds, fault))
        if isinstance(fault, Garbage | NoEv | BigFrame):
            self._frames += [(cluster, fault) for cluster in _clusters(fault)]
        if isinstance(fault, DropInAuth | MaxConnections):
            self._refusals[type(fault)] |= dict.fromkeys(_clusters(fault), fault.count)
        for client in [client for client in self.clients() if client.cluster in _clusters(fault)]:
            _part(client, fault)

    def clear(self) -> None:
        """End every fault."""
        self._lasting.clear()
        self._frames.clear()
        for left in self._refusals.values():
            left.clear()

    def active(self) -> list[dict[str, Any]]:
        """The faults that last, each with the seconds it has left."""
        now = self._now()
        return [
            msgspec.to_builtins(f) | {"seconds_left": round(end - now, 1)} for end, f in self._lasting if end > now
        ]

    # --- the moments at which the feed asks ----------------------------------------------------------------------

    async def on_connect(self, cluster: str) -> None:
        """Let everyone in."""

    async def on_auth(self, cluster: str, accepted: bool) -> bool:
        """Refuse, or drop the connection."""
        if self._refuses(DropInAuth, cluster):
            raise DropConnection
        return accepted and not self._has(RefuseAuth, cluster)

    async def on_subscribe(self, cluster: str, items: list[str]) -> list[str]:
        """Turn away right after the subscription."""
        if self._refuses(MaxConnections, cluster):
            raise CloseConnection(1008, dialogue.MAX_CONNECTIONS.message, dialogue.MAX_CONNECTIONS)
        return items

    def before_send(self, cluster: str, frames: Sequence[bytes]) -> Sequence[bytes]:
        """Swallow, repeat, or add to what is sent."""
        if not self._lasting and not self._frames:
            return frames
        if self._has(Silence, cluster):
            return ()
        duplicate = self._has(Duplicate, cluster)
        if duplicate is not None:
            frames = [f for frame in frames for f in [frame] * (1 + (self._random.random() < duplicate.share))]
        for entry in [entry for entry in self._frames if entry[0] == cluster]:
            self._frames.remove(entry)
            frames = _spoiled(list(frames), entry[1])
        return frames

    async def on_rest(self, path: str) -> RestAnswer | None:
        """Fail, or ask for patience."""
        if (error := self._has(RestError)) is not None:
            return RestAnswer(error.status, _ERROR)
        if (limit := self._has(RestLimit)) is not None:
            return RestAnswer(429, _ERROR, {"Retry-After": str(limit.retry_after)})
        return None

    def rest_rows(self, rows: list[Row]) -> list[Row]:
        """Leave out what REST does not have for now."""
        if (late := self._has(RestLate)) is not None:
            newest = time.time_ns() - int(late.lag_s * 1e9)
            rows = [row for row in rows if row[0] <= newest]
        if (missing := self._has(RestMissing)) is not None:
            rows = [row for row in rows if crc32(row[2].i.encode()) % 1_000 >= missing.share * 1_000]
        return rows

    def _has(self, kind: type[Any], cluster: str | None = None) -> Any:
        now = self._now()
        self._lasting = [(end, fault) for end, fault in self._lasting if end > now]
        matching = (f for _, f in self._lasting if isinstance(f, kind) and (not cluster or cluster in _clusters(f)))
        return next(matching, None)

    def _refuses(self, kind: type[Fault], cluster: str) -> bool:
        left = self._refusals[kind].get(cluster, 0)
        self._refusals[kind][cluster] = max(0, left - 1)
        return left > 0


def _part(client: Client, fault: Fault) -> None:
    """End a connection that is there already, if that is the fault or how it begins."""
    if isinstance(fault, Drop | RefuseAuth | DropInAuth | MaxConnections):
        client.socket.transport.abort()
    elif isinstance(fault, Close):
        client.finish(CloseConnection(fault.code, fault.reason))
    elif isinstance(fault, Slow):
        client.finish(CloseConnection(1008, dialogue.SLOW_CONSUMER.message), dialogue.SLOW_CONSUMER)


def _clusters(fault: Fault) -> tuple[str, ...]:
    return (fault.cluster,) if fault.cluster else (STOCKS, CRYPTO)


def _spoiled(frames: list[bytes], fault: Fault) -> list[bytes]:
    if isinstance(fault, Garbage):
        return [*frames, GARBAGE]
    if isinstance(fault, NoEv):
        return [*frames, NO_EV]
    padding = b'{"ev":"A","pad":"' + b"x" * BIG_FRAME + b'"}'
    return [*frames[:-1], frames[-1][:-1] + b"," + padding + b"]"] if frames else [b"[" + padding + b"]"]
