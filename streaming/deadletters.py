"""When dead letters are no longer a few bad records but a topic that is not what it should be."""

from __future__ import annotations

from collections import deque
from typing import Final

LONGEST_RAW: Final = 256 * 1024
"""Bytes of a record that a dead letter keeps: in base64 well under what brokers take at once (1 MiB)."""
WINDOW: Final = 1_000
"""Records of one partition, the last ones, among which unreadable ones are counted."""
DEFAULT_SHARE: Final = 0.5


class MostlyUnreadableError(RuntimeError):
    """Too many of a partition's last records cannot be read; the message names topic, partition and offsets."""

    def __init__(self, topic: str, partition: int, first: int, last: int, count: int) -> None:
        super().__init__(
            f"{count} of the last {WINDOW:,} records of {topic}/{partition} cannot be read, offsets {first} to "
            f"{last}: another program writes there, or its writer has another version; see `market dlq list`. "
            "DEAD_LETTER_SHARE=1 reads on whatever comes"
        )
        self.topic, self.partition, self.first, self.last = topic, partition, first, last


class DeadLetterLimit:
    """Counts what is unreadable among the last 1,000 records of each partition; a readable one costs nothing.

    ``share`` of them may be unreadable; 1 sets no limit.
    """

    def __init__(self, share: float = DEFAULT_SHARE) -> None:
        self._allowed = share * WINDOW
        self._offsets: dict[tuple[str, int], deque[int]] = {}

    def unreadable(self, topic: str, partition: int, offset: int) -> None:
        """Note one unreadable record, after its letter was handed to the producer.

        Raises:
            MostlyUnreadableError: there are too many of them.
        """
        offsets = self._offsets.setdefault((topic, partition), deque())
        if offsets and offset <= offsets[-1]:
            offsets.clear()  # read again from an earlier position, or another log
        offsets.append(offset)
        while offsets[0] <= offset - WINDOW:
            offsets.popleft()
        if len(offsets) > self._allowed:
            raise MostlyUnreadableError(topic, partition, offsets[0], offset, len(offsets))
