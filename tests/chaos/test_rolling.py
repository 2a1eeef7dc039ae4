"""A rolling restart of every service at 2,000 trades/s: nothing is lost or doubled, and no candle waits over 15 s."""

from __future__ import annotations

import os

import pytest

from tests.chaos.rolling import roll

pytestmark = [pytest.mark.chaos, pytest.mark.long, pytest.mark.timeout(1_800)]


def test_nothing_is_lost_and_no_candle_waits_long() -> None:
    seed = int(os.environ.get("CHAOS_SEED", "4711"))
    assert roll(seed).wrong() == [], f"again with: python -m tests.chaos --rolling --seed {seed}"
