"""The table of features: against the page, the records, and when values begin."""

from pathlib import Path
from typing import Any

import msgspec

from marketdata.features import FEATURES, FeatureTrack, PriceFeatures, RatioFeatures, features_markdown
from tests.unit.test_features_track import LENGTH, walk

PAGE = Path(__file__).parents[2] / "docs" / "features.md"
NAMES = [name for feature in FEATURES for name in feature.names]
GIVEN = {"side_source", "quoted_spread", "effective_spread"}


def test_the_page_shows_the_table() -> None:
    text = PAGE.read_text().split("features/table.py -->\n")[1].split("<!-- end")[0]
    assert text == features_markdown()


def test_the_table_names_every_feature_once() -> None:
    assert sorted(NAMES) == sorted(PriceFeatures.__struct_fields__)
    ratio = [name for feature in FEATURES if feature.ratio for name in feature.names]
    assert sorted(ratio) == sorted(RatioFeatures.__struct_fields__)


def test_values_begin_with_the_candle_the_table_names() -> None:
    track = FeatureTrack(LENGTH, ("all",))
    first: dict[str, int] = {}
    for i, bar in enumerate(walk(80, seed=3), 1):
        price, ratio = track.close(bar)["all"]
        for kind, block in (("price", price), ("ratio", ratio)):
            values: dict[str, Any] = msgspec.structs.asdict(block)
            for name, value in values.items():
                if value is not None:
                    first.setdefault(f"{kind} {name}", i)
    need = dict(zip(NAMES, (n for feature in FEATURES for n in feature.warm_up), strict=True))
    late = {"roll_spread_20"}  # its covariance may be above 0 for some candles
    for name in set(NAMES) - GIVEN - late:
        assert first[f"price {name}"] == max(need[name], 1), name
        assert name not in RatioFeatures.__struct_fields__ or first[f"ratio {name}"] == max(need[name], 1), name
    assert all(first[f"{kind} {name}"] >= need[name] for kind in ("price", "ratio") for name in late)


def test_null_is_written_out() -> None:
    ((price, ratio),) = FeatureTrack(LENGTH, ("all",)).close(walk(1)[0]).values()
    assert b'"sma_5":null' in msgspec.json.encode(price)
    assert b'"macd":null' in msgspec.json.encode(ratio)
