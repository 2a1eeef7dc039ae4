"""What the writer hands to the producer: which record, where, under which key and header."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from confluent_kafka import KafkaError, KafkaException

from marketdata.partition import partition_of
from marketdata.records import Clock, DeadLetter, Quote, QuoteCopy, Reference, Trade, encode
from marketdata.topics import Topics
from marketdata.units import SECOND_US
from services.ingest import writer as module
from services.ingest.seen import Seen
from services.ingest.writer import MAX_DEAD_LETTER, Writer

NOW = 1_709_650_800 * SECOND_US
P = 6
Written = tuple[str, bytes, str | None, int, list[tuple[str, bytes]] | None]


class FakeProducer:
    """Keeps what it is given; full until it is polled, as often as ``full`` says; at its end once one is ``lost``."""

    def __init__(self) -> None:
        self.written: list[Written] = []
        self.full = 0
        self.lost = False

    def produce(self, topic: str, value: bytes, key: Any, partition: int, **options: Any) -> None:
        if self.full:
            self.full -= 1
            raise BufferError
        self._check()
        self.written.append((topic, value, key.decode() if key else None, partition, options["headers"]))

    def __len__(self) -> int:
        return 0  # all of it is delivered

    def _check(self) -> None:
        if self.lost:
            raise KafkaException(KafkaError(KafkaError._FATAL, "a gap would follow", True))

    def poll(self, _timeout: float) -> int:
        self._check()
        return 0

    def flush(self, _timeout: float) -> int:
        return 0


@pytest.fixture
def producer(monkeypatch: pytest.MonkeyPatch) -> FakeProducer:
    fake = FakeProducer()
    monkeypatch.setattr(module, "exact_producer", lambda *_, **__: fake)
    return fake


def new_writer(epoch: int = 1) -> Writer:
    return Writer("x", Topics("t."), P, epoch=epoch, references=("BTC-USD",), horizon_us=900 * SECOND_US)


def trade(symbol: str = "MARA", **changes: Any) -> Trade:
    base = Trade(symbol=symbol, ts=NOW, received_ts=NOW, price=1.5, size=0.25, exchange=4, id="7", epoch=1,
                 conditions=(14, 41), side=2)  # fmt: skip
    return msgspec.structs.replace(base, **changes)


@pytest.mark.parametrize("step", [lambda writer: writer.poll(), lambda writer: writer.trade("stocks", trade())])
def test_a_lost_record_ends_the_process(
    producer: FakeProducer, monkeypatch: pytest.MonkeyPatch, step: Callable[[Writer], None]
) -> None:
    said: list[str] = []
    for path in (module.__name__, "streaming.producer"):
        monkeypatch.setattr(f"{path}.die", lambda why, **_: said.append(why))
    producer.lost = True
    step(new_writer())
    assert said == ["a record was not delivered"]


def test_a_stock_trade_goes_to_the_partition_of_its_symbol(producer: FakeProducer) -> None:
    assert new_writer().trade("stocks", trade())
    place = partition_of("MARA", P)
    assert producer.written == [("t.trades.stocks", encode(trade()), "MARA", place, [("kind", b"trade")])]


def test_a_reference_symbol_is_copied_into_every_partition_of_the_stocks(producer: FakeProducer) -> None:
    writer, btc, eth = new_writer(), trade("BTC-USD"), trade("ETH-USD")
    writer.trade("crypto", btc)
    writer.trade("crypto", eth)
    copy = encode(Reference(**{name: getattr(btc, name) for name in btc.__struct_fields__}))
    assert producer.written == [
        ("t.trades.crypto", encode(btc), "BTC-USD", partition_of("BTC-USD", P), [("kind", b"trade")]),
        *(("t.trades.stocks", copy, "BTC-USD", p, [("kind", b"reference")]) for p in range(P)),
        ("t.trades.crypto", encode(eth), "ETH-USD", partition_of("ETH-USD", P), [("kind", b"trade")]),
    ]
    assert not writer.trade("crypto", btc), "a repeat is not copied either"
    assert len(producer.written) == P + 2


def test_a_clock_goes_into_every_partition_of_its_market_and_never_back(producer: FakeProducer) -> None:
    writer = new_writer(3)
    assert [writer.clock("crypto", NOW + step) for step in (0, 0, -50_000, 50_000)] == [True, False, False, True]
    assert writer.clock("stocks", NOW), "each market has a clock of its own"
    values = [encode(Clock(ts=NOW + step, epoch=3)) for step in (0, 50_000)]
    assert producer.written == [
        *(("t.trades.crypto", value, None, p, [("kind", b"clock")]) for value in values for p in range(P)),
        *(("t.trades.stocks", values[0], None, p, [("kind", b"clock")]) for p in range(P)),
    ]
    assert writer.newest_clock("crypto") == NOW + 50_000


def test_a_restart_neither_repeats_trades_nor_goes_back(producer: FakeProducer) -> None:
    writer = new_writer(2)
    seen = Seen(900 * SECOND_US)
    seen.is_new(trade())
    writer.resume("stocks", NOW + SECOND_US, seen)
    assert not writer.trade("stocks", trade(epoch=2))
    assert not writer.clock("stocks", NOW + SECOND_US)
    assert producer.written == []
    assert writer.trade("stocks", trade(id="8", epoch=2))
    assert writer.clock("stocks", NOW + SECOND_US + 50_000)


def test_a_full_producer_makes_it_wait_and_loses_nothing(producer: FakeProducer) -> None:
    writer = new_writer()
    producer.full = 3
    writer.trade("stocks", trade())
    writer.clock("stocks", NOW)
    assert [kind for *_, headers in producer.written for _, kind in headers or ()] == [b"trade"] + [b"clock"] * P


def test_a_dead_letter_stays_under_what_brokers_take(producer: FakeProducer) -> None:
    writer = new_writer()
    writer.dead_letter("short", b"{", NOW)
    writer.dead_letter("r" * 1_000_000, b"x" * 20_000_000, NOW)
    short, long = (msgspec.json.decode(value, type=DeadLetter) for _, value, *_ in producer.written)
    assert short == DeadLetter(service="ingest", reason="short", raw=b"{", ts=NOW)
    assert long.raw == b"x" * MAX_DEAD_LETTER
    assert long.reason.endswith(f"(the first {MAX_DEAD_LETTER} of 20000000 bytes)")
    assert all(len(value) < 1_000_000 for _, value, *_ in producer.written)


def test_the_counts(producer: FakeProducer) -> None:
    writer = new_writer()
    for _ in range(3):
        writer.trade("stocks", trade())
    writer.trade("crypto", trade("BTC-USD"))
    writer.clock("crypto", NOW)
    trades = {"stocks_trades": 1, "crypto_trades": 1, "duplicates": 2, "dead_letters": 0}
    assert writer.counts() == trades | {"stocks_clocks": 0, "crypto_clocks": 1}
    assert writer.records == len(producer.written)


def test_quotes_have_topics_of_their_own_and_copies_stand_among_the_trades(producer: FakeProducer) -> None:
    writer = new_writer()
    mara, btc = (
        Quote(symbol=symbol, ts=NOW, received_ts=NOW, bid=1.5, bid_size=2, ask=None, ask_size=0, epoch=1)
        for symbol in ("MARA", "BTC-USD")
    )
    writer.quote("stocks", mara)
    writer.quote("crypto", btc)
    place, btc_place = partition_of("MARA", P), partition_of("BTC-USD", P)
    assert producer.written == [
        ("t.quotes.stocks", encode(mara), "MARA", place, None),
        ("t.quotes.crypto", encode(btc), "BTC-USD", btc_place, None),
    ]
    producer.written.clear()
    writer.quote_copy(mara, everywhere=False)
    writer.quote_copy(btc, everywhere=True)
    copies = [encode(QuoteCopy(**{n: getattr(q, n) for n in q.__struct_fields__})) for q in (mara, btc)]
    header = [("kind", b"quote_copy")]
    assert producer.written == [
        ("t.trades.stocks", copies[0], "MARA", place, header),
        *(("t.trades.stocks", copies[1], "BTC-USD", p, header) for p in range(P)),
    ]
