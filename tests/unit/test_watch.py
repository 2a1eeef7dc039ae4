"""When the watchdog calls a partition stalled, and when it does not."""

from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaException, TopicPartition

from streaming import watch
from streaming.watch import Watchdog

PLACE = ("ratios", 0)
STALL_S = 60.0


class EnoughError(Exception):
    """Ends the watchdog's endless loop."""


class World:
    """A worker, a broker and a clock, as the watchdog sees them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000.0
        self.end = 0
        self.ids = {PLACE[0]: "one"}
        self.out_of_reach = False
        emitter = SimpleNamespace(emitted=0, suppressed=0)
        self.partition = SimpleNamespace(
            position=0, stage=SimpleNamespace(name="stocks"), emitter=emitter, processor=SimpleNamespace(clock=0),
            read_ms=0, state_records=0, snapshots=SimpleNamespace(versions={}),
        )  # fmt: skip
        self.worker = SimpleNamespace(partitions={PLACE: self.partition}, joined=True, stage_names=("stocks",))
        monkeypatch.setattr(watch, "AdminClient", lambda settings: self)
        monkeypatch.setattr(watch, "topic_ids", lambda admin, names: {name: self.ids[name] for name in names})
        monkeypatch.setattr(watch, "die", self.die)
        monkeypatch.setattr(watch, "time", SimpleNamespace(monotonic=lambda: self.now, sleep=self.sleep))
        self.dog = Watchdog(self.worker, "nowhere:1", STALL_S)  # type: ignore[arg-type]

    def list_offsets(self, wanted: dict[TopicPartition, Any], request_timeout: float) -> dict[TopicPartition, Any]:
        if self.out_of_reach:
            raise KafkaException("no broker")
        return {place: SimpleNamespace(result=lambda: SimpleNamespace(offset=self.end)) for place in wanted}

    def die(self, reason: str, **_: Any) -> None:
        raise EnoughError(reason)

    def sleep(self, _: float) -> None:
        self.now += STALL_S
        if self.now > 1_000 + 10 * STALL_S:
            raise EnoughError

    def after(self, seconds: float, *, end: int | None = None, position: int | None = None) -> tuple[bool, Any]:
        """What the watchdog says after that time, at that end of the log and that position."""
        self.now += seconds
        self.end = self.end if end is None else end
        self.partition.position = self.partition.position if position is None else position
        self.dog._measure()
        return self.dog.health()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def test_standing_still_with_something_to_read_is_a_stall(world: World) -> None:
    assert world.after(2, end=10)[0]
    assert world.after(STALL_S)[0]
    healthy, detail = world.after(2)
    assert not healthy
    assert detail == {"assigned": True, "stalled": ["ratios/0"], "lag_records": {"ratios/0": 10}}


def test_moving_is_no_stall_however_far_behind(world: World) -> None:
    for position in range(100):
        assert world.after(STALL_S - 1, end=10_000, position=position)[0]


def test_the_first_record_after_a_long_quiet_is_no_stall(world: World) -> None:
    assert world.after(2, end=5, position=5)[0]
    assert world.after(3_600)[0]
    assert world.after(2, end=6)[0]  # it has just come and is not yet processed


def test_a_partition_that_moved_away_is_forgotten(world: World) -> None:
    world.after(2, end=10)
    world.worker.partitions = {}
    assert world.after(10 * STALL_S) == (True, {"assigned": True, "stalled": [], "lag_records": {}})


def test_a_broker_out_of_reach_is_no_stall(world: World) -> None:
    world.after(2, end=10)
    world.out_of_reach = True
    with pytest.raises(EnoughError):
        world.dog._run()
    world.out_of_reach = False
    assert world.after(2)[0]


def test_a_log_that_is_shorter_twice_in_a_row_was_made_anew(world: World) -> None:
    world.after(2, end=10, position=10)
    world.after(2, end=-1001)  # the broker does not know yet
    world.after(2, end=4)
    world.after(2, end=10)
    world.after(2, end=4)
    with pytest.raises(EnoughError, match="made anew"):
        world.after(2)


def test_another_topic_of_the_same_name_is_noticed_however_long_it_is(world: World) -> None:
    world.after(2, end=10, position=10)
    world.ids[PLACE[0]] = "another"
    world.dog._looks = watch.IDS_EVERY - 1  # the next look asks for the ids
    with pytest.raises(EnoughError, match="made anew"):
        world.after(2, end=1_000)
