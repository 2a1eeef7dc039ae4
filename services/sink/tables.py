"""The tables that hold rows: their columns in COPY's order, their keys, and how a higher revision takes over."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

from psycopg import sql

from marketdata.features import PriceFeatures, RatioFeatures
from services.sink.copytext import OPTIONS


@dataclass(frozen=True, eq=False)  # one object a table: found by identity for each row
class Table:
    """One table; ``history`` names the table that superseded rows move to.

    A key that comes again: where there is a ``revision`` the higher one stays, else where ``last_counts`` the one of
    the greatest src, else the first.
    """

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    history: str | None = None
    last_counts: bool = False

    @property
    def incoming(self) -> sql.Identifier:
        """The session's temporary table of rows on their way in."""
        return sql.Identifier(f"incoming_{self.name}")

    def copy_into(self, target: sql.Composable) -> sql.Composed:
        """COPY of this table's columns into ``target``."""
        return sql.SQL("COPY {} ({}) FROM STDIN {}").format(target, _list(self.columns), sql.SQL(OPTIONS))

    @cached_property
    def empty_incoming(self) -> sql.Composed:
        """Make the temporary table, which each commit empties, or empty it."""
        return sql.SQL("CREATE TEMP TABLE IF NOT EXISTS {0} (LIKE {1}) ON COMMIT DELETE ROWS; TRUNCATE {0}").format(
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
    def forget_known(self) -> sql.Composed | None:
        """Take incoming rows away that are stored already; None where each counts.

        Left to the conflict they would cost far more: it locks the stored row, which writes it.
        """
        if self.last_counts:
            return None
        same = (*self.key, *(["revision"] if "revision" in self.columns else []))
        equal = sql.SQL("stored.{0} = incoming.{0}")
        return sql.SQL("DELETE FROM {} AS incoming USING {} AS stored WHERE {}").format(
            self.incoming,
            sql.Identifier(self.name),
            sql.SQL(" AND ").join(equal.format(sql.Identifier(column)) for column in same),
        )

    @cached_property
    def merge(self) -> sql.Composed:
        """Insert one row of each incoming key; which one, and whether a stored row gives way to it: see the class."""
        return sql.SQL(
            "INSERT INTO {table} AS stored ({columns}) SELECT DISTINCT ON ({key}) {columns} FROM {incoming} "
            "ORDER BY {key}, {order} ON CONFLICT ({key}) DO {change}"
        ).format(
            table=sql.Identifier(self.name),
            columns=_list(self.columns),
            key=_list(self.key),
            incoming=self.incoming,
            order=sql.SQL(", ").join(self._order()),
            change=self._change(),
        )

    def _order(self) -> list[sql.Composable]:
        order = [sql.Identifier(c) for c in self.columns if c in _SRC]
        if self.last_counts:
            return [sql.SQL("{} DESC").format(c) for c in order]
        return [*([sql.SQL("revision DESC")] if "revision" in self.columns else []), *order]

    def _change(self) -> sql.Composable:
        if not self.last_counts and "revision" not in self.columns:
            return sql.SQL("NOTHING")
        changed = [c for c in self.columns if c not in self.key]
        update = sql.SQL("UPDATE SET ({}) = ROW({})").format(
            _list(changed), sql.SQL(", ").join(sql.Identifier("excluded", c) for c in changed)
        )
        return update if self.last_counts else update + sql.SQL(" WHERE stored.revision < excluded.revision")


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
        "ratio_twap", "ratio_tick_count", "session", "limit_up", "limit_down", "luld_state", "luld_since", "revision",
        "timestamp_out", "latency_ms", *_SRC,
    ),
    ("symbol", "interval", "hours", "start"),
    history="candle_revisions",
)  # fmt: skip

FEATURES: Final = Table(
    "features",
    (
        "symbol", "interval", "hours", "start", "market", "revision", "timestamp_out",
        *PriceFeatures.__struct_fields__,
        *(f"ratio_{name}" for name in RatioFeatures.__struct_fields__),
    ),
    ("symbol", "interval", "hours", "start"),
    history="feature_revisions",
)  # fmt: skip

QUOTES: Final = Table(
    "quotes",
    (
        "time", "symbol", "market", "bid", "bid_size", "ask", "ask_size", "bid_exchange", "ask_exchange",
        "conditions", "indicators", "sequence", "tape", "received_at", "src_partition", "src_offset",
    ),
    ("symbol", "time", "src_offset"),
)  # fmt: skip

LATE: Final = Table(
    "late_trades",
    (
        "time", "symbol", "market", "price", "size", "exchange", "trf", "trade_id", "sequence", "correction",
        "reason", "received_at", *_SRC,
    ),
    ("symbol", "time", "exchange", "trf", "trade_id", "correction"),
)  # fmt: skip

GAPS: Final = Table(
    "feed_gaps",
    ("cluster", "start", "end", "status", "trades", "epoch", "src_offset"),
    ("cluster", "start"),
    last_counts=True,
)

DEAD_LETTERS: Final = Table(
    "dead_letters",
    ("service", "topic", "partition", "offset", "digest", "reason", "raw", "noticed_at", "src_offset"),
    ("service", "topic", "partition", "offset", "digest"),
)

TABLES: Final = (TICKS, AGGREGATES, CANDLES, FEATURES, QUOTES, LATE, GAPS, DEAD_LETTERS)
"""In the order in which a transaction writes them: aggregates before the candles that may take them back."""
BY_DAY: Final = (TICKS, AGGREGATES, QUOTES)
RETENTION_DAYS: Final = {TICKS.name: 7, AGGREGATES.name: 90, QUOTES.name: 7}
ROW_RETENTION: Final = {LATE.name: ("time", 90), DEAD_LETTERS.name: ("noticed_at", 30)}
"""Small tables, of which old rows are deleted: table -> (column, days)."""

EMPTY_AGGREGATES: Final = sql.SQL(
    "DELETE FROM {aggregates} AS a USING {incoming} AS i JOIN {candles} AS c USING (symbol, interval, hours, start) "
    "WHERE i.interval = '500ms' AND i.hours = 'all' AND c.market = 'stocks' AND c.ratio_tick_count IS NULL "
    "AND a.symbol = c.symbol AND a.time = c.start AND a.revision < c.revision"
).format(aggregates=sql.Identifier(AGGREGATES.name), incoming=CANDLES.incoming, candles=sql.Identifier(CANDLES.name))
"""After candles were merged: an aggregate goes whose candle's newest revision has no ratio (all were cancelled).

It looks at the candles that stand, for revisions of one candle come on two topics, in any order: live and rebuilt."""
