"""How far the aggregator has come, by its progress records."""

from __future__ import annotations

from typing import Final, Self

import msgspec
from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from bench.context import Bench
from marketdata.intervals import BASE
from marketdata.records import Progress
from marketdata.topics import MARKETS

_progress: Final = msgspec.json.Decoder(Progress).decode


class Processed:
    """Reads the progress records of both markets; each call takes what has come since the last one."""

    def __init__(self, bench: Bench) -> None:
        self._places = [
            (bench.topics.progress(market), p) for market in MARKETS for p in range(bench.broker.partitions)
        ]
        self._consumer = bench.broker.consumer()
        self._consumer.assign([TopicPartition(*place, OFFSET_BEGINNING) for place in self._places])
        self._read: dict[tuple[str, int], int] = {}
        self._closed: dict[tuple[str, int], int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def records(self) -> int:
        """Input records processed so far, by the places in ``src``."""
        self._take()
        return sum(self._read.values())

    def closed(self) -> int:
        """Up to where the shortest candles are out in every partition, in µs; 0 before the first of one."""
        self._take()
        return min(self._closed.get(place, 0) for place in self._places)

    def _take(self) -> None:
        while batch := self._consumer.consume(10_000, 0):
            for message in batch:
                if message.error() is None:
                    place = (message.topic() or "", message.partition() or 0)
                    record = _progress(message.value() or b"")
                    self._read[place] = record.src[1] + 1
                    if record.interval == BASE:
                        self._closed[place] = record.end
