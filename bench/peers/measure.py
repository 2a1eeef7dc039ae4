"""The whole contest, as one report."""

from __future__ import annotations

import subprocess
from typing import Any, Final

from bench.context import Bench
from bench.peers.contenders import CONTENDERS
from bench.peers.contest import contest
from bench.peers.market import Scale
from bench.peers.report import figures, missed
from market.native.java import find_java

TRADES: Final = 6_000_000
"""Above 20 s for all but the fastest, on two cores."""


def measure_peers(where: Bench, scales: list[Scale], names: tuple[str, ...], head: dict[str, Any]) -> dict[str, Any]:
    """Measure the contenders of these names at each scale; ``head`` is the report's, with what voids it so far."""
    contenders = [contender for contender in CONTENDERS if contender.name in names]
    results = [figures(scale, contest(where, scale, contenders, where.choices.trades)) for scale in scales]
    head["machine"]["java"] = _java()
    return head | {
        "options": {"trades": where.choices.trades, "runs": where.choices.runs, "only": list(names)},
        "missed": missed(results),
        "results": results,
    }


def _java() -> str:
    """Which Java runs the broker and Kafka Streams."""
    answer = subprocess.run([find_java(), "-version"], capture_output=True, text=True, check=False)
    return next(iter(answer.stderr.splitlines()), "Java unknown")
