"""What a figure stands beside: the machine, the versions, the load before the start, the commit, the command."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import confluent_kafka
import psutil
import psycopg

from market.native.jars import KAFKA_VERSION

HIGHEST_LOAD: Final = 1.0
_ROOT: Final = Path(__file__).resolve().parent.parent


def load_before() -> float:
    """The load average of the last minute; take it before anything is started."""
    return round(os.getloadavg()[0], 2)


def load_reasons(load: float) -> list[str]:
    """The reason to void a run that began on a busy machine; empty if it did not."""
    if load <= HIGHEST_LOAD:
        return []
    return [f"the load average was {load} before the start, above {HIGHEST_LOAD:g}: something else ran"]


def circumstances(load: float, dsn: str, own_kafka: bool) -> dict[str, Any]:
    """The head of a report of a run with servers; an empty ``dsn`` stands for no database."""
    head = alone(load)
    head["machine"] |= {
        "kafka": KAFKA_VERSION if own_kafka else "from KAFKA_BOOTSTRAP_SERVERS: the protocol does not tell",
        "librdkafka": confluent_kafka.libversion()[0],
    }
    if dsn:
        head["machine"]["postgres"] = postgres_version(dsn)
    return head


def alone(load: float) -> dict[str, Any]:
    """The head of a report of one process, without servers."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "command": shlex.join(["python", "-m", "bench", *sys.argv[1:]]),
        "commit": commit(),
        "load_before": load,
        "machine": {
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "cpu": cpu_model(),
            "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
            "system": f"{platform.system()} {platform.release()}",
            "python": platform.python_version(),
        },
    }


def cpu_model() -> str:
    """The processor's name where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def postgres_version(dsn: str) -> str:
    """Version of the server, and of TimescaleDB if it is preloaded."""
    query = "SELECT current_setting('server_version'), current_setting('shared_preload_libraries', true)"
    with psycopg.connect(dsn) as connection:
        version, preloaded = connection.execute(query).fetchone() or ("unknown", "")
    return f"{version}, TimescaleDB preloaded" if "timescaledb" in (preloaded or "") else str(version)


def commit() -> str:
    """The commit of the checkout we run from, marked where files differ from it; "unknown" without one."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{head} with local changes" if changed else head


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(_ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
