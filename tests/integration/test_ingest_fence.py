"""A predecessor that slept wakes after the take-over: what its client still sends is lost for nobody, nor doubled."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from marketdata.partition import partition_of
from marketdata.records import Trade
from marketdata.topics import MARKETS, Topics
from marketdata.units import SECOND_US
from services.ingest.follow import LogEnd, LogFollower
from services.ingest.hostclock import wall_us
from services.ingest.standing import standing
from services.ingest.takeover import resume
from services.ingest.writer import Writer
from tests.integration.test_ingest_live import standing as records_of
from tests.integration.test_ingest_standby import counted, identities
from tests.support.topics import new_namespace

PARTITIONS = 2
REFERENCES = ("BTC-USD",)
HORIZON_US = 900 * SECOND_US
CLOCK = wall_us() // SECOND_US * SECOND_US
STOCK = "MARA"
OTHER = 1 - partition_of(STOCK, PARTITIONS)


@pytest.fixture
def namespace(kafka: str) -> Iterator[str]:
    with new_namespace(kafka, PARTITIONS) as name:
        yield name


def trade(symbol: str, number: int, epoch: int) -> Trade:
    ts = CLOCK + number * 1_000
    return Trade(symbol=symbol, ts=ts, received_ts=ts, price=1.0, size=1.0, exchange=4, id=str(number), epoch=epoch)


class Sleeper(Writer):
    """A writer of epoch 1 whose copies can reach some partitions only; ``copies_alone``: its trades reach none."""

    reaches = range(PARTITIONS)
    copies_alone = False

    def _produce(self, topic: str, value: bytes, key: bytes | None, partition: int, headers: Any) -> None:
        if self.copies_alone and value.startswith(b'{"kind":"trade"'):
            return
        if not value.startswith(b'{"kind":"reference"') or partition in self.reaches:
            super()._produce(topic, value, key, partition, headers)


def writer(kafka: str, namespace: str, epoch: int, kind: type[Writer] = Writer) -> Writer:
    return kind(kafka, Topics(namespace), PARTITIONS, epoch=epoch, references=REFERENCES, horizon_us=HORIZON_US)


def taken_over(follower: LogFollower, second: Writer) -> LogEnd:
    fences = follower.begin_epoch(second.epoch)
    second.fence(fences)
    assert second.flush(10) == 0
    end = follower.finish(30, threading.Event(), fences)
    assert end is not None
    resume(second, end)
    return end


def woken(first: Writer, trades: list[Trade]) -> None:
    for one in trades:
        first.trade("crypto" if "-" in one.symbol else "stocks", one)
    assert first.flush(10) == 0


def follow(kafka: str, namespace: str) -> LogFollower:
    follower = LogFollower(kafka, Topics(namespace), PARTITIONS, horizon_us=HORIZON_US, references=REFERENCES).start()
    assert follower.read_to_end(30, threading.Event())
    return follower


def begun(kafka: str, namespace: str, market: str = "") -> Sleeper:
    """Two trades of BTC, the copy of the second only in the partition of STOCK; clocks in ``market`` or both."""
    first = writer(kafka, namespace, 1, Sleeper)
    assert isinstance(first, Sleeper)
    for each in (market,) if market else MARKETS:
        first.clock(each, CLOCK)
    woken(first, [trade("BTC-USD", 1, 1)])
    first.reaches = range(1 - OTHER, 2 - OTHER)
    woken(first, [trade("BTC-USD", 2, 1)])
    return first


def test_what_comes_before_the_fence_counts_and_is_known_what_comes_after_is_neither(
    kafka: str, namespace: str
) -> None:
    first, second = begun(kafka, namespace), writer(kafka, namespace, 2)
    follower = follow(kafka, namespace)
    woken(first, [trade(STOCK, 3, 1), trade("BTC-USD", 4, 1)])
    first.clock("stocks", CLOCK + 50_000)
    assert first.flush(10) == 0

    end = taken_over(follower, second)
    first.reaches = range(PARTITIONS)
    woken(first, [trade(STOCK, 5, 1), trade("BTC-USD", 6, 1)])
    first.clock("crypto", CLOCK + 50_000)
    assert first.flush(10) == 0

    assert [(left.partition, left.copy.id) for left in end.uncopied] == [(OTHER, "2"), (OTHER, "4")]
    assert end.clocks == end.settled == {"stocks": CLOCK + 50_000, "crypto": CLOCK}
    rest = [trade("BTC-USD", n, 2) for n in (1, 2, 4, 6)] + [trade(STOCK, n, 2) for n in (3, 5)]
    new = [one.id for one in rest if second.trade("crypto" if "-" in one.symbol else "stocks", one)]
    assert second.flush(10) == 0
    assert new == ["6", "5"]
    stocks, crypto = (records_of(kafka, namespace + f"trades.{market}") for market in MARKETS)
    for partition in stocks:
        assert [r["id"] for r in counted(partition) if r["kind"] == "reference"] == ["1", "2", "4", "6"]
    assert sorted(one[3] for one in identities(stocks)) == ["3", "5"]
    assert sorted(one[3] for one in identities(crypto)) == ["1", "2", "4", "6"]
    spans = (CLOCK, CLOCK + SECOND_US)
    assert len(standing(kafka, namespace + "trades.stocks", partition_of(STOCK, PARTITIONS), *spans)) == 2


def test_a_copy_whose_trade_does_not_count_is_made_whole(kafka: str, namespace: str) -> None:
    """Else the trade, filled in later, would be copied again where a copy of it counts."""
    first, second = begun(kafka, namespace), writer(kafka, namespace, 2)
    first.copies_alone = True
    woken(first, [trade("BTC-USD", 4, 1), trade("BTC-USD", 5, 1)])

    end = taken_over(follow(kafka, namespace), second)
    first.copies_alone = False
    woken(first, [trade("BTC-USD", 6, 1)])

    assert [(left.trade.id, [*left.partitions]) for left in end.untraded] == [("4", [1 - OTHER]), ("5", [1 - OTHER])]
    assert [left.copy.id for left in end.uncopied] == ["2"]
    new = [n for n in range(1, 7) if second.trade("crypto", trade("BTC-USD", n, 2)) and n != 3]
    assert second.flush(10) == 0
    assert new == [6]
    stocks, crypto = (records_of(kafka, namespace + f"trades.{market}") for market in MARKETS)
    for partition in stocks:
        copies = [r["id"] for r in counted(partition) if r["kind"] == "reference"]
        assert sorted(copies) == ["1", "2", "3", "4", "5", "6"]
    assert sorted(one[3] for one in identities(crypto)) == ["1", "2", "3", "4", "5", "6"]


def test_without_a_clock_a_copy_of_the_new_epoch_ends_the_old_one_too(kafka: str, namespace: str) -> None:
    """A log of stocks that its writer left before the first clock has no fence: the first record is one."""
    first, second = begun(kafka, namespace, "crypto"), writer(kafka, namespace, 2)
    follower = follow(kafka, namespace)
    end = taken_over(follower, second)
    assert [(left.partition, left.copy.id) for left in end.uncopied] == [(OTHER, "2")]
    assert second.trade("crypto", trade("BTC-USD", 7, 2))
    assert second.flush(10) == 0
    woken(first, [trade(STOCK, 5, 1)])
    follower._thread.join(30)
    assert not follower._thread.is_alive(), "something of the new epoch stands in each partition"
    assert second.trade("stocks", trade(STOCK, 5, 2)), "no reader counts what came below the copy"
    assert second.flush(10) == 0


def test_a_new_follower_knows_only_what_counts(kafka: str, namespace: str) -> None:
    first, second = begun(kafka, namespace), writer(kafka, namespace, 2)
    taken_over(follow(kafka, namespace), second)
    woken(first, [trade(STOCK, 5, 1)])
    third = writer(kafka, namespace, 3)
    end = taken_over(follow(kafka, namespace), third)
    assert end.settled == {"stocks": CLOCK, "crypto": CLOCK}
    assert third.trade("stocks", trade(STOCK, 5, 3))
    assert third.flush(10) == 0
