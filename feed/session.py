"""One client's connection from greeting to close."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from feed import dialogue
from feed.client import Client
from feed.faults import CloseConnection, DropConnection, Faults
from feed.hub import Hub
from feed.settings import FeedSettings

log = structlog.get_logger()
MAX_CONNECTIONS_DELAY_S = 1.0


class Sessions:
    """Serves connections and counts them by cluster and key."""

    def __init__(self, settings: FeedSettings, hub: Hub, faults: Faults, accepts: Callable[[str], bool]) -> None:
        self._settings = settings
        self._hub = hub
        self._faults = faults
        self._accepts = accepts
        self._open: Counter[tuple[str, str]] = Counter()

    async def serve(self, socket: ServerConnection, cluster: str) -> None:
        """Talk to one client until either side closes."""
        settings = self._settings
        client = Client(socket, cluster, settings.max_queue_bytes, settings.close_grace_s)
        writer = asyncio.create_task(client.write())
        try:
            await self._talk(client)
        except CloseConnection as close:
            self._hub.remove(client)
            client.finish(close, *close.last_words)
            await writer
        except DropConnection:
            client.drop()
            await asyncio.sleep(0)  # the reset comes first: at the end of this handler the server says goodbye
        except ConnectionClosed:
            pass
        finally:
            self._hub.remove(client)
            writer.cancel()

    async def _talk(self, client: Client) -> None:
        await self._faults.on_connect(client.cluster)
        client.send_status(dialogue.CONNECTED)
        key = await self._authenticate(client)
        async with self._counted(client.cluster, key) as over_limit:
            if over_limit:
                await self._refuse(client)
            self._hub.add(client)
            while True:
                await self._answer(client, dialogue.read_request(await client.socket.recv()))

    async def _authenticate(self, client: Client) -> str:
        """Wait for an accepted key; statuses and close as the vendor does when there is none."""
        try:
            async with asyncio.timeout(self._settings.auth_timeout_s):
                while True:
                    request = dialogue.read_request(await client.socket.recv())
                    if request is not None and request.action == "auth":
                        break
                    client.send_status(dialogue.NOT_AUTHORIZED if request else dialogue.BAD_REQUEST)
        except TimeoutError:
            client.send_status(dialogue.AUTH_TIMEOUT)
            raise CloseConnection(1008, dialogue.AUTH_TIMEOUT.message) from None
        if not await self._faults.on_auth(client.cluster, self._accepts(request.params)):
            client.send_status(dialogue.AUTH_FAILED)
            raise CloseConnection(1008, dialogue.AUTH_FAILED.message)
        client.send_status(dialogue.AUTH_SUCCESS)
        return request.params

    @asynccontextmanager
    async def _counted(self, cluster: str, key: str) -> AsyncIterator[bool]:
        """Count the connection while it lasts; yields whether it is one too many."""
        place = (cluster, key)
        self._open[place] += 1
        try:
            yield self._open[place] > self._settings.max_connections
        finally:
            self._open[place] -= 1

    async def _refuse(self, client: Client) -> None:
        """Let the surplus client subscribe first, then turn it away: the order seen on the real feed."""
        try:
            async with asyncio.timeout(MAX_CONNECTIONS_DELAY_S):
                await self._answer(client, dialogue.read_request(await client.socket.recv()))
        except TimeoutError:
            pass
        log.warning("client refused: too many connections for its key", cluster=client.cluster)
        client.send_status(dialogue.MAX_CONNECTIONS)
        raise CloseConnection(1008, dialogue.MAX_CONNECTIONS.message)

    async def _answer(self, client: Client, request: dialogue.Request | None) -> None:
        match request:
            case dialogue.Request(action="subscribe", params=params):
                items = await self._faults.on_subscribe(client.cluster, dialogue.split_items(params))
                client.send_status(*client.subscriptions.add(items))
                self._hub.subscriptions_changed()
                await self._faults.on_subscribed(client.cluster)
            case dialogue.Request(action="unsubscribe", params=params):
                client.send_status(*client.subscriptions.remove(dialogue.split_items(params)))
                self._hub.subscriptions_changed()
            case dialogue.Request(action="auth"):
                client.send_status(dialogue.AUTH_SUCCESS)
            case _:
                client.send_status(dialogue.BAD_REQUEST)
