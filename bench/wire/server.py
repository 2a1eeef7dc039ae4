"""The replay server, a process of its own: ``python -m bench.wire.server FRAMES PORT``.

It talks as the vendor does, waits until both clusters are subscribed, encodes all frames with times from then on, and
writes them as fast as its reader takes them. Nothing is done for a trade, or a frame, while it sends.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Final

import msgspec
import uvloop
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response

from bench.wire.stream import START_MS
from feed import dialogue
from feed.events import CHANNELS, CRYPTO, STOCKS, StockTrade, Trade

CHUNK: Final = 256 * 1024
"""Bytes handed to the socket at once; frames of one cluster are joined up to this."""
ENCODED_A_SECOND: Final = 300_000
"""Trades; the stream begins when as many as there are were surely encoded."""
KEEP_S: Final = 1.0
"""After the stream a status comes so often: who still has trades waiting must not take the connection for dead."""
NO_TRADES: Final = '{"status":"OK","request_id":"replay","results":[]}'
_decode: Final = msgspec.json.Decoder(list[Trade]).decode
_encode: Final = msgspec.json.Encoder().encode


class State(msgspec.Struct):
    """How far the server is: its ``/health``. ``shift_ms`` is what all times were moved by.

    ``began`` is when it first wrote, by the wall clock in seconds. ``seconds`` and ``cpu_s`` are from then until the
    kernel had the last write.
    """

    shift_ms: int = 0
    done: bool = False
    began: float = 0.0
    seconds: float = 0.0
    cpu_s: float = 0.0
    failed: str = ""


def shifted(trade: Trade, ms: int) -> Trade:
    """The trade itself, ``ms`` later."""
    trade.t += ms
    if isinstance(trade, StockTrade):
        if trade.trft is not None:
            trade.trft += ms
    elif trade.r is not None:
        trade.r += ms
    return trade


def on_the_wire(frames: Iterable[bytes], ms: int) -> Iterator[tuple[str, bytes]]:
    """(cluster, its next WebSocket frames joined) in the order of sending; events ``ms`` later than in ``frames``."""
    joined, cluster = bytearray(), STOCKS
    for line in frames:
        frame = [shifted(trade, ms) for trade in _decode(line)]
        market = STOCKS if isinstance(frame[0], StockTrade) else CRYPTO
        if joined and (market != cluster or len(joined) >= CHUNK):
            yield cluster, bytes(joined)
            joined.clear()
        cluster = market
        joined += Frame(Opcode.TEXT, _encode(frame)).serialize(mask=False)
    if joined:
        yield cluster, bytes(joined)


class Replay:
    """Serves one reader of both clusters, once."""

    def __init__(self, frames: list[bytes], trades: int) -> None:
        self._frames = frames
        self._encoding_s = trades / ENCODED_A_SECOND
        self._readers: dict[str, ServerConnection] = {}
        self._subscribed: set[str] = set()
        self._playing: asyncio.Task[None] | None = None
        self.state = State()

    def answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """Plain HTTP: how far it is, and a REST that has no trades."""
        path = request.path.partition("?")[0]
        if path == "/health":
            return connection.respond(HTTPStatus.OK, _encode(self.state).decode())
        if path.startswith("/v3/"):
            return connection.respond(HTTPStatus.OK, NO_TRADES)
        return None if path.strip("/") in CHANNELS else connection.respond(HTTPStatus.NOT_FOUND, "no such path\n")

    async def serve(self, connection: ServerConnection) -> None:
        """The dialogue with one connection, then nothing but the stream."""
        cluster = connection.request.path.strip("/") if connection.request is not None else ""
        if cluster in self._readers:
            self.state.failed = f"its reader of {cluster} connected a second time"
            await connection.close(1008, dialogue.MAX_CONNECTIONS.message)
            return
        self._readers[cluster] = connection
        try:
            await self._talk(connection, cluster)
            self._subscribed.add(cluster)
            if self._subscribed == CHANNELS.keys():
                self._playing = asyncio.create_task(self._play())
            await connection.wait_closed()
        except ConnectionClosed:
            self.state.failed = f"its reader of {cluster} left before it subscribed"

    async def _talk(self, connection: ServerConnection, cluster: str) -> None:
        await connection.send(dialogue.frame(dialogue.CONNECTED), text=True)
        subscriptions = dialogue.Subscriptions(cluster)
        while not subscriptions.items:
            request = dialogue.read_request(await connection.recv())
            if request is not None and request.action == "auth":
                await connection.send(dialogue.frame(dialogue.AUTH_SUCCESS), text=True)
            elif request is not None and request.action == "subscribe":
                for status in subscriptions.add(dialogue.split_items(request.params)):
                    await connection.send(dialogue.frame(status), text=True)

    async def _play(self) -> None:
        try:
            await self._send()
        except (OSError, ConnectionClosed) as error:
            if not self.state.done:
                self.state.failed = f"its reader left: {error!r}"

    async def _send(self) -> None:
        begin = time.time() + self._encoding_s
        self.state.shift_ms = int(begin * 1_000) - START_MS
        chunks = await asyncio.to_thread(lambda: list(on_the_wire(self._frames, self.state.shift_ms)))
        await asyncio.sleep(max(0.0, begin - time.time()))
        self.state.began, began, cpu = time.time(), time.perf_counter(), time.process_time()
        for cluster, chunk in chunks:
            reader = self._readers[cluster]
            if reader.transport.is_closing():
                raise ConnectionResetError(f"{cluster} closed before the end of the stream")
            reader.transport.write(chunk)
            await reader.drain()
            await asyncio.sleep(0)
        while any(reader.transport.get_write_buffer_size() for reader in self._readers.values()):  # noqa: ASYNC110
            await asyncio.sleep(0.0005)
        self.state.seconds, self.state.cpu_s = time.perf_counter() - began, time.process_time() - cpu
        self.state.done = True
        while True:
            await asyncio.sleep(KEEP_S)
            for reader in self._readers.values():
                await reader.send(dialogue.frame(dialogue.CONNECTED), text=True)


async def main(frames: list[bytes], port: int) -> None:
    """Serve until killed."""
    replay = Replay(frames, sum(line.count(b'{"ev":') for line in frames))
    # No pings: a reader that is never idle answers them late, and the connection would be cut for it.
    async with serve(replay.serve, "127.0.0.1", port, process_request=replay.answer, compression=None,
                     ping_interval=None) as server:  # fmt: skip
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1]).read_bytes().splitlines(), int(sys.argv[2])))
