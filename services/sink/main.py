"""Starts the sink: settings, logs, metrics, topics, then the loop until SIGTERM or SIGINT."""

from __future__ import annotations

import signal
import sys
import threading

import psycopg
import structlog
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from pydantic import ValidationError

from services.sink.loop import Sink
from services.sink.migrate import MigrationChangedError
from services.sink.patience import StoppedError, aside, patiently
from services.sink.settings import SinkSettings
from streaming.admin import PartitionMismatchError, ensure_topics
from streaming.fatal import die
from streaming.heap import give_back_freed_memory
from streaming.interpreter import tune_for_records
from streaming.kafkaclient import client_config
from streaming.logs import configure_logs
from streaming.ops import Health, OpsServer

PROBE_S = 2.0
log = structlog.stdlib.get_logger()


def main() -> int:
    """Run the sink; 0 after a clean stop, 2 where the settings are wrong."""
    try:
        settings = SinkSettings()
    except ValidationError as error:
        sys.stderr.write(f"sink: the settings are wrong\n{error}\n")
        return 2
    configure_logs("sink", settings.log_level, settings.log_format)
    give_back_freed_memory()
    tune_for_records()
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
    """Serve metrics and run the loop until ``stop`` is set; Kafka and the database may come later."""
    sink = Sink(settings, stop)
    health = Health()
    health.add("progress", sink.progress.check)
    health.add_life("loop", sink.pulse.check)
    ops = OpsServer(health, settings.metrics_host, settings.metrics_port).start()
    log.info("sink starts", group=settings.group_id, schema=settings.database_schema, metrics_port=ops.port)
    try:
        patiently(lambda: _ensure_topics(settings, stop), stop)
        sink.run()
    except StoppedError:
        log.info("stopped while Kafka was away")
    finally:
        ops.stop()


def _ensure_topics(settings: SinkSettings, stop: threading.Event) -> None:
    bootstrap, specs = (
        settings.kafka_bootstrap_servers,
        settings.topics.specs(settings.partitions, settings.intervals),
    )
    admin = AdminClient(client_config(bootstrap, {"log_level": 0}))
    aside(lambda: admin.list_topics(timeout=PROBE_S), stop)  # says soon that nobody is there
    aside(lambda: ensure_topics(bootstrap, specs), stop)
