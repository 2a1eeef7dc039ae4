"""Who gets what: encodes each event once and hands it to the clients that subscribed to it."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import structlog

from feed.client import Client
from feed.events import CLUSTER_OF, CORRECTION_RECORDS, Event
from feed.faults import Faults

log = structlog.get_logger()
Topic = tuple[str, str]


class Hub:
    """All authenticated clients. An event nobody subscribed to is neither encoded nor queued."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._clients: set[Client] = set()
        self._targets: dict[Topic, tuple[Client, ...]] = {}
        self._channels: frozenset[str] | None = None
        self._encode = msgspec.json.Encoder().encode
        self.slow_consumers = 0

    def add(self, client: Client) -> None:
        """Let the client receive what it subscribes to."""
        self._clients.add(client)
        self.subscriptions_changed()

    def remove(self, client: Client) -> None:
        """Forget a client; harmless if it is unknown."""
        self._clients.discard(client)
        self.subscriptions_changed()

    def subscriptions_changed(self) -> None:
        """Drop the look-up of who gets what; it is built again as events come."""
        self._targets.clear()
        self._channels = None

    def has(self, channel: str) -> bool:
        """Whether any client subscribed to anything of a channel."""
        if self._channels is None:
            items = (item for client in self._clients for item in client.subscriptions.items)
            self._channels = frozenset(item.partition(".")[0] for item in items)
        return channel in self._channels

    @property
    def clients(self) -> tuple[Client, ...]:
        """All that are connected and let in."""
        return tuple(self._clients)

    def __len__(self) -> int:
        return len(self._clients)

    def publish(self, events: Iterable[Event]) -> None:
        """Queue the events for every client that wants them, coalesced into as few frames as is sensible."""
        if not self._clients:
            return
        targets, encode = self._targets, self._encode
        touched: dict[Client, None] = {}
        for event in events:
            topic = (event.ev, event.symbol)
            clients = targets.get(topic)
            if clients is None:
                clients = targets[topic] = self._find(topic)
            if clients and event.correction not in CORRECTION_RECORDS:
                wire = encode(event.payload)
                for client in clients:
                    client.due.append(wire)
                    touched[client] = None
        for client in touched:
            self._send(client)

    def _find(self, topic: Topic) -> tuple[Client, ...]:
        cluster = CLUSTER_OF.get(topic[0])
        return tuple(c for c in self._clients if c.cluster == cluster and c.subscriptions.wants(*topic))

    def _send(self, client: Client) -> None:
        for data in self._faults.before_send(client, client.take_frames()):
            if not client.send_frame(data):
                self.slow_consumers += 1
                log.warning("client dropped: it reads too slowly", cluster=client.cluster)
                self.remove(client)
                return
