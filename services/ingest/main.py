"""How ingest starts and stops, whichever source it reads."""

from __future__ import annotations

import signal
import sys
import time

import structlog
from confluent_kafka import KafkaException

from marketdata.recording import SpecError
from marketdata.topics import MARKETS
from marketdata.units import SECOND_US
from services.ingest.files import FileSource
from services.ingest.logend import read_log_end
from services.ingest.recordings import RecordingError
from services.ingest.settings import IngestSettings
from services.ingest.writer import Writer
from streaming.admin import PartitionMismatchError, check_partitions
from streaming.fatal import die
from streaming.logs import configure_logs
from streaming.ops import Health, OpsServer
from streaming.tails import TailError

log = structlog.stdlib.get_logger()
FLUSH_S = 10.0


def main() -> None:
    """Run until the source ends, or SIGTERM or SIGINT; the status is 1 where the source cannot be read."""
    settings = IngestSettings()
    configure_logs("ingest", settings.log_level, settings.log_format)
    topics = settings.topics
    try:
        wanted = {topics.trades(market): settings.partitions for market in MARKETS}
        check_partitions(settings.kafka_bootstrap_servers, wanted)
        end = read_log_end(settings.kafka_bootstrap_servers, topics, settings.partitions)
    except (KafkaException, PartitionMismatchError, TailError) as error:
        die(str(error), bootstrap=settings.kafka_bootstrap_servers)
    writer = Writer(
        settings.kafka_bootstrap_servers,
        topics,
        settings.partitions,
        epoch=end.epoch + 1,
        references=settings.reference_symbols,
        horizon_us=settings.revision_horizon_s * SECOND_US,
    )
    for market in MARKETS:
        writer.resume(market, end.clocks[market], end.trades[market])
    health = Health()
    ops = OpsServer(health, settings.metrics_host, settings.metrics_port).start()
    log.info("started", source=settings.source, epoch=writer.epoch, metrics_port=ops.port)
    if settings.source == "files" and end.epoch:
        log.error("these topics hold trades already: replay into another NAMESPACE", namespace=settings.namespace)
        sys.exit(1)
    try:
        if settings.source == "feed":
            from services.ingest.live import run_live

            run_live(settings, writer, health, end.open_gaps)
        else:
            play_files(settings, writer, health)
    finally:  # also after an error: what was received is written
        left = writer.flush(FLUSH_S)
    log.info("stopped", undelivered=left)
    sys.exit(1 if left else 0)


def play_files(settings: IngestSettings, writer: Writer, health: Health) -> None:
    """Play the recordings and say what was written."""
    stopped: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda n, _frame: stopped.append(n))
    began = time.monotonic()
    try:
        source = FileSource(settings.files, writer, settings.speed, lambda: bool(stopped))
        health.add("progress", lambda: _progress(source, settings.stall_timeout_s))
        counts = source.run()
    except (RecordingError, SpecError) as error:
        writer.flush(FLUSH_S)
        log.error("the recordings cannot be played", reason=str(error))  # noqa: TRY400 - no traceback
        sys.exit(1)
    writer.flush(120)
    seconds = time.monotonic() - began
    event = "stopped before the end" if stopped else "played"
    log.info(event, **counts, **writer.counts(), records=writer.records, seconds=round(seconds, 2),
             trades_per_s=round(sum(counts.values()) / seconds))  # fmt: skip


def _progress(source: FileSource, stall_timeout_s: float) -> tuple[bool, object]:
    still = time.monotonic() - source.moved_at
    return still < stall_timeout_s, {
        "reached": source.reached,
        "records": source.records,
        "seconds_since_move": round(still, 1),
    }
