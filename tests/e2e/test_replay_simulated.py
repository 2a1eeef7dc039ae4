"""A recording of the simulator: 200 symbols on all partitions, the same result at any speed with any workers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.replays import Result, replay

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
TRADES = 500_000


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    out = tmp_path_factory.mktemp("recording")
    command = [sys.executable, "-m", "feed", "record", "--out", str(out), "--symbol-count", "200",
               "--trades", str(TRADES),
               "--seconds", "120", "--start", "2024-03-05T15:00:00Z", "--seed", "7"]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return sorted(str(path) for path in out.glob("*.gz"))


@pytest.fixture(scope="module")
def played(kafka: str, postgres: str, tmp_path_factory: pytest.TempPathFactory, recording: list[str]) -> Result:
    return replay((kafka, postgres), tmp_path_factory.mktemp("replay"), "simulated", recording)


def test_every_trade_becomes_a_ratio_and_nearly_all_are_joined(played: Result) -> None:
    assert played.counts["ratios"] > 400_000
    assert played.counts["non-null ratios"] > 400_000


@pytest.mark.parametrize(
    ("name", "speed", "workers"),
    [pytest.param("simulated_3", "max", 3, marks=pytest.mark.long), ("simulated_5000", "5000", 3)],
)
def test_any_speed_and_any_number_of_workers_give_the_same(
    kafka: str,
    postgres: str,
    tmp_path: Path,
    recording: list[str],
    played: Result,
    name: str,
    speed: str,
    workers: int,
) -> None:
    again = replay((kafka, postgres), tmp_path, name, recording, speed=speed, workers=workers)
    print(f"sha256 {again.sha256} with {workers} workers a stage at speed {speed}")
    assert again.counts["non-null ratios"] > 400_000
    assert again.sha256 == played.sha256
