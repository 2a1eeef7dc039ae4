"""When an ingest calls itself ready."""

from types import SimpleNamespace
from typing import Any

import pytest

from services.ingest.takeover import role_health


@pytest.mark.parametrize(
    ("role", "log_epoch", "live", "ready"),
    [
        ("waiting", None, False, False),
        ("standby", None, False, False),  # it still reads the log back, so nobody may be stopped for its sake
        ("standby", 0, False, True),  # an empty log is read at once
        ("standby", 3, False, True),
        ("holder", 3, False, False),  # it takes over, and does not write yet
        ("holder", 3, True, True),
    ],
)
def test_ready_is_who_writes_or_could_at_once(role: str, log_epoch: int | None, live: bool, ready: bool) -> None:
    lease: Any = SimpleNamespace(role=role, epoch=7)
    follower: Any = SimpleNamespace(epoch=log_epoch)
    healthy, detail = role_health(lease, follower, live=live)
    assert (healthy, detail) == (ready, {"role": role, "epoch": 7})
