"""The bundled sample through the whole pipeline: crypto candles against a computation that shares no code."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from tests.e2e.replays import replay

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
SAMPLE = Path(__file__).parents[2] / "samples" / "crypto_trades_kraken_btcusd_20190701T00.jsonl.gz"


def test_minute_candles_equal_an_independent_computation(kafka: str, postgres: str, tmp_path: Path) -> None:
    with gzip.open(SAMPLE, "rt") as file:
        trades = [json.loads(line, parse_float=Decimal) for line in file]
    minutes: dict[int, list[tuple[Decimal, Decimal]]] = defaultdict(list)
    for trade in sorted(trades, key=lambda e: (e["t"], e["x"], int(e["i"]))):
        minutes[trade["t"] // 60_000].append((Decimal(trade["p"]), Decimal(trade["s"])))
    wanted = {}
    for minute, rows in minutes.items():
        prices = [price for price, _ in rows]
        volume = sum(size for _, size in rows)
        wanted[minute] = (prices[0], max(prices), min(prices), prices[-1], float(volume), len(rows))
    played = replay((kafka, postgres), tmp_path, "sample", [str(SAMPLE)])
    with psycopg.connect(postgres, options=f"-csearch_path={played.schema}") as connection:
        found = connection.execute(
            "SELECT start, open, high, low, close, volume, trade_count FROM candles "
            "WHERE interval = '1m' AND market = 'crypto'"
        ).fetchall()
    assert {
        int(start.timestamp()) // 60: (o, h, low, c, float(v), n) for start, o, h, low, c, v, n in found
    } == wanted
    assert played.counts["ratios"] == 0
