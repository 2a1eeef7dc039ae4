"""Snapshots on a compacted topic: what is whole is taken, what is not is never taken for whole."""

from __future__ import annotations

from typing import Any

import pytest

from streaming import snapshots
from streaming.snapshots import Capture, Snapshot, SnapshotWriter, read_snapshots
from streaming.tails import Read

PLACE = ("stocks.state", 3)


def capture(**states: str | None) -> Capture:
    return Capture(5, 1_000, b'{"clock":7}', {s: None if v is None else v.encode() for s, v in states.items()})


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bytes, bytes]]:
    """The records of one partition, which a test may change as compaction would."""
    records: list[tuple[bytes, bytes]] = []

    def read(_bootstrap: str, places: Any) -> Any:
        return (Read(place, n, key, value) for place in places for n, (key, value) in enumerate(records))

    monkeypatch.setattr(snapshots, "read_ranges", read)
    return records


def newest() -> Snapshot | None:
    return read_snapshots("nowhere:1", [PLACE]).get(PLACE)


def compacted(records: list[tuple[bytes, bytes]]) -> None:
    last = {key: n for n, (key, _) in enumerate(records)}
    records[:] = [record for n, record in enumerate(records) if last[record[0]] == n]


def test_the_newest_version_of_each_state_counts(topic: list[tuple[bytes, bytes]]) -> None:
    writer = SnapshotWriter("id")
    topic += writer.records(10, capture(A="[1]", B="[2]"))
    topic += writer.records(20, capture(A="[3]", B=None, C="[4]"))
    for _ in range(2):
        found = newest()
        assert found == Snapshot(
            20, 5, 1_000, b'{"clock":7}', "id", {"A": b"[3]", "C": b"[4]"}, {"A": 20, "B": 20, "C": 20}
        )
        compacted(topic)


def test_a_snapshot_without_its_position_record_does_not_exist(topic: list[tuple[bytes, bytes]]) -> None:
    writer = SnapshotWriter("id")
    topic += writer.records(10, capture(A="[1]", B="[2]"))
    topic += list(writer.records(20, capture(A="[3]", B="[4]")))[:-1]
    found = newest()
    assert found is not None
    assert (found.position, found.states) == (10, {"A": b"[1]", "B": b"[2]"})
    compacted(topic)  # the states of 10 are gone for ever
    assert newest() is None


def test_a_replaced_writer_that_wrote_late_makes_nothing_wrong(topic: list[tuple[bytes, bytes]]) -> None:
    old, new = SnapshotWriter("id"), SnapshotWriter("id")
    first = list(old.records(10, capture(A="[1]", B="[2]")))
    new.versions = dict(old.versions)
    topic += first
    topic += new.records(30, capture(A="[30]"))
    topic += old.records(20, capture(A="[20]"))  # woke up and had still this to say
    found = newest()
    assert found is not None
    assert (found.position, found.states["A"]) == (30, b"[30]")
    compacted(topic)  # now A stands at 20 only, and so does the position
    found = newest()
    assert found is not None
    assert (found.position, found.states) == (20, {"A": b"[20]", "B": b"[2]"})
    topic += new.records(40, capture(B="[40]"))  # which believes in A at 30
    found = newest()
    assert found is None or found.position == 20


def test_what_cannot_be_read_is_passed_over(topic: list[tuple[bytes, bytes]]) -> None:
    topic += SnapshotWriter("id").records(10, capture(A="[1]"))
    topic += [(b"A", b"{"), (b"\xff", b'{"kind":"state","position":11,"state":1}'), (b"", b"")]
    found = newest()
    assert found is not None
    assert found.position == 10
