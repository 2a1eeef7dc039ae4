"""Trouble by request and by script: /admin on the REST port, and scenario files."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from feed.trouble import NAMES, AnyFault, FaultError, Trouble, read_fault

LONGEST_BODY: Final = 10_000
log = structlog.get_logger()


class Admin:
    """POST, GET and DELETE /admin/faults; POST /admin/stop and /admin/go halt the market and let it go on."""

    def __init__(self, trouble: Trouble, halt: Callable[[bool], None]) -> None:
        self._trouble = trouble
        self._halt = halt

    def routes(self) -> list[Route]:
        """What the REST application is given in addition."""
        return [
            Route("/admin/faults", self.faults, methods=["GET", "POST", "DELETE"]),
            Route("/admin/stop", self.stop, methods=["POST"]),
            Route("/admin/go", self.go, methods=["POST"]),
        ]

    async def faults(self, request: Request) -> Response:
        """Begin a fault, list those that last, or end them all."""
        if request.method == "POST":
            body = await request.body()
            try:
                self._begin(body[:LONGEST_BODY])
            except FaultError as error:
                return JSONResponse({"status": "ERROR", "error": str(error)}, 400)
        elif request.method == "DELETE":
            self._trouble.clear()
        return JSONResponse({"status": "OK", "active": self._trouble.active(), "faults": NAMES})

    async def stop(self, _: Request) -> Response:
        """No more trades; connections stay."""
        return self._halted(True)

    async def go(self, _: Request) -> Response:
        """Trades again."""
        return self._halted(False)

    def _begin(self, body: bytes) -> None:
        fault = read_fault(body)
        self._trouble.begin(fault)
        log.warning("fault", **msgspec.to_builtins(fault))

    def _halted(self, halted: bool) -> Response:
        self._halt(halted)
        log.warning("the market stands still" if halted else "the market goes on")
        return JSONResponse({"status": "OK", "halted": halted})


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
            at = float(fields.pop("at"))
            script.append((at, read_fault(msgspec.json.encode(fields))))
        except (msgspec.MsgspecError, KeyError, TypeError, ValueError) as error:
            raise FaultError(f"{path} line {number}: {error!r}") from error
    return sorted(script, key=lambda entry: entry[0])


async def play_scenario(script: Scenario, trouble: Trouble) -> None:
    """Begin each fault at its time."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    for at, fault in script:
        await asyncio.sleep(max(0.0, began + at - loop.time()))
        trouble.begin(fault)
        log.warning("fault", at=at, **msgspec.to_builtins(fault))
