"""What an agent accepts from a partition of trades.*: no older epoch, no repeated identity, no older clock."""

from __future__ import annotations

from marketdata.records import Band, Clock, QuoteCopy, Trade
from marketdata.units import forget_every

_Identity = tuple[str, int, int, str, int]


class Intake:
    """The state every reader of raw trades keeps for one partition.

    A trade's identity is symbol, exchange, TRF, id and trading day. A repeated trade repeats its time too, so the
    identities are kept by short spans of their time, which imply the day, until the horizon (µs) has passed.
    """

    def __init__(self, horizon_us: int) -> None:
        self.horizon_us = horizon_us
        self._span = forget_every(horizon_us)
        self.clock = 0
        self.epoch = 0
        self._seen: dict[int, set[_Identity]] = {}

    @property
    def oldest(self) -> int:
        """The event time in µs before which a trade is past the revision horizon."""
        return self.clock - self.horizon_us

    def resume(self, clock: int, epoch: int) -> None:
        """Begin where ``clock`` and ``epoch`` were reached."""
        self.clock, self.epoch = clock, epoch

    def accept_clock(self, clock: Clock) -> bool:
        """Move to ``clock``; False where an older epoch wrote it or it goes back."""
        if clock.epoch < self.epoch:
            return False
        self.epoch = clock.epoch
        if clock.ts <= self.clock:
            return False
        if clock.ts // self._span != self.clock // self._span:
            self._forget(clock.ts - self.horizon_us)
        self.clock = clock.ts
        return True

    def accept_word(self, word: Band | QuoteCopy) -> bool:
        """Whether no older epoch wrote ``word``; one that is repeated says the same again."""
        if word.epoch < self.epoch:
            return False
        self.epoch = word.epoch
        return True

    def accept_trade(self, trade: Trade) -> bool:
        """Whether ``trade`` is new: not of an older epoch, and not repeated within the horizon."""
        if trade.epoch < self.epoch:
            return False
        self.epoch = trade.epoch
        ts = trade.ts
        if ts < self.clock - self.horizon_us:
            return True
        span = ts // self._span
        seen = self._seen.get(span)
        if seen is None:
            seen = self._seen[span] = set()
        identity = (trade.symbol, trade.exchange, trade.trf, trade.id, trade.correction)
        if identity in seen:
            return False
        seen.add(identity)
        return True

    def _forget(self, oldest: int) -> None:
        for span in [s for s in self._seen if (s + 1) * self._span <= oldest]:
            del self._seen[span]
