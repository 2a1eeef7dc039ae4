"""Feature histories over the days of corporate actions."""

from __future__ import annotations

import pytest

from marketdata.actions import ActionTable, parse_actions
from marketdata.bar import Tick
from marketdata.calendar import new_york_hours
from marketdata.candles import CandleEngine
from marketdata.feature_book import FeatureBook, FeatureSettings
from marketdata.features import PriceFeatures
from marketdata.intervals import levels

S = 1_000_000
DAY = 1_794_355_200 * S  # 2026-11-11
SESSIONS = new_york_hours()
LEVELS = levels(("500ms", "15s", "1m"), SESSIONS)


def last_features(actions: ActionTable, symbol: str, before: float, after: float) -> PriceFeatures:
    """Twenty candles of 15 s at ``before`` on one day, two at ``after`` on the next: the features of the last one."""
    engine = CandleEngine(LEVELS, 900 * S)
    book = FeatureBook(engine, LEVELS, FeatureSettings(("15s",), ("all",), SESSIONS, actions))
    found: list[PriceFeatures] = []
    for n in range(22):
        opens = SESSIONS.session(DAY + (86_400 * S if n >= 20 else 0))[0]
        ts = opens + n * 15 * S
        price, size = (before, 10.0) if n < 20 else (after, 40.0)
        engine.add(symbol, Tick(ts, 0, 1, str(n), 0, price, size, True, True, True, price / 1e5), ts)
        for closed in engine.advance(ts + 15 * S):
            features = book.take(closed).get("all", (None, None))[0]
            if features is not None and LEVELS[closed.level].name == "15s":
                found.append(features)
    return found[-1]


def test_a_split_makes_the_days_before_comparable() -> None:
    table = parse_actions("kind,symbol,day,from,to\nsplit,MARA,2026-11-12,1,4\n")
    found = last_features(table, "MARA", 100.0, 25.0)
    assert found.sma_20 == pytest.approx(25.0)
    assert found.momentum_5 == pytest.approx(0.0)
    assert found.volume_avg_20 == pytest.approx(40.0)
    assert found.rolling_vwap == pytest.approx(25.0)


def test_without_the_split_a_fall_to_a_fourth_is_seen() -> None:
    found = last_features(ActionTable(), "MARA", 100.0, 25.0)
    assert found.momentum_5 == pytest.approx(-0.75)


def test_another_company_under_the_name_starts_anew() -> None:
    table = parse_actions("kind,symbol,day,from,to\nrename,OLD,2026-11-12,OLD,MARA\n")
    found = last_features(table, "MARA", 100.0, 25.0)
    assert (found.sma_5, found.momentum_3, found.log_return) == (None, None, 0.0)
