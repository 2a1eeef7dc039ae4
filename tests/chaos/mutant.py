"""A service with one bug put in: ``python -m tests.chaos.mutant epoch_ignored services.ratio`` (``none``: no bug).

Without arguments BUG and SERVICE of the environment say the same. ``HOLD=ratios`` holds the outputs to topics of that
ending back for ever, which is no bug: a broker may be as slow.
"""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Callable, Iterator
from typing import Any


def snapshot_before_delivery() -> None:
    """A snapshot is stored at once, whatever is still under way."""
    from streaming.stage import StageWorker

    process = StageWorker._process

    def hasty(self: StageWorker, run: Any) -> Iterator[None]:
        yield from process(self, run)
        partition = self.partitions[run.topic, run.partition]
        for way in partition.under_way:
            way.delivered = True
        self._store_snapshots(partition)

    StageWorker._process = hasty  # type: ignore[method-assign]


def no_tail_suppression() -> None:
    """What stands in the output is written again."""
    from streaming.emitter import Emitter

    Emitter.resume = lambda self, tails: setattr(self, "_tails", dict.fromkeys(self._tails))  # type: ignore[method-assign]


def no_readers_rule() -> None:
    """Records are taken whatever their src."""
    from streaming.reader import SrcRule

    SrcRule.accept = lambda *_: True  # type: ignore[method-assign]


def no_compare_and_set() -> None:
    """A position is moved wherever it stands."""
    from services.sink import positions

    positions._MOVE = positions._MOVE.replace("AND p.next_offset = n.base", "AND n.base IS NOT NULL")


def no_dedupe() -> None:
    """Ingest writes a trade as often as it hears of it."""
    from services.ingest.seen import Seen

    Seen.is_new = lambda *_: True  # type: ignore[method-assign]


def epoch_ignored() -> None:
    """Agents take what a replaced ingest still writes."""
    from marketdata.intake import Intake

    for name in ("accept_trade", "accept_clock"):
        setattr(Intake, name, _without_epoch(getattr(Intake, name)))


def _without_epoch(accept: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def careless(self: Any, record: Any) -> bool:
        self.epoch = 0
        return accept(self, record)

    return careless


def back_fill_skipped() -> None:
    """Gaps are said to be filled, and are not."""
    from services.ingest.backfill import Backfiller

    async def nothing(*_: Any) -> None:
        return None

    Backfiller.fill = nothing  # type: ignore[method-assign]


def clock_ahead_of_its_gap() -> None:
    """Clocks go on while a gap is open."""
    from services.ingest.gaps import Gaps

    limit = Gaps.limit

    def none(self: Gaps, market: str, now: int) -> None:
        limit(self, market, now)

    Gaps.limit = none  # type: ignore[method-assign,assignment]


def exception_swallowed() -> None:
    """An agent logs what went wrong, and goes on behind it."""
    from services.ratio.processor import RatioProcessor

    process = RatioProcessor.process

    def brave(self: RatioProcessor, *record: Any) -> bool:
        try:
            return process(self, *record)
        except RuntimeError:
            return False

    RatioProcessor.process = brave  # type: ignore[method-assign,assignment]


def revision_order_ignored() -> None:
    """The revision that comes last stays, whichever it is."""
    from services.sink.tables import Table

    change = Table._change

    def always(self: Table) -> Any:
        parts = [part for part in change(self)._obj if "stored.revision" not in part.as_string(None)]
        return type(change(self))(parts)

    Table._change = always  # type: ignore[method-assign]


BUGS: dict[str, Callable[[], None]] = {
    bug.__name__: bug
    for bug in (
        snapshot_before_delivery, no_tail_suppression, no_readers_rule, no_compare_and_set, no_dedupe, epoch_ignored,
        back_fill_skipped, clock_ahead_of_its_gap, exception_swallowed, revision_order_ignored,
    )
}  # fmt: skip


class Holding:
    """A producer that keeps the records of some topics to itself."""

    def __init__(self, producer: Any, ending: str) -> None:
        self._producer = producer
        self._ending = ending
        self._held: list[Any] = []

    def produce(self, topic: str, *rest: Any, **more: Any) -> None:
        if topic.endswith(self._ending):
            self._held.append((topic, rest, more))
        else:
            self._producer.produce(topic, *rest, **more)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)

    def __len__(self) -> int:
        return len(self._producer)


def hold(ending: str) -> None:
    """Let no record to topics of this ending out."""
    from streaming import stage

    made = stage.exact_producer  # type: ignore[attr-defined]
    stage.exact_producer = lambda *args, **options: Holding(made(*args, **options), ending)  # type: ignore[attr-defined]


def fail_once(marker: str) -> None:
    """Let the ratio agent fail at its first trade of id boom, while ``marker`` is not there."""
    from pathlib import Path

    from marketdata.join import RatioJoin

    stock = RatioJoin.stock

    def failing(self: RatioJoin, trade: Any, *rest: Any) -> Any:
        if trade.id == "boom" and not Path(marker).exists():
            Path(marker).touch()
            raise RuntimeError("told to fail")
        return stock(self, trade, *rest)

    RatioJoin.stock = failing  # type: ignore[method-assign,assignment]


def main() -> None:
    """Put in what is asked for, and run the service."""
    bug, service = sys.argv[1:] or (os.environ["BUG"], os.environ["SERVICE"])
    del sys.argv[1:]
    if ending := os.environ.get("HOLD"):
        hold(ending)
    if marker := os.environ.get("FAIL_ONCE"):
        fail_once(marker)
    if bug != "none":
        BUGS[bug]()
    runpy.run_module(service, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
