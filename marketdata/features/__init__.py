"""Features of candles: indicators of price, ratio, volume and trades, moved on by one candle at a time.

``FeatureTrack`` keeps one symbol's history of one interval; docs/features.md says what each feature means.
"""

from marketdata.features.bars import FeatureBar
from marketdata.features.blocks import PriceFeatures, RatioFeatures
from marketdata.features.table import FEATURES, Feature, features_markdown
from marketdata.features.track import FeatureTrack

__all__ = [
    "FEATURES", "Feature", "FeatureBar", "FeatureTrack", "PriceFeatures", "RatioFeatures", "features_markdown",
]  # fmt: skip
