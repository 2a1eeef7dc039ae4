"""The reader's rule: in each partition of a derived topic accept only strictly increasing ``src``.

A writer that was paused, replaced and resumed may add records that its successor wrote already; a reader
that keeps this rule sees each record once and in order.
"""

from __future__ import annotations

from marketdata.records import Src


class SrcFilter:
    """Keeps the last accepted ``src`` of each (topic, partition)."""

    def __init__(self, last: dict[tuple[str, int], Src] | None = None) -> None:
        self._last: dict[tuple[str, int], Src] = dict(last or {})
        self.dropped = 0

    def accept(self, topic: str, partition: int, src: Src) -> bool:
        """Whether ``src`` is new; an older or equal one is to be dropped."""
        key = (topic, partition)
        last = self._last.get(key)
        if last is not None and src <= last:
            self.dropped += 1
            return False
        self._last[key] = src
        return True

    def last(self, topic: str, partition: int) -> Src | None:
        """The last accepted ``src``, to be stored with the reader's position."""
        return self._last.get((topic, partition))

    def restore(self, topic: str, partition: int, src: Src | None) -> None:
        """Take up where a stored position stands (None: from the beginning)."""
        if src is None:
            self._last.pop((topic, partition), None)
        else:
            self._last[(topic, partition)] = src
