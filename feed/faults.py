"""Where faults can be injected: the few moments at which a real feed misbehaves, and the feed that does not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

from feed.dialogue import Status
from feed.history import Row

if TYPE_CHECKING:
    from feed.client import Client


class CloseConnection(Exception):  # noqa: N818 - an instruction to the server, not an error of its own
    """Ends a client's connection with this WebSocket close code and reason, after what is queued and last words."""

    def __init__(self, code: int, reason: str, *last_words: Status) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason
        self.last_words = last_words


class DropConnection(Exception):  # noqa: N818 - an instruction to the server, not an error of its own
    """Ends a client's connection without a close frame, at once."""


class RestAnswer(msgspec.Struct, frozen=True):
    """An answer given instead of the true one: HTTP status, body and headers."""

    status: int
    body: bytes
    headers: dict[str, str] = {}


class Faults(Protocol):
    """Asked at each of these moments. The asynchronous ones may sleep first, or raise what ends the connection."""

    async def on_connect(self, cluster: str) -> None:
        """A client connected; the greeting has not been sent."""

    async def on_auth(self, cluster: str, accepted: bool) -> bool:
        """A key was judged; the result is whether the client is told that it was accepted."""

    async def on_subscribe(self, cluster: str, items: list[str]) -> list[str]:
        """Items such as T.MARA are asked for; the result is those that the server will notice."""

    async def on_subscribed(self, cluster: str) -> None:
        """A subscription was confirmed."""

    def before_send(self, client: Client, frames: Sequence[bytes]) -> Sequence[bytes]:
        """Data frames for one client; the result is what it gets. On the hot path, so it must not block."""

    async def on_rest(self, path: str) -> RestAnswer | None:
        """A REST request came in; None lets it be answered truly."""

    def rest_newest_ns(self, path: str) -> int | None:
        """The time in ns after which REST has no trades yet, None for all that were sent."""

    def rest_rows(self, path: str, rows: list[Row], last: bool) -> list[Row]:
        """A page's rows, and whether it is the last page; the result is what the client gets of them."""


class NoFaults:
    """The feed as the vendor means it: nothing is changed, delayed or refused."""

    async def on_connect(self, cluster: str) -> None:
        """Let everyone in."""

    async def on_auth(self, cluster: str, accepted: bool) -> bool:
        """Tell the truth."""
        return accepted

    async def on_subscribe(self, cluster: str, items: list[str]) -> list[str]:
        """Notice everything."""
        return items

    async def on_subscribed(self, cluster: str) -> None:
        """Let them stay."""

    def before_send(self, client: Client, frames: Sequence[bytes]) -> Sequence[bytes]:
        """Send every frame as it is."""
        return frames

    async def on_rest(self, path: str) -> RestAnswer | None:
        """Answer truly."""
        return None

    def rest_newest_ns(self, path: str) -> int | None:
        """Have all."""
        return None

    def rest_rows(self, path: str, rows: list[Row], last: bool) -> list[Row]:
        """Show every row."""
        return rows
