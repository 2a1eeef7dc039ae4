"""Who takes part: how each is started, how much of the input it gets, and what is required against it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from bench.context import Bench
from bench.peers.environments import command_of, version_of
from bench.peers.outputs import Read, read_ours, read_peer
from bench.service import running
from market.native import Child
from marketdata.topics import DEFAULT_INTERVALS

RESTRICTED: Final = {
    "MARKETS": "stocks",
    "INTERVALS": "500ms,15s",  # 500ms is what all others are rolled up from
    "HOURS": "all",
    "FEATURE_INTERVALS": ",",  # none
    "CANDLES_LIVE": "false",
    "REVISION_HORIZON_S": "1",  # the peers take no late trade
}
DEFAULT: Final = {"MARKETS": "stocks"}
"""All intervals, both hours, features, candles under way; the input has no crypto market."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One program. ``part`` is its share of the trades: slower ones get the first of them, not all.

    A peer has the ``package`` whose version is told; ours has ``settings``. ``required`` is our rate / its rate.
    """

    name: str
    label: str
    part: float
    package: str = ""
    settings: dict[str, str] | None = None
    required: float | None = None

    @property
    def version(self) -> str:
        """What it is pinned to; of ours the report's commit tells."""
        return f"{self.package} {version_of(self.name, self.package)}" if self.package else ""

    @property
    def read(self) -> Read:
        """How its output is read."""
        return read_peer if self.settings is None else read_ours

    @property
    def records_per_candle(self) -> int:
        """Records in its output topic for each candle: ours, by default, writes regular hours beside all."""
        return 2 if self.settings is not None and "HOURS" not in self.settings else 1

    @property
    def intervals(self) -> tuple[str, ...]:
        """Of ours: the intervals it makes."""
        chosen = (self.settings or {}).get("INTERVALS")
        return tuple(chosen.split(",")) if chosen else DEFAULT_INTERVALS


OURS: Final = "ours"
LOOP: Final = "loop"
CONTENDERS: Final = (
    Contender(OURS, "aggregator, restricted to the peers' work", 1, settings=RESTRICTED),
    Contender(LOOP, "hand-written loop", 1, "confluent-kafka", required=0.25),
    Contender("default", "aggregator, default configuration", 1 / 6, settings=DEFAULT),
    Contender("faust", "Faust, its windowed table in memory", 1 / 60, "faust-streaming", required=45),
    Contender("quix", "Quix Streams, tumbling window", 1 / 6, "quixstreams", required=4),
    Contender("bytewax", "Bytewax, fold_window", 1 / 2, "bytewax", required=1.5),
    Contender("kafka_streams", "Kafka Streams (Java), one stream thread", 1, "kafka-streams"),
)
NAMES: Final = tuple(contender.name for contender in CONTENDERS)


@contextlib.contextmanager
def started(contender: Contender, bench: Bench, source: str, output: str, group: str) -> Iterator[Child]:
    """Run it over ``source`` until the end of the block; a peer writes to ``output`` and reads as ``group``."""
    if contender.settings is not None:
        with running(bench, "aggregator", **contender.settings) as service:
            yield service.child
        return
    environment = {
        "BOOTSTRAP": bench.servers.bootstrap, "SOURCE": source, "OUTPUT": output, "GROUP": group,
        "PARTITIONS": str(bench.broker.partitions), "PYTHONPATH": "", "VIRTUAL_ENV": "",
    }  # fmt: skip
    folder = bench.directory / group  # some leave files where they run
    folder.mkdir()
    child = Child.start(contender.name, command_of(contender.name), folder / "log", env=environment, cwd=folder)
    try:
        yield child
    finally:
        child.stop()
