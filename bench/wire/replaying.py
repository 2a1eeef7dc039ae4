"""A replay server in a process of its own, as the parent sees it, and what a run gives."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from bench.context import Bench, BenchError
from bench.peers.contest import LONGEST_RUN_S
from bench.service import start
from bench.wire.server import State
from bench.wire.stream import Stream
from market.native import Child, choose_port
from market.stack import get_health

POLL_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Result:
    """One run: seconds from the first trade to the last, CPU seconds of the reader and of the server meanwhile."""

    seconds: float
    cpu_s: float
    server_cpu_s: float


class Server:
    """One that runs."""

    def __init__(self, child: Child, port: int) -> None:
        self._child = child
        self._port = port

    @property
    def address(self) -> str:
        """Where WebSocket and REST answer, host:port."""
        return f"127.0.0.1:{self._port}"

    def state(self) -> State:
        """How far it is.

        Raises:
            BenchError: its reader left or came twice.
            NativeError: it has ended.
        """
        if not self._child.running:
            raise self._child.died()
        healthy, told = get_health(self._port)
        state = msgspec.convert(told, State) if healthy else State()
        if state.failed:
            raise BenchError(f"the replay server says: {state.failed}")
        return state

    def until_sent(self, reader: Child) -> State:
        """Wait until all is sent to ``reader``; the state then.

        Raises:
            BenchError: the reader was too slow, or lost its connection.
            NativeError: it has ended.
        """
        deadline = time.monotonic() + LONGEST_RUN_S
        while not (state := self.state()).done:
            check(reader, deadline)
            time.sleep(POLL_S)
        return state


def check(reader: Child, deadline: float) -> None:
    """Raise where the reader has ended (NativeError), or ``deadline`` (monotonic seconds) is over (BenchError)."""
    if not reader.running:
        raise reader.died()
    if time.monotonic() > deadline:
        raise BenchError(f"{reader.name} had not taken the stream after {LONGEST_RUN_S:g} s")


@contextlib.contextmanager
def replaying(bench: Bench, stream: Stream) -> Iterator[Server]:
    """A new server with the stream, ready for its one reader."""
    port = choose_port()
    with start(bench, "replay", ["-m", "bench.wire.server", str(stream.path), str(port)], {}) as child:
        child.wait_until(lambda: get_health(port)[0], 60, pause=POLL_S)
        yield Server(child, port)


def send_only(bench: Bench, stream: Stream) -> Result:
    """The floor: what the server alone sends to a reader that looks at nothing, by the server's clock."""
    with replaying(bench, stream) as server:
        port = server.address.partition(":")[2]
        with start(bench, "sink", ["-m", "bench.wire.sink", port], {}) as child:
            state = server.until_sent(child)
    return Result(state.seconds, 0.0, state.cpu_s)
