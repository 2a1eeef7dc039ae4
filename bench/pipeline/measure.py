"""The whole pipeline at one rate, and the rates that are tried."""

from __future__ import annotations

import time
from typing import Any, Final

from bench.context import SYMBOLS, Bench, BenchError, say
from bench.pipeline.check import Checked, check
from bench.pipeline.lags import Sample, lags, not_kept_up, per_second, shares
from bench.pipeline.search import highest
from bench.pipeline.stack import SERVERS_RATE, SERVERS_S, Pipeline, warm_up

WARM_UP_S: Final = 10.0
EVERY_S: Final = 1.0
REQUIRED: Final = 20_000
"""Trades a second that must be sustained."""


def measure_pipeline(bench: Bench, rates: tuple[int, ...]) -> dict[str, Any]:
    """Each of ``rates``, or without any those that the search asks for."""
    results: dict[str, dict[str, Any]] = {}

    def holds(rate: int) -> bool:
        results[str(rate)] = found = measure_rate(bench, rate)
        say(f"{rate:,}/s: {'sustained' if found['sustained'] else '; '.join(found['why_not'])}")
        return bool(found["sustained"])

    before = max(rates, default=SERVERS_RATE)
    warm_up(bench, before)
    tried = [rate for rate in rates if holds(rate)]
    best = max(tried, default=0) if rates else highest(holds) or 0
    return {
        "options": {"symbols": SYMBOLS, "partitions": bench.broker.partitions, "seconds": bench.choices.seconds,
                    "servers_warmed_up_s": SERVERS_S, "servers_warmed_up_at": before, "warm_up_s": WARM_UP_S,
                    "rates": list(rates) or "searched", "configuration": "default"},
        "highest_sustained": best,
        "required": REQUIRED,
        "missed": missed(best, results),
        "results": results,
    }  # fmt: skip


def missed(best: int, results: dict[str, dict[str, Any]]) -> list[str]:
    """What is required and was not shown: the rate, and that at every rate nothing is lost, doubled or different."""
    return [
        *(["highest_sustained"] if best < REQUIRED else []),
        *(f"{rate}.wrong" for rate, found in results.items() if found["wrong"]),
    ]


def measure_rate(bench: Bench, rate: int) -> dict[str, Any]:
    """One run: warm-up, the window, the drain and the check."""
    seconds = bench.choices.seconds
    say(f"{rate:,}/s: starting, then {WARM_UP_S:.0f} s of warm-up and {seconds:.0f} s measured")
    with Pipeline(bench, rate, WARM_UP_S + seconds) as pipeline:
        pipeline.go()
        _sampled(pipeline, WARM_UP_S)
        pipeline.meter.start()
        samples = _sampled(pipeline, seconds)
        cpu = pipeline.meter.read()
        report = _kept_up(rate, samples) | {"cpu_seconds_per_second": cpu}
        checked, why_not = Checked(), list(report["why_not"])
        try:
            until = pipeline.drain()
        except BenchError as error:
            why_not.append(str(error))
        else:
            say(f"{rate:,}/s: drained, now checking")
            pipeline.stop_services()
            checked = check(bench, pipeline.feed, pipeline.schema, pipeline.before, until)
            why_not += checked.wrong
    return report | {
        "sustained": not why_not, "why_not": why_not, "checked": dict(checked.compared), "wrong": checked.wrong,
    }  # fmt: skip


def _sampled(pipeline: Pipeline, seconds: float) -> list[Sample]:
    """A sample a second, at its time however long the one before took."""
    began = time.monotonic()
    samples = []
    for n in range(round(seconds / EVERY_S) + 1):
        time.sleep(max(0.0, began + n * EVERY_S - time.monotonic()))
        samples.append(pipeline.sample())
    return samples


def _kept_up(rate: int, samples: list[Sample]) -> dict[str, Any]:
    found, source, candles = lags(samples), per_second(samples, "sent"), per_second(samples, "candles")
    return {
        "rate_asked": rate,
        "rate_at_source": round(source),
        "candles_per_s": round(candles),
        "samples": len(samples),
        "lag": shares(rate, candles, found),
        "why_not": not_kept_up(rate, source, candles, found),
    }
