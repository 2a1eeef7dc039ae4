"""The floor: subscribes to both clusters and throws away whatever comes: ``python -m bench.wire.sink PORT``."""

from __future__ import annotations

import base64
import os
import selectors
import socket
import sys
from typing import Final

import msgspec
from websockets.frames import Frame, Opcode

from bench.wire.stream import CHANNELS

_BUFFER: Final = 1 << 20


def subscribed(port: int, cluster: str, item: str) -> socket.socket:
    """A socket whose WebSocket handshake is done and whose subscription is sent."""
    connection = socket.create_connection(("127.0.0.1", port))
    key = base64.b64encode(os.urandom(16)).decode()
    connection.sendall(
        f"GET /{cluster} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    answer = connection.recv(4_096)
    if b" 101 " not in answer.splitlines()[0]:
        raise ConnectionError(f"the server answered {answer[:200]!r}")
    for action, params in (("auth", "k"), ("subscribe", item)):
        text = msgspec.json.encode({"action": action, "params": params})
        connection.sendall(Frame(Opcode.TEXT, text).serialize(mask=True))
    return connection


def drain(connections: list[socket.socket]) -> None:
    """Read until all are closed."""
    buffer = bytearray(_BUFFER)
    with selectors.DefaultSelector() as ready:
        for connection in connections:
            ready.register(connection, selectors.EVENT_READ)
        while ready.get_map():
            for key, _ in ready.select():
                if isinstance(key.fileobj, socket.socket) and not key.fileobj.recv_into(buffer):
                    ready.unregister(key.fileobj)


if __name__ == "__main__":
    drain([subscribed(int(sys.argv[1]), cluster, item) for cluster, item in CHANNELS.items()])
