"""Whose turn it is: a partition's runs go one after the other, and while one has paused other partitions go first."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator
from typing import Final

from streaming.places import Place

_DONE: Final = object()


class Turns:
    """Runs under way, each an iterator that pauses where what comes next is less urgent than others' beginnings."""

    def __init__(self) -> None:
        self._paused: dict[Place, deque[Iterator[None]]] = {}  # the first one of each has paused, the others wait

    def __len__(self) -> int:
        """How many partitions have paused."""
        return len(self._paused)

    def begin(self, place: Place, run: Iterator[None]) -> None:
        """Let ``run`` go until it pauses or ends; if one before it has paused, only after that."""
        if place in self._paused:
            self._paused[place].append(run)
        elif next(run, _DONE) is not _DONE:
            self._paused[place] = deque([run])

    def go_on(self) -> Place | None:
        """Let that partition go on which has paused for longest, until its runs have ended or one pauses.

        It is returned, None where nobody has paused.
        """
        place = next(iter(self._paused), None)
        if place is None:
            return None
        runs = self._paused.pop(place)
        while runs and next(runs[0], _DONE) is _DONE:
            runs.popleft()
        if runs:
            self._paused[place] = runs  # behind the others
        return place

    def end(self) -> None:
        """Let all go on, in turn, to their ends."""
        while self._paused:
            self.go_on()

    def settle(self, kept: Collection[Place]) -> None:
        """End what has begun of ``kept`` partitions; all else is dropped, for it is read again or no longer ours."""
        for place in list(self._paused):
            runs = self._paused.pop(place)
            if place in kept:
                deque(runs[0], maxlen=0)
