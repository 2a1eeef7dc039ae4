"""The trades already sent, kept in memory for REST within bounds of age and number."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import defaultdict, deque
from itertools import count
from typing import Any, Final
from zlib import crc32

from feed.events import StockTrade, Trade

MARKED_BY: Final = {1: 12, 7: 11, 8: 10}
"""A trade's mark, and the record whose arrival makes it known: until then REST calls the trade regular."""
_MARK_OF: Final = {record: mark for mark, record in MARKED_BY.items()}
Row = tuple[int, int, Trade]
"""Time in ns, order of arrival, trade: what REST sorts and pages by."""
Place = tuple[int, int]
Span = tuple[Place, Place]


def time_ns(trade: Trade) -> int:
    """The trade's time in nanoseconds: its `t`, with a part below the millisecond that is always the same."""
    return trade.t * 1_000_000 + crc32(trade.i.encode()) % 1_000_000


def ticker_of(trade: Trade) -> str:
    """The name REST knows the trade's symbol by: MARA, X:BTCUSD."""
    return trade.sym if isinstance(trade, StockTrade) else "X:" + trade.pair.replace("-", "")


class History:
    """Rows by ticker, ascending by time, late ones put where they belong."""

    def __init__(self, max_age_ms: int, max_trades: int) -> None:
        self._max_age_ns = max_age_ms * 1_000_000
        self._max_trades = max_trades
        self._rows: defaultdict[str, list[Row]] = defaultdict(list)
        self._arrival = count()
        self._corrections: dict[int, int] = {}
        self._announced: dict[tuple[Any, ...], tuple[int, int]] = {}
        self._newest_ns = 0
        self._added = 0
        self._dropped = 0
        self._marks: deque[Place] = deque()  # newest time and number of rows added, once a second
        self.size = 0

    def add(self, trade: Trade, correction: int = 0, about: Trade | None = None) -> None:
        """Keep a trade that was just sent; a correction record also marks the trade it is about.

        That is `about`, else one announced by its own mark, of the same exchange, price and size.
        """
        row = (time_ns(trade), next(self._arrival), trade)
        rows = self._rows[ticker_of(trade)]
        if rows and row < rows[-1]:
            insort(rows, row)
        else:
            rows.append(row)
        self.size += 1
        self._added += 1
        self._newest_ns = max(self._newest_ns, row[0])
        if about is not None:
            self._corrections[row[1]] = correction
            self._mark(about, _MARK_OF[correction])
        elif correction:
            self._correct(trade, row[1], correction)

    def correction(self, row: Row) -> int:
        """The row's mark as it is known by now, 0 for a regular trade."""
        return self._corrections.get(row[1], 0)

    def page(self, ticker: str, span: Span, limit: int, descending: bool) -> list[Row]:
        """Up to `limit` of the ticker's rows strictly inside the span, from its start or its end."""
        rows = self._rows.get(ticker, [])
        first, last = bisect_right(rows, span[0], key=_place), bisect_left(rows, span[1], key=_place)
        if descending:
            return rows[max(first, last - limit) : last][::-1]
        return rows[first : min(last, first + limit)]

    def trim(self) -> None:
        """Forget what is too old, and the oldest of what is too much; call it about once a second."""
        self._marks.append((self._newest_ns, self._added))
        oldest = self._newest_ns - self._max_age_ns
        surplus = self._added - self._max_trades
        while self._marks and (self._dropped < surplus or self._marks[0][0] < oldest):
            newest, self._dropped = self._marks.popleft()
            oldest = max(oldest, newest + 1)
        self._forget(oldest)

    def _forget(self, before_ns: int) -> None:
        for rows in self._rows.values():
            cut = bisect_left(rows, (before_ns, -1), key=_place)
            for row in rows[:cut]:
                self._corrections.pop(row[1], None)
            del rows[:cut]
            self.size -= cut

    def _mark(self, trade: Trade, mark: int) -> None:
        rows, at = self._rows[ticker_of(trade)], time_ns(trade)
        for row in rows[bisect_left(rows, (at, -1), key=_place) : bisect_right(rows, (at + 1, -1), key=_place)]:
            if row[2] is trade:
                self._corrections[row[1]] = mark

    def _correct(self, trade: Trade, arrival: int, correction: int) -> None:
        about = (ticker_of(trade), trade.x, trade.p, trade.s)
        if correction in MARKED_BY:
            self._announced[about] = (arrival, correction)
        else:
            self._corrections[arrival] = correction
            original = self._announced.pop(about, None)
            if original is not None and MARKED_BY[original[1]] == correction:
                self._corrections[original[0]] = original[1]


def _place(row: Row) -> Place:
    return row[0], row[1]
