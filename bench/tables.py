"""Every report as text."""

from __future__ import annotations

from typing import Any

from bench.decoding.report import table as decode_table
from bench.peers.report import table as peers_table
from bench.pipeline.report import table as pipeline_table
from bench.report import table
from bench.scale.report import table as scale_table
from bench.wire.report import table as feed_table


def as_text(report: dict[str, Any]) -> str:
    """The table of ``report``, told apart by what it holds."""
    if "highest_sustained" in report:
        return "\n".join(pipeline_table(report))
    if "readers" in report:
        return decode_table(report)
    if "stream" in report:
        return feed_table(report)
    if "slopes" in report["results"]:
        return "\n".join(scale_table(report))
    return peers_table(report) if "missed" in report else table(report)
