"""How ingest starts and stops, whichever source it reads."""

from __future__ import annotations

import signal
import sys
import threading
import time

import structlog
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from marketdata.recording import SpecError
from marketdata.topics import MARKETS
from marketdata.units import SECOND_US
from services.ingest.files import FileSource
from services.ingest.follow import FollowError, count_records
from services.ingest.recordings import RecordingError
from services.ingest.settings import IngestSettings
from services.ingest.takeover import run_feed
from services.ingest.writer import Writer
from streaming.admin import PartitionMismatchError, ensure_topics
from streaming.fatal import die
from streaming.heap import give_back_freed_memory
from streaming.interpreter import tune_for_records
from streaming.kafkaclient import client_config
from streaming.logs import configure_logs
from streaming.ops import Health, OpsServer

log = structlog.stdlib.get_logger()
FLUSH_S = 5.0
PROBE_S = 2.0
FIRST_WAIT_S, LAST_WAIT_S = 0.5, 10.0


def main() -> None:
    """Run until the source ends, or SIGTERM or SIGINT; the status is 1 where the source cannot be read."""
    settings = IngestSettings()
    configure_logs("ingest", settings.log_level, settings.log_format)
    give_back_freed_memory()
    tune_for_records()
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stopping.set())
    health = Health()
    ops = OpsServer(health, settings.metrics_host, settings.metrics_port).start()
    log.info("started", source=settings.source, metrics_port=ops.port)
    try:
        if not await_topics(settings, stopping):
            log.info("stopped", reason="Kafka has not answered yet")
            sys.exit(0)
        run = run_feed if settings.source == "feed" else play_files
        left = run(settings, health, stopping)
    except (KafkaException, PartitionMismatchError, FollowError) as error:
        die(str(error), bootstrap=settings.kafka_bootstrap_servers)
    log.info("stopped", undelivered=left)
    sys.exit(1 if left else 0)


def await_topics(settings: IngestSettings, stopping: threading.Event) -> bool:
    """Wait until Kafka answers and ingest's topics are there, made where they are not; False if told to stop.

    Raises:
        PartitionMismatchError: a topic has another number of partitions than configured.
        KafkaException: the broker answered and refused.
    """
    bootstrap, topics = settings.kafka_bootstrap_servers, settings.topics
    wait = FIRST_WAIT_S
    while not stopping.is_set():
        try:
            AdminClient(client_config(bootstrap, {"log_level": 2})).list_topics(timeout=PROBE_S)
        except KafkaException as error:
            log.warning("Kafka does not answer", bootstrap=bootstrap, error=str(error),
                        action=f"trying again in {wait:g} s")  # fmt: skip
            stopping.wait(wait)
            wait = min(2 * wait, LAST_WAIT_S)
            continue
        own = {*map(topics.trades, MARKETS), topics.gaps, topics.lease, topics.dead_letters("ingest"),
               topics.retry("ingest")}  # fmt: skip
        if settings.quotes:
            own |= set(map(topics.quotes, MARKETS))
        ensure_topics(bootstrap, [spec for spec in topics.specs(settings.partitions) if spec.name in own])
        return True
    return False


def play_files(settings: IngestSettings, health: Health, stopping: threading.Event) -> int:
    """Play the recordings and say what was written; no lease is needed, because the topics must be empty."""
    bootstrap, topics = settings.kafka_bootstrap_servers, settings.topics
    if count_records(bootstrap, topics, settings.partitions):
        log.error("these topics hold trades already: replay into another NAMESPACE", namespace=settings.namespace)
        sys.exit(1)
    writer = Writer(
        bootstrap,
        topics,
        settings.partitions,
        epoch=1,
        references=settings.reference_symbols,
        horizon_us=settings.revision_horizon_s * SECOND_US,
    )
    try:
        _play(settings, writer, health, stopping)
    finally:  # also after an error: what was read is written
        left = writer.flush(FLUSH_S)
    return left


def _play(settings: IngestSettings, writer: Writer, health: Health, stopping: threading.Event) -> None:
    began = time.monotonic()
    try:
        source = FileSource(settings.files, writer, settings.speed, stopping.is_set)
        health.add("progress", lambda: _progress(source, settings.stall_timeout_s))
        counts = source.run()
    except (RecordingError, SpecError) as error:
        writer.flush(FLUSH_S)
        log.error("the recordings cannot be played", reason=str(error))  # noqa: TRY400 - no traceback
        sys.exit(1)
    if not stopping.is_set():
        writer.flush(120)
    seconds = time.monotonic() - began
    event = "stopped before the end" if stopping.is_set() else "played"
    log.info(event, **counts, **writer.counts(), records=writer.records, seconds=round(seconds, 2),
             trades_per_s=round(sum(counts.values()) / seconds))  # fmt: skip


def _progress(source: FileSource, stall_timeout_s: float) -> tuple[bool, object]:
    still = time.monotonic() - source.moved_at
    return still < stall_timeout_s, {
        "reached": source.reached,
        "records": source.records,
        "seconds_since_move": round(still, 1),
    }
