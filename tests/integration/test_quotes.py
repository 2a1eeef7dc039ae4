"""Quotes from the bundled feed to quotes.*, onto trades and ratios, and to ratio_mid, on a real Kafka."""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from marketdata.partition import partition_of
from tests.integration.test_ingest_live import PARTITIONS, SYMBOLS, bundled, ingest, standing
from tests.support.topics import new_namespace
from tests.support.workers import Worker, eventually

Record = dict[str, Any]
Copies = defaultdict[tuple[str, int], list[tuple[Any, Any]]]
"""Bid and ask of the copies, by symbol and time."""
STEP = 250_000
TOPICS = ("trades.stocks", "trades.crypto", "quotes.stocks", "quotes.crypto", "ratios", "ratio_mid", "feed.gaps",
          "ingest.lease", "ingest.dlq", "ratio.dlq")  # fmt: skip


@pytest.fixture
def namespace(kafka: str) -> Iterator[str]:
    with new_namespace(kafka, PARTITIONS, *TOPICS) as name:
        yield name


async def test_quotes_reach_their_topics_the_trades_and_the_middles(
    kafka: str, namespace: str, tmp_path: Path
) -> None:
    ratio = Worker("services.ratio", kafka, namespace, tmp_path / "ratio", PARTITIONS=str(PARTITIONS), QUOTES="true")
    async with bundled(tmp_path / "ledger", rate=300) as feed:
        with ratio, ingest(kafka, namespace, feed, tmp_path / "log", QUOTES="true") as worker:
            await asyncio.to_thread(worker.wait_for, "connected", 2)
            await asyncio.sleep(2.5)
            cut = time.time_ns() // 1_000
            for client in feed.hub.clients:
                client.drop()
            connections = [await asyncio.to_thread(worker.wait_for, "connected", n) for n in (3, 4)]
            assert all(connection["channels"] > 1 for connection in connections)
            await asyncio.sleep(2.5)
            status, _ = await asyncio.to_thread(worker.terminate)
            assert status == 0, worker.output()
        log = {topic: standing(kafka, namespace + topic) for topic in TOPICS[:4]}
        assert not standing(kafka, namespace + "ingest.dlq")[0]
        with ratio.start():
            wanted = sum(r["kind"] == "trade" for p in log["trades.stocks"] for r in p)

            def joined() -> int:
                return sum(r["kind"] == "ratio" for p in standing(kafka, namespace + "ratios") for r in p)

            await asyncio.to_thread(eventually, lambda: joined() >= wanted, lambda: f"{joined()} of {wanted} ratios")
            await asyncio.to_thread(ratio.terminate)
    quotes = check_quotes(log, cut)
    check_stamps(log, quotes, cut)
    copies = check_copies(log["trades.stocks"], quotes)
    check_ratios(log["trades.stocks"], standing(kafka, namespace + "ratios"))
    check_mids(copies, [r for p in standing(kafka, namespace + "ratio_mid") for r in p])


def check_quotes(log: dict[str, list[list[Record]]], cut: int) -> dict[str, list[Record]]:
    """Each in its symbol's partition, of every symbol, before and after the cut; by symbol, as they stand there."""
    quotes: defaultdict[str, list[Record]] = defaultdict(list)
    for topic in ("quotes.stocks", "quotes.crypto"):
        for record in (r for p in log[topic] for r in p):
            assert record["kind"] == "quote"
            assert record["at"] == partition_of(record["symbol"], PARTITIONS)
            quotes[record["symbol"]].append(record)
    assert set(quotes) == set(SYMBOLS)
    assert sum(map(len, quotes.values())) > 800
    for symbol in ("BTC-USD", "MARA"):
        times = [q["received_ts"] for q in quotes[symbol]]
        assert times[0] < cut
        assert times[-1] > cut + 2_000_000, "subscribed again after it"
    assert all(("bid_size" in q and q["epoch"] == 1) and {"bid", "ask"} <= set(q) for q in quotes["MARA"])
    return quotes


def check_stamps(log: dict[str, list[list[Record]]], quotes: dict[str, list[Record]], cut: int) -> None:
    """A trade carries the last quote at or before it of those received with it or before, on its connection."""
    found: Counter[bool] = Counter()
    for trade in (r for t in ("trades.stocks", "trades.crypto") for p in log[t] for r in p if r["kind"] == "trade"):
        known = [q for q in quotes[trade["symbol"]] if q["received_ts"] <= trade["received_ts"]]
        since = cut if trade["received_ts"] > cut else 0
        known = [q for q in known if since <= q["received_ts"] and q["ts"] <= trade["ts"]]
        if trade.get("backfilled"):
            assert "bid" not in trade
            continue
        _, quote = max(enumerate(known), key=lambda entry: (entry[1]["ts"], entry[0]), default=(0, None))
        sides = (quote["bid"], quote["ask"]) if quote is not None else (None, None)
        if None not in sides and "bid" in trade:
            assert (trade["bid"], trade["ask"]) == sides, trade
            found[True] += 1
        else:
            found[False] += "bid" in trade or None not in sides
    assert found[True] > 500
    assert found[False] <= found[True] / 50, "but for those between the connection's end and what was told of it"


def check_copies(stocks: list[list[Record]], quotes: dict[str, list[Record]]) -> Copies:
    """Before a step's clock, one a symbol at most, as it stands in quotes.*; BTC's in each partition."""
    copies: Copies = defaultdict(list)
    plain = {(s, q["ts"], q["received_ts"], q["bid"], q["ask"]) for s, every in quotes.items() for q in every}
    coins = []
    for number, partition in enumerate(stocks):
        step, since, own = 0, Counter[str](), []
        for record in partition:
            if record["kind"] == "quote_copy":
                symbol = record["symbol"]
                assert number == partition_of(symbol, PARTITIONS) or symbol == "BTC-USD"
                assert (symbol, record["ts"], record["received_ts"], record["bid"], record["ask"]) in plain
                copies[symbol, record["ts"]].append((record["bid"], record["ask"]))
                since[symbol] += 1
                own += [record["ts"]] if symbol == "BTC-USD" else []
            elif record["kind"] == "clock":
                assert not since or (max(since.values()) == 1 and record["ts"] // STEP > step), "only before a step"
                step, since = record["ts"] // STEP, Counter()
        coins.append(own)
    assert len(coins[0]) > 10
    assert all(own == coins[0] for own in coins)
    return copies


def check_ratios(stocks: list[list[Record]], ratios: list[list[Record]]) -> None:
    wanted = {(r["symbol"], r["id"], r["exchange"]): (r.get("bid"), r.get("ask"))
              for p in stocks for r in p if r["kind"] == "trade"}  # fmt: skip
    found = {(r["symbol"], r["id"], r["exchange"]): (r.get("bid"), r.get("ask"))
             for p in ratios for r in p if r["kind"] == "ratio"}  # fmt: skip
    assert found == wanted
    assert not any(r["kind"] == "quote_copy" for p in ratios for r in p)


def check_mids(copies: Copies, mids: list[Record]) -> None:
    for mid in mids:
        assert mid["quote_ts"] < mid["ts"]
        assert (mid["stock_bid"], mid["stock_ask"]) in copies[mid["symbol"], mid["quote_ts"]]
        assert mid["stock_mid"] == (mid["stock_bid"] + mid["stock_ask"]) / 2
        assert mid["ratio"] == mid["stock_mid"] / mid["btc_mid"]
        if mid["btc_source"] == "quote":
            sides = copies["BTC-USD", mid["btc_ts"]]
            assert mid["btc_mid"] in {(bid + ask) / 2 for bid, ask in sides if None not in {bid, ask}}
    steps = Counter((mid["symbol"], mid["ts"] // STEP) for mid in mids)
    assert max(steps.values()) == 1
    assert len(steps) > 50
    assert sum(mid["btc_source"] == "quote" for mid in mids) > 0.8 * len(mids)
