"""Which BTC copies a killed writer did not get to."""

from typing import Any

import msgspec

from marketdata.records import Reference, Trade, encode
from services.ingest.copies import REMEMBERED, CopyWatch
from services.ingest.writer import AS_REFERENCE, AS_TRADE

decode = msgspec.json.Decoder(Trade).decode
BTC, ETH = b"BTC-USD", b"ETH-USD"


def trade(number: int, key: bytes = BTC) -> bytes:
    return encode(
        Trade(
            symbol=key.decode(),
            ts=number,
            received_ts=number,
            price=1.5,
            size=2.5,
            exchange=1,
            id=str(number),
            epoch=1,
        )
    )


def copy(number: int, key: bytes = BTC) -> bytes:
    return AS_REFERENCE + trade(number, key)[len(AS_TRADE) :]


def watched(trades: int, *copied: int, key: bytes = BTC) -> CopyWatch:
    """Trades 0, 1, ...; partition p has the copies of the first ``copied[p]`` of them."""
    watch = CopyWatch(("BTC-USD", "ETH-USD"))
    for number in range(trades):
        watch.trade(key, trade(number, key))
    for partition, count in enumerate(copied):
        for number in range(count):
            watch.copy(partition, key, copy(number, key))
    return watch


def missing(watch: CopyWatch, partitions: int) -> list[tuple[int, str, str]]:
    return [(u.partition, u.copy.symbol, u.copy.id) for u in watch.missing(range(partitions))]


def test_each_partition_lacks_what_comes_after_its_last_copy() -> None:
    assert missing(watched(5, 5, 3, 4), 3) == [(1, "BTC-USD", "3"), (1, "BTC-USD", "4"), (2, "BTC-USD", "4")]


def test_a_partition_without_copies_lacks_all() -> None:
    assert missing(watched(2, 2), 2) == [(1, "BTC-USD", "0"), (1, "BTC-USD", "1")]


def test_a_partition_that_is_ahead_of_the_trades_lacks_none() -> None:
    assert missing(watched(3, 5), 1) == []


def test_copies_without_a_trade_are_told_with_where_they_stand() -> None:
    watch = watched(3, 5, 3, 4)
    watch.copy(1, b"SOL-USD", copy(9, b"SOL-USD"))  # no reference of ours
    watch.copy(1, BTC, AS_REFERENCE + b"}")  # no reader takes it
    left = watch.untraded(lambda one: one.ts < 3)
    assert [(one.trade, sorted(one.partitions)) for one in left] == [
        (decode(trade(3)), [0, 2]),
        (decode(trade(4)), [0]),
    ]
    assert watch.untraded(lambda _: True) == []


def test_symbols_are_told_apart_and_others_are_no_matter() -> None:
    watch = watched(3, 2)
    for number in range(2):
        watch.trade(ETH, trade(number, ETH))
    watch.copy(0, ETH, copy(0, ETH))
    watch.trade(b"SOL-USD", trade(9, b"SOL-USD"))
    watch.trade(None, b"")
    watch.trade(BTC, b'{"kind":"clock"}')
    assert missing(watch, 1) == [(0, "BTC-USD", "2"), (0, "ETH-USD", "1")]


def test_a_copy_is_what_the_writer_would_have_written() -> None:
    ((_, found),) = watched(1).missing(range(1))
    fields: dict[str, Any] = {name: getattr(found, name) for name in Trade.__struct_fields__}
    assert found == Reference(**fields)
    assert encode(found) == copy(0)


def test_memory_is_bounded() -> None:
    watch = watched(REMEMBERED + 10)
    assert len(watch.missing(range(1))) == REMEMBERED
