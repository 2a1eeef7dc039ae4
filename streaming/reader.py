"""The reader's rule: in each partition of a derived topic accept only strictly increasing ``src``.

A writer that was paused, replaced and resumed may add records that its successor wrote already; a reader
that keeps this rule sees each record once and in order.
"""

from __future__ import annotations

from marketdata.records import Src


class SrcRule:
    """The rule for one partition; ``last`` is the last accepted ``src``, to be stored with the reader's position.

    ``dropped`` counts what it did not accept.
    """

    __slots__ = ("dropped", "last")

    def __init__(self, last: Src | None = None) -> None:
        self.last = last
        self.dropped = 0

    def accept(self, src: Src) -> bool:
        """Whether ``src`` is new; an older or equal one is to be dropped."""
        last = self.last
        if last is not None and src <= last:
            self.dropped += 1
            return False
        self.last = src
        return True


class SrcFilter:
    """The rule for each (topic, partition)."""

    def __init__(self, last: dict[tuple[str, int], Src] | None = None) -> None:
        self._rules = {place: SrcRule(src) for place, src in (last or {}).items()}

    def rule(self, topic: str, partition: int) -> SrcRule:
        """That of one partition, to be asked for each of its records."""
        rule = self._rules.get((topic, partition))
        if rule is None:
            rule = self._rules[topic, partition] = SrcRule()
        return rule

    def accept(self, topic: str, partition: int, src: Src) -> bool:
        """As SrcRule has it."""
        return self.rule(topic, partition).accept(src)

    @property
    def dropped(self) -> int:
        """How many records were not accepted."""
        return sum(rule.dropped for rule in self._rules.values())

    def last(self, topic: str, partition: int) -> Src | None:
        """As SrcRule has it."""
        rule = self._rules.get((topic, partition))
        return None if rule is None else rule.last

    def restore(self, topic: str, partition: int, src: Src | None) -> None:
        """Take up where a stored position stands (None: from the beginning)."""
        self._rules[topic, partition] = SrcRule(src)
