"""The clock that does not jump, with simulated wall clocks."""

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from marketdata.clock import LiveClock
from marketdata.steady import SteadyClock
from marketdata.units import CLOCK_STEP_US, SECOND_US
from services.ingest.hostclock import HostClock, SkewWatch

NOW = 1_709_650_800 * SECOND_US
TURN = 50_000
TOLERANCE = 125_000
HOUR = 3_600 * SECOND_US


class Host:
    """A wall clock that is set and drifts, over a steady one that began anywhere."""

    def __init__(self) -> None:
        self.steady = 77
        self.error = 0
        self.clock = SteadyClock(NOW, self.steady, TOLERANCE)

    @property
    def true(self) -> int:
        return NOW + self.steady - 77

    def turn(self, us: int = TURN, drift_ppm: int = 0) -> int:
        self.steady += us
        self.error += us * drift_ppm // 1_000_000
        return self.clock.now(self.true + self.error, self.steady)


steps = st.integers(-2 * HOUR, 2 * HOUR) | st.just(0)


@given(st.lists(st.tuples(st.integers(1, 100), st.integers(-500, 500), steps), max_size=20))
def test_it_runs_evenly_whatever_is_done_to_the_wall_clock(script: list[tuple[int, int, int]]) -> None:
    host = Host()
    before = host.turn()
    for turns, drift, step in script:
        host.error += step
        for _ in range(turns):
            now = host.turn(drift_ppm=drift)
            assert TURN * 0.99 <= now - before <= TURN * 1.01
            before = now


@pytest.mark.parametrize("step", [-HOUR, -SECOND_US, -200_000, 200_000, SECOND_US, HOUR])
def test_a_step_is_ignored(step: int) -> None:
    host = Host()
    host.turn()
    host.error = step
    for _ in range(1_000):
        assert abs(host.turn() - host.true) < 1_000
    assert host.clock.ignored == step
    host.error = 0
    assert abs(host.turn() - host.true) < 1_000
    assert host.clock.ignored == 0, "set back to where it was"


@pytest.mark.parametrize("ppm", [-500, -20, 20, 500])
def test_drift_is_followed(ppm: int) -> None:
    host = Host()
    host.turn()
    for _ in range(20 * 600):
        now = host.turn(drift_ppm=ppm)
    assert abs(host.error) >= 10_000
    assert abs(now - (host.true + host.error)) < 1_000
    assert host.clock.ignored == 0


def test_a_pause_of_the_process_is_no_step() -> None:
    host = Host()
    host.turn()
    assert abs(host.turn(600 * SECOND_US, drift_ppm=100) - host.true) < SECOND_US
    assert host.clock.ignored == 0


@pytest.mark.parametrize(
    ("skew", "step", "followed"),
    [
        (5 * SECOND_US, -5 * SECOND_US, True),
        (-5 * SECOND_US, 5 * SECOND_US, True),
        (5 * SECOND_US, -4 * SECOND_US, True),
        (5 * SECOND_US, 5 * SECOND_US, False),
        (5 * SECOND_US, -HOUR, False),
        (20_000, -HOUR, False),
        (20_000, HOUR, False),
        (-20_000, HOUR, False),
        (TOLERANCE, -200_000, False),
    ],
)
def test_a_step_is_followed_only_where_the_trades_ask_for_it(skew: int, step: int, followed: bool) -> None:
    host = Host()
    before = host.turn()
    assert host.clock.trades_say(skew) == 0, "there was no step"
    host.error = step
    host.turn()
    assert host.clock.trades_say(skew) == (step if followed else 0)
    assert abs(host.turn() - before - 2 * TURN - (step if followed else 0)) < 1_000
    assert host.clock.trades_say(skew) == 0


def test_clock_records_go_on_while_the_hosts_clock_is_set_to_and_fro() -> None:
    """What ingest does each 50 ms: receive times, skew and clock records all by the one clock."""
    host, records = Host(), LiveClock(250_000, 0, 2 * SECOND_US)
    values = []
    for turn in range(2_000):
        host.error = {500: HOUR, 900: -HOUR, 1_300: 0}.get(turn, host.error)
        now = host.turn()
        records.trade(host.true - 20_000, now)
        skew = records.skew(now)
        assert skew is not None
        host.clock.trades_say(skew)
        value = records.due(now)
        if value is not None:
            values.append(value)
    assert len(values) >= 1_999
    assert {b - a for a, b in pairwise(values)} <= {CLOCK_STEP_US, 2 * CLOCK_STEP_US}


def host_clock(wall: Callable[[], int], steady: Callable[[], int]) -> HostClock:
    return HostClock(lambda: wall() * 1_000, lambda: steady() * 1_000)


def test_a_step_is_said_once() -> None:
    wall, steady = NOW, 5
    clock = host_clock(lambda: wall, lambda: steady)
    with capture_logs() as logs:
        for turn in range(100):
            steady += TURN
            wall += TURN + (HOUR if turn == 50 else 0)
            assert abs(clock.now() - NOW - (steady - 5)) < 1_000
        clock.trades_say(-HOUR)
        assert abs(clock.now() - wall) < 1_000
    assert [entry["event"] for entry in logs] == ["the host's clock was set", "the host's clock is followed again"]
    assert logs[0]["ignored_seconds"] == 3_600


def test_the_least_lag_of_the_last_minute_tells_of_the_hosts_clock() -> None:
    clock = LiveClock(250_000, 0, 2 * SECOND_US)
    assert clock.skew(NOW) is None
    clock.trade(NOW - 30_000, NOW)
    for second in range(1, 59):
        clock.trade(NOW, NOW + second * SECOND_US)
    assert clock.skew(NOW + 59 * SECOND_US) == 30_000
    assert clock.skew(NOW + 61 * SECOND_US) == SECOND_US
    assert clock.skew(NOW + 200 * SECOND_US) is None
    clock.trade(NOW + 200 * SECOND_US + 5_000, NOW + 200 * SECOND_US)
    assert clock.skew(NOW + 200 * SECOND_US) == -5_000
    assert len(clock._minute) <= 61


def test_a_clock_that_is_off_is_said_once_and_when_it_is_over() -> None:
    watch = SkewWatch("stocks", TOLERANCE)
    with capture_logs() as logs:
        for skew in (None, 10_000, TOLERANCE, TOLERANCE + 1, 9 * SECOND_US, -TOLERANCE - 1, 0, None, -SECOND_US):
            watch.look(skew, 0)
    assert [entry["log_level"] for entry in logs] == ["error", "info", "error"]
    assert "NTP" in logs[0]["remedy"]
