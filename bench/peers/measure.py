"""A whole contest, as one report."""

from __future__ import annotations

import subprocess
from typing import Any

from bench.context import Bench
from bench.peers.contest import contest
from bench.peers.job import Job
from bench.peers.market import Scale
from bench.peers.report import figures, missed
from market.native.java import find_java


def measure_contest(
    where: Bench, job: Job, scales: list[Scale], names: tuple[str, ...], head: dict[str, Any]
) -> dict[str, Any]:
    """Measure the contenders of these names at each scale; ``head`` is the report's, with what voids it so far."""
    contenders = [contender for contender in job.contenders if contender.name in names]
    trades = where.choices.trades
    results = [figures(job, scale, contest(where, job, scale, contenders, trades)) for scale in scales]
    head["machine"]["java"] = _java()
    return head | {
        "job": job.title,
        "options": {"trades": trades, "runs": where.choices.runs, "only": list(names)},
        "missed": missed(results),
        "results": results,
    }


def _java() -> str:
    """Which Java runs the broker and Kafka Streams."""
    answer = subprocess.run([find_java(), "-version"], capture_output=True, text=True, check=False)
    return next(iter(answer.stderr.splitlines()), "Java unknown")
