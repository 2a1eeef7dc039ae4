"""What a client says and what the server answers, apart from any socket."""

from __future__ import annotations

from typing import Final

import msgspec

from feed.events import CHANNELS

WILDCARD: Final = "*"


class Status(msgspec.Struct, tag_field="ev", tag="status"):
    """A status event as the vendor sends it."""

    status: str
    message: str


class Request(msgspec.Struct):
    """A client's message: `action` is auth, subscribe or unsubscribe; `params` a key or a comma list."""

    action: str
    params: str = ""


CONNECTED: Final = Status("connected", "Connected Successfully")
AUTH_SUCCESS: Final = Status("auth_success", "authenticated")
AUTH_FAILED: Final = Status("auth_failed", "authentication failed")
AUTH_TIMEOUT: Final = Status("auth_timeout", "authentication timed out")
MAX_CONNECTIONS: Final = Status("max_connections", "Maximum number of connections exceeded.")
SLOW_CONSUMER: Final = Status("slow_consumer", "reading too slowly, disconnecting")
NOT_AUTHORIZED: Final = Status("error", "not authorized")
BAD_REQUEST: Final = Status("error", "invalid request")
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Request).decode


def frame(*statuses: Status) -> bytes:
    """The statuses as one server frame, a JSON array."""
    return _encode(statuses)


def read_request(text: str | bytes) -> Request | None:
    """The client's message, or None if it is not one."""
    try:
        return _decode(text)
    except msgspec.DecodeError:
        return None


def split_items(params: str) -> list[str]:
    """The items of a comma list, blanks removed."""
    return [item for part in params.split(",") if (item := part.strip())]


class Subscriptions:
    """One client's subscribed items (`T.MARA`, `T.*`) on one cluster, and the answers to changes of them."""

    def __init__(self, cluster: str) -> None:
        self._channels = CHANNELS[cluster]
        self.items: set[str] = set()

    def add(self, items: list[str]) -> list[Status]:
        """One success for each new item; unknown channels and repeated items are passed over in silence."""
        statuses = []
        for item in items:
            if item not in self.items and self._is_known(item):
                self.items.add(item)
                statuses.append(Status("success", f"subscribed to: {item}"))
        return statuses

    def remove(self, items: list[str]) -> list[Status]:
        """One success for each item that was subscribed, silence for the others."""
        statuses = []
        for item in items:
            if item in self.items:
                self.items.remove(item)
                statuses.append(Status("success", f"unsubscribed to: {item}"))
        return statuses

    def wants(self, channel: str, symbol: str) -> bool:
        """Whether an event of this channel and symbol goes to the client."""
        return f"{channel}.{symbol}" in self.items or f"{channel}.{WILDCARD}" in self.items

    def _is_known(self, item: str) -> bool:
        channel, dot, symbol = item.partition(".")
        return bool(dot and symbol) and channel in self._channels
