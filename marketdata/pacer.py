"""When each symbol's news is sent: at once after a quiet spell, then at most once in a step; never forgotten."""

from __future__ import annotations

from itertools import islice


class Pacer:
    """Which symbols have news to send. Times are µs of the wall clock; it may be set back."""

    def __init__(self, step_us: int) -> None:
        self._step = step_us
        self._ready: dict[str, None] = {}  # as a set that keeps the order of their coming
        self._resting: dict[str, int] = {}  # sent less than a step ago, in that order: until when
        self._again: set[str] = set()  # of those the ones with news since

    def touch(self, symbol: str) -> None:
        """``symbol`` has news."""
        if symbol in self._resting:
            self._again.add(symbol)
        else:
            self._ready[symbol] = None

    def take(self, now: int, most: int) -> list[str]:
        """The symbols to send now, up to ``most``, those that wait longest first; the others stay."""
        self._wake(now)
        due = list(islice(self._ready, most))
        for symbol in due:
            del self._ready[symbol]
            self._resting[symbol] = now + self._step
        return due

    @property
    def has_news(self) -> bool:
        """Whether any symbol's news is not sent yet."""
        return bool(self._ready or self._again)

    def forget(self) -> None:
        """There is no news of any symbol."""
        self._ready.clear()
        self._again.clear()

    def _wake(self, now: int) -> None:
        rested = []
        for symbol, until in self._resting.items():
            if now < until <= now + self._step:
                break
            rested.append(symbol)
        for symbol in rested:
            del self._resting[symbol]
            if symbol in self._again:
                self._again.remove(symbol)
                self._ready[symbol] = None
