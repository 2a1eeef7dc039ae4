"""What can be set about the feed; the command line and the environment fill it in."""

from __future__ import annotations

from pathlib import Path

import msgspec

from feed.symbols import DEFAULT_SYMBOLS


class FeedSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of one running feed. A port of 0 takes a free one; times are in the unit of their name."""

    host: str = "127.0.0.1"
    ws_port: int = 8765
    rest_port: int = 8766
    symbols: tuple[str, ...] = DEFAULT_SYMBOLS
    rate: float = 50.0
    burst: float = 10.0
    seed: int = 1
    play: tuple[Path, ...] = ()
    speed: float = 1.0
    ledger: Path | None = None
    api_key: str | None = None
    duration_s: float | None = None
    admin: bool = False
    scenario: Path | None = None
    max_connections: int = 1
    auth_timeout_s: float = 10.0
    max_queue_bytes: int = 32 * 1024 * 1024
    close_grace_s: float = 5.0
    tick_ms: int = 10
    history_minutes: float = 30.0
    history_trades: int = 2_000_000
    corrections: float = 0.0
    splits: Path | None = None
    luld_seconds: float = 30.0
    pauses: float = 0.0
