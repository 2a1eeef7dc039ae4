"""`market run` as a user runs it: from nothing to candles and rows, by one command, twice."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(420)]
MINERS = {"BTDR", "CAN", "CIFR", "CLSK", "CORZ", "HIVE", "HUT", "MARA", "RIOT"}
CANDLE = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d \S+ +15s ", re.MULTILINE)


def market(data: Path, *arguments: str, **more: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "market", *arguments, "--data-dir", str(data)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, **more)  # type: ignore[call-overload, no-any-return]


def query(data: Path, sql: str) -> str:
    done = market(data, "psql", "-c", sql)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def first_run(data: Path) -> subprocess.CompletedProcess[str]:
    return market(data, "run", "--seconds", "50", env=os.environ | {"TRADE_FREQUENCY": "200"})


def test_a_final_candle_is_printed_and_the_status_is_0(first_run: subprocess.CompletedProcess[str]) -> None:
    assert first_run.returncode == 0, first_run.stderr[-4_000:]
    assert CANDLE.search(first_run.stdout), first_run.stdout
    assert "BTC-USD" in first_run.stdout


def test_rows_of_all_nine_miners_and_the_users_queries(
    data: Path, first_run: subprocess.CompletedProcess[str]
) -> None:
    assert first_run.returncode == 0
    for table in ("ratio_ticks_live", "ratio_aggregates_500ms"):
        found = query(data, f"SELECT DISTINCT symbol FROM {table} WHERE symbol <> ''")
        assert set(re.findall(r"^ ([A-Z]+) *$", found, re.MULTILINE)) >= MINERS
        assert "(100 rows)" in query(data, f"SELECT * FROM {table} ORDER BY time DESC LIMIT 100")
    summary = query(
        data,
        "SELECT symbol, COUNT(*) AS tick_count, MIN(time) AS first_tick, MAX(time) AS last_tick "
        "FROM ratio_ticks_live GROUP BY symbol",
    )
    assert "(9 rows)" in summary


def test_ctrl_c_stops_every_process_frees_the_ports_and_keeps_the_data(
    data: Path, first_run: subprocess.CompletedProcess[str]
) -> None:
    assert first_run.returncode == 0
    before = int(re.findall(r"\d+", query(data, "SELECT count(*) FROM ratio_ticks_live"))[0])
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "market", "run", "--data-dir", str(data)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if line.startswith("healthy after"):
            break
    print(f"healthy again {time.monotonic() - began:.1f} s after the second start")
    children = psutil.Process(process.pid).children(recursive=True)
    ports = [int(port) for port in re.findall(r"(?:127\.0\.0\.1|[a-z]+ ):(\d+)", lines[-1])]
    assert len(children) >= 7
    assert len(ports) >= 6
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 0
    _, alive = psutil.wait_procs(children, timeout=5)
    assert not alive
    for port in ports:
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0, f"port {port} is still taken"
    assert int(re.findall(r"\d+", query(data, "SELECT count(*) FROM ratio_ticks_live"))[0]) >= before
