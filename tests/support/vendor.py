"""A tiny vendor for the doctor: REST and socket, which say what a test wants them to say."""

from __future__ import annotations

import json
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve


@dataclass
class Vendor:
    """``forbidden``: paths not in the plan, ``age``: seconds by market, ``busy``: the connection is in use."""

    key: str = "good"
    rest_forbidden: set[str] = field(default_factory=set)
    socket_forbidden: set[str] = field(default_factory=set)
    age: dict[str, float] = field(default_factory=dict)
    word: dict[str, str] = field(default_factory=dict)
    busy: bool = False
    clock_off: float = 0.0
    connections: int = 0
    rest_url: str = ""
    ws_url: str = ""

    def __enter__(self) -> Self:
        self._closing = ExitStack()
        vendor = self

        class Rest(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = vendor.answer(urlsplit(self.path).path, self.headers.get("Authorization", ""))
                data = json.dumps(body).encode()
                self.send_response_only(status)
                self.send_header("Date", formatdate(vendor.now(), usegmt=True))
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        rest = ThreadingHTTPServer(("127.0.0.1", 0), Rest)
        socket = serve(self._talk, "127.0.0.1", 0)
        for server in (rest, socket):
            threading.Thread(target=server.serve_forever, daemon=True).start()
            self._closing.callback(server.shutdown)
        self.rest_url = f"http://127.0.0.1:{rest.server_port}"
        self.ws_url = f"ws://127.0.0.1:{socket.socket.getsockname()[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def now(self) -> float:
        return time.time() + self.clock_off

    def answer(self, path: str, authorization: str) -> tuple[int, dict[str, Any]]:
        market = "crypto" if path.startswith("/v3/trades/X:") else "stocks"
        if authorization != f"Bearer {self.key}":
            return 401, {"status": "ERROR", "error": "Unknown API Key"}
        if market in self.rest_forbidden:
            return 403, {"status": "NOT_AUTHORIZED", "message": "You are not entitled to this data."}
        ts = int((self.now() - self.age.get(market, 1.0)) * 1e9)
        row = {"price": 1.0, "size": 1, "participant_timestamp": ts} | (
            {} if market == "crypto" else {"sip_timestamp": ts}
        )
        return 200, {"status": self.word.get(market, "OK"), "results": [row]}

    def _talk(self, socket: ServerConnection) -> None:
        self.connections += 1
        assert socket.request is not None
        market = socket.request.path.strip("/")

        def say(status: str, message: str) -> None:
            socket.send(json.dumps([{"ev": "status", "status": status, "message": message}]))

        try:
            say("connected", "Connected Successfully")
            if json.loads(socket.recv()) != {"action": "auth", "params": self.key}:
                say("auth_failed", "authentication failed")
                return socket.close(1008)
            say("auth_success", "authenticated")
            wanted = json.loads(socket.recv())["params"]
            if market in self.socket_forbidden:
                return say("error", "not authorized")
            say("success", f"subscribed to: {wanted}")
            if self.busy:
                time.sleep(0.1)
                say("max_connections", "Maximum number of connections exceeded.")
                return socket.close(1008)
            socket.recv()
        except ConnectionClosed:
            pass
        return None
