"""The newest finished candles of one symbol, read from its partition of the candle topic."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from market.stack import StackError
from marketdata.candle_buffer import CandleBuffer
from marketdata.partition import partition_of
from marketdata.records import UNREADABLE, Candle
from marketdata.topics import Topics
from streaming.kafkaclient import client_config
from streaming.places import Place
from streaming.reader import SrcFilter
from streaming.tails import END, READER, TailError, read_ranges

LOOK_BACK: Final = 5_000
"""Records of all symbols of the partition that are read at first, then four times as many, and so on."""
ENOUGH_S: Final = 10.0
_decode = msgspec.json.Decoder(Candle).decode


class CandleHistory:
    """Candles of one symbol, interval and hours in a buffer, under the reader's rule, rebuilt ones among them.

    Raises:
        StackError: there is no topic of that interval.
    """

    def __init__(
        self, bootstrap: str, topics: Topics, symbol: str, *, interval: str, hours: str, capacity: int
    ) -> None:
        self._bootstrap = bootstrap
        self._key = symbol.encode()
        self._wanted = (interval, hours)
        self.buffer = CandleBuffer(capacity)
        self._rule = SrcFilter()
        self._next: dict[Place, int] = {}
        market = "crypto" if "-" in symbol else "stocks"
        self._topic = topics.candles(market, interval)
        known = AdminClient(client_config(bootstrap, {"log_level": 2})).list_topics(timeout=15).topics
        if self._topic not in known:
            raise StackError(f"there is no topic {self._topic}: is {interval} among INTERVALS?")
        partition = partition_of(symbol, len(known[self._topic].partitions))
        names = (self._topic, topics.rebuilt(market))
        self._places = [(name, partition) for name in names if name in known]

    def read(self, count: int) -> None:
        """Look back until ``count`` candles are found, there are no older records, or 10 s have passed.

        Raises:
            TailError: the broker did not give even the newest ones.
        """
        deadline, look_back = time.monotonic() + ENOUGH_S, LOOK_BACK
        while True:
            self._rule = SrcFilter()
            try:
                seen = self._look_back(look_back, deadline)
            except TailError:
                if look_back == LOOK_BACK:
                    raise
                return  # what was found by now
            if len(self.buffer) >= count or seen < look_back:
                return
            look_back *= 4

    def follow(self, over: Callable[[], bool]) -> Iterator[Candle]:
        """Each candle that comes after those read, and each revision, until ``over`` says so."""
        consumer = Consumer(client_config(self._bootstrap, READER | {"fetch.wait.max.ms": 500}))
        try:
            consumer.assign(
                [TopicPartition(*place, self._next.get(place, OFFSET_BEGINNING)) for place in self._places]
            )
            while not over():
                for message in consumer.consume(1_000, 0.2):
                    if message.error() is None:
                        candle = self._take(message.topic() or "", message.key() or b"", message.value() or b"")
                        if candle is not None:
                            yield candle
        finally:
            consumer.close()

    def _look_back(self, records: int, deadline: float) -> int:
        """How many records of the candle topic there were among the last ``records``."""
        seen = 0
        for read in read_ranges(self._bootstrap, dict.fromkeys(self._places, (-records, END)), deadline):
            seen += read.place[0] == self._topic
            self._next[read.place] = read.offset + 1
            self._take(read.place[0], read.key, read.value)
        return seen

    def _take(self, topic: str, key: bytes, value: bytes) -> Candle | None:
        """The candle, if it is one of ours and new; of rebuilt ones the revision alone decides."""
        if key != self._key:
            return None
        try:
            candle = _decode(value)
        except UNREADABLE:
            return None  # the sink writes such records to its dead letters
        if topic == self._topic and not self._rule.accept(topic, 0, candle.src):
            return None
        if (candle.interval, candle.hours) != self._wanted or not self.buffer.add(candle):
            return None
        return candle
