"""Clocks of the file source against their definition, tried out on every multiple of 50 ms."""

from hypothesis import given
from hypothesis import strategies as st

from marketdata.clock import FileClock, LiveClock
from marketdata.units import CLOCK_STEP_US, DAY_US, SECOND_US

STEP = CLOCK_STEP_US
near_each_other = st.lists(st.integers(0, 700_000), min_size=1, max_size=30)
exactly_on_multiples = st.lists(st.integers(0, 12).map(lambda n: n * STEP), min_size=1, max_size=30)
times = st.one_of(near_each_other, exactly_on_multiples, st.tuples(near_each_other, exactly_on_multiples).map(
    lambda both: both[0] + both[1]
)).map(sorted)  # fmt: skip
EVENT, CLOCK = "event", "clock"


def played(events: list[int]) -> list[tuple[str, int]]:
    clock, log = FileClock(), []
    for ts in events:
        log += [(CLOCK, value) for value in clock.before(ts)]
        log.append((EVENT, ts))
    return log + [(CLOCK, value) for value in clock.end()]


def defined(events: list[int]) -> set[int]:
    """Every multiple is asked: first at or after an event, or last strictly before the next one with room for it."""
    wanted = set()
    for value in range(0, events[-1] + 2 * STEP, STEP):
        earlier = [ts for ts in events if ts <= value]
        later = [ts for ts in events if ts > value]
        if not earlier:
            continue
        first_after = value - STEP < earlier[-1]
        last_before = bool(later) and value + STEP >= later[0]
        if first_after or last_before:
            wanted.add(value)
    return wanted | {events[-1] // DAY_US * DAY_US + DAY_US}


@given(times)
def test_clocks_stand_exactly_where_they_are_defined(events: list[int]) -> None:
    clocks = [value for kind, value in played(events) if kind == CLOCK]
    assert clocks == sorted(set(clocks)), "never backwards or repeated"
    assert set(clocks) == defined(events)


@given(times)
def test_a_clock_parts_the_events_at_its_value(events: list[int]) -> None:
    log = played(events)
    assert [value for kind, value in log if kind == EVENT] == events
    for place, (kind, clock) in enumerate(log):
        if kind == CLOCK:
            assert all(ts < clock for what, ts in log[:place] if what == EVENT)
            assert all(ts >= clock for what, ts in log[place:] if what == EVENT)


@given(
    st.lists(st.tuples(st.integers(0, 300_000), st.integers(-100_000, 4 * SECOND_US), st.booleans()), max_size=60),
    st.integers(0, SECOND_US),
    st.integers(0, 2 * SECOND_US),
)
def test_the_live_clock_holds_by_the_least_lag_of_the_last_second(
    steps: list[tuple[int, int, bool]], allowance: int, max_hold: int
) -> None:
    """Against a memory of all trades: what the clock forgets never mattered."""
    clock, now, last, heard = LiveClock(allowance, 0, max_hold), 10**15, 0, list[tuple[int, int]]()
    for wait, lag, trade in steps:
        now += wait
        if trade:
            clock.trade(now - lag, now)
            heard.append((now, lag))
        recent = [lag for at, lag in heard if at >= now - SECOND_US]
        hold = min(max(min(recent) - allowance // 2, 0), max_hold) if recent else 0
        assert clock.hold(now) == hold
        reached = now - allowance - hold
        value, due = clock.due(now), reached - reached % STEP
        assert value == (due if due > last else None)
        last = max(last, due)
        assert clock.last == last
