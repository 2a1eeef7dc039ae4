"""Starts the ratio service: ``python -m services.ratio``."""

from __future__ import annotations

from marketdata.calendar import new_york_hours
from marketdata.join import RatioJoin
from marketdata.marks import Marks
from marketdata.mids import Mids
from services.ratio.processor import RatioProcessor
from services.ratio.settings import RatioSettings
from streaming.emitter import Emitter
from streaming.processor import Stage
from streaming.service import run_stages


def stage(settings: RatioSettings) -> Stage:
    """From trades.stocks to ratios, ratio_mark and ratio_mid."""
    topics, hours = settings.topics, new_york_hours()

    def make(partition: int, emitter: Emitter) -> RatioProcessor:
        join = RatioJoin(settings.reference_symbols[0], hours, settings.join)
        marks = Marks(settings.marks) if settings.ratio_mark else None
        mids = Mids(settings.reference_symbols, settings.marks) if settings.quotes else None
        return RatioProcessor(partition, emitter, topics, join, marks, mids=mids)

    wanted = {topics.ratios: True, topics.ratio_mark: settings.ratio_mark, topics.ratio_mid: settings.quotes}
    outputs = tuple(topic for topic, is_wanted in wanted.items() if is_wanted)
    return Stage("ratio", topics.trades("stocks"), outputs, make)


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    settings = RatioSettings()
    run_stages(settings, "ratio", (stage(settings),))


if __name__ == "__main__":
    main()
