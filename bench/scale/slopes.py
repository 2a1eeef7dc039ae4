"""Slopes of what was measured, without I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from bench.stats import fit

Rows = Sequence[dict[str, Any]]
_TIMES: Final = ("us_per_trade", "us_per_closed_candle")
_KIB: Final = "kib_per_symbol_without_horizon"


def engine_slopes(found: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Time and memory against symbols and intervals; memory against symbols is that of all of them, in KiB."""
    symbols, intervals = found["symbols"], found["intervals"]
    return [
        *(_slope("engine", name, "symbols", symbols) for name in _TIMES),
        _slope(
            "engine", "kib_in_all", "symbols", [row | {"kib_in_all": row[_KIB] * row["symbols"]} for row in symbols]
        ),
        *(_slope("engine", name, "intervals", intervals) for name in (*_TIMES, _KIB)),
    ]


def worker_slopes(rows: Rows) -> list[dict[str, Any]]:
    """Rates and costs against workers for each number of partitions, and against partitions for each of workers."""
    done = [row for row in rows if not row["failed"]]
    found = []
    for against, held in (("workers", "partitions"), ("partitions", "workers")):
        for stage, number in dict.fromkeys((row["stage"], row[held]) for row in done):
            some = [row for row in done if (row["stage"], row[held]) == (stage, number)]
            if len({row[against] for row in some}) > 1:
                of = f"{stage}, {number} {held if number > 1 else held[:-1]}"
                found += [_slope(of, what, against, some) for what in ("trades_per_s", "cpu_us_per_trade")]
    return found


def _slope(of: str, what: str, against: str, rows: Rows) -> dict[str, Any]:
    line = fit([(float(row[against]), float(row[what])) for row in rows])
    return {
        "of": of, "what": what, "against": against, "points": len(rows), "slope": float(f"{line.slope:.4g}"),
        "at_zero": float(f"{line.at_zero:.4g}"), "r2": None if line.r2 is None else round(line.r2, 3),
    }  # fmt: skip
