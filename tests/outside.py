"""Programs that are not ours reading a topic: kcat, Kafka's console consumer, and a few lines of plain aiokafka."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from market.native import NativeError
from market.native.jars import KAFKA_VERSION, cache_dir, ensure_jars, jars_present
from market.native.java import find_java

TIMEOUT_S = 90
TOOLS = f"kafka-tools-{KAFKA_VERSION}.jar"
_PLAIN = """
import asyncio, sys
from aiokafka import AIOKafkaConsumer

async def main(bootstrap, topic, count):
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest", group_id=None)
    await consumer.start()
    try:
        for _ in range(count):
            m = await consumer.getone()
            headers = ",".join(f"{k}={v.decode()}" for k, v in m.headers)
            key = "" if m.key is None else m.key.decode()
            print(m.partition, m.offset, headers, key, m.value.decode(), sep="\\t")
    finally:
        await consumer.stop()

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


class Seen(NamedTuple):
    """One record as another program printed it; no key is an empty one."""

    partition: int
    offset: int
    headers: dict[str, str]
    key: str
    value: str


Read = Callable[[str, str], list[Seen]]
"""Given bootstrap servers and a topic, every record that stands there now, by partition and offset."""


def outside_programs() -> tuple[dict[str, Read], list[str]]:
    """What this machine can run, by name, and one line for each that it cannot."""
    found: dict[str, Read] = {"aiokafka": _aiokafka}
    missing = []
    if shutil.which("kcat"):
        found["kcat"] = _kcat
    else:
        missing.append("kcat: not on PATH")
    try:
        classpath = _console_classpath()
    except NativeError as error:
        missing.append(f"Kafka's console consumer: {error}")
    else:
        found["console consumer"] = lambda bootstrap, topic: _console(classpath, bootstrap, topic)
    return found, missing


def _kcat(bootstrap: str, topic: str) -> list[Seen]:
    command = [
        "kcat",
        "-q",
        "-b",
        bootstrap,
        "-C",
        "-t",
        topic,
        "-o",
        "beginning",
        "-e",
        "-f",
        r"%p\t%o\t%h\t%k\t%s\n",
    ]
    return _table(_output(command))


def _aiokafka(bootstrap: str, topic: str) -> list[Seen]:
    return _table(_output([sys.executable, "-c", _PLAIN, bootstrap, topic, str(_count(bootstrap, topic))]))


def _console(classpath: str, bootstrap: str, topic: str) -> list[Seen]:
    count = _count(bootstrap, topic)
    if not count:  # it takes 0 for no limit and would wait for ever
        return []
    command = [find_java(), "-XX:TieredStopAtLevel=1", "-Xmx256m", "-cp", classpath]
    command += ["org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", bootstrap, "--topic", topic]
    command += ["--from-beginning", "--max-messages", str(count), "--timeout-ms", "30000"]
    for what in ("key", "headers", "partition", "offset"):
        command += ["--formatter-property", f"print.{what}=true"]
    seen = []
    for line in _output(command).splitlines():
        partition, offset, headers, key, value = line.split("\t", 4)
        pairs = [] if headers == "NO_HEADERS" else [pair.split(":", 1) for pair in headers.split(",")]
        place = int(partition.removeprefix("Partition:")), int(offset.removeprefix("Offset:"))
        seen.append(Seen(*place, dict(pairs), "" if key == "null" else key, value))
    return sorted(seen, key=lambda record: record[:2])


def _table(output: str) -> list[Seen]:
    rows = [line.split("\t", 4) for line in output.splitlines()]
    seen = [
        Seen(int(p), int(o), dict(pair.split("=", 1) for pair in headers.split(",") if pair), key, value)
        for p, o, headers, key, value in rows
    ]
    return sorted(seen, key=lambda record: record[:2])


def _output(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}: {done.stderr[-2_000:]}"
    return done.stdout


def _count(bootstrap: str, topic: str) -> int:
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    places = [TopicPartition(topic, p) for p in admin.list_topics(topic, timeout=10).topics[topic].partitions]

    def total(spec: OffsetSpec) -> int:
        return sum(f.result().offset for f in admin.list_offsets(dict.fromkeys(places, spec)).values())

    return total(OffsetSpec.latest()) - total(OffsetSpec.earliest())


def _console_classpath() -> str:
    """The broker's jars and the one with Kafka's tools, which the broker does not need: fetched by Maven, once."""
    find_java()
    if not jars_present():
        raise NativeError("the broker runs elsewhere, its jars are not here")
    tools = cache_dir() / TOOLS
    if not tools.is_file():
        _fetch(tools)
    return os.pathsep.join(str(path) for path in (tools, *ensure_jars()))


def _fetch(tools: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise NativeError("Maven (mvn) is needed once to fetch it and was not found")
    with tempfile.TemporaryDirectory(dir=tools.parent) as directory:
        command = [maven, "-q", "-B", "org.apache.maven.plugins:maven-dependency-plugin:copy"]
        command += [f"-Dartifact=org.apache.kafka:kafka-tools:{KAFKA_VERSION}", f"-DoutputDirectory={directory}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        fetched = Path(directory) / TOOLS
        if done.returncode != 0 or not fetched.is_file():
            raise NativeError(f"Maven could not fetch it (no network?): {done.stdout[-500:]}")
        fetched.rename(tools)
