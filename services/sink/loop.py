"""The sink's loop: records in, a transaction at a time out, positions from the database.

The main thread reads and encodes; one worker thread talks to the database. At most one transaction is in flight, a
full batch behind it and one in hand, so memory is bounded, heartbeats go on while the database is away, and both
sides work at once, neither waiting for the other's moment.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, Final

import structlog
from confluent_kafka import Consumer, TopicPartition

from services.sink import kafka, metrics
from services.sink.batch import Batch
from services.sink.database import Database
from services.sink.deadletters import DeadLetters
from services.sink.intake import Intake
from services.sink.outlook import Outlook
from services.sink.patience import StoppedError, patiently
from services.sink.positions import Position, PositionMissError
from services.sink.settings import SinkSettings
from services.sink.unclaimed import UnclaimedWatch
from streaming.deadletters import MostlyUnreadableError
from streaming.fatal import die
from streaming.metrics import REBALANCES
from streaming.ops import Pulse
from streaming.places import Place
from streaming.tracing import parent_of, tracing_of

FETCH = 1_000
WAIT_S = 0.1
FLYING_S = 0.005
QUIET_S = 1.0  # positions without rows move this often
# All positions are compared this often, also those that have not moved: a database that came back without its last
# moments (a replica took over, a backup was restored, commits were not synchronous) is found out in quiet times too.
CHECK_S = 5.0
LAST_WRITE_S = 6.0
MOST_SEALED: Final = 2
"""Batches with the worker thread at most: the one it writes and, where that is full, the next."""
log = structlog.stdlib.get_logger()


class Sink:
    """One member of the sink's group."""

    def __init__(self, settings: SinkSettings, stop: threading.Event) -> None:
        self._settings = settings
        self._stop = stop
        self.pulse = Pulse()
        self._tracing = tracing_of(settings, "sink")
        self.progress = metrics.Progress(settings.stall_seconds)
        self._database = Database(settings, stop)
        self._letters = DeadLetters(settings.kafka_bootstrap_servers, settings.topics.dead_letters("sink"), stop)
        self._intake = Intake(settings, _now_us)
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="database")
        self._assigned: list[Place] = []
        self._placing: Future[dict[Place, Position]] | None = None
        self._writing: deque[Future[Batch]] = deque()
        self._due = 0.0
        self._quiet_due = 0.0
        self._check_due = 0.0
        self._consumer: Consumer = kafka.make_consumer(
            settings.kafka_bootstrap_servers, settings.group_id, settings.fetch_wait_ms
        )
        self._outlook = Outlook(self._consumer, self.progress)
        self._unclaimed = UnclaimedWatch(
            settings.kafka_bootstrap_servers, settings.group_id, self._intake.topics, stop
        )

    def run(self) -> None:
        """Read and write until ``stop`` is set, then finish the batch in hand."""
        try:
            self._prepare()
            self._subscribe()
            self._unclaimed.start()
            while not self._stop.is_set():
                self._step()
            self._finish()
        except StoppedError:
            log.info(
                "stopped while Kafka or the database was away",
                action="what was in hand is read again at the next start",
            )
        except MostlyUnreadableError as error:
            wait([self._worker.submit(self._letters.send, self._intake.batch.dead)], timeout=LAST_WRITE_S)
            die(str(error))  # before the position passes them
        finally:
            kafka.close_soon(self._consumer)
            self._worker.shutdown(wait=False, cancel_futures=True)
            self._database.abandon()
            self._worker.shutdown()
            self._database.close()

    def _prepare(self) -> None:
        """In the worker thread, so that a stop is noticed also where the server is frozen."""
        preparing = self._worker.submit(self._database.prepare)
        while not wait([preparing], timeout=WAIT_S).done:
            if self._stop.is_set():
                raise StoppedError
        preparing.result()

    def _step(self) -> None:
        self.pulse.beat()
        self._harvest()
        records = kafka.records_of(self._fetch())
        self._intake.take(records)
        if self._tracing is not None:
            taken = ((parent_of(record.headers()), _now_us()) for record in records)
            self._intake.batch.traces += [(parent, now) for parent, now in taken if parent is not None]
        if self._intake.doubtful:
            self._place()
        self._launch()
        self._outlook.look(self._intake.batch.rows)
        if self._unclaimed.found():
            self._consumer.unsubscribe()
            self._subscribe()

    def _subscribe(self) -> None:
        self._consumer.subscribe(self._intake.topics, on_assign=self._on_assign, on_revoke=self._on_revoke)

    # --- reading -------------------------------------------------------------------------------------------------

    def _fetch(self) -> list[Any]:
        if self._intake.batch.is_full(self._settings.batch_rows):
            return self._hold()
        early = self._due - time.monotonic()
        if early > 0:  # the batch goes out later: let it fill until then
            return list(self._consumer.consume(FETCH, min(early, WAIT_S)))
        if self._intake.batch.rows:  # it goes out now, or as soon as the one in flight is through
            return list(self._consumer.consume(FETCH, FLYING_S if self._writing else 0))
        first = self._consumer.poll(WAIT_S)
        return [] if first is None else [first, *self._consumer.consume(FETCH - 1, 0)]

    def _hold(self) -> list[Any]:
        """The batch is full, others before it: wait, in the end with paused partitions and live heartbeats."""
        flying: list[Future[Any]] = [f for f in (*self._writing, self._placing) if f is not None]
        if not flying or wait(flying, timeout=QUIET_S, return_when=FIRST_COMPLETED).done:
            return []
        held = self._consumer.assignment()
        self._consumer.pause(held)
        log.warning("reading paused", reason="the database takes no batch", rows_in_hand=self._intake.batch.rows)
        messages: list[Any] = []
        while not wait(flying, timeout=0).done and not self._stop.is_set() and self._consumer.assignment() == held:
            messages += [m for m in [self._consumer.poll(WAIT_S)] if m is not None]
            self.pulse.beat()
        self._consumer.resume(self._consumer.assignment())
        log.info("reading resumed")
        return messages

    # --- writing -------------------------------------------------------------------------------------------------

    def _launch(self) -> None:
        now, batch = time.monotonic(), self._intake.batch
        full = batch.is_full(self._settings.batch_rows)
        if self._placing is not None or len(self._writing) >= (MOST_SEALED if full else 1):
            return
        if now < self._due and not full:
            return
        every = bool(self._assigned) and now >= self._check_due
        if batch.rows or batch.dead or every or (self._intake.moved and now >= self._quiet_due):
            self._due = now + self._settings.batch_ms / 1000
            self._quiet_due = now + QUIET_S
            self._check_due = now + CHECK_S if every else self._check_due
            self._writing.append(self._worker.submit(self._write, self._intake.seal(every=every)))

    def _write(self, batch: Batch) -> Batch:
        """In the worker thread."""
        self._letters.send(batch.dead)
        self._database.write(batch)
        return batch

    def _harvest(self) -> None:
        while self._writing and self._writing[0].done():
            try:
                self._stored(self._writing.popleft().result())
            except PositionMissError:
                if self._placing is None:  # else it is the batch behind one that missed
                    self._missed()
        if self._placing is not None and self._placing.done():
            placing, self._placing = self._placing, None
            self._take_up(placing.result())

    def _missed(self) -> None:
        metrics.MISSES.inc()
        reason = "another sink wrote, or the database went back"
        log.warning("position miss", reason=reason, action="reading the positions again")
        self._place()

    def _stored(self, batch: Batch) -> None:
        self._outlook.stored(batch)
        if self._tracing is not None:
            for parent, taken in batch.traces:
                self._tracing.span("sink", taken, _now_us(), parent)

    # --- positions -----------------------------------------------------------------------------------------------

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._assigned = [(p.topic, p.partition) for p in partitions]
        REBALANCES.inc()
        log.info("partitions assigned", count=len(partitions))
        consumer.assign([])  # nothing is fetched before the positions are known
        self._place()

    def _on_revoke(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        log.info("partitions revoked", count=len(partitions))
        self._assigned = []
        self._intake.place({})
        if not self._stop.is_set():
            wait(self._writing, timeout=LAST_WRITE_S)  # the next owner then finds a settled position

    def _place(self) -> None:
        """Drop what is in hand, read the positions (after any write in flight) and go on from there."""
        self._intake.place({})
        if self._stop.is_set():
            return
        self._placing = self._worker.submit(self._claim, list(self._assigned))

    def _claim(self, places: list[Place]) -> dict[Place, Position]:
        """In the worker thread."""
        if not places:
            return {}
        topics = [topic for topic, _ in places]
        log_id = patiently(
            lambda: kafka.read_log_id(self._settings.kafka_bootstrap_servers, topics, self._stop), self._stop
        )
        return self._database.claim(places, log_id)

    def _take_up(self, positions: dict[Place, Position]) -> None:
        if set(positions) != set(self._assigned):
            return  # another assignment has come meanwhile, and with it another claim
        self._intake.place(positions)
        self._consumer.assign([TopicPartition(*place, p.next_offset) for place, p in positions.items()])
        self._outlook.begin({place: p.next_offset for place, p in positions.items()})
        log.info(
            "positions taken up", partitions=len(positions), records=sum(p.next_offset for p in positions.values())
        )

    # --- the end and the outlook -----------------------------------------------------------------------------------

    def _finish(self) -> None:
        deadline = time.monotonic() + LAST_WRITE_S
        self._check_due = deadline + CHECK_S
        for _ in range(2):  # those in flight, then the one in hand
            wait(self._writing, timeout=deadline - time.monotonic())
            self._due = self._quiet_due = 0
            self._harvest()
            self._launch()
        self._outlook.commit()


def _now_us() -> int:
    return time.time_ns() // 1000
