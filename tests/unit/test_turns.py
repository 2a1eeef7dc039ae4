"""Runs of one partition go one after the other; while one has paused others go first."""

from collections.abc import Iterator

import pytest

from streaming.turns import Turns

A, B = ("ratios", 0), ("ratios", 1)


class Record:
    """What was done, in its order."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    def run(self, name: str, pauses: int) -> Iterator[None]:
        for n in range(pauses):
            self.steps.append(f"{name}{n}")
            yield
        self.steps.append(f"{name}.")


@pytest.fixture
def done() -> Record:
    return Record()


def test_what_does_not_pause_is_done_at_once(done: Record) -> None:
    turns = Turns()
    turns.begin(A, done.run("a", 0))
    assert (done.steps, len(turns)) == (["a."], 0)


def test_a_partition_that_has_paused_lets_others_begin_but_none_of_its_own(done: Record) -> None:
    turns = Turns()
    turns.begin(A, done.run("a", 1))
    turns.begin(A, done.run("b", 0))
    turns.begin(B, done.run("c", 0))
    assert (done.steps, len(turns)) == (["a0", "c."], 1)
    turns.go_on()
    assert (done.steps, len(turns)) == (["a0", "c.", "a.", "b."], 0)
    turns.go_on()


def test_who_pauses_again_goes_behind_the_others(done: Record) -> None:
    turns = Turns()
    turns.begin(A, done.run("a", 2))
    turns.begin(B, done.run("b", 2))
    turns.end()
    assert done.steps == ["a0", "b0", "a1", "b1", "a.", "b."]
    assert not turns


def test_a_later_run_that_pauses_gives_way_too(done: Record) -> None:
    turns = Turns()
    turns.begin(A, done.run("a", 1))
    turns.begin(A, done.run("b", 1))
    turns.begin(B, done.run("c", 1))
    turns.end()
    assert done.steps == ["a0", "c0", "a.", "b0", "c.", "b."]


def test_settling_ends_what_has_begun_of_the_kept_and_drops_the_rest(done: Record) -> None:
    turns = Turns()
    for place, name in ((A, "a"), (A, "b"), (B, "c")):
        turns.begin(place, done.run(name, 2))
    turns.settle({A})
    assert (done.steps, len(turns)) == (["a0", "c0", "a1", "a."], 0)
