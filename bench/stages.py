"""Events a second of each stage alone, beside its floors, run after run in turn.

Each stage reads what the one before it wrote, so all are run; only those asked for are measured more than once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bench import floors
from bench.context import Bench, say
from bench.progress import Processed
from bench.rows import Stored, drop_schema, forget_positions
from bench.service import running, sample
from bench.stats import Steady, rates_summary, share_of, steady, uneven
from marketdata.topics import MARKETS

STAGES: Final = ("ingest", "ratio", "aggregator", "sink", "upserts")
"""``upserts`` is the sink once more over a log whose rows it has stored already."""
SINK_SAMPLE_S: Final = 0.1  # the figure comes from the sink's own process, which has to work for each answer


@dataclass(slots=True)
class Stage:
    """One stage's runs: records a second of ours and of each floor, and how many of the records are events."""

    unit: str
    ours: list[float] = field(default_factory=list)
    floors: dict[str, list[float]] = field(default_factory=dict)
    events_share: float = 1.0

    def add(self, ours: Steady, **measured: float) -> None:
        """One run of each."""
        self.ours.append(ours.rate)
        for name, rate in measured.items():
            self.floors.setdefault(name, []).append(rate)

    def report(self) -> dict[str, Any]:
        """Rates, floors and shares of the floors."""
        records = "rows/s" if self.unit == "rows/s" else "records/s"
        return {
            "events": rates_summary([rate * self.events_share for rate in self.ours], self.unit),
            "records": rates_summary(self.ours, records),
            "floors": {name: rates_summary(rates, records) for name, rates in self.floors.items()},
            "share_of_floor": {name: share_of(self.ours, rates) for name, rates in self.floors.items()},
            "void": [reason for name, rates in self.floors.items() for reason in uneven(rates, name)],
        }


def measure_stages(bench: Bench, files: list[Path]) -> dict[str, Any]:
    """Run the stages one after the other; returns the report of each that was asked for."""
    wanted = [name for name in STAGES if bench.choices.wants(name)]
    measured: dict[str, Callable[[Stage], None]] = {
        "ingest": lambda stage: _ingest(bench, files, stage),
        "ratio": lambda stage: _ratio(bench, stage),
        "aggregator": lambda stage: _aggregator(bench, stage),
        "sink": lambda stage: _sink(bench, stage, len(stage.ours)),
        "upserts": lambda stage: _upserts(bench, stage),
    }
    results = {}
    for name in STAGES[: 1 + max(STAGES.index(name) for name in wanted)] if wanted else ():
        stage = Stage("rows/s" if name in {"sink", "upserts"} else "trades/s")
        for run in range(bench.choices.runs if name in wanted else 1):
            measured[name](stage)
            say(f"{name} {run + 1}: {stage.ours[-1]:,.0f} records/s, "
                + ", ".join(f"{floor} {rates[-1]:,.0f}" for floor, rates in stage.floors.items()))  # fmt: skip
        if name in wanted:
            results[name] = stage.report()
    return results


def file_settings(files: list[Path]) -> dict[str, str]:
    """Ingest's settings to play recordings at full speed."""
    return {"SOURCE": "files", "FILES": ",".join(map(str, files)), "SPEED": "max"}


def _ingest(bench: Bench, files: list[Path], stage: Stage) -> None:
    logs = [bench.topics.trades(market) for market in MARKETS]
    bench.broker.recreate(bench.specs())
    with running(bench, "ingest", **file_settings(files)) as service:
        ours = steady(sample(service, lambda: bench.broker.records(*logs), service.finished))
    messages = floors.load_log(bench, logs)
    stage.events_share = sum(bench.broker.census(log)["trade"] for log in logs) / len(messages)
    stage.add(ours, produce=floors.write(bench, messages))


def _ratio(bench: Bench, stage: Stage) -> None:
    source, output = bench.topics.trades("stocks"), bench.topics.ratios
    stage.events_share = bench.broker.census(source)["trade"] / bench.broker.records(source)
    consumed, copied = floors.consume(bench, [source]), floors.copy(bench, [source])
    bench.broker.recreate(bench.specs(output, bench.topics.ratio_mark))
    with running(bench, "ratio") as service:
        samples = sample(service, lambda: bench.broker.records(output), lambda: bench.broker.followed(source, output))
    stage.add(steady(samples), consume=consumed, copy=copied)


def _aggregator(bench: Bench, stage: Stage) -> None:
    topics = bench.topics
    sources = {"stocks": topics.ratios, "crypto": topics.trades("crypto")}
    trades = bench.broker.census(sources["stocks"])["ratio"] + bench.broker.census(sources["crypto"])["trade"]
    stage.events_share = trades / bench.broker.records(*sources.values())
    consumed, copied = (floor(bench, list(sources.values())) for floor in (floors.consume, floors.copy))
    outputs = [s.name for s in bench.specs() if ".candles." in f".{s.name}" or ".trades.late." in f".{s.name}"]
    bench.broker.recreate(bench.specs(*outputs))
    with running(bench, "aggregator") as service, Processed(bench) as processed:
        samples = sample(service, processed.records, lambda: all(
            bench.broker.followed(source, topics.progress(market)) for market, source in sources.items()
        ))  # fmt: skip
    stage.add(steady(samples), consume=consumed, copy=copied)


def _sink(bench: Bench, stage: Stage, run: int) -> None:
    schema = f"bench_sink_{run}"
    drop_schema(bench, schema)
    stage.add(_stored(bench, schema), plain_copy=floors.copy_rows(bench, schema))
    drop_schema(bench, schema)


def _upserts(bench: Bench, stage: Stage) -> None:
    schema = "bench_upserts"
    if not stage.ours:
        drop_schema(bench, schema)
        _stored(bench, schema)
    forget_positions(bench, schema)
    stage.add(_stored(bench, schema), plain_copy=floors.copy_rows(bench, schema))


def _stored(bench: Bench, schema: str) -> Steady:
    with running(bench, "sink", DATABASE_SCHEMA=schema) as service, Stored(bench, schema) as stored:
        return steady(sample(service, lambda: service.metric("sink_rows_total"), stored.everything, SINK_SAMPLE_S))
