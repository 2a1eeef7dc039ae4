"""How a worker bears slowness, errors and signals; a tiny stage that copies its input stands for every service."""

from __future__ import annotations

import contextlib
import itertools
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from marketdata.records import Clock, encode
from tests.support.logs import STOCKS, Entry, Feeder, write
from tests.support.topics import Ends, new_namespace, read_messages, read_topic, under_rule
from tests.support.workers import Worker, eventually

pytestmark = pytest.mark.integration
PARTITIONS = 2
ONE_FETCH = 1_000
Start = Callable[..., Worker]


@pytest.fixture
def space(kafka: str) -> Iterator[str]:
    """A namespace with the topics of one stage."""
    with new_namespace(kafka, PARTITIONS, STOCKS, "ratios", "ratio.dlq") as namespace:
        yield namespace


@pytest.fixture
def start(kafka: str, space: str, tmp_path: Path) -> Iterator[Start]:
    """Starts a worker of the tiny stage, told by the environment how to misbehave."""
    workers: list[Worker] = []

    def start(**env: str) -> Worker:
        log = tmp_path / f"echo-{len(workers)}.log"
        env = {"PARTITIONS": str(PARTITIONS)} | env
        workers.append(Worker("tests.support.echo", kafka, space, log, **env).start())
        return workers[-1]

    yield start
    for worker in workers:
        worker.child.kill()


def clocks(records: int) -> list[Entry]:
    """That many records, the partitions taking turns."""
    return [Entry(STOCKS, i % PARTITIONS, None, encode(Clock(ts=i, epoch=1)), b"clock") for i in range(records)]


def echoed(kafka: str, space: str) -> tuple[list[list[int]], int]:
    """The source offsets that came out, by partition, and how many repeats stand between them."""
    read = under_rule(read_topic(kafka, space + "ratios"))
    return [[record["src"][1] for record in records] for records in read.partitions], read.dropped


def some_echoed(kafka: str, space: str, records: int) -> None:
    """Wait until that many stand in the output, repeats counted."""
    with contextlib.closing(Ends(kafka)) as ends:
        eventually(lambda: sum(ends(space + "ratios")) >= records, f"{records} came out")


def all_echoed(kafka: str, space: str, records: int) -> None:
    """Wait until every record came out once and in order, in each partition."""
    some_echoed(kafka, space, records)
    wanted = [list(range(records // PARTITIONS))] * PARTITIONS
    eventually(lambda: echoed(kafka, space)[0] == wanted, lambda: f"all came out, but {echoed(kafka, space)}")


def test_a_slow_agent_bounds_memory_moves_steadily_and_says_no_more_than_it_should(
    kafka: str, space: str, start: Start
) -> None:
    write(kafka, space, clocks(16_000))
    worker = start(ECHO_SLEEP_US="50", ECHO_LINGER_MS="400", ECHO_BOUND="1500", ECHO_READ=str(ONE_FETCH))
    all_echoed(kafka, space, 16_000)
    worker.child.popen.send_signal(signal.SIGINT)
    assert worker.ended(10) == 0
    # Long runs are where Faust would warn of its timers.
    assert [e["event"] for e in worker.events()] == ["started", "partitions assigned", "stopped", "watched"]
    assert len(worker.output().splitlines()) == 4
    assert "\x1b" not in worker.output()
    seen = worker.events("watched")[-1]
    assert 1_500 < seen["most_unfinished"] <= 1_500 + ONE_FETCH  # the bound was reached, and it held
    assert seen["idle_seconds"] == 0
    appended = sorted(m.timestamp()[1] for partition in read_messages(kafka, space + "ratios") for m in partition)
    gap = max(b - a for a, b in itertools.pairwise(appended))
    print(f"most unfinished {seen['most_unfinished']:,}, {appended[-1] - appended[0]} ms, longest pause {gap} ms")


def test_an_error_in_an_agent_ends_the_process_and_leaves_a_prefix(kafka: str, space: str, start: Start) -> None:
    write(kafka, space, clocks(8_000))
    failing = start(ECHO_FAIL_AT="2500")
    assert failing.ended() == 70
    last = failing.events()[-1]
    assert (last["event"], last["reason"]) == ("fatal", "an agent failed")
    assert "told to fail" in last["error"]
    assert failing.output().rstrip().splitlines()[-1].startswith("{")
    for offsets in echoed(kafka, space)[0]:
        assert offsets == list(range(len(offsets)))
        assert len(offsets) <= 4_000
    start()
    all_echoed(kafka, space, 8_000)
    assert echoed(kafka, space)[1] == 0


def test_sigterm_stops_a_busy_worker_soon_and_cleanly(kafka: str, space: str, start: Start) -> None:
    worker = start()
    with Feeder(kafka, space, clocks(40_000), rate=4_000) as feeder:
        some_echoed(kafka, space, 1_000)
        status, seconds = worker.terminate(10)
        assert status == 0
        assert feeder.is_alive()  # it was stopped in the middle of its work
    assert worker.events("stopped")[-1]["undelivered"] == 0
    offsets, dropped = echoed(kafka, space)
    assert [found == list(range(len(found))) for found in offsets] == [True] * PARTITIONS
    assert dropped == 0
    print(f"ended after {seconds:.1f} s")


def test_a_stop_that_faust_never_finishes_has_an_end(kafka: str, space: str, start: Start) -> None:
    worker = start(ECHO_HANG_ON_STOP="1", ECHO_STOP_WITHIN_S="2")
    write(kafka, space, clocks(2_000))
    all_echoed(kafka, space, 2_000)
    status, seconds = worker.terminate(10)
    assert status == 0
    last = worker.events()[-1]
    assert (last["event"], last["undelivered"]) == ("stopped", 0)
    assert "did not stop" in last["reason"]
    print(f"ended after {seconds:.1f} s")


def test_another_number_of_partitions_is_fatal_at_the_start(kafka: str, space: str, start: Start) -> None:
    worker = start(PARTITIONS="3")
    assert worker.ended() == 70
    (event,) = worker.events()
    assert event["event"] == "fatal"
    assert f"{space}" in event["reason"]
    assert "has 2 partitions, the configuration says 3" in event["reason"]
