"""One Faust worker that turns an input topic into derived topics, exactly.

A :class:`Processor` holds the state of one partition and is a function of the log alone. On assignment it is
restored, the tails of its output partitions are read, and what they hold already is suppressed when it is made again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from typing import Any, Final

import faust
import structlog
from confluent_kafka import Message

from marketdata.records import DeadLetter, encode
from streaming import metrics
from streaming.ahead import Ahead
from streaming.deadletters import LONGEST_RAW, DeadLetterLimit, MostlyUnreadableError
from streaming.emitter import Emitter
from streaming.fatal import die, fatal_where_it_fails
from streaming.kafkaclient import faust_credentials
from streaming.logreader import LogReader, Run
from streaming.ops import Pulse
from streaming.outbox import Outbox, Ticket
from streaming.processor import BEGINNING, Partition, Stage, UnreadableError, Way
from streaming.producer import exact_producer, produce
from streaming.runs import transport_for
from streaming.settings import ServiceSettings
from streaming.snapshots import SnapshotWriter
from streaming.tails import read_tails
from streaming.takeover import begin_partitions
from streaming.tracing import Process, traced, tracing_of
from streaming.turns import Turns

log = structlog.stdlib.get_logger()
DELIVERIES_EVERY_S = 0.02
SERVE_S: Final = 0.002
"""So long after one look whether a batch is acknowledged comes the next, where another waits behind it."""
TURN_S: Final = 0.003
"""So long what is less urgent waits for what others get: a clock reaches all partitions within milliseconds."""
BEHIND_S: Final = 0.25
"""Records older than this are no news to anybody: then nothing waits."""
READ_AT_ONCE = 5_000
"""Records at most, where it is behind: a seek waits some 60 ms for what one read gave to be processed. With 2,000 the
aggregator took an eighth less."""


class StageWorker:
    """Runs stages in one Faust app: each has an agent of its own on its one input topic."""

    def __init__(self, settings: ServiceSettings, service: str, stages: tuple[Stage, ...]) -> None:
        self._settings = settings
        self._service = service
        self._stages = {stage.input: stage for stage in stages}
        self.stage_names = tuple(stage.name for stage in stages)
        for name in self.stage_names:
            metrics.of_stage(name)
        self._limit = DeadLetterLimit(settings.dead_letter_share)
        self.pulse = Pulse()
        self._tracing = tracing_of(settings, service)
        self.joined = False  # whether the group has ever assigned us anything, or nothing, to do
        self.partitions: dict[tuple[str, int], Partition] = {}
        self._restored: dict[tuple[str, int], Partition] = {}
        self._restoring: asyncio.Future[None] | None = None
        self._taken_over: tuple[int, frozenset[tuple[str, int]]] | None = None  # the group's generation, and what
        self._ahead: Ahead | None = None
        self._turns = Turns()
        self._looks = 0
        self._waiting: asyncio.TimerHandle | None = None
        self.outbox = Outbox(exact_producer(settings.kafka_bootstrap_servers, name=service, delivery_timeout_ms=0))
        self._serving: asyncio.TimerHandle | None = None
        self.app = self._make_app()

    def restore_ahead(self) -> None:
        """Begin to restore what the group will most likely assign; to be called once, before the app runs."""
        places = ((name, number) for number in range(self._settings.partitions) for name in self._stages)
        self._ahead = Ahead(self._settings, self._settings.group(self._service), self._begin, places)

    def leave(self) -> int:
        """At the end: deliver what is produced; how many records are not."""
        if self._ahead is not None:
            self._ahead.stop()
        return self.flush(10)

    def flush(self, seconds: float) -> int:
        """Deliver what is produced and what waits to be; how many records are not."""
        self.outbox.send_all()
        return int(self.outbox.producer.flush(seconds))

    def _make_app(self) -> Any:
        app = faust.App(
            self._settings.group(self._service),
            broker=f"aiokafka://{self._settings.kafka_bootstrap_servers.replace(',', ';')}",
            broker_credentials=faust_credentials(self._settings),
            autodiscover=False,
            web_enabled=False,
            store="memory://",
            topic_disable_leader=True,
            topic_allow_declare=False,
            topic_partitions=self._settings.partitions,
            consumer_auto_offset_reset="earliest",
            stream_wait_empty=False,
            stream_buffer_maxsize=4096,  # a full buffer makes Faust sleep for a second: memory is bounded by credit
            broker_max_poll_records=READ_AT_ONCE,
            broker_session_timeout=self._settings.session_timeout_s,
            broker_heartbeat_interval=self._settings.session_timeout_s / 4,
            broker_commit_interval=1.0,
            logging_config=None,
        )
        app._create_directories = lambda: None  # they are for Faust's tables, and there are none
        transport = transport_for(self._recover, frozenset(self._stages), self._make_reader)
        app.transport = transport(url=app.conf.broker, app=app)
        for stage in self._stages.values():
            topic = app.topic(stage.input, value_type=None, value_serializer="raw", key_serializer="raw")
            app.agent(topic, name=f"{self._service}-{stage.name}", concurrency=1)(self._agent)
        app.task(self._serve_deliveries)
        return app

    def _make_reader(self) -> LogReader:
        settings = self._settings
        return LogReader(settings.kafka_bootstrap_servers, settings.group(self._service), settings.fetch_wait_ms)

    async def _agent(self, stream: Any) -> None:
        with fatal_where_it_fails("an agent failed", service=self._service):  # one that lives on would leave a hole
            async for event in stream.noack().events():
                self._process_all([run for run in event.value.runs if run.generation == self.app.consumer.generation])

    def _process_all(self, runs: list[Run]) -> None:
        """Process what one read gave of a topic without giving way, so that no seek can come in between.

        Where a partition has postponed something the others come first, also those of reads to come.
        """
        if not runs:
            return
        started = time.perf_counter()
        self.outbox.serve()  # what is acknowledged need not be waited for
        for run in runs:
            self._turns.begin((run.topic, run.partition), self._process(run))
        delay = max(time.time() - min(run.last_ms for run in runs) / 1e3, 0.0)
        if delay > BEHIND_S:
            self._turns.end()
        self._let_wait()
        self._serve()
        measured = metrics.of_stage(self._stages[runs[0].topic].name)
        measured.read_delay.observe(delay)
        measured.records.inc(sum(len(run.records) for run in runs))
        measured.runs.inc(len(runs))
        measured.busy.inc(time.perf_counter() - started)

    def _serve(self) -> None:
        """Have deliveries reported; soon again where outputs wait for one."""
        self.outbox.serve()
        if self.outbox.waiting and self._serving is None:
            self._serving = asyncio.get_running_loop().call_later(SERVE_S, self._serve_soon)

    def _serve_soon(self) -> None:
        self._serving = None
        with fatal_where_it_fails("deliveries could not be served", service=self._service):  # the loop would go on
            self._serve()

    def _let_wait(self) -> None:
        """Have what is postponed done in a moment."""
        if self._turns and self._waiting is None:
            self._waiting = asyncio.get_running_loop().call_later(TURN_S, self._go_on)

    def _go_on(self) -> None:
        """Let one partition do what it has postponed; reads that came meanwhile go before the next one."""
        self._waiting = None
        started = time.perf_counter()
        with fatal_where_it_fails("what was postponed failed", service=self._service):  # the loop would go on
            place = None if self.app.rebalancing else self._turns.go_on()  # recovering settles it
            self._serve()
        if place is not None:
            metrics.of_stage(self._stages[place[0]].name).busy.inc(time.perf_counter() - started)
        self._let_wait()

    def _process(self, run: Run) -> Iterator[None]:
        """Process ``run``, with a pause before each piece of work that is postponed."""
        partition = self.partitions[run.topic, run.partition]
        consumer = self.app.consumer
        measured = metrics.of_stage(partition.stage.name)
        way = Way()
        partition.under_way.append(way)

        def done() -> None:
            consumer.finished(run)
            way.delivered = True
            measured.run_seconds.observe(time.perf_counter() - started)
            self._store_snapshots(partition)

        ticket = Ticket(done)
        partition.emitter.begin(ticket)
        started = time.perf_counter()
        now = time.time_ns() // 1_000
        wanted = self._wants_snapshot(partition)
        process = self._process_of(partition, run)
        for offset, record in _in_place(run, partition.position):
            try:
                settled = process(offset, record.value(), now)
            except UnreadableError as error:
                self._dead_letter(run, record, str(error), now, ticket)
                settled = False
            if settled and partition.processor.postponed:
                partition.emitter.hand_over()
                yield
                now = time.time_ns() // 1_000
                partition.processor.finish(now)
            if settled and wanted:
                wanted, partition.captured_at = False, time.monotonic()
                way.position, way.capture = offset + 1, partition.processor.capture()
        partition.position, partition.read_ms = max(partition.position, run.last_offset + 1), run.last_ms
        partition.processor.after_run(now)
        partition.emitter.end()
        ticket.settle()

    def _process_of(self, partition: Partition, run: Run) -> Process:
        if self._tracing is None:
            return partition.processor.process
        return traced(self._tracing, partition, run.records)

    def _wants_snapshot(self, partition: Partition) -> bool:
        every = self._settings.snapshot_every_s
        return bool(every) and time.monotonic() - partition.captured_at >= every

    def _store_snapshots(self, partition: Partition) -> None:
        """Store what was captured in runs that are delivered, as all runs before them are."""
        under_way, ours = partition.under_way, self.partitions.get((partition.stage.input, partition.number))
        while under_way and under_way[0].delivered:
            way = under_way.popleft()
            if way.capture is None or partition is not ours:
                continue
            topic = self._settings.topics.state(partition.stage.name)
            for key, value in partition.snapshots.records(way.position, way.capture):
                produce(self.outbox.producer, topic, value, key, partition.number)
            partition.state_records = way.position - way.capture.begin
            metrics.of_stage(partition.stage.name).snapshots.inc()

    def _dead_letter(self, run: Run, record: Any, reason: str, now: int, ticket: Ticket) -> None:
        metrics.DEAD_LETTERS.inc()
        raw = record.value() or b""
        if len(raw) > LONGEST_RAW:
            reason, raw = f"{reason} (the first {LONGEST_RAW} of {len(raw)} bytes)", raw[:LONGEST_RAW]
        letter = DeadLetter(service=self._service, reason=reason, raw=raw, ts=now,
                            topic=run.topic, partition=run.partition, offset=record.offset())  # fmt: skip
        topic = self._settings.topics.dead_letters(self._service)
        ticket.pending += 1  # the run is not finished before its dead letters are delivered
        produce(self.outbox.producer, topic, encode(letter), record.key(), 0, on_delivery=ticket.delivered)
        try:
            self._limit.unreadable(run.topic, run.partition, record.offset())
        except MostlyUnreadableError as error:
            self.flush(5)  # the letters say what is wrong
            die(str(error), service=self._service)

    async def _serve_deliveries(self) -> None:
        """Have deliveries reported while no run comes; a timer of Faust's warns whenever that takes a moment."""
        metrics.UNFINISHED.set_function(lambda: self.app.consumer.unfinished_records)
        while True:
            self._serve()
            self.pulse.beat()
            self._send_paced()
            await asyncio.sleep(DELIVERIES_EVERY_S)

    def _send_paced(self) -> None:
        """Between runs too: what is paced by the wall clock does not wait for input."""
        now = time.time_ns() // 1_000
        # Faust would go on without this task.
        with fatal_where_it_fails("a paced topic could not be written", service=self._service):
            for partition in self._paced_in_turn():
                partition.processor.after_run(now)
                partition.emitter.hand_over()

    def _paced_in_turn(self) -> list[Partition]:
        """Each time another one first: what they may spend together is not for the same few."""
        paced = [one for one in self.partitions.values() if one.stage.paced]
        self._looks += 1
        first = self._looks % len(paced) if paced else 0
        return [one for one in paced[first:] + paced[:first] if not one.processor.postponed]

    async def _recover(self, assigned: set[tuple[str, int]]) -> dict[tuple[str, int], int]:
        # Faust would only warn of it in one of the places it seeks from.
        with fatal_where_it_fails("partitions could not be taken over", service=self._service):
            return await self._take_over(assigned)

    async def _take_over(self, assigned: set[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """Keep what is still ours, drop what is not, begin what is new; suppress by fresh tails.

        A kept state is a function of the log up to its position, whoever else wrote meanwhile, so it stays good.
        Faust asks several times for each assignment; after the first there is nothing to restore or to suppress.
        """
        started = time.perf_counter()
        self._turns.settle(assigned)
        assignment = (self.app.consumer_generation_id, frozenset(assigned))
        if assignment == self._taken_over:
            return {place: self.partitions[place].position for place in assigned}
        self._taken_over = None
        metrics.REBALANCES.inc()
        for place in set(self.partitions) - assigned:
            del self.partitions[place]
        loop = asyncio.get_running_loop()
        self.outbox.send_all()
        await loop.run_in_executor(None, self.outbox.producer.flush, 20)
        await self._restore(assigned - set(self.partitions))
        self.partitions.update(self._restored)
        self._restored.clear()
        places = [(topic, p) for source, p in assigned for topic in self._stages[source].outputs]
        tails = await loop.run_in_executor(None, read_tails, self._settings.kafka_bootstrap_servers, places)
        for source, number in assigned:
            own = {topic: src for (topic, p), src in tails.items() if p == number}
            self.partitions[source, number].emitter.resume(own)
        positions = {place: self.partitions[place].position for place in assigned}
        self.joined, self._taken_over = True, assignment
        log.info("partitions assigned", partitions=sorted(assigned), seconds=round(time.perf_counter() - started, 3))
        return positions

    async def _restore(self, missing: set[tuple[str, int]]) -> None:
        """Have ``missing`` restored. Faust may cancel this at the next rebalance; what has begun goes on and counts.

        Otherwise a group that rebalances faster than it restores would begin again and again.
        """
        if self._ahead is not None:
            self._restoring, self._ahead = asyncio.ensure_future(self._take_ahead(self._ahead)), None
        if self._restoring is not None:
            await asyncio.shield(self._restoring)
        for place in set(self._restored) - missing:
            del self._restored[place]
        new = [self._begin(source, number) for source, number in sorted(missing - set(self._restored))]
        if new:
            self._restoring = asyncio.ensure_future(self._restore_all(new))
            await asyncio.shield(self._restoring)

    async def _take_ahead(self, ahead: Ahead) -> None:
        self._restored.update(await asyncio.get_running_loop().run_in_executor(None, ahead.stop))
        self._restoring = None

    async def _restore_all(self, new: list[Partition]) -> None:
        await asyncio.get_running_loop().run_in_executor(None, begin_partitions, self._settings, new)
        self._restored.update({(partition.stage.input, partition.number): partition for partition in new})
        self._restoring = None

    def _begin(self, source: str, number: int) -> Partition:
        stage = self._stages[source]
        emitter = Emitter(self.outbox, number, stage.outputs)
        return Partition(stage, number, emitter, stage.make(number, emitter), SnapshotWriter(""))


def _in_place(run: Run, position: int) -> Iterable[tuple[int, Message]]:
    """The records of ``run`` from ``position`` on with their offsets; ends the process where some are missing."""
    records = run.records
    first = records[0].offset() or 0
    if run.last_offset - first + 1 == len(records) and position in {first, BEGINNING}:
        return enumerate(records, first)  # nearly always: no offset need be looked at
    return _from_position(run, position)


def _from_position(run: Run, position: int) -> Iterator[tuple[int, Message]]:
    for record in run.records:
        offset = record.offset() or 0
        if offset < position:
            continue
        if offset > position and position != BEGINNING:
            die("records are missing from the log", topic=run.topic, partition=run.partition,
                expected=position, found=offset)  # fmt: skip
        position = offset + 1
        yield offset, record
