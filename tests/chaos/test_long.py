"""The long run, outside of CI."""

from __future__ import annotations

import os
import time

import pytest

from tests.chaos.run import run

pytestmark = [pytest.mark.chaos, pytest.mark.long, pytest.mark.timeout(3_600)]


def test_nothing_is_lost_doubled_or_different() -> None:
    seed = int(os.environ.get("CHAOS_SEED", str(int(time.time()) % 100_000)))
    assert run(seed, short=False) == 0, f"again with: make chaos SEED={seed}"
