"""The as-of join: for each stock trade the last BTC trade at or before it, of those before it in the log."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from operator import itemgetter
from typing import Final

import msgspec

from marketdata.calendar import TradingHours
from marketdata.conditions import NOTHING, updates_of
from marketdata.intake import Intake
from marketdata.order import OrderKey, order_key
from marketdata.records import Clock, Ratio, RatioReason, Reference, Src, Trade
from marketdata.units import SECOND_US, forget_every

CORRECTION_RECORDS: Final = frozenset({10, 11, 12})
"""Corrections that are records of their own about another trade, not trades: cancel, error, correction."""

NO_REFERENCE: Final[RatioReason] = "no_reference"
STALE_REFERENCE: Final[RatioReason] = "stale_reference"
PAST_HORIZON: Final[RatioReason] = "past_horizon"
CORRECTION_RECORD: Final[RatioReason] = "correction_record"

_decode: Final = msgspec.json.Decoder(Trade).decode
ALWAYS: Final = -1
"""The offset of what counts for every trade, wherever it stands: back-filled trades, and those before a restart."""


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
        self._offsets: list[int] = []

    def add(self, trade: Reference, offset: int) -> None:
        """Put ``trade`` in its place, nearly always at the end; ``offset``: where it stands in the log."""
        if trade.backfilled:
            offset = ALWAYS
        key = order_key(trade.ts, trade.sequence, trade.exchange, trade.id, trade.trf)
        if not self._keys or key > self._keys[-1]:
            self._keys.append(key)
            self._trades.append(trade)
            self._offsets.append(offset)
            return
        at = bisect_left(self._keys, key)
        self._keys.insert(at, key)
        self._trades.insert(at, trade)
        self._offsets.insert(at, offset)

    def as_of(self, ts: int) -> Reference | None:
        """The last trade with an event time at or before ``ts`` µs."""
        keys = self._keys
        if keys and keys[-1][0] <= ts:
            return self._trades[-1]
        at = bisect_left(keys, (ts + 1,))
        return self._trades[at - 1] if at else None

    def as_of_place(self, ts: int, offset: int) -> Reference | None:
        """The same among those that stood before ``offset`` in the log, or were back-filled at any time."""
        at = bisect_left(self._keys, (ts + 1,)) - 1
        while at >= 0 and self._offsets[at] > offset:
            at -= 1
        return self._trades[at] if at >= 0 else None

    def next_seen(self, ts: int, until: int) -> Iterator[tuple[int, int]]:
        """(event time, offset) of each trade after ``ts`` and up to ``until`` µs."""
        first, last = bisect_left(self._keys, (ts + 1,)), bisect_left(self._keys, (until + 1,))
        return ((self._keys[at][0], self._offsets[at]) for at in range(first, last))

    @property
    def newest(self) -> Reference | None:
        """The last one in the order of trades."""
        return self._trades[-1] if self._trades else None

    def forget_before(self, ts: int) -> None:
        """Drop what is older than ``ts`` µs, but for the newest of it: it still tells "stale" from "never seen"."""
        at = bisect_left(self._keys, (ts,)) - 1
        if at > 0:
            del self._keys[:at]
            del self._trades[:at]
            del self._offsets[:at]


class JoinMark(msgspec.Struct, frozen=True):
    """What a join knows where re-reading begins: the clock in µs, the epoch, the last BTC trade so far."""

    clock: int = 0
    epoch: int = 0
    reference: Reference | None = None


class RatioJoin:
    """The state of one partition of trades.stocks, and the ratio record of each of its stock trades."""

    def __init__(self, reference: str, hours: TradingHours, settings: JoinSettings) -> None:
        self.intake = Intake(settings.horizon_us)
        self._reference = reference
        self._hours = hours
        self._max_age = settings.max_age_us
        self._history = ReferenceHistory()
        # By the second: offsets and records of stock trades.
        self._recent: defaultdict[int, list[tuple[int, bytes]]] = defaultdict(list)
        self._revisions: dict[tuple[OrderKey, str], int] = {}
        self._filled: list[tuple[Reference, int]] = []  # since the last clock, with their places in the log
        self._pruned = 0
        self._forget_every = forget_every(self.intake.horizon_us)

    @property
    def oldest(self) -> int:
        """The event time in µs before which no trade can change an answer any more."""
        return self.intake.oldest - self._max_age

    def mark(self) -> JoinMark:
        """What must be known to begin here, if all that is needed comes later."""
        return JoinMark(self.intake.clock, self.intake.epoch, self._history.newest)

    def resume(self, mark: JoinMark) -> None:
        """Begin where ``mark`` was taken."""
        self.intake.resume(mark.clock, mark.epoch)
        if mark.reference is not None:
            self._history.add(mark.reference, ALWAYS)

    def last_before(self, ts: int) -> Reference | None:
        """The last BTC trade of those so far that happened before ``ts`` µs."""
        return self._history.as_of(ts - 1)

    def clock(self, clock: Clock, src: Src, now: int) -> list[Ratio] | None:
        """Move to ``clock``; None where an older epoch wrote it or it goes back.

        Gives the ratios that BTC trades filled in since the last clock have changed, published at ``now`` µs: they
        belong before this clock, so that the candles it closes know them. Their src is ``src`` with n from 0 on.
        """
        oldest = self.intake.oldest
        if not self.intake.accept_clock(clock):
            return None
        revised = self._revised(oldest, src, now) if self._filled else []
        if self.oldest - self._pruned >= self._forget_every:
            self._prune()
        return revised

    def reference(self, trade: Reference, offset: int) -> bool:
        """Take a BTC copy into the history; False where it was repeated or of an older epoch."""
        if not self.intake.accept_trade(trade):
            return False
        if trade.symbol == self._reference and trade.correction not in CORRECTION_RECORDS:
            self._history.add(trade, offset)
            if trade.backfilled:
                self._filled.append((trade, offset))
        return True

    def stock(self, trade: Trade, raw: bytes, src: Src, now: int) -> Ratio | None:
        """The ratio record of ``trade``, published at ``now`` µs; None where it was repeated or of an older epoch.

        ``raw`` is its record: kept for the horizon, since a back-filled BTC trade may change the answer.
        """
        if not self.intake.accept_trade(trade):
            return None
        match, reason = self._match(trade)
        if reason is not CORRECTION_RECORD and reason is not PAST_HORIZON:
            self._recent[trade.ts // SECOND_US].append((src[1], raw))
        return self._ratio(trade, match, reason, src, now)

    def _revised(self, oldest: int, src: Src, now: int) -> list[Ratio]:
        """The ratios that BTC trades filled in since the last clock change: in the order of trades, n from 0 on.

        All of them at once: a gap's trades come one after the other, and each alone would change all that follows it.
        """
        since = {id(reference): offset for reference, offset in self._filled}
        changed = []
        for trade, offset in self._perhaps_changed():
            match = self._history.as_of_place(trade.ts, offset)
            if match is None or offset > since.get(id(match), ALWAYS) or trade.ts < oldest:
                continue
            if trade.ts - match.ts <= self._max_age:
                key = order_key(trade.ts, trade.sequence, trade.exchange, trade.id, trade.trf)
                changed.append((key, trade.symbol, trade, match))
        self._filled.clear()
        ratios = []
        for n, (key, symbol, trade, match) in enumerate(sorted(changed, key=itemgetter(0, 1))):
            revision = self._revisions[key, symbol] = self._revisions.get((key, symbol), 0) + 1
            ratios.append(self._ratio(trade, match, None, (src[0], src[1], n), now, revision))
        return ratios

    def _perhaps_changed(self) -> Iterator[tuple[Trade, int]]:
        """Trades that may match one that was filled in, and their places in the log."""
        reach: dict[int, int] = {}
        for reference, _ in self._filled:
            for second, known in self._reach(reference):
                reach[second] = max(reach.get(second, ALWAYS), known)
        for second, known in reach.items():
            for offset, raw in self._recent.get(second, ()):
                if offset > known:
                    break  # and so all that follow: they stand in the order of the log
                yield _decode(raw), offset

    def _reach(self, reference: Reference) -> Iterator[tuple[int, int]]:
        """The seconds whose trades may match ``reference``, and the place of the first later BTC trade before each.

        A trade that stands after that one knew it.
        """
        until = reference.ts + self._max_age
        later = self._history.next_seen(reference.ts, until)
        following = next(later, None)
        known = 1 << 62
        for second in range(reference.ts // SECOND_US, until // SECOND_US + 1):
            while following is not None and following[0] // SECOND_US < second:
                known = min(known, following[1])
                following = next(later, None)
            if known < 0:
                return
            yield second, known

    def _ratio(  # noqa: PLR0917 - by position it costs a fourth
        self, trade: Trade, match: Reference | None, reason: RatioReason | None, src: Src, now: int, revision: int = 0
    ) -> Ratio:
        ts, price, size, correction = trade.ts, trade.price, trade.size, trade.correction
        high_low, open_close, volume = updates_of(trade.conditions, self._hours.is_regular(ts))
        if correction in CORRECTION_RECORDS:
            high_low, open_close, volume = NOTHING
        symbol = btc = btc_ts = age = btc_size = ratio = inverse = None
        if match is not None:
            symbol, btc, btc_ts, btc_size = match.symbol, match.price, match.ts, match.size
            age, ratio, inverse = ts - btc_ts, price / btc, btc / price
        # By position, in the order of the record's fields, and no unpacking: both cost as much again.
        return Ratio(
            trade.symbol, ts, trade.received_ts, trade.exchange, trade.id, trade.epoch,
            price, size, int(size), high_low, open_close, volume, src, now,
            symbol, btc, btc_ts, age, btc_size, ratio, inverse, reason,
            trade.sequence, trade.trf, correction, revision, trade.bid, trade.ask,
        )  # fmt: skip

    def _match(self, trade: Trade) -> tuple[Reference | None, RatioReason | None]:
        ts, intake = trade.ts, self.intake
        if trade.correction in CORRECTION_RECORDS:
            return None, CORRECTION_RECORD
        if ts < intake.clock - intake.horizon_us:
            return None, PAST_HORIZON
        match = self._history.as_of(ts)
        if match is None:
            return None, NO_REFERENCE
        if ts - match.ts > self._max_age:
            return None, STALE_REFERENCE
        return match, None

    def _prune(self) -> None:
        """Now and then in log time: what no trade within the horizon can ask for any more."""
        self._pruned = self.oldest
        self._history.forget_before(self.oldest)
        oldest = self.intake.oldest
        for second in [s for s in self._recent if (s + 1) * SECOND_US <= oldest]:
            del self._recent[second]
        for key in [k for k in self._revisions if k[0][0] < oldest]:
            del self._revisions[key]
