"""How far behind the sink is: for metrics, health and Kafka's own lag displays."""

from __future__ import annotations

import time
from collections import defaultdict

import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition

from services.sink import metrics
from services.sink.batch import Batch
from streaming.places import Place

LOOK_S = 1.0
log = structlog.stdlib.get_logger()


class Outlook:
    """Follows stored positions against the ends of the partitions, as the consumer last saw them."""

    def __init__(self, consumer: Consumer, progress: metrics.Progress) -> None:
        self._consumer = consumer
        self._progress = progress
        self._stored: dict[Place, int] = {}
        self._unsaid: dict[Place, int] = {}
        self._newest_us = 0
        self._looked = 0.0

    def begin(self, positions: dict[Place, int]) -> None:
        """These partitions are ours now."""
        self._stored = dict(positions)
        self._unsaid = {}
        self._progress.joined = True
        self._progress.lag = None
        self._progress.moved()

    def stored(self, batch: Batch) -> None:
        """``batch`` was committed."""
        positions = {place: move.next_offset for place, move in batch.moves.items()}
        changed = {place: offset for place, offset in positions.items() if self._stored.get(place) != offset}
        self._newest_us = max(batch.published, default=self._newest_us)
        if changed:
            self._stored |= changed
            self._unsaid |= changed
            self._progress.moved()

    def look(self, in_hand: int) -> None:
        """Once a second: compute the lag and tell Kafka's displays. ``in_hand``: rows not yet written."""
        now = time.monotonic()
        if now - self._looked < LOOK_S:
            return
        self._looked = now
        metrics.ROWS_IN_HAND.set(in_hand)
        self._measure()
        self.commit()

    def commit(self) -> None:
        """Tell Kafka the stored positions; only displays read them, so a failure changes nothing."""
        offsets = [TopicPartition(*place, offset) for place, offset in self._unsaid.items()]
        self._unsaid = {}
        if not offsets:
            return
        try:
            self._consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            log.info("positions not shown to Kafka", error=str(error))

    def _measure(self) -> None:
        behind: dict[str, int] = defaultdict(int)
        for (topic, partition), stored in self._stored.items():
            try:
                _, end = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), cached=True)
            except KafkaException:
                continue  # not fetched yet
            behind[topic] += max(0, end - stored)
        for topic, records in behind.items():
            metrics.LAG_RECORDS.labels(topic).set(records)
        self._progress.lag = sum(behind.values())
        late = (time.time_ns() // 1000 - self._newest_us) / 1e6 if self._progress.lag and self._newest_us else 0
        metrics.LAG_SECONDS.set(late)
