"""The feed as one thing that starts and stops: WebSocket and REST in one event loop."""

from __future__ import annotations

import asyncio
import hmac
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any, Self

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

from feed.admin import Admin, play_scenario, read_scenario
from feed.corrections import Corrected
from feed.events import CHANNELS
from feed.faults import Faults, NoFaults
from feed.history import History
from feed.hub import Hub
from feed.ledger import Ledger
from feed.luld import Banded
from feed.model import MarketModel
from feed.player import Player
from feed.pump import Market, Pump, wall_ms
from feed.quotes import Quoted
from feed.rest import Rest, api_key_of
from feed.session import Sessions
from feed.settings import FeedSettings
from feed.splits import Splits, read_splits
from feed.trouble import Trouble

log = structlog.get_logger()


class FeedServer:
    """A running feed, for use as `async with FeedServer(settings) as feed`.

    `market` replaces the source named by the settings, `faults` the absence of faults.
    """

    def __init__(self, settings: FeedSettings, market: Market | None = None, faults: Faults | None = None) -> None:
        self._settings = settings
        trouble = Trouble(settings.seed) if faults is None and (settings.admin or settings.scenario) else None
        faults = faults or trouble or NoFaults()
        self.hub = Hub(faults)
        self._script = read_scenario(settings.scenario) if settings.scenario else []
        self._trouble = trouble
        self.history = History(int(settings.history_minutes * 60_000), settings.history_trades)
        self.ledger = Ledger(settings.ledger)
        self._sessions = Sessions(settings, self.hub, faults, self._accepts)
        splits = read_splits(settings.splits) if settings.splits else Splits()
        self._rest = Rest(self.history, self.ledger, faults, self._accepts, self.health, splits=splits)
        self._market = market
        self._pump: Pump | None = None
        self._ws: Server | None = None
        admin = Admin(trouble, self._halt, self._may_admin).routes() if trouble is not None and settings.admin else []
        self._http = _HttpServer(_http_config(self._rest.app(admin)))
        if trouble is not None:
            trouble.clients = lambda: self.hub.clients
        self._http_task: asyncio.Task[None] | None = None
        self._pump_task: asyncio.Task[None] | None = None
        self._script_task: asyncio.Task[None] | None = None
        self.ws_port = 0
        self.rest_port = 0

    async def __aenter__(self) -> Self:
        settings = self._settings
        try:
            await self._start(settings.host, settings.ws_port, settings.rest_port)
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop()

    async def wait(self) -> None:
        """Wait while the feed runs; raises what ended it, a broken recording for instance."""
        if self._pump_task is not None:
            await asyncio.shield(self._pump_task)

    @property
    def ws_url(self) -> str:
        """Where clients connect, without the cluster's path."""
        return f"ws://{self._settings.host}:{self.ws_port}"

    @property
    def rest_url(self) -> str:
        """Base of the REST paths."""
        return f"http://{self._settings.host}:{self.rest_port}"

    def health(self) -> dict[str, Any]:
        """State and load of the feed; `behind_ms` is how late the market runs."""
        running = self._pump_task is not None and not self._pump_task.done()
        return {
            "status": "ok" if running else "stopped",
            "clients": len(self.hub),
            "trades_sent": self.ledger.total,
            "trades_in_history": self.history.size,
            "slow_consumers": self.hub.slow_consumers,
            "behind_ms": self._pump.behind_ms if self._pump is not None else 0,
        }

    async def _start(self, host: str, ws_port: int, rest_port: int) -> None:
        self._ws = await serve(
            self._on_client,
            host,
            ws_port,
            process_request=_check_path,
            compression=None,
            server_header=None,
            close_timeout=self._settings.close_grace_s,
        )
        self.ws_port = next(iter(self._ws.sockets)).getsockname()[1]
        listener = socket.create_server((host, rest_port))
        self.rest_port = listener.getsockname()[1]
        self._http_task = asyncio.create_task(self._http.serve(sockets=[listener]))
        await self._http.ready.wait()
        # Only now, so that a market's first event is due when clients can already connect.
        self._pump = Pump(self._market or _market(self._settings, self.hub), self.hub, self.history, self.ledger)
        self._pump_task = asyncio.create_task(self._pump.run(self._settings.tick_ms))
        if self._trouble is not None and self._script:
            self._script_task = asyncio.create_task(play_scenario(self._script, self._trouble))

    def _halt(self, halted: bool) -> None:
        if self._pump is not None:
            self._pump.halted = halted
            self.ledger.flush()

    def _may_admin(self, request: HttpRequest) -> bool:
        """Whoever is on this machine, and from elsewhere who has the feed's own key."""
        host = request.client.host if request.client is not None else ""
        with suppress(ValueError):
            if ip_address(host).is_loopback:
                return True
        return self._settings.api_key is not None and self._accepts(api_key_of(request))

    async def _stop(self) -> None:
        if self._script_task is not None:
            self._script_task.cancel()
        if self._pump_task is not None:
            self._pump_task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await self._pump_task
        if self._ws is not None:
            self._ws.close()
            await self._ws.wait_closed()
        if self._http_task is not None:
            self._http.should_exit = True
            await self._http_task
        self.ledger.close()

    def _accepts(self, key: str) -> bool:
        wanted = self._settings.api_key
        return bool(key) if wanted is None else hmac.compare_digest(key.encode(), wanted.encode())

    async def _on_client(self, connection: ServerConnection) -> None:
        await self._sessions.serve(connection, _cluster(connection.request))


class _HttpServer(uvicorn.Server):
    """Uvicorn inside another program: signals are that program's business, and it says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen, then set `ready`."""
        try:
            await super().startup(sockets)
        finally:
            self.ready.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signal handlers alone."""
        yield


def _http_config(app: Starlette) -> uvicorn.Config:
    return uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=2)


def _cluster(request: Request | None) -> str:
    return request.path.partition("?")[0].strip("/") if request is not None else ""


def _check_path(connection: ServerConnection, request: Request) -> Response | None:
    if _cluster(request) in CHANNELS:
        return None
    return connection.respond(HTTPStatus.NOT_FOUND, f"paths are {', '.join('/' + name for name in CHANNELS)}\n")


def _market(settings: FeedSettings, hub: Hub) -> Market:
    if settings.play:
        return Player(list(settings.play), wall_ms(), settings.speed)
    model = MarketModel(list(settings.symbols), settings.seed, settings.rate, wall_ms(), burst=settings.burst)
    every_ms = round(settings.luld_seconds * 1_000)
    banded = Banded(model, settings.seed, hub.has, every_ms=every_ms, pauses=settings.pauses)
    corrected = Corrected(banded, settings.corrections, settings.seed) if settings.corrections else banded
    return Quoted(corrected, hub.has)
