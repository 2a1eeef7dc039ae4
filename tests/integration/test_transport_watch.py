"""The watchdog: a worker that stands still ends, one that has nothing to do lives and takes over."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from marketdata.records import Clock, encode
from tests.support.logs import STOCKS, Entry, write
from tests.support.topics import new_namespace, read_topic, under_rule
from tests.support.workers import Worker, eventually

pytestmark = pytest.mark.integration
STALL_S = 5


@contextlib.contextmanager
def workers(kafka: str, path: Path, partitions: int, number: int, **env: str) -> Iterator[tuple[str, list[Worker]]]:
    """Workers of the tiny stage in a namespace of their own."""
    with (
        new_namespace(kafka, partitions, STOCKS, "ratios", "ratio.dlq") as namespace,
        contextlib.ExitStack() as stack,
    ):
        env |= {"PARTITIONS": str(partitions), "STALL_TIMEOUT_S": str(STALL_S)}
        yield (
            namespace,
            [
                stack.enter_context(
                    Worker("tests.support.echo", kafka, namespace, path / f"{namespace}{i}.log", **env)
                )
                for i in range(number)
            ],
        )


def records(partitions: int, count: int) -> list[Entry]:
    return [Entry(STOCKS, i % partitions, None, encode(Clock(ts=i, epoch=1)), b"clock") for i in range(count)]


def hangs(kafka: str, path: Path) -> None:
    """An agent that hangs is ended by its own process, and the log says where it stood."""
    with workers(kafka, path, 1, 1, ECHO_HANG_AT="700") as (namespace, (worker,)):
        write(kafka, namespace, records(1, 1_000))
        assert worker.ended() == 70
        last = worker.events()[-1]
        assert last["reason"] == "the position stands still while there is something to read"
        assert last["partitions"] == [f"{namespace}{STOCKS}/0"]


def waits(kafka: str, path: Path) -> None:
    """Of three workers for two partitions one is idle: healthy for longer than a stall, then it takes over."""
    with workers(kafka, path, 2, 3) as (namespace, three):
        eventually(lambda: sorted(map(holds, three)) == [0, 1, 1], lambda: f"one each, but {list(map(holds, three))}")
        idle = next(w for w in three if not holds(w))
        began = time.monotonic()
        written = 0
        while time.monotonic() - began < STALL_S + 3:
            write(kafka, namespace, records(2, 20))
            written += 20
            time.sleep(0.5)
        healthy, checks = idle.health()
        assert healthy, checks
        assert checks["progress"]["detail"]["lag_records"] == {}
        busy = [w for w in three if w is not idle]
        assert all(w.child.running for w in three)
        busy[0].kill()
        eventually(lambda: holds(idle) + holds(busy[1]) == 2, "the dead one's partition is taken over")
        wanted = [list(range(written // 2))] * 2
        eventually(lambda: offsets(kafka, namespace) == wanted, "all came out")


def holds(worker: Worker) -> int:
    assigned = worker.events("partitions assigned")
    return len(assigned[-1]["partitions"]) if assigned else -1


def offsets(kafka: str, namespace: str) -> list[list[int]]:
    return [[r["src"][1] for r in p] for p in under_rule(read_topic(kafka, namespace + "ratios")).partitions]


def test_a_hanging_worker_ends_and_an_idle_one_lives(kafka: str, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:  # side by side, as both mostly wait
        for outcome in [pool.submit(hangs, kafka, tmp_path), pool.submit(waits, kafka, tmp_path)]:
            outcome.result()
