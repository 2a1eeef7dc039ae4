"""Latency, open loop: the bundled live feed at a fixed rate, default allowance, 200 symbols, all intervals."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Any, Final

from bench.context import SYMBOLS, Bench, BenchError, say
from bench.live import live_ingest
from bench.observer import Arrival, Observer, RowWatch
from bench.pipeline.stack import warm_up
from bench.rows import drop_schema
from bench.service import Service, running, start
from bench.stats import latency_summary
from bench.window import Window, behind, floor_latencies, read
from marketdata.topics import TopicSpec
from services.ingest.settings import IngestSettings

DISCARD_S: Final = 5.0
DRAIN_S: Final = 15.0
FLOOR_S: Final = 8.0
FLOOR_DISCARD_S: Final = 2.0
FLOOR_P99_MS: Final = 10.0
ALLOWANCE_US: Final = int(IngestSettings.model_fields["allowance_ms"].default) * 1_000


def measure_latency(bench: Bench) -> dict[str, Any]:
    """For each rate: percentiles of the product, and of the bare loop before it."""
    warm_up(bench)
    results = {}
    for rate in bench.choices.rates:
        floor = _floor(bench, rate)
        say(f"latency at {rate}/s: floor p99 {floor['p99_ms']} ms")
        report = _pipeline(bench, rate)
        report["floor"] = floor
        if floor["p99_ms"] is None or floor["p99_ms"] > FLOOR_P99_MS:
            report["void"].append(f"the bare produce and consume loop's p99 was {floor['p99_ms']} ms, "
                                  f"above {FLOOR_P99_MS:g}")  # fmt: skip
        results[str(rate)] = report
        say(f"latency at {rate}/s: candle beyond allowance p99 {report['candle_1s_beyond_allowance']['p99_ms']} ms")
    return results


def _floor(bench: Bench, rate: int) -> dict[str, Any]:
    topic = f"{bench.namespace}floor"
    bench.broker.recreate([TopicSpec(topic, bench.broker.partitions, {})])
    schedule = [str(number) for number in (bench.broker.partitions, rate, FLOOR_S + FLOOR_DISCARD_S)]
    arguments = ["-m", "bench.pacer", bench.servers.bootstrap, topic, *schedule]
    with Observer(bench, [topic]) as observer:
        with start(bench, "pacer", arguments, {}) as child:
            child.popen.wait(60 + FLOOR_S)
        time.sleep(0.5)
    arrivals = _checked(observer)
    if not arrivals:
        raise BenchError(f"the bare loop gave nothing; its log: {child.output()[-1_000:]}")
    first = int(arrivals[0].value.rstrip())
    return latency_summary(floor_latencies(arrivals, Window.after(first, FLOOR_DISCARD_S, FLOOR_S)))


def _pipeline(bench: Bench, rate: int) -> dict[str, Any]:
    topics, schema = bench.topics, f"bench_live_{rate}"
    drop_schema(bench, schema)
    bench.broker.recreate(bench.specs())
    final = topics.candles("stocks", "1s")
    seen = [topics.ratios, final, topics.live("stocks")]
    with ExitStack() as stack:
        services = [
            stack.enter_context(running(bench, name, DATABASE_SCHEMA=schema))
            for name in ("sink", "aggregator", "ratio")
        ]
        for service in services:
            service.wait_healthy()
        observer = stack.enter_context(Observer(bench, seen))
        rows = stack.enter_context(RowWatch(bench, schema, final))
        services.append(live_ingest(bench, rate, stack))
        _wait_for_candles(observer, final, services)
        window = Window.after(time.time_ns() // 1_000, DISCARD_S, bench.choices.seconds)
        _wait_past(bench, window, observer, services)
    found = read(_checked(observer), window, topics.ratios, final, rows.stored.visible_at)
    drop_schema(bench, schema)
    return {
        "rate_asked": rate,
        "rate_seen": round(len(found.trade_arrived) / bench.choices.seconds),
        "symbols": SYMBOLS,
        "allowance_ms": ALLOWANCE_US / 1_000,
        "seconds": bench.choices.seconds,
        "discarded_s": DISCARD_S,
        **found.report(ALLOWANCE_US),
        "void": behind(found, window, bench.broker.partitions),
    }


def _wait_for_candles(observer: Observer, final: str, services: list[Service], timeout: float = 60.0) -> None:
    deadline, read_to = time.monotonic() + timeout, 0
    while True:
        arrivals = observer.arrivals[read_to:]
        read_to += len(arrivals)
        if any(arrival.topic == final for arrival in arrivals):
            return
        _check(services)
        if time.monotonic() > deadline:
            log = services[-1].child.output()[-1_500:]
            raise BenchError(f"no candle of 1 s arrived within {timeout:.0f} s; ingest's log ends:\n{log}")
        time.sleep(0.1)


def _wait_past(bench: Bench, window: Window, observer: Observer, services: list[Service]) -> None:
    """Until every partition's log and the rows are past the window, or the drain's time is up."""
    while time.time_ns() // 1_000 < window.end + ALLOWANCE_US + 1_000_000:
        _check(services)
        time.sleep(0.2)
    deadline = time.monotonic() + DRAIN_S
    while time.monotonic() < deadline:
        recent = observer.arrivals[-20_000:]
        found = read(recent, window, bench.topics.ratios, "", lambda *_: None)
        if not behind(found, window, bench.broker.partitions):
            time.sleep(1.0)  # the candles that this clock closes, and their rows
            return
        time.sleep(0.5)


def _check(services: list[Service]) -> None:
    for service in services:
        if service.finished():
            raise BenchError(f"{service.child.name} ended by itself:\n{service.child.output()[-1_500:]}")


def _checked(observer: Observer) -> list[Arrival]:
    if observer.error:
        raise BenchError(f"the independent consumer failed: {observer.error}")
    return observer.arrivals
