"""What the readers' passes say, as figures and as a table."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import Any

from bench.decoding.measure import Passes
from bench.report import heading
from bench.stats import rates_summary, share_of, uneven


def figures(head: dict[str, Any], found: list[Passes]) -> dict[str, Any]:
    """The report: every reader's rates, the product's share of each, pass by pass, and what voids them."""
    by_name = {passes.reader.name: passes for passes in found if passes.failed is None}
    ours, loop = by_name.get("product"), by_name.get("loop")
    void = uneven(loop.rates, "hand-written loop's") if loop else []
    readers = {passes.reader.name: _figures(passes, ours) for passes in found}
    return head | {"void": head["void"] + void, "readers": readers}


def table(report: dict[str, Any]) -> str:
    """The whole report."""
    return "\n".join(_lines(report))


def _figures(passes: Passes, ours: Passes | None) -> dict[str, Any]:
    rates = passes.rates if passes.failed is None else []
    return {
        "label": passes.reader.label,
        "rates": rates_summary(rates, "records/s") if rates else None,
        "cpu_us_per_record": round(median(passes.costs), 2) if rates else None,
        "product_to_it": share_of(ours.rates, rates) if ours and ours is not passes and rates else None,
        "failed": passes.failed,
    }


def _lines(report: dict[str, Any]) -> Iterator[str]:
    machine, options, packages = report["machine"], report["options"], report["packages"]
    yield from heading(
        report, f"Python {machine['python']}, Kafka {machine['kafka']}, librdkafka {machine['librdkafka']}, "
        f"aiokafka {packages['aiokafka']}, msgspec {packages['msgspec']}",
    )  # fmt: skip
    yield ""
    yield (f"{options['records']:,} records of {options['symbols']:,} symbols in {options['partitions']} partitions, "
           "taken and decoded")  # fmt: skip
    yield f"{'one process':<44} {'records/s':>10} {'CPU us each':>12} {'product / it':>13}   runs"
    for one in report["readers"].values():
        if one["failed"]:
            yield f"{one['label']:<44} FAILED: {one['failed']}"
            continue
        share = "" if one["product_to_it"] is None else f"{one['product_to_it']:.2f}"
        runs = ", ".join(f"{rate:,}" for rate in one["rates"]["runs"])
        yield (f"{one['label']:<44} {one['rates']['median']:>10,} {one['cpu_us_per_record']:>12.2f} {share:>13}   "
               f"{runs}")  # fmt: skip
