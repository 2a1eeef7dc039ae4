"""CPU time of every process of the pipeline, those included that it starts on its way."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

import psutil
from psycopg.conninfo import conninfo_to_dict

from bench.context import Bench

_LOCAL: Final = ("127.0.0.1", "localhost", "::1", "")
_BUSY: Final = ("user", "nice", "system", "irq", "softirq")


def cpu_seconds(pid: int) -> float:
    """CPU seconds of a process and of all it started, those that have ended and were waited for included."""
    try:
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    total = 0.0
    for process in family:
        try:
            spent = process.cpu_times()
        except psutil.NoSuchProcess:
            continue  # it ended just now: its parent has its time
        total += spent.user + spent.system + spent.children_user + spent.children_system
    return float(total)


class Meter:
    """CPU seconds a second since ``start``, by name; None for a server that does not run on this machine."""

    def __init__(self, pids: Mapping[str, int | None]) -> None:
        self._pids = pids
        self._began = 0.0
        self._before: dict[str, float | None] = {}

    def start(self) -> None:
        """Count from now."""
        self._began, self._before = time.monotonic(), self._now()

    def read(self) -> dict[str, float | None]:
        """What each has taken since; ``whole machine`` has in it what runs besides."""
        seconds = time.monotonic() - self._began
        return {
            name: None if now is None else round((now - (self._before[name] or 0.0)) / seconds, 3)
            for name, now in self._now().items()
        }

    def _now(self) -> dict[str, float | None]:
        found = {name: None if pid is None else cpu_seconds(pid) for name, pid in self._pids.items()}
        whole = psutil.cpu_times()
        busy = sum(getattr(whole, name, 0.0) for name in _BUSY)
        return found | {"measuring": time.process_time(), "whole machine": busy}


def server_pids(bench: Bench) -> dict[str, int | None]:
    """The processes that listen where Kafka and PostgreSQL are reached; None for one that is not on this machine."""
    host, _, port = bench.servers.bootstrap.split(",")[0].rpartition(":")
    database = conninfo_to_dict(bench.servers.dsn)
    return {
        "broker": _listener(host, int(port)),
        "database": _listener(str(database.get("host") or ""), int(database.get("port") or 5432)),
    }


def _listener(host: str, port: int) -> int | None:
    if host not in _LOCAL:
        return None
    for process in psutil.process_iter():
        try:
            connections = process.net_connections(kind="tcp")
        except psutil.Error:
            continue
        if any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in connections):
            return _oldest(process, port)
    return None


def _oldest(process: psutil.Process, port: int) -> int:
    """A forked server's children hold its socket too: the first of the family counts."""
    while (parent := process.parent()) is not None:
        try:
            held = parent.net_connections(kind="tcp")
        except psutil.Error:
            break
        if not any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in held):
            break
        process = parent
    return int(process.pid)
