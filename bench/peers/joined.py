"""Job (c): each stock trade with the last BTC trade at or before it, from `trades.stocks` to an output topic."""

from __future__ import annotations

from typing import Final

from bench.peers.answers import Answers
from bench.peers.contenders import LOOP, OURS, Contender
from bench.peers.job import Job
from bench.peers.trades import trade_log
from marketdata.topics import Topics

RESTRICTED: Final = {
    "RATIO_MARK": "false",
    "REVISION_HORIZON_S": "1",  # no BTC trade is back-filled
}
CONTENDERS: Final = (
    Contender(OURS, "ratio service, restricted to the peers' work", 1, settings=RESTRICTED),
    Contender(LOOP, "hand-written loop", 1, "confluent-kafka", required=0.4),
    Contender("default", "ratio service, default configuration", 1, settings={}),
    Contender("faust", "Faust, an agent with a dict in memory", 1 / 20, "faust-streaming"),
)
_TOPICS: Final = Topics()


def _topics(_contender: Contender) -> list[str]:
    return [_TOPICS.ratios, _TOPICS.ratio_mark, _TOPICS.state("ratio"), _TOPICS.dead_letters("ratio")]


JOIN: Final = Job(
    title="as-of join of stock trades with BTC",
    compared="ratios",
    service="ratio",
    program="join.py",
    source=_TOPICS.trades("stocks"),
    output=_TOPICS.ratios,
    topics=_topics,
    play=trade_log,
    tally=lambda scale: Answers(scale.partitions),
    contenders=CONTENDERS,
    trades=1_500_000,  # above 20 s for all but the fastest, on two cores
    stall_s=60,
)
