"""Price bands from the bundled feed to candles, on a real Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from feed.server import FeedServer
from feed.settings import FeedSettings
from marketdata.bands import state_of
from marketdata.partition import partition_of
from tests.support.topics import Values, new_namespace, read_messages, read_topic
from tests.support.workers import Worker, eventually

pytestmark = pytest.mark.integration
PARTITIONS = 2
STOCKS = ("CLSK", "MARA", "RIOT")
CANDLES = "candles.stocks.1s"


@pytest.fixture
def namespace(kafka: str) -> Iterator[str]:
    with new_namespace(kafka, PARTITIONS) as name:
        yield name


def candles(kafka: str, namespace: str) -> list[Values]:
    return [record for partition in read_topic(kafka, namespace + CANDLES) for record in partition]


def check_log(kafka: str, namespace: str) -> None:
    """Each band stands in its symbol's partition, and on ratios with that place as src."""
    ratios = read_topic(kafka, namespace + "ratios")
    for p, messages in enumerate(read_messages(kafka, namespace + "trades.stocks")):
        bands = {m.offset() for m in messages if (m.headers() or [])[0] == ("kind", b"band")}
        assert bands, "each partition has a stock"
        assert all(partition_of(messages[o].key().decode(), PARTITIONS) == p for o in bands)
        passed_on = [tuple(r["src"]) for r in ratios[p] if r["kind"] == "band"]
        assert passed_on == [(p, offset, 0) for offset in sorted(bands)][: len(passed_on)]
        assert passed_on


def known(ratios: list[Values], candle: Values) -> Values | None:
    """The last band of a candle's symbol before its end, above the clock that published it."""
    above = [r for r in ratios[: candle["src"][1]] if r["kind"] == "band" and r["symbol"] == candle["symbol"]]
    return max((r for r in above if r["ts"] < candle["end"]), key=lambda r: (r["ts"], r["sequence"]), default=None)


def check_candles(kafka: str, namespace: str) -> None:
    ratios = read_topic(kafka, namespace + "ratios")
    found = candles(kafka, namespace)
    for candle in found:
        band, luld = known(ratios[candle["src"][0]], candle), candle.get("luld")
        assert (band is None) == (luld is None), candle
        if band is not None and luld is not None:
            assert (luld["limit_up"], luld["limit_down"]) == (band["limit_up"], band["limit_down"])
            assert luld["since"] <= band["ts"]
            assert luld["state"] == (state_of(band["indicators"]) or luld["state"])
    assert {c["symbol"] for c in found if c.get("luld")} == set(STOCKS)


async def test_from_the_feed_to_candles(kafka: str, namespace: str, tmp_path: Path) -> None:
    settings = FeedSettings(ws_port=0, rest_port=0, symbols=(*STOCKS, "BTC-USD"), rate=200, burst=1, luld_seconds=0.5)
    common: dict[str, Any] = {"PARTITIONS": str(PARTITIONS), "INTERVALS": "500ms,1s", "FEATURE_INTERVALS": "",
                              "HOURS": "all", "MARKETS": "stocks"}  # fmt: skip
    async with FeedServer(settings) as feed:
        urls = {f"{market.upper()}_URL": f"{feed.ws_url}/{market}" for market in ("stocks", "crypto")}
        source = {"SYMBOLS": ",".join(STOCKS), "LULD": "true", "REST_URL": feed.rest_url, "POLYGON_API_KEY": ""}
        with (
            Worker("services.ratio", kafka, namespace, tmp_path / "ratio", **common),
            Worker("services.aggregator", kafka, namespace, tmp_path / "aggregator", **common),
            Worker("services.ingest", kafka, namespace, tmp_path / "ingest", **common, **urls, **source),
        ):

            def banded() -> bool:
                return sum("luld" in candle for candle in candles(kafka, namespace)) > 12

            await asyncio.to_thread(eventually, banded, "candles with bands", 90.0, 0.5)
    check_log(kafka, namespace)
    check_candles(kafka, namespace)
    assert sum(map(len, read_topic(kafka, namespace + "ingest.dlq"))) == 0
