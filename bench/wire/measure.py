"""All readers in turn, run after run, each on a new server with the same stream; as one report."""

from __future__ import annotations

from typing import Any, Final

from confluent_kafka import KafkaException

from bench.context import Bench, BenchError, say
from bench.peers.environments import command_of, version_of
from bench.wire.contenders import CONTENDERS, FLOOR, Runs
from bench.wire.official import PACKAGE, PEER
from bench.wire.report import figures, missed, too_slow, unquiet
from bench.wire.stream import RATE, SYMBOLS, Stream, write_stream
from market.native import NativeError

TRADES: Final = 600_000
"""Some 15 s for the slowest on two cores."""


def measure_wire(where: Bench, names: tuple[str, ...], head: dict[str, Any]) -> dict[str, Any]:
    """Measure the readers of these names; ``head`` is the report's, with what voids it so far."""
    chosen = [contender for contender in CONTENDERS if contender.name in names]
    if any(contender.package for contender in chosen):
        command_of(PEER, "peer.py")
    say(f"writing a stream of {where.choices.trades:,} trades of {SYMBOLS:,} symbols")
    stream = write_stream(where.directory / "frames.jsonl", where.choices.trades)
    floor, found = Runs(FLOOR), [Runs(contender) for contender in chosen]
    for number in range(1, where.choices.runs + 1):
        for runs in (floor, *found):
            if runs.failed is None:
                _measure(runs, where, stream)
                say(f"run {number}, {runs.contender.name}: {runs.failed or f'{runs.rates[-1]:,.0f} trades/s'}")
        if floor.failed is not None:
            raise BenchError(f"the server alone: {floor.failed}")
    results = figures(floor, found)
    return head | {
        "options": {"trades": stream.trades, "runs": where.choices.runs, "only": list(names)},
        "stream": {
            "frames": stream.frames, "bytes": stream.bytes, "crypto_trades": stream.crypto, "symbols": SYMBOLS,
            "event_time_trades_per_s": RATE, "official_client": f"{PACKAGE} {version_of(PEER, PACKAGE)}",
        },
        "void": [*head["void"], *unquiet(found), *too_slow(floor, found)],
        "missed": missed(results),
        "results": results,
    }  # fmt: skip


def _measure(runs: Runs, where: Bench, stream: Stream) -> None:
    try:
        runs.add(stream.trades, runs.contender.run(where, stream))
    except (BenchError, NativeError, KafkaException) as error:
        runs.failed = str(error)
