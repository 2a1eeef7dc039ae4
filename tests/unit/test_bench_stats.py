"""Percentiles, medians and steady rates of benchmarks, on numbers worked out by hand."""

import pytest

from bench import stats


def test_a_steady_rate_leaves_out_start_up_and_the_idle_end() -> None:
    samples = [(0.0, 0), (3.0, 0), (3.5, 1_000), (4.0, 3_000), (4.5, 5_000), (5.0, 5_000), (9.0, 5_000)]

    found = stats.steady(samples)

    assert (found.records, found.seconds) == (4_000, 1.0)
    assert found.rate == 4_000


def test_progress_counts_from_the_first_sample_even_where_that_is_not_zero() -> None:
    assert stats.steady([(0.0, 70), (1.0, 70), (2.0, 80), (4.0, 100)]).rate == 10


@pytest.mark.parametrize("samples", [[(0.0, 0), (1.0, 0)], [(0.0, 0), (1.0, 500), (2.0, 500)], [(0.0, 5)]])
def test_a_run_without_two_steps_of_progress_gives_no_rate(samples: list[stats.Sample]) -> None:
    with pytest.raises(stats.TooShortError):
        stats.steady(samples)


def test_a_percentile_is_a_value_that_was_measured() -> None:
    thousand = list(range(1, 1_001))

    assert [stats.percentile(thousand, share) for share in (0.5, 0.99, 0.999, 1.0)] == [500, 990, 999, 1_000]
    assert stats.percentile([7], 0.5) == stats.percentile([7], 0.999) == 7
    assert stats.percentile([1, 2], 0.5) == 1


def test_one_slow_record_in_a_hundred_shows_beyond_p99_only() -> None:
    found = stats.latency_summary([2_000.0] * 99 + [500_000.0])

    assert found == {"count": 100, "p50_ms": 2.0, "p99_ms": 2.0, "p999_ms": 500.0, "max_ms": 500.0}


def test_no_latencies_give_no_percentiles() -> None:
    assert stats.latency_summary([]) == {"count": 0, "p50_ms": None, "p99_ms": None, "p999_ms": None, "max_ms": None}


def test_the_share_of_a_floor_is_the_median_of_the_pairs() -> None:
    # The third pair ran while the machine was slow: each pair is compared within itself.
    assert stats.share_of([50, 60, 5], [100, 100, 10]) == 0.5


def test_rates_keep_every_run_beside_the_median() -> None:
    assert stats.rates_summary([3.4, 1.0, 9.0], "rows/s") == {"unit": "rows/s", "median": 3, "runs": [3, 1, 9]}


def test_a_floor_below_seventy_percent_of_its_best_voids_the_run() -> None:
    assert stats.uneven([100, 70.1, 90], "copy") == []
    (reason,) = stats.uneven([100, 69], "copy")
    assert "copy" in reason
    assert "69%" in reason


def test_a_line_through_points_of_one_is_that_line() -> None:
    line = stats.fit([(1, 5), (2, 7), (4, 11)])

    assert (line.slope, line.at_zero, line.r2) == (pytest.approx(2), pytest.approx(3), pytest.approx(1))


def test_a_line_is_the_one_with_the_least_squares_and_says_how_much_it_explains() -> None:
    line = stats.fit([(0, 0), (1, 2), (2, 1)])

    assert (line.slope, line.at_zero, line.r2) == (pytest.approx(0.5), pytest.approx(0.5), pytest.approx(0.25))


def test_what_never_changes_has_no_slope_and_nothing_to_explain() -> None:
    assert stats.fit([(1, 4), (2, 4), (3, 4)]) == stats.Line(0.0, 4.0, None)


def test_two_points_lie_on_a_line_whatever_they_are() -> None:
    assert stats.fit([(1, 4), (2, 7)]).r2 is None


@pytest.mark.parametrize("points", [[], [(1, 2)], [(1, 2), (1, 3)]])
def test_one_place_gives_no_line(points: list[tuple[float, float]]) -> None:
    with pytest.raises(stats.TooShortError):
        stats.fit(points)
