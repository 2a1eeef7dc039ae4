"""A wrong name in the aggregator's settings is told at its start."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from services.aggregator.settings import AggregatorSettings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hours": ("all", "night")}, "HOURS names"),
        ({"hours": ()}, "HOURS names"),
        ({"feature_intervals": ("15s", "7s")}, r"FEATURE_INTERVALS names \['7s'\]"),
        ({"feature_intervals": ("1d",)}, r"FEATURE_INTERVALS names \['1d'\]"),
    ],
)
def test_wrong_names_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        AggregatorSettings(**settings)


def test_intervals_that_are_not_made_have_no_features_where_nobody_asked_for_them() -> None:
    assert AggregatorSettings(intervals=("500ms", "15s")).feature_intervals == ("15s", "1m")
    assert AggregatorSettings(intervals=("500ms", "5m"), feature_intervals=("5m",)).feature_intervals == ("5m",)
