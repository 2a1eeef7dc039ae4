"""What each stage is held against: the least that could be done with the same records on the same servers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import chain
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import sql

from bench.context import Bench, BenchError
from bench.stats import steady
from marketdata.topics import TopicSpec
from services.sink.copytext import OPTIONS
from services.sink.database import SESSION
from services.sink.tables import TABLES, Table
from streaming.producer import exact_producer, produce

COPY_BATCH: Final = 20_000  # more than the sink's own, so that plain COPY is at its best
CHUNK_BYTES: Final = 256 * 1024
_CLEAR: Final = sql.SQL("TRUNCATE {}").format(sql.SQL(", ").join(sql.Identifier(t.name) for t in TABLES))


def consume(bench: Bench, topics: Sequence[str]) -> float:
    """Records a second of a bare consume loop that decodes nothing."""
    samples, done = [(time.perf_counter(), 0.0)], 0
    for batch in bench.broker.batches(topics):
        done += len(batch)
        samples.append((time.perf_counter(), done))
    return steady(samples).rate


def copy(bench: Bench, topics: Sequence[str]) -> float:
    """Records a second of a bare consume and produce loop, to the last delivery, with the product's producer."""
    target = _target(bench)
    producer = exact_producer(bench.servers.bootstrap, name="bench")
    started, done = 0.0, 0
    for batch in bench.broker.batches(topics):
        if not started:
            started = time.perf_counter()  # the first batch was fetched before; it is not counted
        else:
            done += len(batch)
        for message in batch:
            produce(producer, target, message.value(), message.key(), message.partition(), message.headers(), None)
        producer.poll(0)
    if producer.flush(60):
        raise BenchError("the copy floor could not deliver all records within 60 s")
    return done / (time.perf_counter() - started)


def load_log(bench: Bench, topics: Sequence[str]) -> list[Any]:
    """Every record of ``topics``, in about the order in which they were written."""
    messages = list(chain.from_iterable(bench.broker.batches(topics)))
    messages.sort(key=lambda message: message.timestamp()[1])
    return messages


def write(bench: Bench, messages: Sequence[Any]) -> float:
    """Records a second of a bare produce loop over records in memory, with the product's producer."""
    target = _target(bench)
    records = [Put(target, m.value(), m.key(), m.partition(), m.headers()) for m in messages]
    return len(records) / put(bench, records)


class Put(NamedTuple):
    """A record as it is to be written."""

    topic: str
    value: Any
    key: Any
    partition: int
    headers: Any


def put(bench: Bench, records: Sequence[Put]) -> float:
    """Seconds to write ``records`` with the product's producer, to the last delivery."""
    producer = exact_producer(bench.servers.bootstrap, name="bench")
    started = time.perf_counter()
    for n, record in enumerate(records):
        produce(producer, *record, None)
        if n & 0x3FF == 0:
            producer.poll(0)
    if producer.flush(60):
        raise BenchError(f"{len(records):,} records could not be delivered within 60 s")
    return time.perf_counter() - started


def copy_rows(bench: Bench, schema: str) -> float:
    """Rows a second of plain COPY of the rows that stand in ``schema``, into the same tables emptied before."""
    with psycopg.connect(bench.servers.dsn, autocommit=True) as connection:
        connection.execute(SESSION)
        connection.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(schema)))
        batches = [(table, batch) for table in TABLES for batch in _dump(connection, table)]
        connection.execute(_CLEAR)
        started = time.perf_counter()
        for table, batch in batches:
            with connection.cursor() as cursor, cursor.copy(table.copy_into(sql.Identifier(table.name))) as target:
                for chunk in batch:
                    target.write(chunk)
        seconds = time.perf_counter() - started
        return _count(connection) / seconds


def _dump(connection: psycopg.Connection[Any], table: Table) -> list[list[bytes]]:
    """A table's rows as COPY writes them, in batches of the sink's size."""
    columns = sql.SQL(", ").join(map(sql.Identifier, table.columns))
    select = sql.SQL("SELECT {} FROM {}").format(columns, sql.Identifier(table.name))
    query = sql.SQL("COPY ({}) TO STDOUT {}").format(select, sql.SQL(OPTIONS))  # in the form the sink writes
    with connection.cursor() as cursor, cursor.copy(query) as source:
        rows = [bytes(row) for row in source]
    return [_chunks(rows[n : n + COPY_BATCH]) for n in range(0, len(rows), COPY_BATCH)]


def _chunks(rows: list[bytes]) -> list[bytes]:
    text = b"".join(rows)
    return [text[n : n + CHUNK_BYTES] for n in range(0, len(text), CHUNK_BYTES)]


def _count(connection: psycopg.Connection[Any]) -> int:
    counts = [
        connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table.name))).fetchone()
        for table in TABLES
    ]
    return sum(row[0] for row in counts if row)


def _target(bench: Bench) -> str:
    name = f"{bench.namespace}floor"
    source = bench.specs(bench.topics.ratios)[0]
    bench.broker.recreate([TopicSpec(name, source.partitions, source.config)])
    return name
