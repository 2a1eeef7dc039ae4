"""A TCP proxy that a test cuts: connections die without a word, and new ones are refused until it is mended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

FAILURE = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"


class Cutter:
    """Between a client and ``target`` (a URL); ``url`` is where the client connects."""

    def __init__(self, target: str) -> None:
        self._target = urlsplit(target)
        self._open: set[asyncio.StreamWriter] = set()
        self._port = 0
        self.whole = True
        self.fails = False
        """Whether each connection is answered by HTTP's 500."""

    @property
    def url(self) -> str:
        return f"{self._target.scheme}://127.0.0.1:{self._port}"

    def cut(self) -> None:
        self.whole = False
        for writer in self._open:
            writer.transport.abort()

    def mend(self) -> None:
        self.whole = True

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            if self.fails:
                with suppress(asyncio.IncompleteReadError):
                    await reader.readuntil(b"\r\n\r\n")
                writer.write(FAILURE)
                await writer.drain()
            elif self.whole:
                await self._pass_on(reader, writer)
        except OSError:
            pass
        finally:
            self._open.discard(writer)
            writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._target.hostname, self._target.port)
        ways = [asyncio.create_task(_copy(reader, back)), asyncio.create_task(_copy(there, writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            back.transport.abort()
            await asyncio.gather(*ways, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()


@asynccontextmanager
async def cutter(target: str) -> AsyncIterator[Cutter]:
    """A proxy that listens."""
    proxy = Cutter(target)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy._port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        proxy.cut()
