"""The recorded days through the whole pipeline, against computations that share no code with the project."""

from __future__ import annotations

import bisect
import csv
import gzip
import json
import os
import random
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from market.export import read_topic
from tests.e2e.replays import Result, replay

BTC, STOCK = "crypto_trades_kraken_btcusd_20190701T00.jsonl.gz", "stock_trades_nyse_taq_20180102_03.jsonl.gz"
START = "2018-01-02T14:30:00Z"
START_MS = 1_514_903_400_000
HOUR_MS = 3_600_000
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


def events(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt") as file:
        return [json.loads(line) for line in file]


@pytest.fixture(scope="module")
def data(not_run: Callable[[str], None]) -> Path:
    named = os.environ.get("SHARED_DATA")
    if not named:
        not_run("the replay of the recorded days (SHARED_DATA is not set): the simulator's recording instead")
        pytest.skip("the recorded days are not bundled: set SHARED_DATA")
    return Path(named)


@pytest.fixture(scope="module")
def files(data: Path) -> list[str]:
    return [f"{data / BTC}@{START}*end", str(data / STOCK)]


@pytest.fixture(scope="module")
def played(kafka: str, postgres: str, tmp_path_factory: pytest.TempPathFactory, files: list[str]) -> Result:
    return replay((kafka, postgres), tmp_path_factory.mktemp("replay"), "recorded", files)


@pytest.fixture(scope="module")
def stocks(data: Path) -> list[dict[str, Any]]:
    return events(data / STOCK)


@pytest.fixture(scope="module")
def ratios(kafka: str, played: Result) -> list[dict[str, Any]]:
    found = (json.loads(value) for _, value in read_topic(kafka, f"{played.namespace}ratios"))
    return [record for record in found if record["kind"] == "ratio"]


def query(postgres: str, played: Result, sql: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(postgres, options=f"-csearch_path={played.schema}") as connection:
        return connection.execute(sql).fetchall()  # type: ignore[arg-type]


def test_every_trade_once(
    played: Result, ratios: list[dict[str, Any]], postgres: str, stocks: list[dict[str, Any]]
) -> None:
    assert len(ratios) == len(stocks) == 77_263
    assert {(r["exchange"], r.get("trf", 0), r["id"]) for r in ratios} == {
        (e["x"], e.get("trfi", 0), e["i"]) for e in stocks
    }
    assert played.counts["ratios"] == 77_263
    rows = query(postgres, played, "SELECT exchange, trf, trade_id FROM ratio_ticks_live")
    assert len(rows) == len(set(rows)) == 77_262  # all but the cancel record


def as_of(btc: list[dict[str, Any]], end_ms: int) -> tuple[list[Any], list[float]]:
    """BTC trades of all laps in the order of trades."""
    base = btc[0]["t"] // HOUR_MS * HOUR_MS
    laps = (end_ms - START_MS) // HOUR_MS + 1
    keyed = []
    for lap in range(laps):
        for e in btc:
            trade_id = e["i"] if lap == 0 else f"{e['i']}-{lap}"
            order = (0, int(trade_id), b"") if trade_id.isdigit() else (1, 0, trade_id.encode())
            keyed.append(((e["t"] - base + START_MS + lap * HOUR_MS, e["x"], order), e["p"]))
    keyed.sort()
    return [key for key, _ in keyed], [price for _, price in keyed]


def test_ratios_equal_an_independent_as_of_join(
    ratios: list[dict[str, Any]], stocks: list[dict[str, Any]], data: Path
) -> None:
    keys, prices = as_of(events(data / BTC), stocks[-1]["t"])
    by_id = {e["i"]: e for e in stocks}
    after = [r for r in ratios if r["ts"] >= START_MS * 1_000]
    joined = [r for r in after if r.get("ratio") is not None]
    share = len(joined) / len(after)
    print(f"{len(joined):,} of {len(after):,} trades after 14:30 have a ratio ({share:.3%})")
    assert share >= 0.99
    rng = random.Random(20180102)
    for record in rng.sample(joined, 1_000):
        event = by_id[record["id"]]
        at = bisect.bisect_left(keys, (event["t"] + 1,)) - 1
        assert record["btc_price"] == prices[at]
        assert record["ratio"] == event["p"] / prices[at]
        assert record["btc_ts"] == keys[at][0] * 1_000
    without = [r for r in ratios if r.get("ratio") is None]
    assert len(without) >= 100
    for record in rng.sample(without, 100):
        event = by_id[record["id"]]
        at = bisect.bisect_left(keys, (event["t"] + 1,)) - 1
        if event.get("_corr") == 10:
            assert record["reason"] == "correction_record"
        elif at < 0:
            assert record["reason"] == "no_reference"
        else:
            assert record["reason"] == "stale_reference"
            assert event["t"] - keys[at][0] > 120_000


def minute_bars(stocks: list[dict[str, Any]], data: Path) -> dict[int, list[Any]]:
    """Open, high, low, close, volume by minute (ms), by the vendor's table of conditions."""
    with (data / "sale_conditions.csv").open() as file:
        table = {int(r["id"]): r for r in csv.DictReader(file)}
    bars: dict[int, list[Any]] = defaultdict(lambda: [None, None, None, None, 0])
    for e in stocks:
        if e.get("_corr") == 10:
            continue
        of_day = e["t"] % 86_400_000
        regular = 52_200_000 <= of_day < 75_600_000  # 09:30 to 16:00 New York in January
        rules = [table[c] for c in e.get("c", ()) if regular or c != 12]
        high_low = all(r["updates_high_low"] != "N" for r in rules)
        open_close = high_low and all(r["updates_open_close"] != "N" for r in rules)
        bar, price = bars[e["t"] // 60_000 * 60_000], e["p"]
        if high_low:
            bar[1], bar[2] = max(bar[1] or price, price), min(bar[2] or price, price)
        if open_close:
            bar[0], bar[3] = bar[0] or price, price
        if all(r["updates_volume"] != "N" for r in rules):
            bar[4] += e["s"]
    return dict(bars)


def test_minute_candles_equal_an_independent_computation(
    played: Result, postgres: str, stocks: list[dict[str, Any]], data: Path
) -> None:
    rows = query(
        postgres,
        played,
        "SELECT start, open, high, low, close, volume FROM candles WHERE market = 'stocks' AND interval = '1m'",
    )
    found = {
        int(start.timestamp() * 1_000): [None if v is None else float(v) for v in values] for start, *values in rows
    }
    wanted = {t: [None if v is None else float(v) for v in bar] for t, bar in minute_bars(stocks, data).items()}
    assert len(wanted) > 500
    assert found == wanted


def test_the_cancel_beyond_the_horizon_is_a_late_record(kafka: str, played: Result) -> None:
    late = [json.loads(value) for _, value in read_topic(kafka, f"{played.namespace}trades.late.stocks")]
    assert [(r["correction"], r["size"]) for r in late] == [(10, 127_300.0)]


def test_monitoring_queries_work_as_they_are(played: Result, postgres: str) -> None:
    newest = query(postgres, played, "SELECT * FROM ratio_ticks_live ORDER BY time DESC LIMIT 100")
    assert len(newest) == 100
    assert newest[0][0] == datetime.fromtimestamp(1_515_027_337.789, UTC)
    assert len(query(postgres, played, "SELECT * FROM ratio_aggregates_500ms ORDER BY time DESC LIMIT 100")) == 100
    (summary,) = query(
        postgres,
        played,
        "SELECT symbol, COUNT(*) AS tick_count, MIN(time) AS first_tick, MAX(time) AS last_tick "
        "FROM ratio_ticks_live GROUP BY symbol",
    )
    assert summary[:2] == ("XXX", 77_262)


@pytest.mark.parametrize(
    ("name", "speed", "workers"),
    [("recorded_3", "max", 3), pytest.param("recorded_5000", "5000", 3, marks=pytest.mark.long)],
)
def test_any_speed_and_any_number_of_workers_give_the_same(
    kafka: str, postgres: str, tmp_path: Path, files: list[str], played: Result, name: str, speed: str, workers: int
) -> None:
    again = replay((kafka, postgres), tmp_path, name, files, speed=speed, workers=workers)
    print(f"sha256 {again.sha256} with {workers} workers a stage at speed {speed}")
    assert again.counts["non-null ratios"] > 60_000
    assert again.sha256 == played.sha256
