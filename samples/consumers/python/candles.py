#!/usr/bin/env python3
# /// script
# requires-python = ">=3.11"
# dependencies = ["confluent-kafka>=2.5"]
# ///
"""Prints a topic of market-pipeline, one JSON line a record: a candle as symbol, time and OHLCV, others as they came.

    candles.py [--namespace NS] [--from-beginning] [--count N] [TOPIC]

Where Kafka is, and who reads, is said by the environment: KAFKA_BOOTSTRAP_SERVERS, KAFKA_SASL_USERNAME,
KAFKA_SASL_PASSWORD, KAFKA_SSL_CA. It needs nothing of the pipeline's own code: copy it and change it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, TopicPartition

PATIENCE_S = 15.0  # how long Kafka may take to answer at the start
REVISIONS_HELD = 100_000  # candles whose revision is remembered; one older than these is revised by hand at most
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Seen:
    """What was accepted so far, so that no record is taken twice and no candle goes back to an older revision."""

    def __init__(self) -> None:
        self._src: dict[tuple[str, int], list[int]] = {}
        self._revisions: dict[tuple[str, str, str, int], int] = {}

    def accept(self, topic: str, partition: int, record: dict[str, Any]) -> bool:
        """The reader's rule: in each partition `src` must grow; a writer that was replaced may repeat records.

        All kinds of a topic go through the same comparison. Python compares lists from left to right: what is wanted.
        """
        src = record.get("src")
        if src is None:  # topics that are not derived from others (trades.*, candles.live.*) carry none
            return True
        last = self._src.get((topic, partition))
        if last is not None and src <= last:
            return False
        self._src[topic, partition] = src
        return True

    def is_newest(self, candle: dict[str, Any]) -> bool:
        """Whether this revision of the candle is newer than the one we have, if any."""
        key = (candle["symbol"], candle["interval"], candle["hours"], candle["timestamp_in"])
        if candle["revision"] <= self._revisions.get(key, -1):
            return False
        self._revisions[key] = candle["revision"]
        if len(self._revisions) > REVISIONS_HELD:
            del self._revisions[next(iter(self._revisions))]  # a dict keeps its order: this is the oldest
        return True


def candle_line(candle: dict[str, Any]) -> str:
    """A candle in short, prices null where no trade formed them; a line with a higher revision replaces it."""
    price = candle["price"]
    start = EPOCH + timedelta(microseconds=candle["timestamp_in"])
    line = {"symbol": candle["symbol"], "time": start.isoformat(timespec="milliseconds").replace("+00:00", "Z")}
    line |= {name: candle[name] for name in ("interval", "hours", "revision")}
    line |= {name: price[name] for name in ("open", "high", "low", "close", "volume")}
    return json.dumps(line, separators=(",", ":"))


def settings() -> dict[str, Any]:
    """What the client needs to know. A password is sent over TLS alone, so a user means SASL_SSL."""
    env = os.environ
    found: dict[str, Any] = {
        "bootstrap.servers": env.get("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9092"),
        "group.id": "unused",  # the client wants one; partitions are assigned by hand, so no group is joined
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",  # where retention has overtaken us, go on with the oldest that is left
        "error_cb": lambda error: print(f"candles: {error.str()}", file=sys.stderr),
        "log_level": 0,  # error_cb says it
    }
    user, password, authority = (env.get(f"KAFKA_{x}") for x in ("SASL_USERNAME", "SASL_PASSWORD", "SSL_CA"))
    if bool(user) != bool(password):
        raise ValueError("KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD go together")
    if user:
        found |= {"sasl.mechanism": "SCRAM-SHA-512", "sasl.username": user, "sasl.password": password}
    if user or authority:
        found["security.protocol"] = "SASL_SSL" if user else "SSL"
    if authority:  # else the system's authorities are trusted
        found["ssl.ca.location"] = authority
    return found


def partitions_of(consumer: Consumer, topic: str) -> list[int]:
    """The topic's partitions; KafkaException where it is not there or not for us."""
    try:
        found = consumer.list_topics(topic, timeout=PATIENCE_S).topics[topic]
    except KafkaException:
        consumer.poll(0)  # lets error_cb say why, a wrong password for one
        raise
    if found.error is not None:
        raise KafkaException(found.error)
    return sorted(found.partitions)


def read(consumer: Consumer, count: int, stopping: threading.Event) -> None:
    """Print records until `count` are printed (0: without end) or `stopping` is set."""
    seen, printed = Seen(), 0
    while not stopping.is_set() and (not count or printed < count):
        message = consumer.poll(0.5)  # not longer: Ctrl-C is noticed between two calls
        if message is None:
            continue
        if (error := message.error()) is not None:
            if error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:  # of the group that we never join
                continue
            raise KafkaException(error)
        value = message.value()
        if value is None:  # a compacted topic's word that a key is gone
            continue
        record = json.loads(value)
        if not seen.accept(message.topic(), message.partition(), record):
            continue
        if record["kind"] == "candle" and not seen.is_newest(record):
            continue
        print(candle_line(record) if record["kind"] == "candle" else value.decode(), flush=True)
        printed += 1


def main() -> int:
    """Read as the command line says; 0 after Ctrl-C or `--count`, 1 where Kafka refuses."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("topic", nargs="?", default="candles.stocks.1m", metavar="TOPIC")
    parser.add_argument("--namespace", default="", help='stands before the topic\'s name, such as "replay-7f3a."')
    parser.add_argument("--from-beginning", action="store_true", help="all that is there, not only what comes")
    parser.add_argument("--count", type=int, default=0, help="end after so many records")
    options = parser.parse_args()
    topic = options.namespace + options.topic
    stopping = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: stopping.set())
    try:
        consumer = Consumer(settings())
        try:
            start = OFFSET_BEGINNING if options.from_beginning else OFFSET_END
            consumer.assign([TopicPartition(topic, one, start) for one in partitions_of(consumer, topic)])
            read(consumer, options.count, stopping)
        finally:
            consumer.close()
    except (KafkaException, ValueError) as error:
        reason = error.args[0].str() if isinstance(error, KafkaException) else error
        print(f"candles: cannot read {topic}: {reason}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
