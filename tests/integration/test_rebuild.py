"""``market rebuild`` on a real Kafka, after the real ratio and aggregator with a short horizon."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from market.rebuild import Rebuild
from market.stack import StackError
from marketdata.topics import Topics
from marketdata.units import SECOND_US
from tests.support.logs import T0, LogBuilder, market_log, write
from tests.support.topics import new_namespace, read_topic
from tests.support.workers import Worker, eventually

pytestmark = pytest.mark.integration
P, HORIZON_S = 2, 5
INTERVALS = ("500ms", "1s", "5s", "15s", "1m")
DAY = date(2018, 1, 2)
OLD, CANCELLED, VICTIM = T0 + 7_300_000, "victim", T0 + 2_100_000


def a_log() -> tuple[list[Any], int]:
    """A market with trades up to 30 s late, and for S07 a trade and a cancel far past the horizon."""
    entries = market_log(6_000, P)
    more = LogBuilder(P)
    more.epoch = 2
    more.stock("S07", VICTIM, 99.5, CANCELLED, received_ts=VICTIM, conditions=())
    entries = [*more.entries, *entries]
    more = LogBuilder(P)
    more.epoch = 2
    more.stock("S07", OLD, 12.25, "very late", conditions=())
    more.stock("S07", VICTIM, 99.5, CANCELLED, correction=10)
    end = T0 + 600 * SECOND_US
    more.clock(end)
    return [*entries, *more.entries], end


@pytest.fixture(scope="module")
def namespace(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    entries, end = a_log()
    logs: Path = tmp_path_factory.mktemp("rebuild")
    names = ["ratios", "ratio_mark", "trades.stocks", "trades.crypto"]
    for market in ("stocks", "crypto"):
        names += [f"candles.rebuilt.{market}", f"candles.progress.{market}", f"trades.late.{market}"]
        names += [f"candles.{market}.{interval}" for interval in INTERVALS]
    with new_namespace(kafka, P, *names, "ratio.dlq", "aggregator.dlq") as name:
        write(kafka, name, entries)
        more = {"PARTITIONS": str(P), "REVISION_HORIZON_S": str(HORIZON_S), "INTERVALS": ",".join(INTERVALS)}
        with (
            Worker("services.ratio", kafka, name, logs / "ratio.log", **more),
            Worker("services.aggregator", kafka, name, logs / "aggregator.log", **more),
        ):
            for market in ("stocks", "crypto"):
                topic = Topics(name).progress(market)

                def done(topic: str = topic) -> bool:
                    return all(any(r["end"] == end for r in part) for part in read_topic(kafka, topic))

                eventually(done, f"{market} up to the last clock", pause=1)
        yield name


def rebuild(kafka: str, namespace: str, symbol: str, day: date = DAY) -> Rebuild:
    return Rebuild(kafka, Topics(namespace), symbol, day, intervals=INTERVALS, horizon_s=HORIZON_S)


def newest(kafka: str, namespace: str, symbol: str, interval: str) -> dict[int, dict[str, Any]]:
    """A reader's view: of each candle the highest revision of both topics."""
    found: dict[int, dict[str, Any]] = {}
    for topic in (f"candles.stocks.{interval}", "candles.rebuilt.stocks"):
        for part in read_topic(kafka, namespace + topic):
            for record in part:
                if (record["symbol"], record["interval"], record["hours"]) == (symbol, interval, "all"):
                    held = found.get(record["timestamp_in"])
                    assert held is None or record["revision"] != held["revision"] or topic.endswith(interval)
                    if held is None or record["revision"] > held["revision"]:
                        found[record["timestamp_in"]] = record
    return found


def test_late_trades_and_cancels_past_the_horizon_get_their_revisions(kafka: str, namespace: str) -> None:
    late = [r for part in read_topic(kafka, f"{namespace}trades.late.stocks") for r in part if r["symbol"] == "S07"]
    assert {"past_horizon", "no_original"} == {r["reason"] for r in late}
    before = newest(kafka, namespace, "S07", "500ms")

    job = rebuild(kafka, namespace, "S07")
    found = job.run(lambda _: None)
    changed = {change.closed.start for change in found.changes if change.closed.level == 0}
    assert changed == {r["ts"] - r["ts"] % 500_000 for r in late}
    assert len(before) > 2 * len(changed), "most candles stay as they were"
    assert job.publish(found) == len(found.changes)

    after = newest(kafka, namespace, "S07", "500ms")
    victim, old = VICTIM - VICTIM % 500_000, OLD - OLD % 500_000
    assert before[victim]["price"]["high"] == 99.5
    assert (after[victim]["price"]["high"] or 0) < 99.5
    assert after[victim]["revision"] == before[victim]["revision"] + 1
    assert after[old]["price"]["trade_count"] == (before[old]["price"]["trade_count"] if old in before else 0) + 1
    assert {start: r for start, r in after.items() if start not in changed} == {
        start: r for start, r in before.items() if start not in changed
    }
    assert job.run(lambda _: None).changes == [], "a second time there is nothing to do"


def test_the_volume_is_that_of_every_trade_that_stands(kafka: str, namespace: str) -> None:
    for symbol in ("S03", "S21"):
        job = rebuild(kafka, namespace, symbol)
        job.publish(job.run(lambda _: None))
        trades, cancelled = {}, set()
        for record in (r for part in read_topic(kafka, f"{namespace}ratios") for r in part):
            if record["kind"] == "ratio" and record["symbol"] == symbol and not record.get("revision"):
                if record.get("correction"):
                    cancelled.add(record["id"])
                else:
                    trades[record["id"]] = record["stock_size"]
        volumes = [r["price"]["volume"] for r in newest(kafka, namespace, symbol, "1m").values()]
        assert sum(volumes) == sum(size for name, size in trades.items() if name not in cancelled)


def test_a_pair_is_rebuilt_from_its_trades(kafka: str, namespace: str) -> None:
    found = rebuild(kafka, namespace, "ETH-USD").run(lambda _: None)
    assert found.changes, "some trades of the log are 30 s late"
    assert all(change.closed.bar.ratio_ticks == 0 for change in found.changes)


def test_what_the_aggregator_still_revises_is_refused(kafka: str, namespace: str) -> None:
    with pytest.raises(StackError, match="not yet past the revision horizon"):
        rebuild(kafka, namespace, "S07", date(2018, 1, 3)).run(lambda _: None)
