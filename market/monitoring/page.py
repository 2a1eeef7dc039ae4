"""docs/metrics.md, from the declarations of the metrics."""

from __future__ import annotations

import importlib.util
import pkgutil
from types import ModuleType
from typing import Final

import services
from streaming import metrics as shared
from streaming.catalogue import LATENCY_BUCKETS_S, Declared, declared_in

HEAD: Final = """# Metrics

Made by `make monitoring` from the declarations in streaming/metrics.py and services/*/metrics.py. Every service shows
its own on `/metrics`, and Python's `process_*` and `python_*`. `at most` is how many series one process can have of a
metric: what comes beyond the label values that are declared is counted under `other`. Histograms of latency have the
buckets {buckets} s.
"""


def metrics_page() -> str:
    """The page, a section a module."""
    parts = [HEAD.format(buckets=", ".join(f"{bound:g}" for bound in LATENCY_BUCKETS_S))]
    parts += [_section(title, declared_in(module)) for title, module in modules().items()]
    return "\n".join(parts)


def modules() -> dict[str, ModuleType]:
    """Where metrics are declared, by the page's titles: what is shared, then each service that has some."""
    found: dict[str, ModuleType] = {"Every service and every stage": shared}
    for package in pkgutil.iter_modules(services.__path__, "services."):
        if importlib.util.find_spec(f"{package.name}.metrics"):
            found[package.name.removeprefix("services.").capitalize()] = importlib.import_module(
                f"{package.name}.metrics"
            )
    return found


def _section(title: str, declared: list[Declared]) -> str:
    rows = "\n".join(map(_row, declared))
    labels = {label.name: label for metric in declared for label in metric.labels}
    legend = "".join(f"- `{label.name}`: {label.values}\n" for label in labels.values())
    table = f"| metric | type | unit | labels | at most | meaning |\n|---|---|---|---|---|---|\n{rows}\n"
    return f"## {title}\n\n{table}" + (f"\n{legend}" if legend else "")


def _row(metric: Declared) -> str:
    labels = ", ".join(f"`{label.name}`" for label in metric.labels)
    return f"| `{metric.name}` | {metric.kind} | {metric.unit} | {labels} | {metric.series:,} | {metric.meaning} |"
