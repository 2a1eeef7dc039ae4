"""A silent cluster: healthy while its market is closed, broken while that is open."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from prometheus_client import REGISTRY

from marketdata.units import SECOND_US
from services.ingest.hours import MarketHours
from services.ingest.settings import IngestSettings
from services.ingest.silence import BROKEN_TIMES, ClusterSilence
from streaming.ops import Health

TIMEOUT_S = 15.0
LIMIT = int(BROKEN_TIMES * TIMEOUT_S)


def at(text: str) -> int:
    """``2026-11-20 09:30`` of New York in µs."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("America/New_York")).timestamp()) * SECOND_US


class Ingest:
    """What /health says of an ingest whose newest stock data came at ``newest``; crypto is never silent."""

    def __init__(self, started: str, **settings: Any) -> None:
        self.now = at(started)
        self.newest = 0
        self.started = self.now
        made = IngestSettings(**({"polygon_api_key": "key", "dry_run": False} | settings))
        self._silence = ClusterSilence(MarketHours(made), self._newest, self.now, TIMEOUT_S, lambda: self.now)
        self.health = Health()
        self.health.add("data", self._silence.health)

    def _newest(self, market: str) -> tuple[int, int]:
        newest = self.newest if market == "stocks" else self.now
        return newest, newest

    def stocks(self, when: str) -> tuple[bool, dict[str, Any]]:
        self.now = at(when)
        healthy, checks = self.health.report()
        return healthy, checks["data"]["detail"]["stocks"]


def test_a_weekend_of_silence_is_healthy_and_says_when_the_market_opens() -> None:
    ingest = Ingest("2026-11-20 12:00:00")
    ingest.newest = at("2026-11-20 19:58:00")
    healthy, stocks = ingest.stocks("2026-11-22 12:00:00")
    assert healthy
    assert stocks == {
        "market": "closed, opens Monday 09:30 New York",
        "open": False,
        "seconds_since_data": 144_120.0,
        "seconds_since_trade": 144_120.0,
        "broken": False,
    }
    assert REGISTRY.get_sample_value("ingest_silence_seconds", {"market": "stocks"}) == 0
    assert REGISTRY.get_sample_value("ingest_market_open", {"market": "stocks"}) == 0


@pytest.mark.parametrize(
    ("when", "healthy"),
    [
        ("2026-11-23 09:29:59", True),
        ("2026-11-23 09:30:30", True),
        ("2026-11-23 09:31:00", True),
        ("2026-11-23 09:31:01", False),
        ("2026-11-23 15:59:59", False),
        ("2026-11-23 16:00:00", True),
        ("2026-11-26 12:00:00", True),
        ("2026-11-27 12:59:59", False),
        ("2026-11-27 13:00:00", True),
    ],
)
def test_silence_counts_from_the_open_and_ends_with_the_close(when: str, healthy: bool) -> None:
    ingest = Ingest("2026-11-20 12:00:00")
    ingest.newest = at("2026-11-20 15:59:59")
    assert ingest.stocks(when)[0] is healthy


def test_data_end_the_silence() -> None:
    ingest = Ingest("2026-11-23 11:00:00")
    ingest.newest = at("2026-11-23 12:00:00")
    assert ingest.stocks("2026-11-23 12:01:00")[0]
    healthy, stocks = ingest.stocks("2026-11-23 12:01:01")
    assert (healthy, stocks["broken"], stocks["market"]) == (False, True, "open until 16:00 New York")
    assert REGISTRY.get_sample_value("ingest_silence_seconds", {"market": "stocks"}) == LIMIT + 1
    assert REGISTRY.get_sample_value("ingest_market_open", {"market": "stocks"}) == 1
    ingest.newest = ingest.now
    assert ingest.stocks("2026-11-23 12:01:05")[0]


def test_a_start_in_an_open_market_is_given_as_long() -> None:
    ingest = Ingest("2026-11-23 11:00:00")
    assert ingest.stocks("2026-11-23 11:01:00") == (
        True,
        {
            "market": "open until 16:00 New York",
            "open": True,
            "seconds_since_data": None,
            "seconds_since_trade": None,
            "broken": False,
        },
    )
    assert not ingest.stocks("2026-11-23 11:01:01")[0]


def test_a_delayed_feed_opens_and_closes_later() -> None:
    ingest = Ingest("2026-11-20 12:00:00", stocks_feed_delay_s=900)
    ingest.newest = at("2026-11-20 16:14:59")
    assert ingest.stocks("2026-11-23 09:44:59")[1]["market"] == "pre-market, opens Monday 09:30 New York"
    assert ingest.stocks("2026-11-23 09:46:00")[0]
    assert not ingest.stocks("2026-11-23 09:46:01")[0]
    assert not ingest.stocks("2026-11-23 16:14:59")[0]
    assert ingest.stocks("2026-11-23 16:15:00")[0]


def test_the_bundled_feed_never_closes() -> None:
    ingest = Ingest("2026-11-22 12:00:00", polygon_api_key=None)
    assert ingest.stocks("2026-11-22 12:01:00")[0]
    healthy, stocks = ingest.stocks("2026-11-22 12:01:01")
    assert (healthy, stocks["market"]) == (False, "open at all times (the bundled feed)")


def test_crypto_never_closes() -> None:
    hours = MarketHours(IngestSettings(polygon_api_key="key", dry_run=False))  # type: ignore[arg-type]
    silence = ClusterSilence(hours, lambda _: (at("2026-11-22 12:00:00"), 0), 0, TIMEOUT_S, lambda: 0)
    assert silence.silent_us("crypto", at("2026-11-22 12:02:00")) == 120 * SECOND_US
    assert silence.silent_us("stocks", at("2026-11-22 12:02:00")) == 0
    assert hours.describe("crypto", 0) == "open at all times"
