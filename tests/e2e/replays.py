"""Replays as a user runs them: the `market` command in a process of its own, on the servers of the test session."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Result:
    """What the command printed: counts by topic, the hash, and where the rows are."""

    name: str
    counts: dict[str, int]
    sha256: str

    @property
    def namespace(self) -> str:
        return f"replay-{self.name}."

    @property
    def schema(self) -> str:
        return f"replay_{self.name}"


def replay(
    servers: tuple[str, str], data_dir: Path, name: str, files: Sequence[str], *, speed: str = "max", workers: int = 1
) -> Result:
    """Run ``market replay`` and read its report; its progress goes to the test's own output."""
    name = f"{name}_{secrets.token_hex(3)}"  # the servers may be a user's own and hold earlier runs
    command = [sys.executable, "-m", "market", "replay", *files, "--name", name, "--speed", speed,
               "--workers", str(workers), "--data-dir", str(data_dir)]  # fmt: skip
    env = os.environ | {"KAFKA_BOOTSTRAP_SERVERS": servers[0], "POSTGRES_DSN": servers[1]}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600, check=False)
    print(done.stderr[-2_000:], done.stdout)
    assert done.returncode == 0, f"{done.stderr[-4_000:]}"
    counts = {
        k: int(v.replace(",", "")) for k, v in re.findall(r"^(\S[\w.\- ]*?) +([\d,]+)$", done.stdout, re.MULTILINE)
    }
    found = re.search(r"^sha256 ([0-9a-f]{64})$", done.stdout, re.MULTILINE)
    assert found, done.stdout
    return Result(name, counts, found[1])
