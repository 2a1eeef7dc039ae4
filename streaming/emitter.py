"""Outputs of one partition: what stands in the topic already is suppressed, the rest is sent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from marketdata.records import Src
from streaming.outbox import Outbox, Outlet, Ticket
from streaming.producer import Headers

EVERYTHING: Final[Src] = (2**62, 0, 0)
"""A tail that no src is greater than."""
MOST_OFFERED: Final = 2_000
"""Records of one partition that nothing is promised of, waiting: more are refused."""


class Emitter:
    """Writes the outputs of one source partition to the partitions of the same number.

    For each topic on its own, what is not greater than that partition's tail is suppressed.
    """

    def __init__(self, outbox: Outbox, partition: int, topics: Iterable[str]) -> None:
        self._outbox = outbox
        self._partition = partition
        self._tails: dict[str, Src | None] = dict.fromkeys(topics)
        self._outlets = {topic: Outlet(outbox, topic, partition) for topic in self._tails}
        self._ticket: Ticket | None = None
        self._trace: tuple[str, bytes] | None = None
        self.emitted = 0
        self.suppressed = 0

    def resume(self, tails: dict[str, Src]) -> None:
        """Take the topics' tails as they were just read."""
        for topic in self._tails:
            self._tails[topic] = tails.get(topic)

    def mute(self) -> None:
        """Suppress everything until ``resume``: records are read again, and all that they give was delivered."""
        self._tails = dict.fromkeys(self._tails, EVERYTHING)

    def begin(self, ticket: Ticket) -> None:
        """What follows belongs to ``ticket``'s run."""
        self._ticket = ticket

    def end(self) -> None:
        """The run is over."""
        self.hand_over()
        self._ticket = None

    def hand_over(self) -> None:
        """Let go out what was emitted and offered so far; the run under way, if any, waits for it."""
        for outlet in self._outlets.values():
            if outlet.open:
                outlet.close(self._ticket)

    def wants(self, topic: str, src: Src) -> bool:
        """Whether ``src`` is not yet in ``topic``: ask before encoding."""
        tail = self._tails[topic]
        if tail is None:
            return True
        if src <= tail:
            self.suppressed += 1
            return False
        self._tails[topic] = None  # src only grows: from here on nothing is suppressed
        return True

    def offer(self, topic: str, key: bytes, value: bytes) -> bool:
        """Take a record that nothing is promised of, to be sent at ``hand_over``; False where too many wait."""
        outlet = self._outlets.get(topic)
        if outlet is None:
            outlet = self._outlets[topic] = Outlet(self._outbox, topic, self._partition)
        if outlet.held >= MOST_OFFERED:
            return False
        outlet.open.append((value, key, None))
        return True

    def trace(self, header: tuple[str, bytes] | None) -> None:
        """Let outputs carry ``header`` (its name and value) besides their own, until called with None."""
        self._trace = header

    def emit(self, topic: str, key: bytes | None, value: bytes, headers: Headers | None = None) -> None:
        """Take one record that ``wants`` let through, to be sent at ``hand_over``."""
        if self._ticket is None:
            raise RuntimeError(f"an output for {topic} outside of any run")
        if self._trace is not None:
            headers = [*(headers or ()), self._trace]
        self.emitted += 1
        self._outlets[topic].open.append((value, key, headers))
