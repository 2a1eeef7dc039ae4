"""A service of the product in a process of its own, with its default configuration."""

from __future__ import annotations

import contextlib
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from bench.context import Bench, BenchError
from bench.stats import Sample
from market.native import Child, choose_port
from market.stack import get_health
from services.aggregator.settings import AggregatorSettings
from services.ingest.settings import IngestSettings
from services.ratio.settings import RatioSettings
from services.sink.settings import SinkSettings

SAMPLE_S: Final = 0.05
STALL_S: Final = 60.0
QUIET_S: Final = 0.7
_SETTINGS: Final = (IngestSettings, RatioSettings, AggregatorSettings, SinkSettings)


class Service:
    """One running service."""

    def __init__(self, child: Child, port: int) -> None:
        self.child = child
        self.port = port

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels; 0 while the service does not answer yet."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
                text = answer.read().decode()
        except OSError:
            return 0.0
        families = text_string_to_metric_families(text)
        return sum(s.value for family in families for s in family.samples if s.name == name)

    def finished(self) -> bool:
        """Whether it has ended well.

        Raises:
            NativeError: it has ended with an error.
        """
        code = self.child.popen.poll()
        if code not in (None, 0):
            raise self.child.died()
        return code == 0

    def wait_healthy(self, timeout: float = 60.0) -> None:
        """Wait (seconds) until its health says that it moves."""
        self.child.wait_until(lambda: get_health(self.port)[0], timeout, pause=0.1)


@contextlib.contextmanager
def running(bench: Bench, name: str, worker: int = 1, /, **environment: str) -> Iterator[Service]:
    """Start ``services.<name>``, or its second, third ... ``worker``, and stop it at the end."""
    port, label = choose_port(), name if worker == 1 else f"{name}-{worker}"
    with start(bench, label, ["-m", f"services.{name}"], _environment(bench, port) | environment) as child:
        yield Service(child, port)


@contextlib.contextmanager
def start(bench: Bench, name: str, arguments: list[str], environment: dict[str, str]) -> Iterator[Child]:
    """Start Python with ``arguments`` in the run's own folder, where it may leave files."""
    log = bench.directory / "logs" / f"{name}.log"
    child = Child.start(name, [sys.executable, *arguments], log, env=environment, cwd=bench.directory)
    try:
        yield child
    finally:
        child.stop()


def _environment(bench: Bench, port: int) -> dict[str, str]:
    """An empty variable counts as none, so what the caller's shell has set does not change the configuration."""
    defaults = {field.upper(): "" for settings in _SETTINGS for field in settings.model_fields}
    return defaults | {
        "KAFKA_BOOTSTRAP_SERVERS": bench.servers.bootstrap,
        "POSTGRES_DSN": bench.servers.dsn,
        "NAMESPACE": bench.namespace,
        "PARTITIONS": str(bench.broker.partitions),
        "METRICS_PORT": str(port),
        "LOG_FORMAT": "json",
    }


def sample(
    service: Service, count: Callable[[], float], complete: Callable[[], bool], every: float = SAMPLE_S
) -> list[Sample]:
    """Samples of ``count`` until it rests and ``complete`` holds (asked only at rest: it may cost).

    Raises:
        BenchError: nothing moved for a minute.
    """
    samples: list[Sample] = []
    moved, last, asked = time.monotonic(), None, 0.0
    while True:
        service.finished()
        value, now = count(), time.monotonic()
        samples.append((now, value))
        if value != last:
            last, moved = value, now
        elif value and now - moved > QUIET_S and now - asked > QUIET_S:
            if complete():
                return samples
            asked = now
        if now - moved > STALL_S:
            raise BenchError(f"{service.child.name}: nothing moved for {STALL_S:.0f} s at {value:,.0f} records; "
                             f"the log ends:\n{service.child.output()[-1_500:]}")  # fmt: skip
        time.sleep(every)
