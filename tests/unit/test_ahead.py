"""What is restored before the group assigns it: only where it will be ours, and only as far as time allows."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from streaming import ahead
from streaming.ahead import Ahead
from streaming.processor import BEGINNING
from streaming.settings import ServiceSettings

PLACES = [("ratios", number) for number in range(4)]


class Restored:
    """A partition as far as it matters here; ``position`` is set when it is restored."""

    def __init__(self, topic: str, number: int) -> None:
        self.place, self.position = (topic, number), BEGINNING


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> threading.Semaphore:
    """Lets one partition after the other be restored: to 100 and its number, those but the second have a snapshot."""
    allowed = threading.Semaphore(0)

    def begin(_: ServiceSettings, partitions: list[Any]) -> None:
        assert allowed.acquire(timeout=5)
        for partition in partitions:
            partition.position = BEGINNING if partition.place[1] == 1 else 100 + partition.place[1]

    monkeypatch.setattr(ahead, "begin_partitions", begin)
    return allowed


def started(monkeypatch: pytest.MonkeyPatch, members: int, **settings: Any) -> Ahead:
    monkeypatch.setattr(Ahead, "_members", lambda _: members)
    named = ServiceSettings(metrics_port=0, **settings)
    return Ahead(named, "aggregator", Restored, PLACES)  # type: ignore[arg-type]


def test_those_that_have_a_snapshot_are_restored(gate: threading.Semaphore, monkeypatch: pytest.MonkeyPatch) -> None:
    made = started(monkeypatch, members=1)
    gate.release(len(PLACES))
    made._thread.join(5)
    assert {place: p.position for place, p in made.stop().items()} == {
        ("ratios", 0): 100, ("ratios", 2): 102, ("ratios", 3): 103,
    }  # fmt: skip


def test_the_one_in_hand_is_finished_and_no_other_begun(
    gate: threading.Semaphore, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = started(monkeypatch, members=0)
    threading.Timer(0.2, gate.release, [len(PLACES)]).start()
    assert list(made.stop()) == PLACES[:1]


@pytest.mark.parametrize(("members", "settings"), [(2, {}), (1, {"snapshot_every_s": 0})])
def test_nothing_is_restored_for_others_or_without_snapshots(
    gate: threading.Semaphore, monkeypatch: pytest.MonkeyPatch, members: int, settings: dict[str, Any]
) -> None:
    gate.release(len(PLACES))
    made = started(monkeypatch, members, **settings)
    made._thread.join(5)
    assert made.stop() == {}


def test_a_broker_that_does_not_answer_stops_it_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise LookupError("no such topic")

    monkeypatch.setattr(ahead, "begin_partitions", fail)
    made = started(monkeypatch, members=1)
    made._thread.join(5)
    assert made.stop() == {}
