"""Job (b): candles of 15 s by symbol, from a `ratios` topic to an output topic."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from bench.peers.contenders import LOOP, OURS, Contender
from bench.peers.job import Job, Record, Verdict
from bench.peers.market import Bars, Tally, records
from bench.peers.outputs import collect, differences, read_ours, read_peer
from marketdata.records import Ratio
from marketdata.topics import DEFAULT_INTERVALS, Topics

RESTRICTED: Final = {
    "MARKETS": "stocks",
    "INTERVALS": "15s",
    "HOURS": "all",
    "FEATURE_INTERVALS": ",",  # none
    "CANDLES_LIVE": "false",
    "REVISION_HORIZON_S": "1",  # the peers take no late trade
}
DEFAULT: Final = {"MARKETS": "stocks"}
"""All intervals, both hours, features, candles under way; the input has no crypto market."""
CONTENDERS: Final = (
    Contender(OURS, "aggregator, restricted to the peers' work", 1, settings=RESTRICTED),
    Contender(LOOP, "hand-written loop", 1, "confluent-kafka", required=0.25),
    Contender("default", "aggregator, default configuration", 1 / 6, settings=DEFAULT),
    Contender("faust", "Faust, its windowed table in memory", 1 / 60, "faust-streaming", required=45),
    Contender("quix", "Quix Streams, tumbling window", 1 / 6, "quixstreams", required=4),
    Contender("bytewax", "Bytewax, fold_window", 1 / 2, "bytewax", required=1.5),
    Contender("kafka_streams", "Kafka Streams (Java), one stream thread", 1, "kafka-streams"),
)
_TOPICS: Final = Topics()


@dataclass(frozen=True, slots=True)
class ExpectedBars:
    """See bench.peers.job.Expected."""

    trades: int
    bars: Bars

    @property
    def outputs(self) -> int:
        """How many candles are compared."""
        return len(self.bars)

    def wanted(self, contender: Contender) -> int:
        """One record a candle; ours, by default, writes regular hours beside all."""
        return len(self.bars) * (2 if contender.settings is not None and "HOURS" not in contender.settings else 1)

    def judge(self, messages: Iterable[Any], contender: Contender) -> Verdict:
        """Compare all candles."""
        written = collect(messages, read_ours if contender.is_ours else read_peer, self.bars)
        return Verdict(written.first, written.last, differences(written, self.bars))


class BarTally:
    """See bench.peers.job.Tally."""

    def __init__(self) -> None:
        self._tally = Tally()

    def add(self, _partition: int, record: Record) -> None:
        """Clocks change no candle."""
        if type(record) is Ratio:
            self._tally.add(record)

    def expected(self) -> ExpectedBars:
        """The candles of all windows but the last."""
        return ExpectedBars(self._tally.trades, self._tally.bars())


def _topics(contender: Contender) -> list[str]:
    chosen = (contender.settings or {}).get("INTERVALS")
    candles = [_TOPICS.candles("stocks", name) for name in (chosen.split(",") if chosen else DEFAULT_INTERVALS)]
    return [*candles, _TOPICS.progress("stocks"), _TOPICS.late("stocks"), _TOPICS.live("stocks"),
            _TOPICS.state("stocks"), _TOPICS.dead_letters("aggregator")]  # fmt: skip


CANDLES: Final = Job(
    title="candles of 15 s by symbol",
    compared="candles",
    service="aggregator",
    program="peer.py",
    source=_TOPICS.ratios,
    output=_TOPICS.candles("stocks", "15s"),
    topics=_topics,
    play=records,
    tally=lambda _scale: BarTally(),
    contenders=CONTENDERS,
    trades=6_000_000,  # above 20 s for all but the fastest, on two cores
    stall_s=600,  # a window's candles come all at once
)
