"""Restoring before the group has answered: a worker that comes back must wait until its dead self's session ends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Final

import structlog
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from streaming.groups import read_group
from streaming.kafkaclient import client_config
from streaming.processor import BEGINNING, Partition
from streaming.settings import ServiceSettings
from streaming.takeover import begin_partitions

ANSWER_S: Final = 5.0
Assigned = tuple[str, int]
log = structlog.stdlib.get_logger()


class Ahead:
    """Restores ``places``, (input topic, partition) each, one after the other in a thread until it is stopped.

    What is restored is a function of the log up to its position, so it is good whoever has written since. It is only
    done where nearly all of it will be ours: where the group has no more than one member, most likely our dead self.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        group: str,
        begin: Callable[[str, int], Partition],
        places: Iterable[Assigned],
    ) -> None:
        self._settings = settings
        self._group = group
        self._begin = begin
        self._stopping = threading.Event()
        self._restored: dict[Assigned, Partition] = {}
        self._thread = threading.Thread(target=self._run, args=(list(places),), name="ahead", daemon=True)
        self._thread.start()

    def stop(self) -> dict[Assigned, Partition]:
        """What is restored, once the one in hand is. To be called once."""
        self._stopping.set()
        self._thread.join()
        if self._restored:
            log.info("restored ahead of the assignment", partitions=sorted(self._restored))
        return self._restored

    def _run(self, places: list[Assigned]) -> None:
        try:
            if not self._settings.snapshot_every_s or self._members() > 1:
                return
            for place in places:
                if self._stopping.is_set():
                    return
                partition = self._begin(*place)
                begin_partitions(self._settings, [partition])
                if partition.position != BEGINNING:  # a predecessor that still lives may store a snapshot yet
                    self._restored[place] = partition
        except (KafkaException, RuntimeError, LookupError, ValueError) as error:
            # It comes again when they are ours, and counts then.
            log.info("nothing more is restored ahead of the assignment", error=repr(error))

    def _members(self) -> int:
        admin = AdminClient(client_config(self._settings.kafka_bootstrap_servers, {"log_level": 0}))
        return read_group(admin, self._group, ANSWER_S).members
