"""Whether Kafka is still the one that ingest began with: a log made anew would be taken for a continuation."""

from __future__ import annotations

import threading
import time
from typing import Final

import structlog
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from streaming.fatal import die
from streaming.kafkaclient import client_config
from streaming.logid import topic_ids

log = structlog.stdlib.get_logger()
EVERY_S: Final = 3.0
_GONE: Final = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC})


class LogWatch:
    """Asks for the topics' ids every three seconds; ends the process once they are gone (twice) or others."""

    def __init__(self, bootstrap: str, topics: list[str]) -> None:
        self._admin = AdminClient(client_config(bootstrap, {"log_level": 2}))
        self._topics = topics
        self._gone = 0
        self._first = topic_ids(self._admin, topics)
        self._thread = threading.Thread(target=self._run, name="samelog", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def _run(self) -> None:
        while True:
            time.sleep(EVERY_S)
            try:
                found = topic_ids(self._admin, self._topics)
            except KafkaException as error:
                self._gone = self._gone + 1 if error.args[0].code() in _GONE else 0
                if self._gone > 1:
                    die("Kafka was made anew: a topic is gone", topics=self._topics, error=str(error))
                continue
            self._gone = 0
            if found != self._first:
                changed = [name for name, topic_id in found.items() if topic_id != self._first[name]]
                die("Kafka was made anew: topics have other ids", topics=changed)
