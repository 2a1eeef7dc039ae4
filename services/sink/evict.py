"""A rival sink that stands still in the middle of a transaction holds its positions' rows locked.

The server ends an idle transaction by itself, but not a COPY whose client sends nothing more (a frozen process), so a
sink that waited in vain ends such a session. What it had written was not committed and is read from Kafka again.
"""

from __future__ import annotations

from typing import Any

import structlog
from psycopg import Connection

STALLED_S = 10
log = structlog.stdlib.get_logger()

_EVICT = """
SELECT a.pid, pg_terminate_backend(a.pid)
FROM pg_stat_activity AS a
JOIN pg_locks AS l ON l.pid = a.pid AND l.locktype = 'relation' AND l.relation = 'sink_positions'::regclass
    AND l.mode = 'RowExclusiveLock' AND l.granted AND l.database = a.datid
WHERE a.datname = current_database() AND a.usename = current_user AND a.application_name = %s
    AND a.pid <> pg_backend_pid() AND a.wait_event = 'ClientRead'
    AND a.state_change < now() - make_interval(secs => %s)
"""


def evict_stalled_rivals(connection: Connection[Any], application: str, stalled_s: float = STALLED_S) -> int:
    """End the sessions of sinks that hold positions and have so long waited for their client; returns how many."""
    ended = connection.execute(_EVICT, (application, stalled_s)).fetchall()
    if ended:
        log.warning("ended a stalled sink's session, it held the positions", pids=[pid for pid, _ in ended])
    return len(ended)
