import pytest

from marketdata.clock import FileClock, LiveClock
from marketdata.units import CLOCK_STEP_US, DAY_US, SECOND_US

STEP = CLOCK_STEP_US
NOW = 34_000_000 * STEP
ALLOWANCE = 5 * STEP
DELAY = 900 * SECOND_US


@pytest.mark.parametrize(
    ("first", "second", "clocks"),
    [
        (10, 10, ()),
        (10, 40_000, ()),
        (10, STEP - 1, ()),
        (10, STEP, (STEP,)),
        (10, STEP + 1, (STEP,)),
        (10, 2 * STEP, (STEP, 2 * STEP)),
        (10, 2 * STEP + 1, (STEP, 2 * STEP)),
        (10, 3 * STEP, (STEP, 2 * STEP, 3 * STEP)),
        (10, 100 * STEP, (STEP, 99 * STEP, 100 * STEP)),
        (10, 100 * STEP + 1, (STEP, 100 * STEP)),
    ],
)
def test_clocks_between_two_events_of_a_file(first: int, second: int, clocks: tuple[int, ...]) -> None:
    clock = FileClock()
    assert clock.before(first) == ()
    assert clock.before(second) == clocks
    assert clock.before(second) == ()


@pytest.mark.parametrize(
    ("second", "clocks"),
    [
        (STEP, ()),
        (STEP + 1, ()),
        (2 * STEP, (2 * STEP,)),
        (2 * STEP + 1, (2 * STEP,)),
        (3 * STEP, (2 * STEP, 3 * STEP)),
        (9 * STEP + 1, (9 * STEP,)),
    ],
)
def test_an_event_on_a_multiple_has_its_clock_before_it(second: int, clocks: tuple[int, ...]) -> None:
    clock = FileClock()
    assert clock.before(STEP) == (STEP,)
    assert clock.before(second) == clocks


@pytest.mark.parametrize(
    ("last", "clocks"),
    [(10, (STEP, DAY_US)), (STEP, (DAY_US,)), (DAY_US - 1, (DAY_US,)), (DAY_US, (2 * DAY_US,))],
)
def test_clocks_at_the_end_of_the_files(last: int, clocks: tuple[int, ...]) -> None:
    clock = FileClock()
    clock.before(last)
    assert clock.end() == clocks


def test_no_event_no_clock() -> None:
    assert FileClock().end() == ()


def live(max_hold: int = 2 * SECOND_US, last: int = 0, delay: int = 0) -> LiveClock:
    return LiveClock(ALLOWANCE, delay, max_hold, last)


@pytest.mark.parametrize("delay", [0, DELAY])
def test_without_trades_the_clock_follows_the_wall(delay: int) -> None:
    clock = live(delay=delay)
    assert clock.due(NOW) == NOW - ALLOWANCE - delay
    assert not clock.is_due(NOW + STEP - 1)
    assert clock.due(NOW + STEP - 1) is None
    assert clock.is_due(NOW + STEP)
    assert clock.due(NOW + STEP) == NOW + STEP - ALLOWANCE - delay
    assert clock.due(NOW + 10 * STEP + 7) == NOW + 10 * STEP - ALLOWANCE - delay


@pytest.mark.parametrize(
    ("lags", "hold"),
    [
        ([0], 0),
        ([-3 * SECOND_US], 0),
        ([ALLOWANCE // 2], 0),
        ([ALLOWANCE // 2 + 1], 1),
        ([ALLOWANCE], ALLOWANCE - ALLOWANCE // 2),
        ([60 * SECOND_US, ALLOWANCE, 60 * SECOND_US], ALLOWANCE - ALLOWANCE // 2),
        ([ALLOWANCE, 10, ALLOWANCE], 0),
        ([60 * SECOND_US], 2 * SECOND_US),
    ],
)
@pytest.mark.parametrize("delay", [0, DELAY])
def test_the_least_lag_beyond_half_the_allowance_holds_the_clock_back(lags: list[int], hold: int, delay: int) -> None:
    clock = live(delay=delay)
    for lag in lags:
        clock.trade(NOW - lag - delay, NOW)
    assert clock.hold(NOW) == hold
    assert clock.skew(NOW) == min(lags)
    value = NOW - ALLOWANCE - delay - hold
    assert clock.due(NOW) == value - value % STEP


def test_the_least_lag_is_that_of_the_last_second() -> None:
    clock = live()
    clock.trade(NOW, NOW)
    clock.trade(NOW, NOW + ALLOWANCE)
    assert clock.hold(NOW + SECOND_US) == 0
    assert clock.hold(NOW + SECOND_US + 1) == ALLOWANCE - ALLOWANCE // 2
    assert clock.hold(NOW + ALLOWANCE + SECOND_US + 1) == 0


def test_the_memory_of_lags_is_small() -> None:
    clock = live()
    for i in range(10_000):
        clock.trade(NOW, NOW + i % 7)
        assert len(clock._lags) <= 7


def test_the_clock_never_goes_back() -> None:
    clock = live(last=NOW)
    assert clock.due(NOW) is None
    assert clock.due(NOW + ALLOWANCE) is None
    assert clock.due(NOW + ALLOWANCE + STEP) == NOW + STEP
    clock.trade(NOW, NOW + ALLOWANCE + STEP + SECOND_US)
    assert clock.due(NOW + ALLOWANCE + 2 * STEP) is None
    assert clock.due(NOW - 3600 * SECOND_US) is None, "the wall clock was set back"
    assert clock.last == NOW + STEP


def test_a_jump_of_the_wall_clock_back_does_not_leave_old_lags_behind() -> None:
    clock = live()
    clock.trade(NOW - ALLOWANCE, NOW)
    clock.trade(NOW + STEP, NOW + STEP - 3600 * SECOND_US)
    assert clock.hold(NOW - 3599 * SECOND_US) == 0


def test_an_open_gap_limits_the_clock() -> None:
    clock = live()
    limit = NOW - 8 * STEP
    assert clock.due(NOW, limit) == limit
    assert clock.due(NOW + STEP, limit) is None
    assert clock.due(NOW + STEP, None) == NOW + STEP - ALLOWANCE


def test_when_the_next_clock_is_due() -> None:
    clock = LiveClock(ALLOWANCE + 20_000, 0, SECOND_US)
    assert clock.next_in(NOW) == 20_000
    clock.due(NOW)
    assert not clock.is_due(NOW + 19_999)
    assert clock.is_due(NOW + 20_000)
    clock.trade(NOW - ALLOWANCE // 2 - 10_000 - 13_000, NOW)
    assert clock.next_in(NOW) == 33_000
