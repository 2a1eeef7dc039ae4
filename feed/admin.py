"""Trouble by request and by script: /admin on the REST port, and scenario files."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from math import isfinite
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from feed.kinds import NAMES, AnyFault, FaultError, read_fault
from feed.trouble import Trouble

LONGEST_BODY: Final = 10_000
log = structlog.get_logger()
Endpoint = Callable[[Request], Awaitable[Response]]


class Admin:
    """POST, GET and DELETE /admin/faults; POST /admin/stop and /admin/go halt the market and let it go on."""

    def __init__(self, trouble: Trouble, halt: Callable[[bool], None], may: Callable[[Request], bool]) -> None:
        self._trouble = trouble
        self._halt = halt
        self._may = may

    def routes(self) -> list[Route]:
        """What the REST application is given in addition."""
        return [
            Route("/admin/faults", self._guarded(self.faults), methods=["GET", "POST", "DELETE"]),
            Route("/admin/stop", self._guarded(self.stop), methods=["POST"]),
            Route("/admin/go", self._guarded(self.go), methods=["POST"]),
        ]

    async def faults(self, request: Request) -> Response:
        """Begin a fault, list those that last, or end them all."""
        if request.method == "POST":
            body = await request.body()
            if len(body) > LONGEST_BODY:
                return _error(400, f"a fault is told in at most {LONGEST_BODY} bytes")
            try:
                self._begin(body)
            except FaultError as error:
                return _error(400, str(error))
        elif request.method == "DELETE":
            self._trouble.clear()
        told = {"active": self._trouble.active(), "happened": self._trouble.happened(), "faults": NAMES}
        return JSONResponse({"status": "OK", **told})

    async def stop(self, _: Request) -> Response:
        """No more trades; connections stay."""
        return self._halted(True)

    async def go(self, _: Request) -> Response:
        """Trades again."""
        return self._halted(False)

    def _guarded(self, endpoint: Endpoint) -> Endpoint:
        async def guarded(request: Request) -> Response:
            if not self._may(request):
                return _error(401, "from another machine this needs the key the feed was started with")
            return await endpoint(request)

        return guarded

    def _begin(self, body: bytes) -> None:
        fault = read_fault(body)
        self._trouble.begin(fault)
        log.warning("fault", **msgspec.to_builtins(fault))

    def _halted(self, halted: bool) -> Response:
        self._halt(halted)
        log.warning("the market stands still" if halted else "the market goes on")
        return JSONResponse({"status": "OK", "halted": halted})


def _error(status: int, message: str) -> Response:
    return JSONResponse({"status": "ERROR", "error": message}, status)


Scenario = list[tuple[float, AnyFault]]


def read_scenario(path: Path) -> Scenario:
    """The lines of a scenario, {"at": seconds since the start, "fault": name, ...}, in order of time.

    Raises:
        FaultError: a line is not one; the message names it.
        OSError: the file cannot be read.
    """
    script: Scenario = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if not line.strip():
            continue
        try:
            fields: dict[str, Any] = msgspec.json.decode(line, type=dict[str, Any])
            at = fields.pop("at", None)
            if not isinstance(at, int | float) or not isfinite(at) or at < 0:
                raise FaultError("at must be the seconds since the start")
            script.append((at, read_fault(fields)))
        except (msgspec.MsgspecError, UnicodeDecodeError, FaultError) as error:
            raise FaultError(f"{path} line {number}: {error}") from error
    return sorted(script, key=lambda entry: entry[0])


async def play_scenario(script: Scenario, trouble: Trouble) -> None:
    """Begin each fault at its time."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    for at, fault in script:
        await asyncio.sleep(max(0.0, began + at - loop.time()))
        trouble.begin(fault)
        log.warning("fault", at=at, **msgspec.to_builtins(fault))
    log.info("scenario played to its end", faults=len(script))
