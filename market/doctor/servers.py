"""Checks of what is our own: Kafka and its topics, the database and its schema, the disk."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import Final

import psycopg
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from psycopg import sql

from market.doctor.report import Finding
from marketdata.topics import Topics
from services.sink.migrate import read_migrations
from streaming.kafkaclient import client_config

ANSWER_S: Final = 5.0
BEATS_S: Final = 1.5
"""A holder of the lease writes twice a second: in this time its topic grows."""
LEAST_FREE: Final = 1024**3
COMFORTABLE: Final = 5 * 1024**3


def kafka_topics(bootstrap: str) -> dict[str, int] | Finding:
    """Topic -> partitions of the Kafka that answers, or what is wrong with it."""
    try:
        found = AdminClient(client_config(bootstrap, {"log_level": 0})).list_topics(timeout=ANSWER_S).topics
    except KafkaException as error:
        return Finding(
            "kafka",
            "fail",
            f"{bootstrap} does not answer: {error.args[0].str()}",
            "start it (`market run` starts everything), or set KAFKA_BOOTSTRAP_SERVERS",
        )
    return {name: len(topic.partitions) for name, topic in found.items()}


def check_topics(found: dict[str, int], topics: Topics, partitions: int, intervals: tuple[str, ...]) -> Finding:
    """Whether the topics have the configured number of partitions."""
    wanted = {spec.name: spec.partitions for spec in topics.specs(partitions, intervals)}
    wrong = {name: found[name] for name, count in wanted.items() if name in found and found[name] != count}
    if wrong:
        listed = ", ".join(f"{name} has {count} partitions, not {wanted[name]}" for name, count in wrong.items())
        keyed = {count for name, count in wrong.items() if wanted[name] == partitions}
        remedy = f"set PARTITIONS={keyed.pop()}" if len(keyed) == 1 else "delete the topics that were made by hand"
        return Finding("topics", "fail", listed, f"{remedy}, or begin new topics under another NAMESPACE")
    missing = sorted(wanted.keys() - found.keys())
    if missing:
        text = f"{len(missing)} of {len(wanted)} are missing: {', '.join(missing[:3])}{' ...' * (len(missing) > 3)}"
        return Finding("topics", "warn", text, "`market run` makes them")
    return Finding("topics", "ok", f"{len(wanted)} topics, {partitions} partitions each where keyed by symbol")


def ingest_runs(bootstrap: str, lease: str) -> bool:
    """Whether somebody writes to the lease now; takes a second and a half, and believes no clock."""
    consumer = Consumer(client_config(bootstrap, {"group.id": "doctor", "log_level": 0}))
    try:
        before = consumer.get_watermark_offsets(TopicPartition(lease, 0), timeout=ANSWER_S)[1]
        time.sleep(BEATS_S)
        return bool(consumer.get_watermark_offsets(TopicPartition(lease, 0), timeout=ANSWER_S)[1] > before)
    finally:
        consumer.close()


def check_database(dsn: str, schema: str) -> list[Finding]:
    """Whether the database can be entered, and whether its schema is that of this version."""
    try:
        with psycopg.connect(dsn, connect_timeout=round(ANSWER_S), autocommit=True) as connection:
            version = connection.info.server_version // 10_000
            return [Finding("database", "ok", f"PostgreSQL {version}"), _schema(connection, schema)]
    except psycopg.Error as error:
        text = str(error).strip().splitlines()[-1]
        refused = any(word in text for word in ("authentication", "password", "role ", "no pg_hba"))
        remedy = "start it (`market run` starts everything), or set POSTGRES_DSN"
        if refused:
            remedy = "correct user and password in POSTGRES_DSN"
        elif "does not exist" in text:
            remedy = "create that database, or name another one in POSTGRES_DSN"
        found = "refuses the user or password" if refused else "cannot be entered"
        return [
            Finding("database", "fail", f"{found}: {text}", remedy),
            Finding("schema", "skip", "the database cannot be entered"),
        ]


def _schema(connection: psycopg.Connection[tuple[object, ...]], schema: str) -> Finding:
    table = sql.Identifier(schema, "schema_migrations")
    row = connection.execute("SELECT to_regclass(format('%%I.schema_migrations', %s::text))", (schema,)).fetchone()
    if row is None or row[0] is None:
        return Finding("schema", "warn", f"{schema} has no tables yet", "the sink makes them when it first starts")
    rows = connection.execute(sql.SQL("SELECT name, checksum FROM {}").format(table)).fetchall()
    applied = {str(name): checksum for name, checksum in rows}
    mode = "timescaledb" if any(".timescaledb." in name for name in applied) else "plain"
    wanted = [migration for migration in read_migrations() if migration.mode in {None, mode}]
    changed = [m.name for m in wanted if applied.get(m.name, m.checksum) != m.checksum]
    if changed:
        return Finding("schema", "fail", f"{', '.join(changed)} was applied with other contents", "restore the file")
    behind = [m.name for m in wanted if m.name not in applied]
    if behind:
        text = f"{schema} lacks {', '.join(behind)}"
        return Finding("schema", "fail", text, "start this version's sink: it migrates before it writes")
    return Finding("schema", "ok", f"{schema} has all {len(wanted)} migrations ({mode})")


def check_disk(folders: dict[str, Path]) -> list[Finding]:
    """Whether each folder, by the setting that names it, can be written to and has room."""
    return [_folder(f"disk {name}", name, path.absolute()) for name, path in folders.items()]


def _folder(check: str, setting: str, path: Path) -> Finding:
    standing = next(place for place in (path, *path.parents) if place.exists())
    remedy = f"free the disk or name another folder in {setting}"
    try:
        with tempfile.TemporaryFile(dir=standing) as file:
            file.write(b"doctor")
            file.flush()
        free = shutil.disk_usage(standing).free
    except OSError as error:
        return Finding(check, "fail", f"{path} cannot be written to: {error.strerror}", remedy)
    text = f"{free / 1024**3:.1f} GiB free in {path}"
    if free < LEAST_FREE:
        return Finding(check, "fail", text, remedy)
    return Finding(check, "ok", text) if free >= COMFORTABLE else Finding(check, "warn", text, remedy)
