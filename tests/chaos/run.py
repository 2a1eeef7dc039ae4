"""One run: start everything, hurt it by the plan, let it drain, run it again undisturbed, and compare."""

from __future__ import annotations

import contextlib
import functools
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import psycopg
from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import KafkaException, Producer, TopicPartition

from market.native import NativeError
from marketdata.topics import MARKETS, Topics
from streaming.admin import ensure_topics
from streaming.tails import read_back
from tests.chaos.plan import LONG, RECORDS_BETWEEN_DEATHS, SHORT, Action, make_plan
from tests.chaos.stack import NAMESPACE, PARTITIONS, SCHEMA, Stack, Supervised, eventually, say

FRESH, FRESH_SCHEMA = "fresh.", "fresh"
RATE = 2_000
CHECK_S = 900
HEAL_S = 8.0
"""Of trades after the last blow, so that what it has done is noticed."""
CHECK = Path(__file__).with_name("check.py")


class ChaosError(RuntimeError):
    """The run could not be made as planned; the message says where its logs are."""


def run(seed: int, *, short: bool, directory: Path | None = None) -> int:
    """The checker's status: 0 if nothing is lost, doubled or different."""
    began = time.monotonic()
    kept = directory or Path(tempfile.mkdtemp(prefix="market-chaos-"))
    intervals = "500ms,1s,5s,15s" if short else "500ms,1s,5s,15s,1m"
    say(f"{'short' if short else 'long'} run")
    with running(seed, kept, intervals, {"REVISION_HORIZON_S": "120"}) as stack:
        Hurting(stack, seed, short).run()
        drain(stack)
        run_again(stack)
        status = check(stack)
    say(f"{'equal' if status == 0 else 'NOT EQUAL'} after {time.monotonic() - began:.0f} s")
    if status == 0 and directory is None:
        shutil.rmtree(kept, ignore_errors=True)
    return status


@contextlib.contextmanager
def running(seed: int, kept: Path, intervals: str, environment: Mapping[str, str]) -> Iterator[Stack]:
    """The whole stack with trades flowing down to the tables; all of it ends with the block."""
    began = time.monotonic()
    kept.chmod(0o711)
    stack = Stack(kept, RATE, seed, intervals, environment)
    say(f"seed {seed}; logs and data in {kept}")
    try:
        stack.start_servers()
        stack.start()
        stack.go()
        eventually(lambda: stack.records("sink") > 10_000, "rows flow", 90)
        say(f"everything runs after {time.monotonic() - began:.0f} s")
        yield stack
    except Exception:
        say(f"failed after {time.monotonic() - began:.0f} s; see {kept}/logs")
        raise
    finally:
        stack.close()


class Hurting:
    """Does what the plan says, each action in a thread of its own so that they overlap."""

    def __init__(self, stack: Stack, seed: int, short: bool) -> None:
        self._stack = stack
        self._plan = make_plan(seed, SHORT if short else LONG)
        self._random = random.Random(seed + 1)
        self._at_death = dict.fromkeys(("ingest", "ratio", "aggregator", "sink"), 0)
        self._errors: list[Exception] = []
        self._exclusive = threading.Lock()  # broker and database: one of them at a time, and no counting meanwhile

    def run(self) -> None:
        done: list[Action] = []
        waiting = list(self._plan)
        while waiting:
            action = waiting.pop(self._next(waiting))
            time.sleep(action.wait_s)
            self._do(action)
            done.append(action)
            say(f"{len(done):>3}/{len(self._plan)} {action}")
        with self._exclusive:
            say("all done; healing")
        for error in self._errors:
            raise ChaosError("the broker or the database did not come back") from error
        self._check_doses()

    def _check_doses(self) -> None:
        """What the plan says has really happened."""
        wanted = Counter(action.target for action in self._plan if action.kind == "kill")
        eventually(lambda: self._killed() >= wanted, f"the kills of the plan are counted: {dict(wanted)}", 30)
        say(f"killed: {dict(self._killed())}")
        say(f"faults that happened: {self._stack.admin('faults', method='GET').get('happened')}")

    def _killed(self) -> Counter[str]:
        return Counter(w.service for w in self._stack.workers for status in w.deaths if status == -signal.SIGKILL)

    def _next(self, waiting: list[Action]) -> int:
        """The first action whose time has come: a service dies again only after 5,000 records."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            for index, action in enumerate(waiting[:8]):
                if action.kind != "kill" or self._has_worked(action.target):
                    return index
            time.sleep(0.5)
        raise ChaosError(f"{waiting[0].target} has not gone through {RECORDS_BETWEEN_DEATHS} records within 120 s")

    def _has_worked(self, service: str) -> bool:
        with self._exclusive:
            count = self._counted(service)
        return count is not None and count - self._at_death[service] >= RECORDS_BETWEEN_DEATHS

    def _counted(self, service: str) -> int | None:
        try:
            return self._stack.records(service)
        except (KafkaException, psycopg.Error):  # they may just be starting
            return None

    def _do(self, action: Action) -> None:
        stack = self._stack
        if action.kind == "fault":
            stack.admin("faults", dict(action.detail))
        elif action.kind == "kill":
            self._kill(action.target)
        elif action.kind == "pause":
            self._victim(action.target).pause(action.seconds)
        else:
            hurt = stack.kill_broker if action.kind == "broker" else stack.stop_database
            self._in_background(lambda: hurt(action.seconds))

    def _kill(self, service: str) -> None:
        with self._exclusive:
            eventually(lambda: self._counted(service) is not None, f"{service}'s records can be counted", 60)
            count = self._counted(service)
        self._victim(service).kill()
        self._at_death[service] = count if count is not None else self._at_death[service] + RECORDS_BETWEEN_DEATHS

    def _victim(self, service: str) -> Supervised:
        eventually(lambda: bool(self._stack.victims(service)), f"a worker of {service} that can be hurt", 60)
        return self._random.choice(self._stack.victims(service))

    def _in_background(self, work: Callable[[], None]) -> None:
        self._exclusive.acquire()

        def locked() -> None:
            try:
                work()
            except (NativeError, OSError) as error:  # told at the end, by the thread that can
                self._errors.append(error)
            finally:
                self._exclusive.release()

        threading.Thread(target=locked, daemon=True).start()


def drain(stack: Stack) -> None:
    """No more trades; wait until clocks have closed every window and all of it is stored."""
    stack.admin("faults", method="DELETE")
    time.sleep(HEAL_S)
    eventually(lambda: not unfilled_gaps(stack), "every gap is filled", 240)
    eventually(lambda: not stack.rereads(), "what was printed late in a gap is read", 240)
    say("gaps are filled, and read again for late prints")
    stack.admin("stop")
    ingested = time.time_ns() // 1_000
    topics = Topics(NAMESPACE)

    longest = 61_000_000 if "1m" in stack.intervals else 17_000_000

    def closed() -> bool:
        return _clock_at_end(stack, topics) > ingested + longest and not unfilled_gaps(stack)

    eventually(closed, "clocks pass the end of every window", 180)
    say(f"deaths: { {w.label: w.deaths for w in stack.workers} }")
    stack.stop_service("ingest")
    stack.stop_feed()
    finish(stack, NAMESPACE, SCHEMA)
    say("drained")


def _clock_at_end(stack: Stack, topics: Topics) -> int:

    newest = []
    for market in MARKETS:
        places = [(topics.trades(market), p) for p in range(PARTITIONS)]
        clocks = [msgspec.json.decode(value) for _, value in read_back(stack.kafka.bootstrap, places, 3)]
        newest.append(min((c["ts"] for c in clocks if c["kind"] == "clock"), default=0))
    return min(newest)


def unfilled_gaps(stack: Stack) -> list[dict[str, Any]]:
    """The gaps whose newest word is that they are open, or given up: ingest tries those again."""
    place = (Topics(NAMESPACE).gaps, 0)
    newest: dict[tuple[str, int], dict[str, Any]] = {}
    for _, value in read_back(stack.kafka.bootstrap, [place], 10_000):
        gap = msgspec.json.decode(value)
        newest[gap["cluster"], gap["start"]] = gap
    return [gap for gap in newest.values() if gap["status"] != "filled"]


def finish(stack: Stack, namespace: str, schema: str) -> None:
    """Stop the services one after the other, each when it has gone through all that the one before it has written."""
    topics = Topics(namespace)
    rows = [topics.ratios, *(topics.candles(m, i) for m in MARKETS for i in stack.intervals.split(","))]
    for service, partitions in (("ratio", PARTITIONS), ("aggregator", 2 * PARTITIONS)):
        at_end = functools.partial(stack.idle, service, partitions)
        eventually(at_end, f"{namespace}{service} is at the end", 900)
        stack.stop_service(service)
    eventually(lambda: stack.stored_all(schema, stack.ends(rows)), f"{namespace}* is stored", 900)
    stack.stop_service("sink")


def run_again(stack: Stack) -> None:
    """The same trades.* log in a namespace of its own, and undisturbed services over it."""
    names = Topics(FRESH).specs(PARTITIONS, tuple(stack.intervals.split(",")))
    ensure_topics(stack.kafka.bootstrap, names)
    copied = sum(copy(stack, Topics(NAMESPACE).trades(m), Topics(FRESH).trades(m)) for m in MARKETS)
    say(f"copied {copied:,} records; running undisturbed services over them")
    for name in ("ratio", "aggregator", "sink"):
        stack.workers += stack.service(name, FRESH, FRESH_SCHEMA, 1)
    finish(stack, FRESH, FRESH_SCHEMA)


def copy(stack: Stack, source: str, target: str) -> int:
    """Every record of every partition, at the same offset."""
    ends = stack.ends([source])
    producer = Producer({"bootstrap.servers": stack.kafka.bootstrap, "enable.idempotence": True, "linger.ms": 20,
                         "queue.buffering.max.messages": 1_000_000, "log_level": 2})  # fmt: skip
    consumer = KafkaConsumer({"bootstrap.servers": stack.kafka.bootstrap, "group.id": "copy", "log_level": 2,
                              "enable.auto.commit": False})  # fmt: skip
    consumer.assign([TopicPartition(source, p, 0) for (_, p), end in ends.items() if end])
    left, expected = sum(ends.values()), dict.fromkeys(range(PARTITIONS), 0)
    while left:
        for message in consumer.consume(5_000, 1.0):
            p, offset = message.partition() or 0, message.offset()
            if offset != expected[p]:
                raise ChaosError(f"{source}/{p} has no record at {expected[p]} but at {offset}")
            expected[p] += 1
            left -= 1
            while True:
                try:
                    producer.produce(target, message.value(), message.key(), p, headers=message.headers())
                except BufferError:
                    producer.poll(0.1)
                else:
                    break
    consumer.close()
    if producer.flush(60):
        raise ChaosError(f"the copy of {source} was not delivered")
    return sum(expected.values())


def check(stack: Stack) -> int:
    """The independent checker's status."""
    command = [sys.executable, str(CHECK), "--bootstrap", stack.kafka.bootstrap, "--dsn", stack.postgres.dsn,
               "--namespace", NAMESPACE, "--fresh-namespace", FRESH, "--schema", SCHEMA,
               "--fresh-schema", FRESH_SCHEMA, "--ledger", str(stack.ledger), "--intervals", stack.intervals,
               "--horizon", stack.horizon_s]  # fmt: skip
    return subprocess.run(command, check=False, timeout=CHECK_S).returncode
