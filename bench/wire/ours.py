"""Ingest as shipped between the replay server and Kafka; all its trades are read again and compared."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Sequence
from itertools import chain
from typing import Final

from bench.context import Bench, BenchError
from bench.peers.contest import LONGEST_RUN_S
from bench.service import Service, running
from bench.usage import cpu_seconds
from bench.wire.outputs import collect, differences
from bench.wire.replaying import POLL_S, Result, Server, check, replaying
from bench.wire.stream import Stream
from marketdata.topics import MARKETS

SETTLE_S: Final = 5.0
"""What ingest has not written so long after all was sent, and its last trade written, it will not write."""
DELIVERY_S: Final = 0.5
CpuSample = tuple[float, float]
"""(wall clock in seconds, CPU seconds of a process until then)."""


def ours(bench: Bench, stream: Stream) -> Result:
    """One run, from the server's first write to the broker's time of the last trade in the topics.

    From the broker's first it would be too short: a new producer has many frames in hand by then.

    Raises:
        BenchError: a trade is missing, repeated or different, or the connection was lost.
        NativeError: ingest ended by itself.
    """
    bench.broker.recreate(bench.specs())
    with replaying(bench, stream) as server:
        url = f"ws://{server.address}"
        with running(
            bench, "ingest", DRY_RUN="true", SOURCE="feed", SYMBOLS="*", CRYPTO_SYMBOLS="*",
            STOCKS_URL=f"{url}/stocks", CRYPTO_URL=f"{url}/crypto", REST_URL=f"http://{server.address}",
        ) as service:  # fmt: skip
            try:
                samples = _watched(service, server, stream.trades)
                state = server.state()
            except BenchError as error:
                raise BenchError(f"{error}; its log ends:\n{service.child.output()[-1_500:]}") from error
    topics = [bench.topics.trades(market) for market in MARKETS]
    found = collect(chain.from_iterable(bench.broker.batches(topics)), stream.expected, state.shift_ms)
    if wrong := differences(found, stream.crypto * bench.broker.partitions):
        raise BenchError("its trades are not right: " + "; ".join(wrong))
    return Result(found.last - state.began, cpu_between(samples, state.began, found.last), state.cpu_s)


def cpu_between(samples: Sequence[CpuSample], first: float, last: float) -> float:
    """CPU seconds that a process spent from ``first`` to ``last``, between samples by their proportion."""
    return _cpu_at(samples, last) - _cpu_at(samples, first)


def _cpu_at(samples: Sequence[CpuSample], at: float) -> float:
    n = bisect_left(samples, (at, 0.0))
    if n == 0 or n == len(samples):
        return samples[min(n, len(samples) - 1)][1]
    (before, low), (after, high) = samples[n - 1], samples[n]
    return low + (high - low) * (at - before) / (after - before)


def _watched(service: Service, server: Server, trades: int) -> list[CpuSample]:
    """Samples of ingest's CPU time until it has written all trades; its metrics are read only at the end."""
    samples: list[CpuSample] = []
    deadline = time.monotonic() + LONGEST_RUN_S
    written, until, sent = 0.0, 0.0, False
    while True:
        check(service.child, deadline)
        samples.append((time.time(), cpu_seconds(service.child.pid)))
        now = time.monotonic()
        if not sent:
            sent, until = server.state().done, now + SETTLE_S
        elif written < trades and (found := service.metric("ingest_trades_written_total")) > written:
            written, until = found, now + (SETTLE_S if found < trades else DELIVERY_S)
        if sent and now > until:
            return samples
        time.sleep(POLL_S)
