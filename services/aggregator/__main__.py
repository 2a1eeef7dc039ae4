"""Starts the aggregator: ``python -m services.aggregator``."""

from __future__ import annotations

from marketdata.candles import CandleEngine
from marketdata.intake import Intake
from marketdata.intervals import levels
from marketdata.topics import MARKETS
from marketdata.units import SECOND_US
from services.aggregator.crypto import CryptoProcessor
from services.aggregator.publisher import Publisher
from services.aggregator.settings import AggregatorSettings
from services.aggregator.stocks import StocksProcessor
from streaming.emitter import Emitter
from streaming.processor import Processor, Stage
from streaming.service import run_stages


def stages(settings: AggregatorSettings) -> tuple[Stage, ...]:
    """From ratios to candles.stocks.*, and from trades.crypto to candles.crypto.*."""
    if unknown := set(settings.markets) - set(MARKETS):
        raise ValueError(f"MARKETS names {sorted(unknown)}; there are {MARKETS}")
    return tuple(_stage(settings, market) for market in settings.markets)


def _stage(settings: AggregatorSettings, market: str) -> Stage:
    topics = settings.topics
    tree = levels(settings.intervals)
    horizon = settings.revision_horizon_s * SECOND_US
    source = topics.ratios if market == "stocks" else topics.trades(market)

    def make(partition: int, emitter: Emitter) -> Processor:
        engine = CandleEngine(tree, horizon)
        publisher = Publisher(market, topics, tree, partition, emitter)
        if market == "stocks":
            return StocksProcessor(source, partition, engine, publisher)
        return CryptoProcessor(partition, Intake(horizon), engine, publisher)

    candles = tuple(topics.candles(market, level.name) for level in tree)
    return Stage(market, source, (*candles, topics.progress(market), topics.late(market)), make)


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    settings = AggregatorSettings()
    run_stages(settings, "aggregator", stages(settings))


if __name__ == "__main__":
    main()
