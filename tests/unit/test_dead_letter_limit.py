"""A few bad records are put aside; a topic that is mostly bad stops its reader."""

from __future__ import annotations

import pytest

from streaming.deadletters import WINDOW, DeadLetterLimit, MostlyUnreadableError


def read(limit: DeadLetterLimit, offsets: range, partition: int = 0) -> None:
    for offset in offsets:
        limit.unreadable("ratios", partition, offset)


def test_half_of_the_last_thousand_may_be_bad_for_ever() -> None:
    read(DeadLetterLimit(), range(0, 100_000, 2))


def test_one_more_than_half_stops_and_says_where() -> None:
    limit = DeadLetterLimit()
    read(limit, range(7, 507))
    with pytest.raises(MostlyUnreadableError, match=r"501 of the last 1,000 records of ratios/0.*offsets 7 to 507"):
        limit.unreadable("ratios", 0, 507)


def test_bad_records_of_long_ago_and_of_other_partitions_do_not_count() -> None:
    limit = DeadLetterLimit()
    read(limit, range(500))
    read(limit, range(500), partition=1)
    read(limit, range(499 + WINDOW, 499 + WINDOW + 500))


def test_what_is_read_again_is_not_counted_twice() -> None:
    limit = DeadLetterLimit()
    for _ in range(10):
        read(limit, range(400))


def test_a_share_of_one_never_stops() -> None:
    read(DeadLetterLimit(1), range(5_000))
