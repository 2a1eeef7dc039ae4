"""The tables that hold rows: their columns in COPY's order, their keys, and how a higher revision takes over."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

from psycopg import sql

from services.sink.copytext import OPTIONS


@dataclass(frozen=True, eq=False)  # one object a table: found by identity for each row
class Table:
    """One table; ``history`` names the table that superseded rows move to."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    history: str | None = None

    @property
    def incoming(self) -> sql.Identifier:
        """The session's temporary table of rows on their way in."""
        return sql.Identifier(f"incoming_{self.name}")

    def copy_into(self, target: sql.Composable) -> sql.Composed:
        """COPY of this table's columns into ``target``."""
        return sql.SQL("COPY {} ({}) FROM STDIN {}").format(target, _list(self.columns), sql.SQL(OPTIONS))

    @cached_property
    def create_incoming(self) -> sql.Composed:
        """The temporary table, emptied at each commit."""
        return sql.SQL("CREATE TEMP TABLE IF NOT EXISTS {} (LIKE {}) ON COMMIT DELETE ROWS").format(
            self.incoming, sql.Identifier(self.name)
        )

    @cached_property
    def supersede(self) -> sql.Composed | None:
        """Keep stored rows that an incoming revision replaces; None where no history is kept."""
        return self._keep("stored", sql.SQL(">"))

    @cached_property
    def keep_older(self) -> sql.Composed | None:
        """Keep incoming rows that never were, or no longer are, the newest; None where no history is kept."""
        return self._keep("incoming", sql.SQL("<"))

    def _keep(self, which: str, compared: sql.SQL) -> sql.Composed | None:
        if self.history is None:
            return None
        return sql.SQL(
            "INSERT INTO {history} ({columns}) SELECT DISTINCT {values} FROM {table} AS stored "
            "JOIN {incoming} AS incoming USING ({key}) WHERE incoming.revision {compared} stored.revision "
            "ON CONFLICT DO NOTHING"
        ).format(
            history=sql.Identifier(self.history),
            columns=_list(self.columns),
            values=sql.SQL(", ").join(sql.Identifier(which, c) for c in self.columns),
            table=sql.Identifier(self.name),
            incoming=self.incoming,
            key=_list(self.key),
            compared=compared,
        )

    @cached_property
    def merge(self) -> sql.Composed:
        """Insert the newest revision of each incoming key; a stored row gives way to a higher revision only."""
        changed = [c for c in self.columns if c not in self.key]
        return sql.SQL(
            "INSERT INTO {table} AS stored ({columns}) "
            "SELECT DISTINCT ON ({key}) {columns} FROM {incoming} "
            "ORDER BY {key}, revision DESC, src_partition, src_offset, src_n "
            "ON CONFLICT ({key}) DO UPDATE SET ({changed}) = ROW({excluded}) "
            "WHERE stored.revision < excluded.revision"
        ).format(
            table=sql.Identifier(self.name),
            columns=_list(self.columns),
            key=_list(self.key),
            incoming=self.incoming,
            changed=_list(changed),
            excluded=sql.SQL(", ").join(sql.Identifier("excluded", c) for c in changed),
        )


def _list(names: tuple[str, ...] | list[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))


_SRC: Final = ("src_partition", "src_offset", "src_n")

TICKS: Final = Table(
    "ratio_ticks_live",
    (
        "time", "symbol", "btc_price", "stock_price", "ratio", "btc_volume", "stock_volume", "exchange", "trf",
        "trade_id", "sequence", "stock_size", "eligible", "updates_open_close", "updates_volume", "inverse_ratio",
        "reason", "reference", "btc_time", "btc_age_us", "received_at", "published_at", "revision", *_SRC,
    ),
    ("symbol", "time", "exchange", "trf", "trade_id"),
)  # fmt: skip

AGGREGATES: Final = Table(
    "ratio_aggregates_500ms",
    (
        "time", "symbol", "open_ratio", "high_ratio", "low_ratio", "close_ratio", "avg_ratio", "tick_count",
        "twap_ratio", "revision", "published_at", *_SRC,
    ),
    ("symbol", "time"),
)  # fmt: skip

CANDLES: Final = Table(
    "candles",
    (
        "symbol", "interval", "hours", "start", "end", "market", "open", "high", "low", "close", "avg", "vwap",
        "volume", "tick_count", "trade_count", "ratio_open", "ratio_high", "ratio_low", "ratio_close", "ratio_avg",
        "ratio_twap", "ratio_tick_count", "revision", "timestamp_out", "latency_ms", *_SRC,
    ),
    ("symbol", "interval", "hours", "start"),
    history="candle_revisions",
)  # fmt: skip

TABLES: Final = (TICKS, AGGREGATES, CANDLES)
BY_DAY: Final = (TICKS, AGGREGATES)
RETENTION_DAYS: Final = {TICKS.name: 7, AGGREGATES.name: 90}
