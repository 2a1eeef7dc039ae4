"""Partitions that a settled group leaves to nobody: a client may not notice them after Kafka was made anew."""

from __future__ import annotations

import threading
from collections.abc import Collection
from typing import Final

import structlog
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from streaming.groups import read_group
from streaming.kafkaclient import client_config
from streaming.places import Place

EVERY_S: Final = 15.0
REQUEST_S: Final = 10.0
log = structlog.stdlib.get_logger()


class UnclaimedWatch:
    """Asks the broker every ``every_s`` seconds which partitions of ``topics`` exist and which the group has.

    A member that joins a new Kafka a moment before its topics are made is given no partitions, and its client, which
    still has the old Kafka's topics in mind, sees nothing change when they come. Two findings in a row are needed,
    since a group that has just settled looks the same.
    """

    def __init__(
        self, bootstrap: str, group: str, topics: Collection[str], stop: threading.Event, every_s: float = EVERY_S
    ) -> None:
        self._bootstrap = bootstrap
        self._group = group
        self._topics = frozenset(topics)
        self._stop = stop
        self._every_s = every_s
        self._found = threading.Event()
        self._thread = threading.Thread(target=self._run, name="unclaimed", daemon=True)

    def start(self) -> UnclaimedWatch:
        """Begin to ask, until ``stop`` is set; returns itself."""
        self._thread.start()
        return self

    def found(self) -> bool:
        """Whether the group should be joined anew; True once for each finding."""
        if not self._found.is_set():
            return False
        self._found.clear()
        return True

    def _run(self) -> None:
        admin = AdminClient(client_config(self._bootstrap, {"log_level": 0}))
        before: set[Place] = set()
        while not self._stop.wait(self._every_s):
            try:
                now = self._look(admin)
            except (KafkaException, ValueError):  # it is away, which others say; or a member is not ours
                now = set()
            if lasting := now & before:
                log.warning("partitions that no sink reads", count=len(lasting), first=min(lasting),
                            action="joining the group anew")  # fmt: skip
                self._found.set()
                now = set()
            before = now

    def _look(self, admin: AdminClient) -> set[Place]:
        group = read_group(admin, self._group, REQUEST_S)
        if not group.stable:
            return set()
        known = admin.list_topics(timeout=REQUEST_S).topics
        exist = {(name, p) for name in self._topics & known.keys() for p in known[name].partitions}
        return exist - group.held
