"""The short run: every service, the broker, the database and the feed are hurt, and nothing is lost or doubled."""

from __future__ import annotations

import os

import pytest

from tests.chaos.run import run

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]


def test_nothing_is_lost_doubled_or_different() -> None:
    seed = int(os.environ.get("CHAOS_SEED", "4711"))
    assert run(seed, short=True) == 0, f"again with: make chaos SEED={seed} SHORT=1"
