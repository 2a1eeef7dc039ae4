"""Candles under way, for screens: the one output that follows the wall clock and promises nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from marketdata.candles import CandleEngine
from marketdata.forming import Forming
from marketdata.pacer import Pacer
from marketdata.records import LiveCandles, encode
from services.aggregator import metrics
from streaming.emitter import Emitter

PACE_US: Final = 50_000
PAUSE_US: Final = 1_000_000
BEHIND_US: Final = 5_000_000
"""With nothing heard for so long, input that is read is not news: a screen wants what is now."""
MOST_AT_ONCE: Final = 50
"""So many records at once, about 3 ms of work, that nothing exact waits for longer."""
SHARE: Final = 5
"""Sending takes one part in so many of a worker's time at most: with very many symbols the pace is slower."""
SAVED_US: Final = 50_000
"""So much time without sending is kept for when many symbols trade at once: what is due seldom waits for its turn."""
CALM_US: Final = 25_000
"""Of input that came longer ago sending takes less, in proportion: what is exact catches up first."""


class Budget:
    """What all partitions of a worker share: each µs of sending is paid with ``SHARE`` µs of time, some of it saved.

    Behind its input a worker pays more, with a pause of a second at most. ``timer`` counts ns of the thread's work.
    """

    def __init__(self, timer: Callable[[], int] = time.thread_time_ns) -> None:
        self._free_at = 0
        self.timer = timer

    def spent(self, now: int, us: int, late: int) -> None:
        """Sending took ``us``, beginning at ``now`` µs, ``late`` µs after the newest input was received."""
        owed = max(self._free_at, now - SAVED_US) + SHARE * us * max(late // CALM_US, 1)
        self._free_at = min(owed, now + PAUSE_US)

    def is_free(self, now: int) -> bool:
        """Whether there may be sending at ``now`` µs; the clock may have been set back."""
        if self._free_at - now > PAUSE_US:
            self._free_at = now
        return now >= self._free_at


class LiveSender:
    """Sends one partition's candles under way to ``topic``, by its own pace."""

    def __init__(  # noqa: PLR0917 - one place makes it
        self, market: str, topic: str, emitter: Emitter, engine: CandleEngine, forming: Forming, budget: Budget
    ) -> None:
        self._topic = topic
        self._emitter = emitter
        self._engine = engine
        self._forming = forming
        self._budget = budget
        self._pacer = Pacer(PACE_US)
        self._heard = 0
        self._sent = metrics.LIVE.labels(market)
        self._delay = metrics.LIVE_DELAY.labels(market)

    def changed(self, symbol: str, ts: int, received_ts: int) -> None:
        """A trade of ``ts`` µs came, went or changed; 0 where its time is not known."""
        self._forming.changed(symbol, ts)
        self._pacer.touch(symbol)
        if received_ts > self._heard:
            self._heard = received_ts

    def send(self, now: int) -> None:
        """Send what is due at ``now`` µs, unless what was read last is old: after a while away there is much to read.

        A symbol whose candles are all over is not sent. What the producer has no room for waits for the next time.
        """
        if not self._pacer.has_news:
            return
        heard = max(self._heard, self._engine.clock)
        if now - heard > BEHIND_US or not self._budget.is_free(now):
            return
        began, sent = self._budget.timer(), 0
        for symbol in self._pacer.take(now, MOST_AT_ONCE):
            formed = self._forming.candles(symbol)
            if formed is None or not formed[1]:
                continue
            record = LiveCandles(symbol=symbol, ts=formed[0], timestamp_out=now, candles=formed[1])
            if not self._emitter.offer(self._topic, symbol.encode(), encode(record)):
                self._pacer.touch(symbol)
                continue
            sent += 1
        if sent:
            self._budget.spent(now, (self._budget.timer() - began) // 1_000, now - heard)
            self._sent.inc(sent)
            self._delay.observe(max(now - self._heard, 0) / 1e6)

    def begin(self) -> None:
        """Trades were read again: none of them is news."""
        self._pacer.forget()
