"""Which BTC copies a killed writer did not get to, and of which trades it wrote nothing else.

Each partition has its own way to the broker: a copy can stand where its trade, in trades.crypto, does not count.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from marketdata.records import UNREADABLE, Reference, Trade
from services.ingest.writer import AS_REFERENCE, AS_TRADE

REMEMBERED: Final = 5_000
"""Trades of a reference symbol of which copies are looked for: far more than a writer has under way."""
COPIES_REMEMBERED: Final = 1_000
"""Fewer, for each partition has its own; an older copy without a trade may get a second, which readers drop."""
_decode = msgspec.json.Decoder(Reference).decode
_decode_trade = msgspec.json.Decoder(Trade).decode


class Uncopied(NamedTuple):
    """A copy that partition ``partition`` of trades.stocks lacks."""

    partition: int
    copy: Reference


class Untraded(NamedTuple):
    """A trade of which nothing counts but its copies in ``partitions`` of trades.stocks."""

    trade: Trade
    partitions: frozenset[int]


class CopyWatch:
    """Follows trades of reference symbols and their copies, as bytes: a copy is its trade's bytes under another kind.

    All copies of a symbol are written in the order of its trades, so a partition lacks what comes after its last one.
    """

    def __init__(self, references: tuple[str, ...]) -> None:
        self._trades: dict[bytes, deque[bytes]] = {symbol.encode(): deque(maxlen=REMEMBERED) for symbol in references}
        self._copies: dict[tuple[int, bytes], deque[bytes]] = {}

    def trade(self, key: bytes | None, value: bytes) -> None:
        """A trade of crypto was read."""
        if key is not None and (trades := self._trades.get(key)) is not None and value.startswith(AS_TRADE):
            trades.append(value)

    def copy(self, partition: int, key: bytes | None, value: bytes) -> None:
        """A copy was read."""
        if key in self._trades:
            self._copies.setdefault((partition, key), deque(maxlen=COPIES_REMEMBERED)).append(value)

    def missing(self, partitions: range) -> list[Uncopied]:
        """What each partition lacks, in the order in which it is to be written."""
        found = []
        for partition in partitions:
            for key, trades in self._trades.items():
                copies = self._copies.get((partition, key))
                for copy in self._after(trades, copies[-1] if copies else None):
                    try:
                        found.append(Uncopied(partition, _decode(copy)))
                    except UNREADABLE:
                        continue  # nor could a reader take it
        return found

    def untraded(self, known: Callable[[Trade], bool]) -> list[Untraded]:
        """Trades that have copies alone, in the order to write them in; ``known``: whether one counts."""
        found: dict[bytes, set[int]] = {}
        for (partition, _), copies in sorted(self._copies.items()):
            for copy in tuple(copies):  # the follower's thread goes on
                found.setdefault(AS_TRADE + copy[len(AS_REFERENCE) :], set()).add(partition)
        left = []
        for value, partitions in found.items():
            try:
                trade = _decode_trade(value)
            except UNREADABLE:
                continue  # nor could a reader take it
            if not known(trade):
                left.append(Untraded(trade, frozenset(partitions)))
        return sorted(left, key=lambda one: (one.trade.received_ts, one.trade.ts, one.trade.sequence))

    @staticmethod
    def _after(trades: deque[bytes], last: bytes | None) -> list[bytes]:
        copies = [AS_REFERENCE + trade[len(AS_TRADE) :] for trade in tuple(trades)]  # the follower's thread goes on
        if last is None:
            return copies
        for place in range(len(copies) - 1, -1, -1):
            if copies[place] == last:
                return copies[place + 1 :]
        return []  # its trade itself is missing, so that this partition is ahead
