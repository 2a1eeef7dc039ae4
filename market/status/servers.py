"""Kafka, the database and its newest tick, as far as they answer."""

from __future__ import annotations

import time
from typing import Any, Final

import psycopg
from psycopg import sql

from market.doctor.report import Finding
from market.doctor.servers import check_topics, kafka_topics
from market.status.report import Part, ago
from marketdata.topics import Topics

ANSWER_S: Final = 5
TABLES: Final = ("ratio_ticks_live", "ratio_aggregates_500ms", "candles")
COUNT_BELOW: Final = 2_000_000
"""Larger tables are not counted, their size is the planner's estimate."""
LATE_S: Final = 60.0
"""Rows that stand this much behind the trades that ingest receives are not on their way any more."""
Row = tuple[Any, ...]


def kafka(bootstrap: str, topics: Topics, partitions: int, intervals: tuple[str, ...]) -> Part:
    """Whether Kafka answers and has this stack's topics."""
    found = kafka_topics(bootstrap)
    if isinstance(found, Finding):
        return Part("kafka", False, "broken", detail=found.found, facts={"bootstrap": bootstrap})
    finding = check_topics(found, topics, partitions, intervals)
    ok = finding.status == "ok"
    facts = {"bootstrap": bootstrap, "topics": len(found)}
    return Part("kafka", ok, "ok" if ok else "broken", detail=f"{bootstrap}, {finding.found}", facts=facts)


def database(dsn: str, schema: str) -> tuple[Part, Row | None]:
    """Whether the database answers and how many rows it holds; and (symbol, time, received at) of the newest tick."""
    try:
        with psycopg.connect(
            dsn,
            connect_timeout=ANSWER_S,
            autocommit=True,
            options=f"-c statement_timeout={ANSWER_S}s -c search_path={schema}",
        ) as connection:
            version = connection.info.server_version // 10_000
            rows = {table: _rows(connection, table) for table in TABLES}
            newest = connection.execute(
                "SELECT symbol, time, received_at FROM ratio_ticks_live ORDER BY time DESC LIMIT 1"
            ).fetchone()
    except psycopg.Error as error:
        text = str(error).strip().splitlines()[0]
        return Part("database", False, "broken", detail=text, facts={"schema": schema}), None
    listed = ", ".join(f"{table} {'' if exact else '~'}{count:,}" for table, (count, exact) in rows.items())
    facts = {"schema": schema, "rows": {table: count for table, (count, _) in rows.items()}}
    return Part("database", True, "ok", detail=f"PostgreSQL {version}, rows: {listed}", facts=facts), newest


def newest_tick(newest: Row | None, ingest: Part | None, now: float | None = None) -> Part:
    """How old the newest row is; broken where ingest receives stock trades and their rows do not come.

    ``ingest`` is what that service says of itself, ``now`` seconds since the epoch.
    """
    now = time.time() if now is None else now
    heard = _seconds_since_trade(ingest)
    if newest is None:
        up = ingest.facts.get("up_seconds") if ingest is not None else None
        missing = heard is not None and up is not None and up > LATE_S
        return Part("newest tick", not missing, "broken" if missing else "ok", detail="no row yet")
    symbol, at, received = newest
    age, waited = max(now - at.timestamp(), 0.0), now - received.timestamp()
    late = heard is not None and waited - heard > LATE_S
    text = f"{symbol} {at:%Y-%m-%d %H:%M:%S} UTC"
    if late:
        text += f", received {ago(waited)} ago, while ingest received a trade {ago(heard or 0)} ago"
    facts = {"symbol": symbol, "time": at.isoformat(), "age_seconds": round(age, 3)}
    return Part("newest tick", not late, "broken" if late else "ok", f"{ago(age)} old", text, facts)


def _seconds_since_trade(ingest: Part | None) -> float | None:
    """Of stocks, since only their trades become ticks."""
    checks = ingest.facts.get("checks", {}) if ingest is not None else {}
    found = checks.get("data", {}).get("detail", {}).get("stocks", {}).get("seconds_since_trade")
    return None if found is None else float(found)


def _rows(connection: psycopg.Connection[Row], table: str) -> tuple[int, bool]:
    """(how many, whether they were counted)."""
    estimate = connection.execute(
        "SELECT coalesce(sum(greatest(reltuples, 0)), 0)::bigint FROM pg_class WHERE oid = %(table)s::regclass "
        "OR oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = %(table)s::regclass)",
        {"table": table},
    ).fetchone()
    estimated = int(estimate[0]) if estimate else 0
    if estimated >= COUNT_BELOW:
        return estimated, False
    try:
        counted = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))).fetchone()
    except psycopg.errors.QueryCanceled:
        return estimated, False
    return (int(counted[0]) if counted else 0), True
