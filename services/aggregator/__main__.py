"""Starts the aggregator: ``python -m services.aggregator``."""

from __future__ import annotations

from marketdata.calendar import new_york_hours
from marketdata.candles import CandleEngine
from marketdata.feature_book import FeatureBook, FeatureSettings
from marketdata.forming import Forming
from marketdata.intake import Intake
from marketdata.intervals import intervals_of, levels, published_names
from marketdata.topics import MARKETS
from marketdata.units import SECOND_US
from services.aggregator.crypto import CryptoProcessor
from services.aggregator.live import Budget, LiveSender
from services.aggregator.publisher import Publisher
from services.aggregator.settings import AggregatorSettings
from services.aggregator.stocks import StocksProcessor
from streaming.actions import load_actions
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
    sessions = new_york_hours() if market == "stocks" else None
    tree = levels(intervals_of(market, settings.intervals), sessions)
    horizon = settings.revision_horizon_s * SECOND_US
    source = topics.ratios if market == "stocks" else topics.trades(market)
    actions = load_actions(settings.corporate_actions)
    screens = topics.live(market)
    budget = Budget()
    wanted = FeatureSettings(settings.feature_intervals, settings.hours, sessions, actions)

    def make(partition: int, emitter: Emitter) -> Processor:
        engine = CandleEngine(tree, horizon, sessions if settings.gap_policy == "carry" else None)
        book = FeatureBook(engine, tree, wanted)
        publisher = Publisher(market, topics, tree, partition, emitter, book, sessions, settings.hours)
        live = None
        if settings.candles_live:
            forming = Forming(engine, tree, book if settings.candles_live_features else None)
            live = LiveSender(market, screens, emitter, engine, forming, budget)
        if market == "stocks":
            return StocksProcessor(partition, engine, book, publisher, live=live)
        return CryptoProcessor(partition, Intake(horizon), engine, book, publisher, live=live)

    candles = tuple(topics.candles(market, name) for name in published_names(tree))
    return Stage(
        market,
        source,
        (*candles, topics.progress(market), topics.late(market)),
        make,
        (screens,) if settings.candles_live else (),
    )


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    settings = AggregatorSettings()
    run_stages(settings, "aggregator", stages(settings))


if __name__ == "__main__":
    main()
