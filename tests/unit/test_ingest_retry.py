"""Dead letters that come back to ingest."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from marketdata.records import DeadLetter, Trade, encode
from marketdata.topics import Topics
from services.ingest import retry as module
from services.ingest.retry import Retry
from services.ingest.writer import REFERENCE
from tests.unit.test_ingest_writer import NOW, FakeProducer, new_writer, trade

STOCK = b'{"ev":"T","sym":"MARA","p":20.5,"t":1709650800000,"i":"7","s":1}'
COIN = b'{"ev":"XT","pair":"BTC-USD","p":65000.5,"t":1709650800000,"i":8,"s":0.1}'


class Message:
    def __init__(self, offset: int, value: bytes, topic: str | None = None) -> None:
        self._offset, self._value, self._topic = offset, value, topic

    def error(self) -> None:
        return None

    def offset(self) -> int:
        return self._offset

    def value(self) -> bytes:
        return self._value

    def headers(self) -> Any:
        return [("topic", self._topic.encode()), ("partition", b"0"), ("offset", b"5")] if self._topic else None


class FakeConsumer:
    messages: list[Message]

    def __init__(self, settings: dict[str, Any]) -> None:
        assert settings["enable.auto.commit"] is False
        self.committed: list[int] = []

    def assign(self, places: list[Any]) -> None:
        assert [(p.topic, p.partition) for p in places] == [("t.ingest.retry", 0)]

    def consume(self, _count: int, _timeout: float) -> list[Message]:
        messages, FakeConsumer.messages = FakeConsumer.messages, []
        return messages

    def commit(self, offsets: list[Any], asynchronous: bool) -> None:
        assert not asynchronous
        self.committed.append(offsets[0].offset)


@pytest.fixture
def producer(monkeypatch: pytest.MonkeyPatch) -> FakeProducer:
    fake = FakeProducer()
    monkeypatch.setattr("services.ingest.writer.exact_producer", lambda *_, **__: fake)
    monkeypatch.setattr(module, "Consumer", FakeConsumer)
    return fake


def written(producer: FakeProducer, topic: str) -> list[Any]:
    kind = DeadLetter if topic.endswith("dlq") else Trade
    return [
        msgspec.json.decode(value, type=kind)
        for name, value, *_, headers in producer.written
        if name == f"t.{topic}" and headers != REFERENCE
    ]


def take(producer: FakeProducer, *messages: Message) -> tuple[Retry, int]:
    FakeConsumer.messages = list(messages)
    reader = Retry("x", Topics("t."))
    return reader, reader.take(new_writer(5), NOW)


def test_an_event_and_a_frame_become_backfilled_trades_once(producer: FakeProducer) -> None:
    _, new = take(producer, Message(3, STOCK), Message(4, b"[" + STOCK + b"," + COIN + b"]"))
    assert new == 2
    (stock,), (coin,) = written(producer, "trades.stocks"), written(producer, "trades.crypto")
    assert [(t.symbol, t.backfilled, t.epoch, t.received_ts) for t in (stock, coin)] == [
        ("MARA", True, 5, NOW), ("BTC-USD", True, 5, NOW)]  # fmt: skip


def test_what_still_cannot_be_read_is_a_dead_letter_again(producer: FakeProducer) -> None:
    bad = [b"{", b'{"ev":"T"}', STOCK.replace(b"20.5", b"-1"), b"[5]", b"", b"\xff"]
    _, new = take(producer, *(Message(n, raw) for n, raw in enumerate(bad)))
    letters = written(producer, "ingest.dlq")
    assert new == 0
    assert len(letters) == len(bad) - 1, "an empty letter holds no event"
    assert written(producer, "trades.stocks") == []


def test_a_record_of_ours_goes_back_to_its_topic_under_the_own_epoch(producer: FakeProducer) -> None:
    coin = trade("ETH-USD")
    messages = Message(1, encode(trade()), "t.trades.stocks"), Message(2, encode(coin), "t.trades.crypto")
    _, new = take(producer, *messages, Message(3, b"{}", "t.trades.stocks"))
    assert new == 2
    assert [t.epoch for t in written(producer, "trades.stocks") + written(producer, "trades.crypto")] == [5, 5]
    assert written(producer, "ingest.dlq")[0].reason.startswith("not a record of t.trades.stocks")


def test_the_place_is_stored_only_when_all_is_delivered(
    producer: FakeProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [2, 0]
    monkeypatch.setattr(producer, "flush", lambda _timeout: left.pop(0))
    FakeConsumer.messages = [Message(3, STOCK), Message(4, STOCK)]
    reader, writer = Retry("x", Topics("t.")), new_writer(5)
    assert reader.delivered(writer) is None, "nothing was taken"
    reader.take(writer, NOW)
    assert reader.delivered(writer) is None, "not delivered yet"
    assert reader.delivered(writer) == 5
    reader.store(5)
    assert reader.delivered(writer) is None, "stored already"
    assert reader._consumer.committed == [5]  # type: ignore[attr-defined]
