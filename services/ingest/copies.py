"""Which BTC copies a killed writer did not get to: the trade stands in trades.crypto, a copy is missing elsewhere."""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

import msgspec

from marketdata.records import UNREADABLE, Reference
from services.ingest.writer import AS_REFERENCE, AS_TRADE

REMEMBERED: Final = 5_000
"""Trades of a reference symbol of which copies are looked for: far more than a writer has under way."""
_decode = msgspec.json.Decoder(Reference).decode


class Uncopied(NamedTuple):
    """A copy that partition ``partition`` of trades.stocks lacks."""

    partition: int
    copy: Reference


class CopyWatch:
    """Follows trades of reference symbols and their copies, as bytes: a copy is its trade's bytes under another kind.

    All copies of a symbol are written in the order of its trades, so a partition lacks what comes after its last one.
    """

    def __init__(self, references: tuple[str, ...]) -> None:
        self._trades: dict[bytes, deque[bytes]] = {symbol.encode(): deque(maxlen=REMEMBERED) for symbol in references}
        self._last: dict[tuple[int, bytes], bytes] = {}

    def trade(self, key: bytes | None, value: bytes) -> None:
        """A trade of crypto was read."""
        if key is not None and (trades := self._trades.get(key)) is not None and value.startswith(AS_TRADE):
            trades.append(value)

    def copy(self, partition: int, key: bytes | None, value: bytes) -> None:
        """A copy was read."""
        if key is not None:
            self._last[partition, key] = value

    def missing(self, partitions: range) -> list[Uncopied]:
        """What each partition lacks, in the order in which it is to be written."""
        found = []
        for partition in partitions:
            for key, trades in self._trades.items():
                for copy in self._after(trades, self._last.get((partition, key))):
                    try:
                        found.append(Uncopied(partition, _decode(copy)))
                    except UNREADABLE:
                        continue  # nor could a reader take it
        return found

    @staticmethod
    def _after(trades: deque[bytes], last: bytes | None) -> list[bytes]:
        copies = [AS_REFERENCE + trade[len(AS_TRADE) :] for trade in trades]
        if last is None:
            return copies
        for place in range(len(copies) - 1, -1, -1):
            if copies[place] == last:
                return copies[place + 1 :]
        return []  # its trade itself is missing, so that this partition is ahead
