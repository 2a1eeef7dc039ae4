"""Which ingest may write: a lease on a Kafka topic, judged by the log alone. No I/O here.

Every instance reads the topic from its beginning and comes to the same answer, because a claim counts only by what
stands above it and by the broker's times of writing, never by anyone's own clock. An own clock decides only when to
try, and until when the holder may believe itself so: a second less than a claim would need to count.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from marketdata.records import Lease

BEATS: Final = 6
"""Words of a holder in one time-out."""
FENCE: Final = 2 / 3
"""Share of the time-out after which a holder that did not read its own word back writes nothing more."""
UNREAD: Final = 100
"""Own words remembered until they are read back."""


class LeaseLog:
    """The topic read in order: who holds, since which word. Broker times are in ms.

    Where the beginning of the topic is gone (not ``whole``), a claim at the new beginning cannot be judged; it counts
    as somebody's word, and whoever goes on writing is the holder.
    """

    def __init__(self, timeout_ms: int, *, whole: bool) -> None:
        self._timeout = timeout_ms
        self._unknown = not whole
        self.holder: str | None = None
        self.epoch = 0
        self.highest = 0
        self.at = 0

    def is_free(self, at: int) -> bool:
        """Whether a claim that the broker writes at ``at`` would count."""
        if self.holder is None and not self._unknown:
            return True
        return at - self.at >= self._timeout

    def take(self, word: Lease, at: int, *, claim: bool) -> None:
        """The next record of the topic, which the broker wrote at ``at``."""
        self.highest = max(self.highest, word.epoch)
        if word.epoch == self.epoch and word.holder == self.holder:
            self.at = at
            if word.released:
                self.holder = None
        elif word.epoch > self.epoch and not word.released and self._takes(at, claim):
            self.holder, self.epoch, self.at = word.holder, word.epoch, at
            self._unknown = False
        elif at < self.at or (self._unknown and not self.at):
            self.at = at  # the broker's clock was set back, or the topic begins here: the time-out counts from here

    def _takes(self, at: int, claim: bool) -> bool:
        """Only a holder writes anything but claims, so that its claim stood where the topic no longer is."""
        if not claim:
            return True
        return self.is_free(at) and not (self._unknown and not self.at)


class Member:
    """One instance: when it claims, when it says that it lives, until when it may write.

    ``now`` is in seconds of a clock that nobody sets, which counts on while the machine sleeps.
    """

    def __init__(self, name: str, timeout_s: float, log: LeaseLog) -> None:
        self.name = name
        self.log = log
        self._timeout = timeout_s
        self._sent: deque[tuple[int, float]] = deque(maxlen=UNREAD)
        self._next = 0.0
        self._heard = 0.0
        self._sure_until = 0.0
        self._epoch = 0
        self._fresh = True
        self._given_back = False

    @property
    def epoch(self) -> int:
        """The epoch under which it holds or held, 0 before."""
        return self._epoch

    @property
    def leads(self) -> bool:
        """Whether it is the holder, as far as the topic was read."""
        return self.log.holder == self.name and not self._given_back

    @property
    def lost(self) -> bool:
        """Whether it was the holder and another is, or nobody."""
        return self._epoch > 0 and not self.leads and not self._given_back

    def holds(self, now: float) -> bool:
        """Whether it may write at ``now``."""
        return self.leads and now < self._sure_until

    def heard(self, word: Lease, at: int, now: float, *, claim: bool) -> None:
        """A record of the topic was read at ``now``; records come in order."""
        before = self.log.holder, self.log.at
        self.log.take(word, at, claim=claim)
        if (self.log.holder, self.log.at) != before:
            self._heard = now
        if self.leads and word.holder == self.name:
            self._epoch = self.log.epoch
            while self._sent and self._sent[0][0] < word.ts:
                self._sent.popleft()
            if self._sent and self._sent[0][0] == word.ts:
                self._sure_until = self._sent.popleft()[1] + self._timeout * FENCE

    def deaf(self, now: float) -> None:
        """The broker does not answer: silence counts only from now on, because the holder may be as deaf."""
        self._heard = now

    def say(self, now: float, wall_us: int, epoch: int) -> tuple[Lease, bool] | None:
        """What to write at ``now``, and whether it is a claim; None where nothing is due.

        ``epoch`` is the greatest one in the trades' topics: a claim goes above it. ``wall_us`` is only a guess at the
        broker's clock: a lease that looks stale by it at the start is tried for once; the broker's time of writing
        decides.
        """
        if now < self._next or self._given_back or self.lost:
            return None
        if not self.leads and not self._should_claim(now, wall_us // 1_000):
            return None
        self._next = now + self._timeout / BEATS
        claim = not self.leads
        word = Lease(
            holder=self.name,
            epoch=max(self.log.highest, epoch) + 1 if claim else self.log.epoch,
            ts=max(wall_us, self._sent[-1][0] + 1 if self._sent else 0),
        )
        self._sent.append((word.ts, now))
        return word, claim

    def release(self, wall_us: int) -> Lease | None:
        """The last word, after everything written was delivered; None where there is nothing to give back."""
        if not self.leads:
            return None
        self._given_back = True
        return Lease(holder=self.name, epoch=self.log.epoch, ts=wall_us, released=True)

    def _should_claim(self, now: float, wall_ms: int) -> bool:
        log = self.log
        if log.holder is None and log.is_free(log.at):
            return True
        first, self._fresh = self._fresh, False
        if first:
            self._heard = now
            return log.is_free(wall_ms)
        return now - self._heard >= self._timeout
