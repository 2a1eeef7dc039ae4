"""Settings of ingest."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator

from streaming.settings import CommaList, ServiceSettings

MINERS = ("BTDR", "CAN", "CIFR", "CLSK", "CORZ", "HIVE", "HUT", "MARA", "RIOT")
VENDOR_URL = "wss://socket.massive.com"
BUNDLED_URL = "ws://127.0.0.1:8765"
VENDOR_REST = "https://api.massive.com"
BUNDLED_REST = "http://127.0.0.1:8766"
BUNDLED_KEY = "demo"


class IngestSettings(ServiceSettings):
    """Where trades come from, and how the clock follows them."""

    metrics_port: int = Field(9101, ge=0, le=65535)
    source: Literal["feed", "files"] = "feed"
    reference_symbols: CommaList = ("BTC-USD",)
    revision_horizon_s: int = Field(900, gt=0, description="how long trade identities are remembered")

    files: CommaList = ()
    speed: float = Field(0, ge=0, description="of files: 0 or max is full speed, 1 real time, N times")

    polygon_api_key: SecretStr | None = None
    dry_run: bool = False
    symbols: CommaList = MINERS
    crypto_symbols: CommaList = ("BTC-USD",)
    luld: bool = Field(False, description="subscribe the stocks' price bands and halts as well")
    quotes: bool = Field(False, description="subscribe quotes as well")
    stocks_url: str | None = None
    crypto_url: str | None = None
    allowance_ms: int = Field(250, ge=0, description="how long the clock waits for trades")
    stocks_feed_delay_s: float = Field(0, ge=0)
    crypto_feed_delay_s: float = Field(0, ge=0)
    max_hold_ms: int = Field(2_000, ge=0, description="how far the stream's own lag may hold the clock back")
    silence_timeout_s: float = Field(15, gt=0, description="no frame for this long: the connection is made anew")
    gap_timeout_s: float = Field(30, gt=0, description="an open gap holds the clock back for no longer")
    queue_frames: int = Field(2_000, ge=1)
    queue_bytes: int = Field(64 * 1024 * 1024, ge=1)
    max_frame_bytes: int = Field(16 * 1024 * 1024, ge=1)
    spool_dir: Path = Path(".data/spool")
    spool_bytes: int = Field(1024 * 1024 * 1024, ge=0, description="of frames on disk, past what memory holds")
    rest_url: str | None = None
    rest_calls_per_minute: int = Field(300, ge=0, description="of all REST calls; 0 makes none, so gaps stay")
    corrections_every_s: float = Field(300, ge=0, description="how often trades are read again from REST; 0 is off")
    corrections_window_s: float = Field(900, gt=0, description="how far back they are read again")
    lease_timeout_s: float = Field(3, ge=1, description="a silent holder loses the lease; the same for all instances")

    @field_validator("speed", mode="before")
    @classmethod
    def _full_speed(cls, value: object) -> object:
        return 0 if value == "max" else value

    @property
    def bundled(self) -> bool:
        """Whether the bundled feed is read: no key, or a dry run."""
        return self.polygon_api_key is None or self.dry_run

    @property
    def api_key(self) -> str:
        """The key to authenticate with; never logged."""
        return BUNDLED_KEY if self.bundled or not self.polygon_api_key else self.polygon_api_key.get_secret_value()

    @property
    def spool(self) -> Path:
        """Where this namespace's frames are kept."""
        return self.spool_dir / (self.namespace.rstrip(".") or "live")

    def channels(self, market: str) -> tuple[str, ...]:
        """What is subscribed of a market's cluster."""
        crypto = market == "crypto"
        wanted = {"XT": crypto, "XQ": crypto and self.quotes, "T": not crypto, "Q": not crypto and self.quotes,
                  "LULD": not crypto and self.luld}  # fmt: skip
        kinds = [kind for kind, is_wanted in wanted.items() if is_wanted]
        return tuple(f"{k}.{symbol}" for k in kinds for symbol in (self.crypto_symbols if crypto else self.symbols))

    def url(self, market: str) -> str:
        """The WebSocket address of a market's cluster."""
        named = self.stocks_url if market == "stocks" else self.crypto_url
        return named or f"{BUNDLED_URL if self.bundled else VENDOR_URL}/{market}"

    @property
    def rest(self) -> str:
        """The base address of REST."""
        return self.rest_url or (BUNDLED_REST if self.bundled else VENDOR_REST)
