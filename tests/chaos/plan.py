"""What is done to the stack, drawn from the seed alone."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Final

SERVICES: Final = ("ingest", "ratio", "aggregator", "sink")
PAUSED: Final = ("ratio", "aggregator", "sink", "ingest")
RECORDS_BETWEEN_DEATHS: Final = 5_000
PAUSE_S: Final = 8.0
"""Beyond the session time-out of 6 s."""


@dataclass(frozen=True, slots=True)
class Doses:
    """How much of everything. ``gap_s`` is the least and the greatest time between two actions."""

    kills: int
    broker: int
    database: int
    pauses: int
    faults: int
    gap_s: tuple[float, float]


SHORT: Final = Doses(kills=3, broker=2, database=2, pauses=3, faults=5, gap_s=(0.5, 4.0))
LONG: Final = Doses(kills=15, broker=10, database=10, pauses=20, faults=30, gap_s=(0.5, 4.0))


@dataclass(frozen=True, slots=True)
class Action:
    """One thing done: kill, broker, database, pause or fault; ``target`` a service, ``detail`` a fault's words."""

    kind: str
    target: str = ""
    seconds: float = 0.0
    wait_s: float = 0.0
    detail: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        words = [self.kind, self.target, f"for {self.seconds:.1f} s" if self.seconds else ""]
        return " ".join([*filter(None, words), *(f"{k}={v}" for k, v in self.detail)])


def make_plan(seed: int, doses: Doses) -> list[Action]:
    """The actions in their order, each with the time to wait before it."""
    rng = random.Random(seed)
    kinds = [("kill", service) for service in SERVICES for _ in range(doses.kills)]
    kinds += [("broker", "")] * doses.broker + [("database", "")] * doses.database + [("fault", "")] * doses.faults
    kinds += [("pause", PAUSED[n % len(PAUSED)]) for n in range(doses.pauses)]
    rng.shuffle(kinds)
    faults = _faults(rng, doses.faults)
    return [_action(rng, kind, target, faults, doses) for kind, target in kinds]


def _action(rng: random.Random, kind: str, target: str, faults: list[dict[str, Any]], doses: Doses) -> Action:
    wait = rng.uniform(*doses.gap_s)
    if kind == "fault":
        return Action(kind, wait_s=wait, detail=tuple(faults.pop().items()))
    seconds = {"broker": rng.uniform(0.5, 4), "database": rng.uniform(0.5, 4), "pause": PAUSE_S}.get(kind, 0.0)
    return Action(kind, target, seconds, wait)


def _faults(rng: random.Random, count: int) -> list[dict[str, Any]]:
    """Every kind of fault in turn, the first of them different from seed to seed."""
    kinds: list[dict[str, Any]] = [
        {"fault": "drop"},
        {"fault": "close", "code": 1000},
        {"fault": "close", "code": 1008},
        {"fault": "close", "code": 1011},
        {"fault": "silence", "seconds": 12},
        {"fault": "garbage"},
        {"fault": "no_ev"},
        {"fault": "big_frame"},
        {"fault": "refuse_auth", "seconds": 1},
        {"fault": "drop_in_auth", "count": 1},
        {"fault": "max_connections", "count": 1},
        {"fault": "duplicate", "share": 0.2, "seconds": 3},
        {"fault": "slow"},
        {"fault": "rest_error", "count": 3},
        {"fault": "rest_limit", "count": 3},
        {"fault": "rest_missing", "count": 3},
    ]
    rng.shuffle(kinds)
    chosen = [dict(kinds[n % len(kinds)]) for n in range(count)]
    for fault in chosen:
        if not fault["fault"].startswith("rest"):
            fault["cluster"] = rng.choice(("stocks", "crypto"))
    return chosen
