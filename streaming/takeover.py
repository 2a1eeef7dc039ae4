"""How a partition's state comes back: from its newest snapshot, and from the records that must be read again."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence

import structlog
from confluent_kafka import Message
from confluent_kafka.admin import AdminClient

from streaming import metrics
from streaming.kafkaclient import client_config
from streaming.logid import topic_ids
from streaming.places import Place
from streaming.processor import Partition, UnreadableError
from streaming.settings import ServiceSettings
from streaming.snapshots import Snapshot, SnapshotWriter, read_snapshots
from streaming.tails import ExpiredError, read_batches

log = structlog.stdlib.get_logger()
SAY_EVERY_S = 5.0


class OtherLogError(RuntimeError):
    """The input topic was made anew, but what was derived from the old one is still there."""


def begin_partitions(settings: ServiceSettings, partitions: Sequence[Partition]) -> None:
    """Restore each partition from its snapshot; one without a snapshot begins at the beginning of its input.

    Raises:
        OtherLogError: a snapshot belongs to another log than the input's.
        TailError: the broker did not give what must be read.
        KafkaException: a topic is missing, or the broker did not answer.
    """
    if not partitions:
        return
    bootstrap = settings.kafka_bootstrap_servers
    states = {(settings.topics.state(p.stage.name), p.number): p for p in partitions}
    stored = {name for name, _ in states} if settings.snapshot_every_s else set()
    ids = topic_ids(
        AdminClient(client_config(bootstrap, {"log_level": 2})), stored | {p.stage.input for p in partitions}
    )
    for partition in partitions:
        partition.snapshots = SnapshotWriter(ids[partition.stage.input])
    if not settings.snapshot_every_s:
        return
    snapshots = read_snapshots(bootstrap, states)
    for place, snapshot in snapshots.items():
        if snapshot.topic_id != (found := ids[states[place].stage.input]):
            raise OtherLogError(
                f"{states[place].stage.input} was made anew (id {found}), {place[0]} and the topics derived from it "
                "belong to the old one: delete them too, or set another NAMESPACE"
            )
    restored = {(states[p].stage.input, states[p].number): (states[p], s) for p, s in snapshots.items()}
    gc.disable()  # millions of trades are made and none is garbage: looking for it would take a third of the time
    try:
        _read_again(bootstrap, restored)
    except ExpiredError as error:
        raise ExpiredError(f"{error}: the input's retention must be longer than REVISION_HORIZON_S") from error
    finally:
        gc.enable()
    for place, (partition, snapshot) in restored.items():
        partition.position = snapshot.position
        partition.snapshots.versions = snapshot.versions
        log.info("state restored", topic=place[0], partition=place[1], position=snapshot.position,
                 read_again=snapshot.position - snapshot.begin, symbols=len(snapshot.states))  # fmt: skip


def _read_again(bootstrap: str, restored: dict[Place, tuple[Partition, Snapshot]]) -> None:
    for partition, snapshot in restored.values():
        partition.emitter.mute()
        partition.processor.restore(snapshot)
    total = sum(snapshot.position - snapshot.begin for _, snapshot in restored.values())
    began = said = time.monotonic()
    process = {place: partition.processor.process for place, (partition, _) in restored.items()}
    ranges = {place: (snapshot.begin, snapshot.position) for place, (_, snapshot) in restored.items()}
    done = 0
    for place, messages in read_batches(bootstrap, ranges):
        _process(process[place], messages)
        done += len(messages)
        if (now := time.monotonic()) - said > SAY_EVERY_S:
            said = now
            log.info("reading again", records=done, of=total)
    for partition, _ in restored.values():
        partition.processor.restored()
    metrics.READ_AGAIN.inc(done)
    metrics.RESTORE_SECONDS.set(time.monotonic() - began)


def _process(process: Callable[[int, bytes, int], bool], messages: list[Message]) -> None:
    for message in messages:
        try:
            process(message.offset() or 0, message.value() or b"", 0)
        except UnreadableError:  # a dead letter since it was first read
            continue
