"""Services as processes that a test starts, kills, pauses and listens to."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from market.native import Child

ROOT = Path(__file__).parents[2]
PATIENCE_S = 90.0
"""How long a test waits before it fails: a worker starts in two seconds, where the machine is busy in a minute."""
FASTEST = {"METRICS_PORT": "0", "SESSION_TIMEOUT_S": "6", "LOG_FORMAT": "json"}


def eventually(
    condition: Callable[[], Any], what: str | Callable[[], str], seconds: float = PATIENCE_S, pause: float = 0.1
) -> Any:
    """The first true answer of ``condition``; AssertionError, with what it has waited for, after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what() if callable(what) else what}"
        time.sleep(pause)
    return answer


class Worker:
    """One process of a service; as a context it is killed at the end, and it never outlives the test."""

    def __init__(self, module: str, bootstrap: str, namespace: str, log: Path, **env: str) -> None:
        self.module = module
        self._log = log
        self._env = FASTEST | {"KAFKA_BOOTSTRAP_SERVERS": bootstrap, "NAMESPACE": namespace} | env
        self._child: Child | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self._child is not None:
            self._child.kill()

    def start(self, **env: str) -> Self:
        """Start it, or start it again; ``env`` is changed for this and later starts."""
        self._env |= env
        command = [sys.executable, "-m", self.module]
        self._child = Child.start(
            self.module, command, self._log, env=self._env, cwd=ROOT, death_signal=signal.SIGKILL
        )
        return self

    @property
    def child(self) -> Child:
        assert self._child is not None, "not started"
        return self._child

    def kill(self) -> None:
        """Kill -9."""
        self.child.kill()

    def pause(self) -> None:
        """SIGSTOP: alive for the kernel, silent for the broker."""
        self.child.pause()

    def resume(self) -> None:
        """SIGCONT."""
        self.child.resume()

    def terminate(self, seconds: float = 10) -> tuple[int, float]:
        """SIGTERM; (exit status, seconds until it had ended). 10 s is what every service promises."""
        began = time.monotonic()
        self.child.popen.send_signal(signal.SIGTERM)
        return self.ended(seconds), time.monotonic() - began

    def ended(self, seconds: float = PATIENCE_S) -> int:
        """The status with which it ends within ``seconds``."""
        try:
            return self.child.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.module} still runs after {seconds:g} s:\n{self.output()}") from None

    def output(self) -> str:
        """All that this run has written to stdout and stderr."""
        return self.child.output()

    def events(self, name: str | None = None) -> list[dict[str, Any]]:
        """The log events of this run, of that name."""
        lines = [json.loads(line) for line in self.output().splitlines() if line.startswith("{")]
        return [event for event in lines if name in (None, event["event"])]

    def wait_for(self, name: str, count: int = 1, seconds: float = PATIENCE_S) -> dict[str, Any]:
        """The ``count``-th event of that name."""

        def found() -> bool:
            assert self.child.running, f"{self.module} ended with {self.child.popen.poll()}:\n{self.output()}"
            return len(self.events(name)) >= count

        eventually(found, f"event {name!r} number {count} of {self.module}", seconds)
        return self.events(name)[count - 1]

    def health(self) -> tuple[bool, dict[str, Any]]:
        """(healthy, the checks) as /health says."""
        port = self.wait_for("started")["metrics_port"]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
                return True, json.load(answer)["checks"]
        except urllib.error.HTTPError as error:
            return False, json.load(error)["checks"]
