"""A day is read again against the log itself: it holds more than an ingest remembers."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import msgspec
import pytest

from marketdata.partition import partition_of
from marketdata.records import Trade
from marketdata.topics import Topics
from marketdata.units import SECOND_US
from services.ingest.corrections import Corrections, Log
from services.ingest.hostclock import wall_us
from services.ingest.jobs import Job
from services.ingest.standing import first_clock, key_of, standing
from services.ingest.writer import Writer
from tests.integration.test_ingest_live import standing as records_of
from tests.support.topics import new_namespace

PARTITIONS = 2
SYMBOLS = ("MARA", "RIOT", "CAN")
HORIZON_US = 5 * SECOND_US


@pytest.fixture
def namespace(kafka: str) -> Iterator[str]:
    with new_namespace(kafka, PARTITIONS) as name:
        yield name


def trade(symbol: str, number: int, ts: int, **fields: Any) -> Trade:
    base = Trade(symbol=symbol, ts=ts, received_ts=ts, price=1.0, size=1.0, exchange=4, id=str(number), epoch=1)
    return msgspec.structs.replace(base, **fields)


class Rest:
    """REST's account of the day: gives each trade to the poller's judgement."""

    enabled = True

    def __init__(self, writer: Writer, trades: list[Trade]) -> None:
        self._writer = writer
        self._trades = trades

    def symbols(self, market: str) -> list[str]:
        assert market == "stocks"
        return list(SYMBOLS)

    async def read(
        self, market: str, spans: Mapping[str, tuple[int, int]], deadline: float, *, accept: Callable[[Trade], bool]
    ) -> int:
        del deadline
        mine = [t for t in self._trades if t.symbol in spans and spans[t.symbol][0] <= t.ts <= spans[t.symbol][1]]
        return sum(accept(t) and self._writer.trade(market, t) for t in mine)


async def test_only_what_the_log_has_not_is_written_however_old(kafka: str, namespace: str) -> None:
    topics = Topics(namespace)
    topic = topics.trades("stocks")
    writer = Writer(kafka, topics, PARTITIONS, epoch=1, references=("BTC-USD",), horizon_us=HORIZON_US)
    assert first_clock(kafka, topic) == 0
    began = (wall_us() - 20 * SECOND_US) // 50_000 * 50_000
    writer.clock("stocks", began)
    old = [trade(SYMBOLS[n % 3], n, began + n * 10_000) for n in range(300)]
    for each in old:
        assert writer.trade("stocks", each)
    writer.trade("stocks", trade("MARA", 9_999, began + 15 * SECOND_US))
    writer.trade("crypto", trade("BTC-USD", 1, began + SECOND_US))  # its copies are no stock trades
    assert writer.flush(10) == 0
    assert writer.known_from("stocks") > old[-1].ts, "they are forgotten"
    assert first_clock(kafka, topic) == began

    found = standing(kafka, topic, 0, began, began + SECOND_US)
    assert found == {key_of(t) for t in old if partition_of(t.symbol, PARTITIONS) == 0 and t.ts <= began + SECOND_US}
    missed = [trade(s, 1_000 + n, began + n * 1_000, backfilled=True) for n, s in enumerate(SYMBOLS)]
    cancel = trade("MARA", 0, began + 7_000, backfilled=True, correction=10)
    before = trade("MARA", 5_000, began - 1_000, backfilled=True)
    told = [msgspec.structs.replace(t, backfilled=True) for t in old]
    rest = Rest(writer, [before, *told, *missed, cancel])
    poller = Corrections(
        cast("Any", rest), writer, Log(kafka, topics.trades, PARTITIONS),
        every_s=1, window_us=SECOND_US, delay_us=lambda _: 0,
    )  # fmt: skip
    for wanted in (4, 0):
        assert await poller._read(Job("stocks", (began - SECOND_US, began + 10 * SECOND_US))) == wanted
        assert writer.flush(10) == 0
    trades = [r for p in records_of(kafka, topic) for r in p if r["kind"] == "trade"]
    assert len(trades) == 300 + 1 + 4
