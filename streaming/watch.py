"""A watchdog that asks the broker itself: does our position still follow the end of the log?

Faust is known to stall in silence after a rebalance, with its own figures standing still too. So the end of the log
comes from a client of its own, and a position that does not move while there is something to read ends the process.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import structlog
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from streaming.fatal import die
from streaming.gauges import StageGauges
from streaming.kafkaclient import client_config
from streaming.logid import topic_ids
from streaming.stage import StageWorker

log = structlog.stdlib.get_logger()
EVERY_S = 2.0
IDS_EVERY = 5
"""Looks between two at the topics' ids: a log made anew is mostly shorter than our position, which shows at once."""


class Watchdog:
    """Measures lag in records every two seconds, and answers for the service's health."""

    def __init__(self, worker: StageWorker, bootstrap: str, stall_timeout_s: float) -> None:
        self._worker = worker
        self._admin = AdminClient(client_config(bootstrap))
        self._stall_timeout = stall_timeout_s
        self._lag: dict[tuple[str, int], int] = {}
        self._gauges = StageGauges(lambda: worker.partitions, worker.stage_names)
        self._ids: dict[str, str] = {}
        self._looks = 0
        self._short: set[tuple[str, int]] = set()
        self._behind: dict[tuple[str, int], tuple[int, float]] = {}  # position, and since when it stands there
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch, in a thread of its own: a blocked event loop must not blind it."""
        self._thread.start()

    def health(self) -> tuple[bool, Any]:
        """Healthy once partitions were assigned and as long as each moves or has nothing to read."""
        stalled = self._stalled()
        lag = {f"{topic}/{p}": n for (topic, p), n in sorted(self._lag.items())}
        joined = self._worker.joined
        return joined and not stalled, {"assigned": joined, "stalled": stalled, "lag_records": lag}

    def _run(self) -> None:
        while True:
            time.sleep(EVERY_S)
            try:
                self._measure()
            except KafkaException as error:
                log.warning("the end of the log is out of reach", error=str(error), action="asked again in 2 s")
                self._behind.clear()
                continue
            if stalled := self._stalled():
                die("the position stands still while there is something to read", partitions=stalled)

    def _measure(self) -> None:
        partitions = dict(self._worker.partitions)
        self._behind = {key: since for key, since in self._behind.items() if key in partitions}
        wanted = {TopicPartition(topic, p): OffsetSpec.latest() for topic, p in partitions}
        if not wanted:
            self._lag = {}
            self._gauges.show({}, {})
            return
        self._check_ids({topic for topic, _ in partitions})
        positions = {key: partition.position for key, partition in partitions.items()}  # before the ends, which grow
        for place, future in self._admin.list_offsets(wanted, request_timeout=10).items():
            key = (place.topic, place.partition)
            position, end = positions[key], future.result().offset
            if end < 0:
                continue  # the broker does not know it yet: it is just starting
            if end < position:
                self._shorter(key, end, position)
                continue
            self._short.discard(key)
            self._lag[key] = end - position
            if not self._lag[key]:
                self._behind.pop(key, None)
            elif self._behind.get(key, (-1, 0.0))[0] != position:
                self._behind[key] = (position, time.monotonic())
        self._lag = {key: n for key, n in self._lag.items() if key in partitions}
        self._gauges.show(partitions, self._lag)

    def _shorter(self, key: tuple[str, int], end: int, position: int) -> None:
        """A broker that comes back may say so for a moment; twice in a row it is true."""
        if key in self._short:
            die("the log is shorter than our position: it was made anew", topic=key[0], partition=key[1],
                end=end, position=position)  # fmt: skip
        self._short.add(key)

    def _check_ids(self, topics: set[str]) -> None:
        self._looks += 1
        if self._looks % IDS_EVERY and topics <= set(self._ids):
            return
        found = topic_ids(self._admin, topics)
        if anew := [topic for topic, known in self._ids.items() if found.get(topic, known) != known]:
            die("topics were made anew while they were read", topics=anew)
        self._ids |= found

    def _stalled(self) -> list[str]:
        """What was seen behind at one position for too long. An idle partition is not, however long it was idle."""
        oldest = time.monotonic() - self._stall_timeout
        return [f"{topic}/{p}" for (topic, p), (_, since) in list(self._behind.items()) if since < oldest]
