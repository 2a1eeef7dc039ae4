"""What the sink's /health says: when it may be called ready, and when it stands still."""

from unittest.mock import Mock

from services.sink.metrics import Progress
from services.sink.outlook import Outlook


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_sink_is_healthy_once_it_has_taken_up_its_part_be_it_nothing() -> None:
    progress = Progress(60, Clock())
    outlook = Outlook(Mock(), progress)
    assert progress.check() == (False, {"assigned": False, "lag_records": None, "seconds_since_moved": 0.0})
    outlook.begin({})
    assert progress.check()[0]


def test_a_sink_that_is_behind_and_stands_still_is_not_healthy() -> None:
    clock = Clock()
    progress = Progress(60, clock)
    Outlook(Mock(), progress).begin({("ratios", 0): 7})
    progress.lag = 5
    clock.now += 59
    assert progress.check()[0]
    clock.now += 2
    assert progress.check() == (False, {"assigned": True, "lag_records": 5, "seconds_since_moved": 61.0})
    progress.moved()
    assert progress.check()[0]
    clock.now += 3_600
    progress.lag = 0
    assert progress.check()[0], "caught up: there is nothing to move for"
