"""/metrics for Prometheus, /health and /live for probes, from one small thread.

Health is progress, not mere life: each check answers whether its part still moves. An outage of Kafka or the database
ends that, and a restart mends nothing; so /live asks only whether the service's own loops still turn.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest

from streaming import metrics

Check = Callable[[], tuple[bool, Any]]


class Pulse:
    """A loop's sign of life: ``check`` fails once it was silent for ``limit_s``, never before its first beat."""

    def __init__(self, limit_s: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit_s
        self._clock = clock
        self._last: float | None = None

    def beat(self) -> None:
        """The loop has turned."""
        self._last = self._clock()

    def check(self) -> tuple[bool, Any]:
        """For :meth:`Health.add_life`."""
        silent = 0.0 if self._last is None else self._clock() - self._last
        return silent < self._limit, {"seconds_since_turn": round(silent, 1)}


class Health:
    """Named checks; the service is healthy when all of them are."""

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}
        self._life: dict[str, Check] = {}

    def add(self, name: str, check: Check) -> None:
        """Register ``check``: it returns (healthy, detail that JSON can hold) and must not block."""
        self._checks[name] = check
        metrics.HEALTH.labels(name).set_function(lambda: float(self._checks[name]()[0]))

    def add_life(self, name: str, check: Check) -> None:
        """The same for /live: only what nothing but a restart can mend."""
        self._life[name] = check

    def report(self, *, life: bool = False) -> tuple[bool, dict[str, Any]]:
        """(all healthy, the detail of each check); with ``life`` those of /live."""
        results = {name: check() for name, check in (self._life if life else self._checks).items()}
        healthy = all(ok for ok, _ in results.values())
        return healthy, {name: {"ok": ok, "detail": detail} for name, (ok, detail) in results.items()}


class OpsServer:
    """Serves GET /metrics, /health and /live on ``host:port`` (0: any free port, see ``port`` after start)."""

    def __init__(self, health: Health, host: str, port: int) -> None:
        self._server = ThreadingHTTPServer((host, port), _handler(health))
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="ops", daemon=True)

    def start(self) -> OpsServer:
        """Begin to serve; returns itself."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop serving and free the port."""
        self._server.shutdown()
        self._server.server_close()


def _handler(health: Health) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10  # a client that sends nothing does not hold a thread for ever

        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._answer(200, CONTENT_TYPE_LATEST, generate_latest(REGISTRY))
            elif self.path in {"/health", "/live"}:
                healthy, detail = health.report(life=self.path == "/live")
                body = json.dumps({"status": "ok" if healthy else "failing", "checks": detail}).encode()
                self._answer(200 if healthy else 503, "application/json", body)
            else:
                self._answer(404, "text/plain", b"try /metrics, /health or /live\n")

        def _answer(self, status: int, content_type: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
            """Scrapes are not worth a log line."""

    return Handler
