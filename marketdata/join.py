"""The as-of join: for each stock trade the last BTC trade at or before it, of those before it in the log."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import Final

from marketdata.calendar import TradingHours
from marketdata.conditions import NOTHING, updates_of
from marketdata.intake import Intake
from marketdata.order import OrderKey, order_key
from marketdata.records import Ratio, RatioReason, Reference, Src, Trade
from marketdata.units import SECOND_US

CORRECTION_RECORDS: Final = frozenset({10, 11, 12})
"""Corrections that are records of their own about another trade, not trades: cancel, error, correction."""

NO_REFERENCE: Final[RatioReason] = "no_reference"
STALE_REFERENCE: Final[RatioReason] = "stale_reference"
PAST_HORIZON: Final[RatioReason] = "past_horizon"
CORRECTION_RECORD: Final[RatioReason] = "correction_record"

_Answer = tuple[str | None, float | None, int | None, int | None, float | None, float | None, float | None]
_NO_ANSWER: Final[_Answer] = (None, None, None, None, None, None, None)


@dataclass(frozen=True, slots=True)
class JoinSettings:
    """How far back the join looks. Times in µs."""

    max_age_us: int = 120 * SECOND_US
    horizon_us: int = 900 * SECOND_US


class ReferenceHistory:
    """One reference symbol's recent trades in the order of trades (event time first), not of arrival."""

    def __init__(self) -> None:
        self._keys: list[OrderKey] = []
        self._trades: list[Reference] = []

    def add(self, trade: Reference) -> None:
        """Put ``trade`` in its place; nearly always at the end."""
        key = order_key(trade.ts, trade.sequence, trade.exchange, trade.id, trade.trf)
        if not self._keys or key > self._keys[-1]:
            self._keys.append(key)
            self._trades.append(trade)
            return
        at = bisect_left(self._keys, key)
        self._keys.insert(at, key)
        self._trades.insert(at, trade)

    def as_of(self, ts: int) -> Reference | None:
        """The last trade with an event time at or before ``ts`` µs."""
        keys = self._keys
        if keys and keys[-1][0] <= ts:
            return self._trades[-1]
        at = bisect_left(keys, (ts + 1,))
        return self._trades[at - 1] if at else None

    def forget_before(self, ts: int) -> None:
        """Drop what is older than ``ts`` µs, but for the newest of it: it still tells "stale" from "never seen"."""
        at = bisect_left(self._keys, (ts,)) - 1
        if at > 0:
            del self._keys[:at]
            del self._trades[:at]


class RatioJoin:
    """The state of one partition of trades.stocks, and the ratio record of each of its stock trades."""

    def __init__(self, reference: str, hours: TradingHours, settings: JoinSettings) -> None:
        self.intake = Intake(settings.horizon_us)
        self._reference = reference
        self._hours = hours
        self._max_age = settings.max_age_us
        self._history = ReferenceHistory()
        self._pruned = 0

    def reference(self, trade: Reference) -> bool:
        """Take a BTC copy into the history; False where it was repeated or of an older epoch."""
        if not self.intake.accept_trade(trade):
            return False
        if trade.symbol == self._reference and trade.correction not in CORRECTION_RECORDS:
            self._history.add(trade)
            self._prune()
        return True

    def stock(self, trade: Trade, src: Src, now: int) -> Ratio | None:
        """The ratio record of ``trade``, published at ``now`` µs; None where it was repeated or of an older epoch."""
        if not self.intake.accept_trade(trade):
            return None
        match, reason = self._match(trade)
        updates = updates_of(trade.conditions, regular_hours=self._hours.is_regular(trade.ts))
        if trade.correction in CORRECTION_RECORDS:
            updates = NOTHING
        # By position, in the order of the record's fields.
        return Ratio(
            trade.symbol, trade.ts, trade.received_ts, trade.exchange, trade.id, trade.epoch,
            trade.price, trade.size, int(trade.size), *updates, src, now,
            *_answer(trade, match), reason, trade.sequence, trade.trf, trade.correction,  # type: ignore[arg-type]
        )  # fmt: skip

    def _match(self, trade: Trade) -> tuple[Reference | None, RatioReason | None]:
        if trade.correction in CORRECTION_RECORDS:
            return None, CORRECTION_RECORD
        if trade.ts < self.intake.oldest:
            return None, PAST_HORIZON
        match = self._history.as_of(trade.ts)
        if match is None:
            return None, NO_REFERENCE
        if trade.ts - match.ts > self._max_age:
            return None, STALE_REFERENCE
        return match, None

    def _prune(self) -> None:
        """Once a minute of log time: what no trade within the horizon can ask for any more."""
        oldest = self.intake.oldest - self._max_age
        if oldest - self._pruned >= 60 * SECOND_US:
            self._history.forget_before(oldest)
            self._pruned = oldest


def _answer(trade: Trade, match: Reference | None) -> _Answer:
    """The fields of a ratio record from ``reference`` to ``inverse_ratio``."""
    if match is None:
        return _NO_ANSWER
    price, btc = trade.price, match.price
    return match.symbol, btc, match.ts, trade.ts - match.ts, match.size, price / btc, btc / price
