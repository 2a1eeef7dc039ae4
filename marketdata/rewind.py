"""Where in the log re-reading must begin, so that every trade from an event time on is seen."""

from __future__ import annotations

from collections import deque
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Mark(NamedTuple, Generic[T]):
    """A place to begin at: all trades above ``offset`` happened at or before ``newest`` µs, and ``state`` held."""

    offset: int
    newest: int
    state: T


class Rewind(Generic[T]):
    """Places to begin at, noted as the log is read. ``newest`` is the latest event time read so far, in µs."""

    __slots__ = ("_marks", "newest")

    def __init__(self, begin: T, offset: int = 0, newest: int = 0) -> None:
        self._marks: deque[Mark[T]] = deque([Mark(offset, newest, begin)])
        self.newest = newest

    def note(self, offset: int, state: T) -> None:
        """Reading may begin again at ``offset``, where ``state`` holds."""
        self._marks.append(Mark(offset, self.newest, state))

    def since(self, oldest: int) -> Mark[T]:
        """The last place above which every trade happened before ``oldest`` µs; what is before it is forgotten."""
        marks = self._marks
        while len(marks) > 1 and marks[1].newest < oldest:
            marks.popleft()
        return marks[0]
