"""The faults that can be asked for: their names, parameters and what these may be."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Share = Annotated[float, Meta(gt=0, le=1)]
Size = Annotated[int, Meta(ge=64, le=64 * 1024 * 1024)]
CLOSE_CODES: Final = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})
"""Those that RFC 6455 and its registry let a server send, beside 3000 to 4999."""


class FaultError(ValueError):
    """A fault that cannot be had; the message says what can."""


class Fault(msgspec.Struct, tag_field="fault", forbid_unknown_fields=True, kw_only=True, frozen=True):
    """Base of all faults. ``cluster``: stocks, crypto, or each of both where it is left out."""

    cluster: Literal["stocks", "crypto"] | None = None


class Strike(Fault, tag=None, frozen=True):
    """Befalls the connections that are there; what is left of ``count`` befalls the next at their first data."""

    count: Count = 1


class Drop(Strike, tag="drop", frozen=True):
    """The connection is gone without a close frame."""


class Close(Strike, tag="close", frozen=True):
    """The connection is closed with this WebSocket code."""

    code: int = 1000
    reason: Annotated[str, Meta(max_length=40)] = "told to close"

    def __post_init__(self) -> None:
        if self.code not in CLOSE_CODES and not 3000 <= self.code < 5000:
            raise ValueError(f"code {self.code} cannot be sent in a close frame")


class Slow(Strike, tag="slow", frozen=True):
    """What is due is held back for ``seconds``, thrown away, and the client told that it reads too slowly."""

    seconds: Annotated[float, Meta(ge=0, le=86_400)] = 0


class Silence(Strike, tag="silence", frozen=True):
    """The connection stays open and nothing comes on it, no pong either with ``pong`` false.

    After ``seconds`` it is gone without a close frame; with ``resume`` all that was held back comes instead.
    """

    seconds: Seconds = 5.0
    pong: bool = True
    resume: bool = False


class Spoil(Fault, tag=None, frozen=True):
    """Spoils so many frames of data."""

    count: Count = 1


class Garbage(Spoil, tag="garbage", frozen=True):
    """A text frame that is not JSON, ``bytes`` long, behind a good one; with ``utf8`` false it is no text either."""

    bytes: Size = 64
    utf8: bool = True


class NoEv(Spoil, tag="no_ev", frozen=True):
    """An element without ev among good ones."""


class BigFrame(Spoil, tag="big_frame", frozen=True):
    """A frame with the trades that were due and an element of ``bytes``."""

    bytes: Size = 1_200_000


class Lasting(Fault, tag=None, frozen=True):
    """Goes on for ``seconds`` or ``count`` times, whichever is over first; 5 s if neither is given."""

    seconds: Seconds | None = None
    count: Count | None = None


class Duplicate(Lasting, tag="duplicate", frozen=True):
    """A share of the frames is sent twice."""

    share: Share = 0.2


class AtEntry(Lasting, tag=None, frozen=True):
    """Drops the connections that are there, so that they have to come in again."""


class RefuseAuth(AtEntry, tag="refuse_auth", frozen=True):
    """The key is refused."""


class DropInAuth(AtEntry, tag="drop_in_auth", frozen=True):
    """The connection is gone instead of an answer to the key; once if neither seconds nor count is given."""


class MaxConnections(AtEntry, tag="max_connections", frozen=True):
    """Turned away right after the confirmed subscription; once if neither seconds nor count is given."""


class RestError(Lasting, tag="rest_error", frozen=True):
    """REST answers with this status."""

    status: Annotated[int, Meta(ge=400, le=599)] = 500


class RestLimit(Lasting, tag="rest_limit", frozen=True):
    """REST answers 429, with Retry-After."""

    retry_after: Annotated[int, Meta(ge=0, le=86_400)] = 1


class RestMissing(Lasting, tag="rest_missing", frozen=True):
    """REST leaves out the last page's trades, or with ``share`` that share of all, always the same ones."""

    share: Share | None = None


class RestLate(Lasting, tag="rest_late", frozen=True):
    """REST does not have the trades of the last ``lag_s`` of event time yet."""

    lag_s: Seconds = 3.0


AnyFault = (Drop | Close | Slow | Silence | Garbage | NoEv | BigFrame | Duplicate | RefuseAuth | DropInAuth
        | MaxConnections | RestError | RestLimit | RestMissing | RestLate)  # fmt: skip
NAMES: Final = tuple(sorted(str(kind.__struct_config__.tag) for kind in AnyFault.__args__))
DEFAULT_SECONDS: Final = 5.0
_ONCE: Final = (DropInAuth, MaxConnections)


def limits(fault: AnyFault) -> tuple[float, float]:
    """How many seconds and how many times it lasts, either of them perhaps infinite."""
    endless = float("inf")
    if isinstance(fault, Strike | Spoil):
        return endless, fault.count
    if fault.seconds is None and fault.count is None:
        return (endless, 1) if isinstance(fault, _ONCE) else (DEFAULT_SECONDS, endless)
    return fault.seconds or endless, fault.count or endless


def read_fault(fields: object) -> AnyFault:
    """The fault that an object asks for, be it JSON or decoded already.

    Raises:
        FaultError: there is no such fault, or it has no such parameter or value.
    """
    try:
        if isinstance(fields, bytes):
            fields = msgspec.json.decode(fields)
        fault: AnyFault = msgspec.convert(fields, AnyFault)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise FaultError(f"{error}; faults are {', '.join(NAMES)}") from error
    return fault
