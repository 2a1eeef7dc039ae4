"""One of several ingests of a live feed: stands by until the lease is its own, then writes."""

from __future__ import annotations

import os
import secrets
import socket
import threading
from typing import Final

import structlog
from msgspec.structs import replace

from marketdata.topics import MARKETS
from marketdata.units import SECOND_US
from services.ingest.follow import LogEnd, LogFollower
from services.ingest.keeper import LeaseKeeper
from services.ingest.left import open_starts
from services.ingest.live import run_live
from services.ingest.samelog import LogWatch
from services.ingest.settings import IngestSettings
from services.ingest.writer import Writer
from streaming.fatal import die
from streaming.ops import Health
from streaming.tracing import tracing_of

log = structlog.stdlib.get_logger()
LOOK_S: Final = 0.1
READ_TO_END_S: Final = 60.0
FLUSH_S: Final = 3.0
AWAY_S: Final = 1.0
"""Time for deliveries at a stop where Kafka is away: every service ends within 10 s."""
RELEASE_S: Final = 1.0


def run_feed(settings: IngestSettings, health: Health, stopping: threading.Event) -> int:
    """Stand by, take over, read the feed until told to stop; returns how many records were not delivered.

    Raises:
        FollowError: the log could not be read to its end at take-over.
        KafkaException: Kafka did not answer then.
    """
    bootstrap, topics = settings.kafka_bootstrap_servers, settings.topics
    horizon_us = settings.revision_horizon_s * SECOND_US
    LogWatch(bootstrap, [*map(topics.trades, MARKETS), topics.gaps, topics.lease]).start()
    follower = LogFollower(
        bootstrap, topics, settings.partitions, horizon_us=horizon_us, references=settings.reference_symbols
    ).start()
    lease = LeaseKeeper(
        bootstrap,
        topics.lease,
        f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}",
        settings.lease_timeout_s,
        known_epoch=lambda: follower.epoch,
        stall_s=settings.stall_timeout_s,
    ).start()
    live = threading.Event()
    health.add_life("lease", lease.pulse.check)
    health.add("role", lambda: role_health(lease, follower, live=live.is_set()))
    said = ""
    while not lease.wait_held(LOOK_S):
        if stopping.is_set():
            lease.release(RELEASE_S)
            return 0
        role = lease.role
        # Who just became the holder says so itself, when it writes: see resume.
        if role not in {said, "holder"}:
            said = role
            log.info(said, holder=lease.holder)
    if not follower.read_to_end(READ_TO_END_S, stopping):
        lease.release(RELEASE_S)
        return 0
    writer = _writer(settings, lease, follower.epoch or 0)
    fences = follower.begin_epoch(lease.epoch)
    writer.fence(fences)
    end = follower.finish(READ_TO_END_S, stopping, fences)
    if end is None:
        writer.flush(AWAY_S)
        lease.release(RELEASE_S)
        return 0
    resume(writer, end)
    live.set()
    try:
        run_live(settings, writer, health, end.left(), lease=lease, stopping=stopping)
    except Exception as error:
        writer.flush(FLUSH_S)
        log.exception("an error in the reader")
        die("reading the feed failed", error=f"{type(error).__name__}: {error}")
    left = writer.flush(FLUSH_S if lease.holds() else AWAY_S)
    if left:
        log.error("records were not delivered", records=left, remedy="the next start fills the gap")
        lease.stop()
    else:
        lease.release(RELEASE_S)
    return left


def role_health(lease: LeaseKeeper, follower: LogFollower, *, live: bool) -> tuple[bool, object]:
    """Healthy is who writes, or could at once.

    A standby has read the log back first: a rollout that did not wait for it could stop the last one who has.
    """
    can_take_over = lease.role == "standby" and follower.epoch is not None
    return live or can_take_over, {"role": lease.role, "epoch": lease.epoch}


def _writer(settings: IngestSettings, lease: LeaseKeeper, log_epoch: int) -> Writer:
    if log_epoch >= lease.epoch:
        die("the log holds a newer epoch than the lease: another ingest writes without one", log_epoch=log_epoch,
            own=lease.epoch)  # fmt: skip
    return Writer(
        settings.kafka_bootstrap_servers,
        settings.topics,
        settings.partitions,
        epoch=lease.epoch,
        references=settings.reference_symbols,
        horizon_us=settings.revision_horizon_s * SECOND_US,
        tracing=tracing_of(settings, "ingest"),
    )


def resume(writer: Writer, end: LogEnd) -> None:
    """Let ``writer`` take up where the log ends; what its predecessor wrote by half it makes whole."""
    for market in MARKETS:
        writer.resume(market, end.clocks[market], end.seen[market])
    for partition, copy in end.uncopied:
        writer.copy(partition, copy)
    for trade, partitions in end.untraded:
        writer.trade("crypto", replace(trade, epoch=writer.epoch), partitions)
    log.info("holder", epoch=writer.epoch, clocks=end.clocks, open_gaps=open_starts(end.gaps),
             known_trades=sum(map(len, end.seen.values())), copies_made_up=len(end.uncopied),
             trades_made_up=len(end.untraded))  # fmt: skip
