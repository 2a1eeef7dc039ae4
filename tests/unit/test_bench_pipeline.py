"""The whole pipeline's benchmark: the search, the lags, what a check finds wrong, and the report."""

from typing import Any

import pytest

from bench.pipeline.compare import Count, Counts, compare, identity_of, same_count
from bench.pipeline.lags import CANDLE_ROWS, TO_CANDLES, TO_ROWS, Sample, lags, not_kept_up, per_second, shares
from bench.pipeline.measure import missed
from bench.pipeline.search import HIGHEST, LOWEST, highest
from bench.tables import as_text
from marketdata.calendar import new_york_hours
from marketdata.records import Trade
from marketdata.units import SECOND_US

OPEN = 1_709_650_800 * SECOND_US  # 2024-03-05T15:00:00Z, in the regular session


@pytest.mark.parametrize(
    ("limit", "tried", "found"),
    [
        (23_000, [5_000, 10_000, 20_000, 40_000, 30_000, 25_000, 22_500, 23_700], 22_500),
        (1_900, [5_000, 2_500, 1_250, 1_800, 2_100, 1_900, 2_000], 1_900),
        (LOWEST - 1, [5_000, 2_500, 1_250], None),
        (10**9, [5_000, 10_000, 20_000, 40_000, 80_000, 160_000], HIGHEST),
    ],
)
def test_the_highest_rate_is_found_by_doubling_or_halving_and_then_by_bisection(
    limit: int, tried: list[int], found: int | None
) -> None:
    asked: list[int] = []

    def holds(rate: int) -> bool:
        asked.append(rate)
        return rate <= limit

    assert highest(holds) == found
    assert asked == tried


def sample(second: int, **behind: float) -> Sample:
    """A pipeline at 1,000 trades/s and 2,000 records/s of the log, with what is missing where after each second."""
    trades, records = 1_000 * second, 2_000 * second
    late = {name: round(lag * second) for name, lag in behind.items()}
    return Sample(
        at=100.0 + second, sent=trades, written=trades - late.get("written", 0), stocks=records, crypto=0,
        ratios=records - late.get("ratios", 0), processed=records - late.get("processed", 0),
        stored=records - late.get("stored", 0), candles=500 * second,
        candles_stored=500 * second - late.get("candles_stored", 0),
    )  # fmt: skip


def test_a_pipeline_that_keeps_up_has_no_slope() -> None:
    samples = [sample(second) for second in range(11)]
    found = lags(samples)

    assert {(growth.mean, growth.slope) for growth in found.values()} == {(0.0, 0.0)}
    assert (per_second(samples, "sent"), per_second(samples, "candles")) == (1_000, 500)
    assert not_kept_up(1_000, 1_000, 500, found) == []


def test_a_stage_that_falls_behind_shows_in_its_own_lag_and_in_the_whole_in_trades() -> None:
    found = lags([sample(second, stored=100) for second in range(11)])

    assert found["ratios to rows"].slope == pytest.approx(50)  # two records a trade
    assert found["ratios to rows"].mean == pytest.approx(250)
    assert found[TO_ROWS].slope == pytest.approx(50)
    assert found["sent to log"].slope == found["log to ratios"].slope == found[TO_CANDLES].slope == 0
    (reason,) = not_kept_up(1_000, 1_000, 500, found)
    assert "sent to rows grew by 5.0%" in reason


@pytest.mark.parametrize(
    ("behind", "source", "reason"),
    [
        ({"candles_stored": 25}, 1_000, "candles to rows grew by 5.0%"),
        ({"processed": 100}, 1_000, "sent to candles grew by 5.0%"),
        ({"written": 11}, 1_000, "sent to rows grew by 1.1%"),
        ({}, 989, "the feed itself sent only 989"),
    ],
)
def test_why_a_rate_was_not_kept_up(behind: dict[str, float], source: float, reason: str) -> None:
    found = lags([sample(second, **behind) for second in range(11)])

    assert any(reason in one for one in not_kept_up(1_000, source, 500, found))


def test_a_lag_that_grows_by_one_percent_is_still_kept_up_with() -> None:
    assert not_kept_up(1_000, 990, 500, lags([sample(second, written=10) for second in range(11)])) == []


def trade(number: int, ts: int = OPEN, size: float = 10.0, conditions: tuple[int, ...] = ()) -> Trade:
    return Trade(symbol="MARA", ts=ts, received_ts=ts, price=17.0, size=size, exchange=4, id=str(number), epoch=1,
                 conditions=conditions)  # fmt: skip


def test_a_log_with_each_trade_once_is_right_and_earlier_ones_may_be_there() -> None:
    sent = {identity_of(trade(n)): n for n in (1, 2)}
    found = [(identity_of(trade(n)), n) for n in (2, 1, 3)]

    assert compare("trades", found, sent, optional={identity_of(trade(3))}) == []


@pytest.mark.parametrize(
    ("found", "complaint"),
    [
        ([("a", 1)], "1 of 2 missing, such as b: 2"),
        ([("a", 1), ("b", 2), ("b", 2)], "1 of 2 there twice, such as b"),
        ([("a", 1), ("b", 3)], "1 of 2 different, such as b: 3 where 2 is right"),
        ([("a", 1), ("b", 2), ("c", 1), ("d", 1)], "2 of 2 not expected, such as c: 1"),
    ],
)
def test_what_is_wrong_is_named_with_an_example(found: list[tuple[str, int]], complaint: str) -> None:
    assert compare("rows", found, {"a": 1, "b": 2}) == [f"rows: {complaint}"]


def test_candles_are_counted_by_hand() -> None:
    counts = Counts(OPEN + 16 * SECOND_US, new_york_hours())
    for one in (
        trade(1),
        trade(2, OPEN + 999_999, size=0.5),
        trade(3, OPEN + SECOND_US, conditions=(2,)),  # volume, no price
        trade(4, OPEN + SECOND_US, conditions=(15,)),  # neither: no candle knows of it
        trade(5, OPEN + 15 * SECOND_US),  # its 15 s and its minute are not over
    ):
        counts.add(one, stocks=True)

    assert counts.counts() == {
        ("MARA", "1s", OPEN): Count(2, 2, 10.5),
        ("MARA", "1s", OPEN + SECOND_US): Count(0, 1, 10.0),
        ("MARA", "1s", OPEN + 15 * SECOND_US): Count(1, 1, 10.0),
        ("MARA", "15s", OPEN): Count(2, 3, 20.5),
    }


def test_a_crypto_trade_counts_whatever_its_conditions() -> None:
    counts = Counts(OPEN + SECOND_US, new_york_hours())
    counts.add(trade(1, conditions=(2,)), stocks=False)

    assert counts.counts() == {("MARA", "1s", OPEN): Count(1, 1, 10.0)}


def test_only_the_last_digits_of_a_volume_may_differ() -> None:
    assert same_count(Count(3, 3, 0.1 + 0.2), Count(3, 3, 0.3))
    assert not same_count(Count(3, 3, 0.31), Count(3, 3, 0.3))
    assert not same_count(Count(2, 3, 0.3), Count(3, 3, 0.3))


def result(rate: int, why_not: list[str], wrong: list[str]) -> dict[str, Any]:
    found = lags([sample(second, stored=100) for second in range(11)])
    return {
        "rate_asked": rate, "rate_at_source": rate, "candles_per_s": 500, "samples": 11, "why_not": why_not,
        "lag": shares(rate, 500, found), "sustained": not why_not, "checked": {"trades": 60_000}, "wrong": wrong,
        "cpu_seconds_per_second": {"feed": 0.25, "database": None},
    }  # fmt: skip


def test_the_rate_and_every_wrong_output_are_named_as_missed() -> None:
    results = {"5000": result(5_000, [], []), "20000": result(20_000, ["lost"], ["lost"])}

    assert missed(5_000, results) == ["highest_sustained", "20000.wrong"]
    assert missed(20_000, {"20000": result(20_000, [], [])}) == []


def test_the_table_tells_lags_cpu_and_why_a_rate_was_not_sustained() -> None:
    machine = dict.fromkeys(
        ("cores", "cpu", "memory_gib", "system", "python", "kafka", "librdkafka", "postgres"), "x"
    )
    head = {"date": "d", "command": "c", "commit": "abc", "load_before": 0.1, "machine": machine, "void": ["busy"]}
    text = as_text(head | {
        "results": {"1000": result(1_000, ["it fell behind"], [])}, "highest_sustained": 0, "required": 20_000,
        "missed": ["highest_sustained"], "options": {"partitions": 2},
    })  # fmt: skip

    for part in (
        "VOID: busy", "at 1,000 trades/s   NOT SUSTAINED", "because it fell behind", "feed 0.25, database -",
        "60,000 trades; all right", "highest sustained: none with 2 partitions, required 20,000",
        "missed: highest_sustained",
    ):  # fmt: skip
        assert part in text
    rows = {line.strip().split("  ")[0]: line.split() for line in text.splitlines() if " to " in line}
    assert rows["ratios to rows"][-3:] == ["250", "0.25", "5.00"]
    assert rows[CANDLE_ROWS][-1] == "(candles)"
