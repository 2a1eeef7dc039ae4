"""The dashboards."""

from __future__ import annotations

from typing import Final

from market.monitoring.boards import latency, pipeline, quality, servers, symbol
from market.monitoring.panels import Dashboard

BOARDS: Final[tuple[Dashboard, ...]] = (
    pipeline.BOARD,
    latency.BOARD,
    quality.BOARD,
    symbol.BOARD,
    servers.BOARD,
)
"""In the order in which a user wants them."""
