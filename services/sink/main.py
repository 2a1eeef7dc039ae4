"""Starts the sink: settings, logs, metrics, topics, then the loop until SIGTERM or SIGINT."""

from __future__ import annotations

import signal
import sys
import threading

import psycopg
import structlog
from confluent_kafka import KafkaException
from pydantic import ValidationError

from services.sink.loop import Sink
from services.sink.migrate import MigrationChangedError
from services.sink.settings import SinkSettings
from streaming.admin import PartitionMismatchError, ensure_topics
from streaming.fatal import die
from streaming.logs import configure_logs
from streaming.ops import Health, OpsServer

log = structlog.stdlib.get_logger()


def main() -> int:
    """Run the sink; 0 after a clean stop, 2 where the settings are wrong."""
    try:
        settings = SinkSettings()
    except ValidationError as error:
        sys.stderr.write(f"sink: the settings are wrong\n{error}\n")
        return 2
    configure_logs("sink", settings.log_level, settings.log_format)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        run(settings, stop)
    except (PartitionMismatchError, MigrationChangedError) as error:
        die(str(error))
    except KafkaException as error:
        die("Kafka failed", error=str(error), broker=settings.kafka_bootstrap_servers)
    except psycopg.Error as error:
        die("the database refused", error=str(error).strip(), sqlstate=error.sqlstate)
    log.info("stopped")
    return 0


def run(settings: SinkSettings, stop: threading.Event) -> None:
    """Serve metrics and run the loop until ``stop`` is set."""
    ensure_topics(settings.kafka_bootstrap_servers, settings.topics.specs(settings.partitions, settings.intervals))
    sink = Sink(settings, stop)
    health = Health()
    health.add("progress", sink.progress.check)
    ops = OpsServer(health, settings.metrics_host, settings.metrics_port).start()
    log.info("sink starts", group=settings.group_id, schema=settings.database_schema, metrics_port=ops.port)
    try:
        sink.run()
    finally:
        ops.stop()
