"""Every candle of the recorded days, of all intervals and hours, field by field against pandas; then the rebuild."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import pytest

from market.export import read_topic
from market.replay import Replay
from market.stack import Options, Servers
from marketdata.topics import Topics
from tests.e2e.test_replay_recorded import BTC, START, START_MS, STOCK
from tests.support.candle_oracle import (
    FIELDS,
    INTERVALS,
    KEY,
    LENGTHS,
    Rules,
    candles,
    crypto_trades,
    differences,
    events,
    hours_of,
    laps,
    stock_trades,
)

BLOCK_TS, CANCEL_TS, BLOCK_SIZE = 1_514_987_466_055_000, 1_515_020_119_250_000, 127_300.0
BLOCK_DAY = 1_514_937_600_000_000  # 2018-01-03, UTC
HORIZON = 900_000_000
SYMBOL = "XXX"
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def data(not_run: Callable[[str], None]) -> Path:
    named = os.environ.get("SHARED_DATA")
    if not named:
        not_run("every candle of the recorded days against pandas (SHARED_DATA is not set)")
        pytest.skip("the recorded days are not bundled: set SHARED_DATA")
    return Path(named)


@pytest.fixture(scope="module")
def topics(kafka: str, postgres: str, tmp_path_factory: pytest.TempPathFactory, data: Path) -> Topics:
    """The topics of a replay; on one partition, since BTC copies and clocks stand on each, and one stock trades."""
    files = [f"{data / BTC}@{START}*end", str(data / STOCK)]
    name = f"candles_{secrets.token_hex(3)}"
    options = Options(
        tmp_path_factory.mktemp("candles"), f"replay-{name}.", f"replay_{name}", partitions=1, feed=False,
        environment={"SOURCE": "files", "FILES": ",".join(files), "SPEED": "max", "INTERVALS": ",".join(INTERVALS)},
    )  # fmt: skip
    seconds = Replay(options, Servers(kafka, postgres), print).run()
    print(f"replayed in {seconds:.0f} s")
    return options.topics


class Oracle:
    """The raw events of both recordings as they were played, and what follows from them."""

    def __init__(self, data: Path) -> None:
        self.stocks = events(data / STOCK)
        self.btc = crypto_trades(laps(events(data / BTC), START_MS, self.stocks[-1]["t"]))
        self.rules = Rules.read(data / "sale_conditions.csv", hours_of("2017-12-29", "2018-01-08"))

    def candles(self, market: str, without: str = "live") -> pd.DataFrame:
        """Candles as they were published, or with ``without="all"`` as every cancel record leaves them."""
        if market == "crypto":
            return candles(self.btc, self.rules, stocks=False)
        trades = stock_trades(self.stocks, self.btc, self.rules, without=without)
        return candles(trades, self.rules, stocks=True)


@pytest.fixture(scope="module")
def oracle(data: Path) -> Oracle:
    return Oracle(data)


def records(kafka: str, topic: str) -> Iterator[dict[str, Any]]:
    """What a topic says under the reader's rule."""
    last: dict[int, list[int]] = {}
    for partition, value in read_topic(kafka, topic):
        record = msgspec.json.decode(value)
        if record["kind"] == "candle" and record["src"] > last.get(partition, []):
            last[partition] = record["src"]
            yield record


def row(record: dict[str, Any]) -> tuple[Any, ...]:
    """A record's fields in the order of KEY, FIELDS and the revision."""
    price, ratio = record["price"], record.get("ratio") or {}
    values = {"end": record["end"], "session": record.get("session"), "has_ratio": bool(ratio)} | price
    values |= {f"ratio_{name}": ratio.get(name) for name in ("open", "high", "low", "close", "avg", "twap")}
    values["ratio_tick_count"] = ratio.get("tick_count", 0)
    key = (record["interval"], record["hours"], record["symbol"], record["timestamp_in"])
    return (*key, *(values[name] for name in FIELDS), record["revision"])


COLUMNS = [*KEY, *FIELDS, "revision"]


def read(kafka: str, names: list[str]) -> pd.DataFrame:
    """All revisions of the candles that stand on some topics."""
    return pd.DataFrame([row(r) for name in names for r in records(kafka, name)], columns=COLUMNS)


def newest(found: pd.DataFrame) -> pd.DataFrame:
    """Of each candle the last revision, by KEY."""
    return found.sort_values("revision").drop_duplicates(KEY, keep="last").set_index(KEY).sort_index()


@pytest.fixture(scope="module")
def published(kafka: str, topics: Topics) -> pd.DataFrame:
    return newest(read(kafka, [topics.candles("stocks", interval) for interval in INTERVALS]))


def test_stock_candles_of_all_intervals_and_hours(published: pd.DataFrame, oracle: Oracle) -> None:
    wanted = oracle.candles("stocks")
    wrong = differences(published, wanted)
    print(f"{len(wanted):,} candles of stocks, {wanted.size:,} fields, {len(wrong):,} differ")
    print(wanted.groupby(["interval", "hours"]).size().to_string())
    assert wrong[:40] == []
    assert len(wanted) > 100_000
    assert (published["revision"] == 0).all(), "nothing of a recording is late"


def test_crypto_candles_of_all_intervals(kafka: str, topics: Topics, oracle: Oracle) -> None:
    wanted = oracle.candles("crypto")
    found = newest(read(kafka, [topics.candles("crypto", interval) for interval in LENGTHS]))
    wrong = differences(found, wanted)
    print(f"{len(wanted):,} candles of BTC-USD, {wanted.size:,} fields, {len(wrong):,} differ")
    assert wrong[:40] == []
    assert len(wanted) > 90_000


def test_the_recorded_cancel_is_far_past_the_horizon(kafka: str, topics: Topics, oracle: Oracle) -> None:
    block, cancel = (next(e for e in oracle.stocks if e.get("_corr") == code) for code in (8, 10))
    assert (block["t"] * 1_000, cancel["t"] * 1_000, block["s"]) == (BLOCK_TS, CANCEL_TS, BLOCK_SIZE)
    assert CANCEL_TS - BLOCK_TS > HORIZON
    late = [msgspec.json.decode(value) for _, value in read_topic(kafka, topics.late("stocks"))]
    assert [(r["id"], r["correction"], r["reason"]) for r in late] == [(cancel["i"], 10, "no_original")]


def rebuild(kafka: str, namespace: str) -> str:
    """What ``market rebuild`` of the block's day says, on standard error."""
    command = [sys.executable, "-m", "market", "rebuild", "--symbol", SYMBOL, "--day", "2018-01-03"]
    env = os.environ | {"KAFKA_BOOTSTRAP_SERVERS": kafka, "INTERVALS": ",".join(INTERVALS), "NAMESPACE": namespace}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)
    print(done.stdout, done.stderr)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_after_a_rebuild_the_cancelled_block_is_gone(
    kafka: str, topics: Topics, published: pd.DataFrame, oracle: Oracle
) -> None:
    said = rebuild(kafka, topics.namespace)
    assert f"1 cancels, {len(LENGTHS)} candles differ" in said
    revised = read(kafka, [topics.rebuilt("stocks")])
    assert len(revised) == len(LENGTHS), "no other candle got a revision"
    assert (revised["revision"] == 1).all()
    after = newest(pd.concat([published.reset_index(), revised]))

    assert differences(after, oracle.candles("stocks", without="all")) == []
    lost = (published["volume"] - after["volume"]).loc[lambda volume: volume != 0]
    print(f"{len(lost)} candles lost volume: {lost.to_dict()}")
    # The block was printed at 08:51 New York: no candle of the regular session ever held it, 1d among them.
    assert lost.to_dict() == {(n, "all", SYMBOL, BLOCK_TS // of * of): BLOCK_SIZE for n, of in LENGTHS.items()}
    day = ("24h", "all", SYMBOL, BLOCK_DAY)
    assert (published.loc[day, "volume"], after.loc[day, "volume"]) == (4_273_487.0, 4_146_187.0)
    exchange_day = after.loc[("1d", "regular", SYMBOL)].iloc[-1]
    assert (exchange_day["volume"], exchange_day["end"]) == (3_619_740.0, BLOCK_DAY + 21 * 3_600_000_000)
