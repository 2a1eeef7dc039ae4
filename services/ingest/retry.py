"""Dead letters that come back: ``market dlq replay`` writes them to ingest.retry, and the live source takes them in.

They go the way of any trade, through normalise and the check for repeats, marked as back-filled; what still cannot be
read becomes a dead letter again. A crash can bring some of them twice: repeats are dropped, here or downstream.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec
import structlog
from confluent_kafka import OFFSET_STORED, Consumer, KafkaException, Message, TopicPartition

from marketdata.normalise import NormaliseError, normalise
from marketdata.records import UNREADABLE, Trade
from marketdata.topics import Topics
from marketdata.vendor import StockTrade
from services.ingest.banding import take_bands
from services.ingest.frames import read_frame
from services.ingest.hostclock import wall_us
from services.ingest.writer import Writer
from streaming.kafkaclient import client_config

log = structlog.stdlib.get_logger()
AT_ONCE: Final = 500
EVERY_S: Final = 1.0
FLUSH_S: Final = 0.2
_trade = msgspec.json.Decoder(Trade).decode


class Retry:
    """Reads ingest.retry from where the last instance stopped; for the one that writes alone."""

    def __init__(self, bootstrap: str, topics: Topics) -> None:
        self._topics = topics
        self._next: int | None = None
        self._consumer = Consumer(
            client_config(
                bootstrap,
                {
                    "group.id": topics.retry("ingest"),
                    "enable.auto.commit": False,
                    "auto.offset.reset": "earliest",
                    "log_level": 2,
                },
            )
        )
        self._consumer.assign([TopicPartition(topics.retry("ingest"), 0, OFFSET_STORED)])

    async def run(self, writer: Writer, may_write: Callable[[], bool]) -> None:
        """Look once a second, for ever; ends only by cancellation."""
        while True:
            await asyncio.sleep(EVERY_S)
            if may_write():
                self.take(writer, wall_us())
                if (offset := self.delivered(writer)) is not None:
                    await asyncio.to_thread(self.store, offset)

    def take(self, writer: Writer, now: int) -> int:
        """Write the trades of the letters that are there, as received at ``now`` µs; returns how many were new."""
        messages = [m for m in self._consumer.consume(AT_ONCE, 0) if m.error() is None]
        new = sum(self._letter(message, writer, now) for message in messages)
        if messages:
            self._next = (messages[-1].offset() or 0) + 1
            log.info("dead letters taken again", letters=len(messages), new_trades=new)
        return new

    def delivered(self, writer: Writer) -> int | None:
        """The offset to go on from once all that was taken is delivered, None where there is nothing to store yet."""
        return None if self._next is None or writer.flush(FLUSH_S) else self._next

    def store(self, offset: int) -> None:
        """Have the next instance begin at ``offset``."""
        try:
            self._consumer.commit(
                offsets=[TopicPartition(self._topics.retry("ingest"), 0, offset)], asynchronous=False
            )
        except KafkaException as error:
            log.warning("the place in ingest.retry was not stored", error=str(error), action="tried again")
        else:
            self._next = None if self._next == offset else self._next

    def close(self) -> None:
        """Give the connection back."""
        self._consumer.close()

    def _letter(self, message: Message, writer: Writer, now: int) -> int:
        raw = message.value() or b""
        topic = dict(message.headers() or ()).get("topic")
        if topic is not None:
            return self._record(topic.decode(), raw, writer, now)
        frame = read_frame(raw if raw.lstrip()[:1] == b"[" else b"[%b]" % raw, luld=True)
        new = 0
        for event in frame.trades:
            market = "stocks" if type(event) is StockTrade else "crypto"
            try:
                trade = normalise(event, now, writer.epoch)
            except NormaliseError as error:
                writer.dead_letter(str(error), msgspec.json.encode(event), now)
                continue
            new += writer.trade(market, msgspec.structs.replace(trade, backfilled=True))
        take_bands(writer, "stocks", frame.bands, now)
        for reason, bad in frame.bad:
            writer.dead_letter(reason, bad, now)
        return new

    def _record(self, topic: str, raw: bytes, writer: Writer, now: int) -> int:
        """A record of trades.* that an agent could not read."""
        market = "stocks" if topic == self._topics.trades("stocks") else "crypto"
        try:
            trade = _trade(raw)
        except UNREADABLE as error:
            writer.dead_letter(f"not a record of {topic}: {error}", raw, now)
            return 0
        return writer.trade(market, msgspec.structs.replace(trade, backfilled=True, epoch=writer.epoch))
