"""Positions in the database: claimed at assignment, moved by compare-and-set with the rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from psycopg import Connection

from marketdata.records import Src
from streaming.places import Place

log = structlog.stdlib.get_logger()


class PositionMissError(Exception):
    """Another sink has moved a position since it was read: nothing of this batch may be written."""


@dataclass(frozen=True, slots=True)
class Position:
    """The next offset to read and the last src accepted before it."""

    next_offset: int
    src: Src | None


@dataclass(frozen=True, slots=True)
class Move:
    """A position's step: from ``base``, which must stand in the database, to ``next_offset``."""

    base: int
    next_offset: int
    src: Src | None


@dataclass(frozen=True, slots=True)
class LogId:
    """Which log the offsets belong to: the cluster's id and each topic's."""

    cluster: str
    topics: Mapping[str, str]


def claim(connection: Connection[Any], log_id: LogId, places: Iterable[Place]) -> dict[Place, Position]:
    """The stored positions of ``places``; new ones, and those of another log, start at the beginning."""
    wanted = sorted(places)
    arrays = (
        [topic for topic, _ in wanted],
        [partition for _, partition in wanted],
        [log_id.topics.get(topic, "") for topic, _ in wanted],
    )
    with connection.transaction():
        connection.execute(_INSERT, (log_id.cluster, *arrays))
        moved = connection.execute(_RESTART, (log_id.cluster, *arrays, log_id.cluster)).fetchall()
        rows = connection.execute(_SELECT, arrays[:2]).fetchall()
    if moved:
        log.warning(
            "Kafka's log is another one than the stored positions belong to",
            partitions=[f"{topic}/{partition}" for topic, partition in moved],
            cluster=log_id.cluster,
            action="reading from the beginning, rows merge by their natural keys",
        )
    return {
        (topic, partition): Position(offset, None if src[0] is None else (src[0], src[1], src[2]))
        for topic, partition, offset, *src in rows
    }


def move(connection: Connection[Any], moves: Mapping[Place, Move], log_id: LogId) -> None:
    """Compare-and-set every position of ``moves``, inside the caller's transaction.

    Raises:
        PositionMissError: at least one does not stand where this sink left it.
    """
    ordered = sorted(moves.items())
    arrays = (
        [topic for (topic, _), _ in ordered],
        [partition for (_, partition), _ in ordered],
        [m.base for _, m in ordered],
        [m.next_offset for _, m in ordered],
        [m.src and m.src[0] for _, m in ordered],
        [m.src and m.src[1] for _, m in ordered],
        [m.src and m.src[2] for _, m in ordered],
        [log_id.topics.get(topic, "") for (topic, _), _ in ordered],
    )
    if connection.execute(_MOVE, (*arrays, log_id.cluster)).rowcount != len(ordered):
        raise PositionMissError


_INSERT = """
INSERT INTO sink_positions (topic, partition, next_offset, cluster_id, topic_id)
SELECT n.topic, n.partition, 0, %s, n.topic_id
FROM unnest(%s::text[], %s::int[], %s::text[]) AS n (topic, partition, topic_id)
ON CONFLICT DO NOTHING
"""
_RESTART = """
UPDATE sink_positions AS p
SET next_offset = 0, src_partition = NULL, src_offset = NULL, src_n = NULL,
    cluster_id = %s, topic_id = n.topic_id, updated_at = now()
FROM unnest(%s::text[], %s::int[], %s::text[]) AS n (topic, partition, topic_id)
WHERE p.topic = n.topic AND p.partition = n.partition AND (p.cluster_id, p.topic_id) <> (%s, n.topic_id)
RETURNING p.topic, p.partition
"""
_SELECT = """
SELECT p.topic, p.partition, p.next_offset, p.src_partition, p.src_offset, p.src_n
FROM sink_positions AS p JOIN unnest(%s::text[], %s::int[]) AS n (topic, partition) USING (topic, partition)
"""
_MOVE = """
UPDATE sink_positions AS p
SET next_offset = n.next_offset, src_partition = n.src_partition, src_offset = n.src_offset, src_n = n.src_n,
    updated_at = now()
FROM unnest(%s::text[], %s::int[], %s::bigint[], %s::bigint[], %s::int[], %s::bigint[], %s::int[], %s::text[])
    AS n (topic, partition, base, next_offset, src_partition, src_offset, src_n, topic_id)
WHERE p.topic = n.topic AND p.partition = n.partition AND p.next_offset = n.base
    AND p.cluster_id = %s AND p.topic_id = n.topic_id
"""
