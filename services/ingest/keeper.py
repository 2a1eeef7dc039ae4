"""The lease on Kafka: a thread that reads the topic, says that this instance lives, and ends it when it must."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec
import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from marketdata.records import UNREADABLE, Lease, encode
from services.ingest import metrics
from services.ingest.hostclock import awake_ns
from services.ingest.lease import LeaseLog, Member
from streaming.admin import await_bounds
from streaming.fatal import die
from streaming.kafkaclient import client_config
from streaming.ops import Pulse

log = structlog.stdlib.get_logger()
TURN_S: Final = 0.05
START_S: Final = 30.0
ASK_EVERY_S: Final = 0.5
ANSWER_S: Final = 2.0
WORD_LASTS_MS: Final = 2_000
"""What Kafka has not taken after so long is not said any more."""
CLAIM: Final = [("kind", b"claim")]
WORD: Final = [("kind", b"lease")]
_decode = msgspec.json.Decoder(Lease).decode


def awake_s() -> float:
    """Seconds of the clock by which the lease is kept."""
    return awake_ns() / 1e9


class LeaseKeeper:
    """Claims the lease as soon as it is free, keeps it, and ends the process (status 70) once another has it.

    It says nothing more, so that another takes over, if the holder's own work stands still for ``stall_s``.
    """

    def __init__(
        self, bootstrap: str, topic: str, name: str, timeout_s: float, *, known_epoch: Callable[[], int | None],
        stall_s: float,
    ) -> None:  # fmt: skip
        self._topic = topic
        self._known_epoch = known_epoch
        self._stall_s = stall_s
        self.pulse = Pulse()
        common = client_config(bootstrap, {"log_level": 2, "reconnect.backoff.max.ms": 500})
        self._consumer = Consumer(
            common
            | {
                "group.id": "ingest-lease",
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 100,
            }
        )
        self._producer = Producer(
            common | {"acks": "all", "linger.ms": 0, "max.in.flight": 1, "message.timeout.ms": WORD_LASTS_MS}
        )
        deadline = time.monotonic() + START_S
        low, high = await_bounds(self._consumer, (topic, 0), deadline)
        self._member = Member(name, timeout_s, LeaseLog(round(timeout_s * 1_000), whole=low in {0, high}))
        self._consumer.assign([TopicPartition(topic, 0, low)])
        self._at_end = low == high
        self._asked = self._answered = 0.0
        self._sure = False
        self._held = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)

    def start(self) -> LeaseKeeper:
        """Begin to follow the topic and to claim; returns itself."""
        self._thread.start()
        return self

    @property
    def epoch(self) -> int:
        """The epoch under which this instance writes."""
        return self._member.epoch

    @property
    def holder(self) -> str | None:
        """Who holds the lease as far as the topic was read."""
        return self._member.log.holder

    @property
    def role(self) -> str:
        """``holder``, ``standby`` (another holds), or ``waiting`` (not known yet, or about to claim)."""
        if self._member.leads:
            return "holder"
        return "standby" if self._at_end and self._member.log.holder else "waiting"

    def wait_held(self, seconds: float) -> bool:
        """Wait until this instance may write; False after ``seconds``."""
        return self._held.wait(seconds)

    def holds(self) -> bool:
        """Whether this instance may write now: it read its own word back a short while ago."""
        self._asked = now = awake_s()
        return self._member.holds(now)

    def release(self, seconds: float) -> None:
        """Give the lease back, within ``seconds``: call it when all that was written is delivered."""
        self._stopping.set()
        self._thread.join(seconds)
        last = None if self._thread.is_alive() else self._member.release(time.time_ns() // 1_000)
        if last is not None:
            self._write(last, WORD)
            left = self._producer.flush(seconds)
            log.info("lease given back" if not left else "lease not given back: it runs out", epoch=last.epoch)

    def stop(self) -> None:
        """Say nothing more, and keep the lease if there is one: it runs out by itself."""
        self._stopping.set()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._turn()
                self.pulse.beat()
        except KafkaException as error:
            self._die_if_anew(error.args[0])
            die("the lease cannot be kept", topic=self._topic, error=str(error))

    def _turn(self) -> None:
        for message in self._consumer.consume(500, TURN_S):
            self._read(message)
        member, now = self._member, awake_s()
        if member.lost:
            die("another ingest has taken over", holder=member.log.holder, epoch=member.log.epoch, own=member.epoch)
        if self._held.is_set() and self._asked and now - self._asked > self._stall_s:
            die("the feed's frames are no longer worked on", seconds=round(now - self._asked))
        self._tell(member.holds(now))
        if not member.leads and now - self._answered > ASK_EVERY_S:
            self._ask()
        epoch = self._known_epoch()
        if self._at_end and epoch is not None and (said := member.say(now, time.time_ns() // 1_000, epoch)):
            word, claim = said
            self._write(word, CLAIM if claim else WORD)
        self._producer.poll(0)

    def _tell(self, sure: bool) -> None:
        if sure == self._sure:
            return
        self._sure = sure
        metrics.LEASE_HELD.set(sure)
        if not sure:
            log.warning(
                "Kafka does not confirm the lease", action="frames are kept until it does; nothing is written"
            )
        elif self._held.is_set():
            log.info("Kafka confirms the lease again")
        self._held.set()

    def _ask(self) -> None:
        """A standby that hears nothing makes sure that it is not deaf itself."""
        try:
            self._consumer.get_watermark_offsets(TopicPartition(self._topic, 0), timeout=ANSWER_S)
        except KafkaException:
            self._member.deaf(awake_s())
        self._answered = awake_s()

    def _write(self, word: Lease, kind: list[tuple[str, bytes]]) -> None:
        try:
            self._producer.produce(self._topic, encode(word), word.holder.encode(), 0, headers=kind)
        except BufferError:
            log.warning("a word of the lease was left out", reason="Kafka has taken none for long")

    def _read(self, message: Message) -> None:
        error: Any = message.error()
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                self._at_end = True
            else:
                self._die_if_anew(error)
            return
        try:
            word = _decode(message.value() or b"")
        except UNREADABLE:
            log.warning("not a lease", topic=self._topic, offset=message.offset(), action="passed over")
            return
        kind = dict(message.headers() or ()).get("kind")
        self._member.heard(word, message.timestamp()[1], awake_s(), claim=kind == b"claim")

    def _die_if_anew(self, error: KafkaError) -> None:
        if error.code() in _ANEW:
            die("Kafka was made anew, or its lease topic was", topic=self._topic, error=error.str())


_ANEW: Final = frozenset(
    {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE, KafkaError.UNKNOWN_TOPIC_OR_PART,
     KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}
)  # fmt: skip
