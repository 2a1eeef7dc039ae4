"""The rolling restart's own measure and verdict: each kind of wait, and every other promise, is noticed."""

from types import SimpleNamespace
from typing import Any

import pytest

from tests.chaos.pauses import FirstVersion, Span, measure
from tests.chaos.rolling import Rollout, Stop

PLACE = ("chaos.candles.stocks.1s", 0)


def measured(written: dict[int, float], ages: dict[float, float] | None = None) -> Rollout:
    """Of candles by their end, and what a look at the table found, in a span of 100 s."""
    finals = [FirstVersion(PLACE, "MARA", float(end), at) for end, at in written.items()]
    seen: Any = SimpleNamespace(seen=list((ages or {}).items()))
    rollout = Rollout(spans=[Span("ratio is restarted", 0.0, 100.0)], status=0)
    measure(iter(finals), seen, rollout.spans)
    return rollout


def test_candles_on_time_are_no_pause() -> None:
    rollout = measured({second: second + 0.3 for second in range(60)}, {5.0: 1.2})
    (span,) = rollout.spans
    assert (span.worst.candles, round(span.worst.late, 3), round(span.worst.silence, 3)) == (60, 0.3, 1.0)
    assert span.worst.age == 1.2
    assert rollout.wrong() == []


@pytest.mark.parametrize(
    ("written", "ages"),
    [
        ({1: 1.3, 2: 17.4}, {}),  # late
        ({1: 1.3, 17: 17.3}, {}),  # nothing in between, though what came was on time
        ({1: 1.3}, {20.0: 15.5}),  # the table has not got it
    ],
)
def test_each_kind_of_wait_is_told(written: dict[int, float], ages: dict[float, float]) -> None:
    (said,) = measured(written, ages).wrong()
    assert said.startswith("a pause of 1")


def test_what_belongs_to_another_span_is_not_counted() -> None:
    assert measured({1: 1.3, 120: 140.0}).spans[0].worst.late == pytest.approx(0.3)


def test_every_other_broken_promise_is_told() -> None:
    rollout = measured({1: 1.3})
    rollout.status = 1
    dead: Any = SimpleNamespace(label="sink-1", deaths=[70])
    rollout.workers.append(dead)
    rollout.stops += [Stop("a", 0, 9.9), Stop("b", -9, 0.1), Stop("c", 0, 10.1)]
    rollout.spans.append(Span("nobody trades", 200.0, 300.0))
    said = rollout.wrong()
    assert [words.split(" ")[0] for words in said] == ["the", "sink-1", "b", "c", "no"], said
