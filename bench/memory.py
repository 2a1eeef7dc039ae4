"""Whether memory stands still: each service's resident size over minutes of steady trades."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Any, Final

import psutil

from bench.context import Bench, BenchError, say
from bench.live import live_ingest
from bench.rows import drop_schema
from bench.service import Service, running

EVERY_S: Final = 10.0
SCHEMA: Final = "bench_memory"
FIRST_MINUTE: Final = 2
QUEUES: Final = {
    "ingest": ("ingest_queue_frames", "ingest_spool_frames"),
    "ratio": ("stage_lag_records",),
    "aggregator": ("stage_lag_records",),
    "sink": ("sink_lag_records",),
}


def measure_memory(bench: Bench, rate: int, minutes: int, horizon_s: int) -> dict[str, Any]:
    """MB of each service at minute 2 and at the end, and what a minute of horizon takes for 1,000 trades/s."""
    drop_schema(bench, SCHEMA)
    bench.broker.recreate(bench.specs())
    environment = {"REVISION_HORIZON_S": str(horizon_s), "DATABASE_SCHEMA": SCHEMA}
    with ExitStack() as stack:
        services = {
            name: stack.enter_context(running(bench, name, **environment)) for name in ("sink", "aggregator", "ratio")
        }
        for service in services.values():
            service.wait_healthy()
        services["ingest"] = live_ingest(bench, rate, stack, REVISION_HORIZON_S=str(horizon_s))
        idle = {name: _mb(service) for name, service in services.items()}
        samples = _sampled(services, minutes)
    drop_schema(bench, SCHEMA)
    return {"rate": rate, "minutes": minutes, "horizon_s": horizon_s} | {
        name: _summary(idle[name], rows, rate) for name, rows in samples.items()
    }


def _sampled(services: dict[str, Service], minutes: int) -> dict[str, list[dict[str, float]]]:
    began = time.monotonic()
    samples: dict[str, list[dict[str, float]]] = {name: [] for name in services}
    while (passed := time.monotonic() - began) < minutes * 60 + 5:
        for name, service in services.items():
            if service.finished():
                raise BenchError(f"{name} ended by itself:\n{service.child.output()[-1_500:]}")
            queues = {metric: service.metric(metric) for metric in QUEUES[name]}
            samples[name].append({"minute": passed / 60, "mb": _mb(service)} | queues)
        sizes = {name: round(rows[-1]["mb"]) for name, rows in samples.items()}
        say(f"minute {passed / 60:4.1f}: MB {sizes}")
        time.sleep(EVERY_S)
    return samples


def _summary(idle_mb: float, rows: list[dict[str, float]], rate: int) -> dict[str, Any]:
    early = [row["mb"] for row in rows if FIRST_MINUTE - 0.3 <= row["minute"] <= FIRST_MINUTE + 0.3]
    late = [row["mb"] for row in rows if row["minute"] >= rows[-1]["minute"] - 0.6]
    first, last = sum(early) / len(early), sum(late) / len(late)
    worst = {name: max(row[name] for row in rows) for name in rows[0] if name not in {"minute", "mb"}}
    return {"mb_idle": round(idle_mb), "mb_minute_2": round(first, 1), "mb_end": round(last, 1),
            "end_to_minute_2": round(last / first, 3),
            "mb_of_horizon_for_1000_trades_s": round((last - idle_mb) * 1_000 / rate, 1), "most": worst}  # fmt: skip


def _mb(service: Service) -> float:
    return float(psutil.Process(service.child.pid).memory_info().rss) / 1e6
