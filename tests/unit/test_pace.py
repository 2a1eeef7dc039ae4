"""How long a read gathers follows the log's pace."""

from __future__ import annotations

from streaming.pace import GATHER_BUSY_S, GATHER_CROWDED_S, GATHER_S, Pace


class Timer:
    """Seconds, moved by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_busy_log_is_read_in_larger_steps_and_a_quiet_one_in_small_ones_again() -> None:
    timer = Timer()
    pace = Pace(timer)

    def reads(count: int, records: int) -> None:
        for _ in range(count):
            timer.now += 0.01
            pace.took(records)

    assert pace.gather_s == GATHER_S
    reads(100, 10)  # 1,000 a second
    assert pace.gather_s == GATHER_S
    reads(100, 40)
    assert pace.gather_s == GATHER_BUSY_S
    reads(2, 0)
    assert pace.gather_s == GATHER_BUSY_S, "one read without any says little"
    reads(100, 100)
    assert pace.crowded
    assert pace.gather_s == GATHER_CROWDED_S
    reads(100, 10)
    assert pace.gather_s == GATHER_S
    assert not pace.crowded


def test_reads_at_uneven_steps_have_the_rate_of_all_together() -> None:
    """As frames come: several at once, then none for a while. The rates of single reads say nothing."""
    timer = Timer()
    pace = Pace(timer)
    for _ in range(200):
        for step in (0.01, 0.0, 0.0001, 0.0001):
            timer.now += step
            pace.took(4)
            assert pace.gather_s == GATHER_S, "1,570 a second"
