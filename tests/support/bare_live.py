"""The live source's part that reads and writes frames, without sockets, REST and clocks of its own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from marketdata.clock import LiveClock
from marketdata.topics import MARKETS
from services.ingest.live import Live
from services.ingest.silence import SilenceWatch
from services.ingest.writer import Writer


def bare_live(writer: Writer, *, luld: bool = False) -> Live:
    """A Live that no gap, no quote and no silent symbol concerns."""
    live: Any = object.__new__(Live)
    live._settings = SimpleNamespace(luld=luld)
    live._quoting = None
    live._writer = writer
    live._clocks = {market: LiveClock(250_000, 0, 2_000_000, 0) for market in MARKETS}
    live._silence = SilenceWatch(dict.fromkeys(MARKETS, ("*",)))
    live._backfiller = SimpleNamespace(overlap=lambda _market: None)
    live._newest_trades = {}
    made: Live = live
    return made
