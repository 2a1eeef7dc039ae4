"""What candles are made of: the trades of a base bucket, and the parts of a longer one."""

from __future__ import annotations

from marketdata.bar import Bar, Flow, Tick, add_ticks, bar_of


class Trades:
    """The trades of one base bucket. ``born`` counts the advances of the clock before the first of them came.

    ``bought``, ``sold`` and ``flow``, what the tick rule knew after them, are of the bar that was published last.
    ``open``: a clock still to come will publish it.
    """

    __slots__ = (
        "_bar", "_counted", "born", "bought", "flow", "has_ratio", "late_received_ts", "open", "revision", "sold",
        "ticks",
    )  # fmt: skip

    def __init__(self, born: int) -> None:
        self.born = born
        self.ticks: list[Tick] = []
        self.revision = -1
        self.open = False
        self.has_ratio = False
        self.late_received_ts: int | None = None
        self.flow: Flow | None = None
        self.bought = 0
        self.sold = 0
        self._bar: Bar | None = None
        self._counted = 0

    def bar(self) -> Bar:
        """The bar of the trades so far, without sides; the ticks are in their order after it.

        It is this bucket's own, and grows when it is asked for again after more trades came in order.
        """
        ticks, bar, counted = self.ticks, self._bar, self._counted
        if bar is not None and counted == len(ticks):
            return bar
        if bar is None or not add_ticks(bar, ticks, counted):
            bar = bar_of(ticks)
        self._bar, self._counted = bar, len(ticks)
        return bar

    def take_bar(self) -> Bar:
        """The same to keep: it grows no more."""
        bar = self.bar()
        self._bar = None
        return bar

    def recount(self) -> None:
        """A trade was taken out, or replaced."""
        self._bar = None


class Bucket:
    """A longer span of one symbol: the bars of its parts, by their start.

    ``known``: it held something when it was made, so it was published if its time is over.
    """

    __slots__ = ("has_ratio", "known", "late_received_ts", "open", "parts", "revision")

    def __init__(self) -> None:
        self.parts: dict[int, Bar] = {}
        self.revision = -1
        self.open = False
        self.has_ratio = False
        self.known = False
        self.late_received_ts: int | None = None
