"""The vendor's client in its own environment; it must count each trade once."""

from __future__ import annotations

import json
import subprocess
from typing import Final

from bench.context import Bench, BenchError
from bench.peers.contest import LONGEST_RUN_S
from bench.peers.environments import command_of
from bench.wire.replaying import Result, replaying
from bench.wire.stream import Stream
from market.native import Child

PEER: Final = "polygon"
PACKAGE: Final = "polygon-api-client"


def official(bench: Bench, stream: Stream, mode: str) -> Result:
    """One run, by the client's own clock; ``mode`` is ``parsed`` or ``raw``.

    Raises:
        BenchError: it did not count every trade once, or lost its connection.
        NativeError: it ended by itself, or its environment cannot be made.
    """
    command, log = command_of(PEER, "peer.py"), bench.directory / "logs" / f"{mode}.log"
    with replaying(bench, stream) as server:
        environment = {"ADDRESS": server.address, "MODE": mode, "TRADES": str(stream.trades), "PYTHONPATH": "",
                       "VIRTUAL_ENV": ""}  # fmt: skip
        child = Child.start(f"the official client, {mode}", command, log, env=environment, cwd=bench.directory)
        try:
            state = server.until_sent(child)
            code = child.popen.wait(LONGEST_RUN_S)
        except subprocess.TimeoutExpired:
            raise BenchError(f"{child.name} counted less than {stream.trades:,} trades") from None
        finally:
            child.stop()
    if code:
        raise child.died()
    return counted(child.output(), stream.trades, state.cpu_s)


def counted(output: str, trades: int, server_cpu_s: float) -> Result:
    """What the client has printed last.

    Raises:
        BenchError: it counted another number of trades.
    """
    told = json.loads(output.splitlines()[-1])
    if told["trades"] != trades:
        raise BenchError(f"{told['trades']:,} trades were counted where {trades:,} are right")
    return Result(told["seconds"], told["cpu_s"], server_cpu_s)
