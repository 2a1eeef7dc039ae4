"""A rolling restart of every service while trades flow, as ``kubectl rollout restart`` makes it, and what it costs.

The Deployments say maxSurge 1, maxUnavailable 0 and minReadySeconds 10: a new process is started, and when it has
been healthy for ten seconds an old one gets SIGTERM; it must end with status 0 within ten seconds, and then the next
new one is started.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from marketdata.topics import MARKETS, Topics
from tests.chaos.pauses import RowAges, Span, first_versions, measure
from tests.chaos.run import check, drain, run_again, running
from tests.chaos.stack import NAMESPACE, PARTITIONS, SCHEMA, WORKERS, Stack, Supervised, eventually, say

ORDER: Final = ("ingest", "ratio", "aggregator", "sink")
"""As docs/upgrade.md names them."""
INTERVALS: Final = "500ms,1s,5s,15s"
STEADY_S: Final = 15.0
"""Undisturbed, before and after, to compare with."""
LONGEST_PAUSE_S: Final = 15.0
LONGEST_STOP_S: Final = 10.0
HEALTHY_S: Final = 120.0
READY_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Stop:
    """What SIGTERM did."""

    label: str
    status: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.label} ended with status {self.status} after {self.seconds:.1f} s"


@dataclass(slots=True)
class Rollout:
    """What has happened; ``wrong`` is empty where all of it is as it must be."""

    stops: list[Stop] = field(default_factory=list)
    workers: list[Supervised] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    status: int = 1

    def wrong(self) -> list[str]:
        """Every promise that was broken, in words."""
        said = [] if self.status == 0 else ["the checker found something lost, doubled or different"]
        said += [f"{worker.label} ended by itself: {worker.deaths}" for worker in self.workers if worker.deaths]
        said += [str(stop) for stop in self.stops if stop.status or stop.seconds > LONGEST_STOP_S]
        for span in self.spans:
            if not span.worst.candles:
                said.append(f"no candle while {span.name}")
            if span.worst.pause > LONGEST_PAUSE_S:
                said.append(f"a pause of {span.worst.pause:.1f} s while {span.name}: {span.worst}")
        return said


def roll(seed: int, directory: Path | None = None, environment: Mapping[str, str] | None = None) -> Rollout:
    """Restart all services in :data:`ORDER` at 2,000 trades/s, compare, and say how long candles were missed."""
    began = time.monotonic()
    kept = directory or Path(tempfile.mkdtemp(prefix="market-rolling-"))
    rollout = Rollout()
    with running(seed, kept, INTERVALS, environment or {}) as stack:
        rollout.workers += stack.workers
        with RowAges(stack.postgres.dsn, SCHEMA) as ages:
            eventually(lambda: ages.newest < float("inf"), "candles are in the table", HEALTHY_S)
            _restart_all(stack, rollout)
        drain(stack)
        topics = [Topics(NAMESPACE).candles(market, i) for market in MARKETS for i in INTERVALS.split(",")]
        measure(first_versions(stack.kafka.bootstrap, topics, PARTITIONS), ages, rollout.spans)
        for span in rollout.spans:
            say(f"{span.name:<22} {span.ended - span.began:5.1f} s: {span.worst}")
        run_again(stack)
        rollout.status = check(stack)
    wrong = rollout.wrong()
    say(f"{'; '.join(wrong) or 'all as it must be'} after {time.monotonic() - began:.0f} s")
    if not wrong and directory is None:
        shutil.rmtree(kept, ignore_errors=True)
    return rollout


def _restart_all(stack: Stack, rollout: Rollout) -> None:
    with _span(rollout, "nothing is restarted"):
        time.sleep(STEADY_S)
    for service in ORDER:
        with _span(rollout, f"{service} is restarted"):
            _restart(stack, service, rollout)
    with _span(rollout, "all are new"):
        time.sleep(STEADY_S)


@contextmanager
def _span(rollout: Rollout, name: str) -> Iterator[None]:
    span = Span(name, time.time())
    rollout.spans.append(span)
    yield
    span.ended = time.time()


def _restart(stack: Stack, service: str, rollout: Rollout) -> None:
    leaving = [worker for worker in stack.workers if worker.service == service]
    leaving.sort(key=lambda worker: not worker.holds_lease)  # the one that writes goes first: its standby takes over
    for number, old in enumerate(leaving, WORKERS[service] + 1):
        _replace(stack, old, number, rollout)


def _replace(stack: Stack, old: Supervised, number: int, rollout: Rollout) -> None:
    began = time.monotonic()
    (new,) = stack.service(old.service, NAMESPACE, SCHEMA, 1, first=number)
    stack.workers.append(new)
    rollout.workers.append(new)
    eventually(lambda: new.healthy, f"{new.label} is healthy", HEALTHY_S)
    healthy = time.monotonic()
    time.sleep(READY_S)
    stopping = time.monotonic()
    stop = Stop(old.label, old.stop(), time.monotonic() - stopping)
    stack.workers.remove(old)
    rollout.stops.append(stop)
    say(f"    {new.label} healthy after {healthy - began:.1f} s; {stop}")
