"""A feature history: revisions, late candles, views, restores, splits and what it costs."""

import random
import struct
import sys

import pytest

from marketdata.features import FeatureBar, FeatureTrack, PriceFeatures

LENGTH = 15_000_000
T0 = 1_700_006_400_000_000
BOTH = ("all", "regular")


def walk(n: int, seed: int = 0, scale: float = 1.0, start: int = 0) -> list[FeatureBar]:
    """Candles one after another, all regular, of one session."""
    rng = random.Random(seed)
    close, bars = 100.0 * scale, []
    for i in range(start, start + n):
        first, close = close, close * (1 + rng.gauss(0, 0.002))
        high, low = max(first, close) * 1.0005, min(first, close) * 0.9995
        sizes = [float(rng.randint(1, 90)) for _ in range(3)]
        prices = (first, high, low, close)
        bars.append(FeatureBar(
            T0 + i * LENGTH, T0, True, *prices, sum(sizes), rng.randint(1, 9), close * sizes[0], sizes[0], sizes[1],
            sizes[2], 1, *(price / 9e4 for price in prices),
        ))  # fmt: skip
    return bars


def without_close(bar: FeatureBar) -> FeatureBar:
    return bar._replace(open=None, close=None, ratio_open=None, ratio_high=None, ratio_low=None, ratio_close=None)


def fed(bars: list[FeatureBar], views: tuple[str, ...] = BOTH) -> FeatureTrack:
    track = FeatureTrack(LENGTH, views)
    for bar in bars:
        track.close(bar)
    return track


def price_of(track: FeatureTrack, bar: FeatureBar) -> PriceFeatures:
    found = track.close(bar)["all"][0]
    assert found is not None
    return found


def test_a_late_and_a_revised_candle_give_what_the_right_order_gives() -> None:
    bars = walk(70)
    track = fed([*bars[:40], bars[40]._replace(close=50.0, low=50.0), *bars[41:50], *bars[51:69]])
    fifty = track.close(bars[50])
    forty = track.close(bars[40])
    assert track.close(bars[69]) == fed(bars[:69]).close(bars[69])
    assert forty == fed(bars[:40]).close(bars[40])
    stale = fed([*bars[:40], bars[40]._replace(close=50.0, low=50.0), *bars[41:50]])
    assert fifty == stale.close(bars[50])


def test_a_revision_may_take_the_close_away_and_bring_it_back() -> None:
    bars = walk(60)
    track = fed(bars[:59])
    track.close(without_close(bars[58]))
    assert track.newest == bars[57].start
    assert track.peek(bars[59]) == fed(bars[:58]).close(bars[59])
    track.close(bars[58])
    assert track.close(bars[59]) == fed(bars[:59]).close(bars[59])


def test_a_candle_without_a_close_has_what_its_own_trades_tell() -> None:
    bars = walk(40)
    track = fed(bars[:39])
    found = track.close(without_close(bars[39]))
    price, ratio = found["all"]
    assert ratio is None
    assert price is not None
    own = (price.buy_volume, price.trade_intensity, price.high_low_ratio, price.side_source)
    high, low = bars[39].high, bars[39].low
    assert high is not None
    assert low is not None
    assert own == (bars[39].buy, bars[39].trade_count / 15, high / low, "tick")
    assert (price.sma_5, price.volume_avg_5, price.session_vwap, price.log_return) == (None,) * 4
    assert track.close(bars[39]) == fed(bars[:39]).close(bars[39])


def test_regular_hours_are_a_history_of_their_own() -> None:
    bars = [bar._replace(regular=i % 3 > 0) for i, bar in enumerate(walk(90))]
    regular = [bar for bar in bars if bar.regular]
    track, alone = fed(bars[:-1]), fed(regular[:-1], ("regular",))
    assert set(track.peek(bars[-1]._replace(regular=False))) == {"all"}
    found = track.close(bars[-1])
    assert found["regular"] == alone.close(bars[-1])["regular"]
    assert found["all"] == fed(bars[:-1], ("all",)).close(bars[-1])["all"]
    assert found["all"] != found["regular"]


def test_peek_changes_nothing() -> None:
    bars = walk(50)
    track, twin = fed(bars[:40]), fed(bars[:40])
    peeked = track.peek(bars[40]._replace(close=1.0, low=1.0)), track.peek(bars[35]._replace(close=1.0, low=1.0))
    assert peeked[0] != peeked[1]
    assert track.peek(bars[40]) == twin.close(bars[40]) == track.close(bars[40])


def test_a_restored_track_goes_on_bit_for_bit() -> None:
    bars = [bar._replace(regular=i % 4 > 0) for i, bar in enumerate(walk(200, seed=5))]
    track = fed(bars[:120])
    assert track.state() is None
    assert track.forget(bars[100].start)
    assert not track.forget(bars[100].start)
    state = track.state()
    twin = FeatureTrack.restore(LENGTH, BOTH, state, bars[90:120])  # the first ten are in the base
    assert twin.state() == state
    for bar in (*bars[120:160], bars[110]._replace(close=99.0), *bars[160:], bars[110]):
        assert track.close(bar) == twin.close(bar)
    assert track.forget(bars[-1].start + LENGTH)
    following = walk(1, start=200)[0]
    assert track.peek(following) == twin.peek(following) == fed(bars).close(following)


def test_a_candle_of_the_base_is_refused() -> None:
    bars = walk(30)
    track = fed(bars)
    track.forget(bars[20].start)
    with pytest.raises(ValueError, match="in the base"):
        track.close(bars[19])
    assert track.close(bars[20]) == fed(bars[:20]).close(bars[20])


def test_a_foreign_state_is_refused() -> None:
    track = fed(walk(30))
    track.forget(T0 + 30 * LENGTH)
    state = track.state()
    assert state is not None
    with pytest.raises(ValueError, match="not of version"):
        FeatureTrack.restore(4 * LENGTH, BOTH, state, ())
    with pytest.raises(ValueError, match="not of version"):
        FeatureTrack.restore(LENGTH, ("all",), state, ())
    with pytest.raises(ValueError, match="not of version"):
        FeatureTrack.restore(LENGTH, BOTH, struct.pack("<i", 9) + state[4:], ())
    with pytest.raises(ValueError, match="must be one of"):
        FeatureTrack(LENGTH, ("regular", "all"))


@pytest.mark.parametrize("factor", [0.5, 4.0])
def test_a_split_is_as_if_it_had_always_been(factor: float) -> None:
    bars = walk(80, seed=9)
    prices = ("open", "high", "low", "close", "ratio_open", "ratio_high", "ratio_low", "ratio_close")
    sizes = ("volume", "priced_size", "buy", "sell")
    after = [
        bar._replace(
            **{name: getattr(bar, name) * factor for name in prices},
            **{name: getattr(bar, name) / factor for name in sizes},
        )
        for bar in bars
    ]
    track = fed(bars[:60])
    track.forget(bars[40].start)
    track.adjust(factor)
    twin = fed(after[:60])
    for bar in after[60:]:
        assert track.close(bar) == twin.close(bar)  # the factor is a power of two: it changes no digit


def test_a_new_session_begins_its_vwap_anew_and_none_has_none() -> None:
    bars = walk(5)
    track = fed(bars[:3])
    began = price_of(track, bars[3]._replace(session=bars[3].start, weight=500.0, priced_size=5.0))
    assert began.session_vwap == 100.0
    assert price_of(track, bars[4]._replace(session=0)).session_vwap is None


def test_reset_forgets_all() -> None:
    bars = walk(40)
    track = fed(bars)
    track.forget(bars[20].start)
    track.reset()
    assert (track.state(), track.newest) == (None, -1)
    assert track.close(bars[0]) == fed([]).close(bars[0])


def test_what_a_track_holds_stays_small() -> None:
    track = FeatureTrack(LENGTH, BOTH)
    assert sys.getsizeof(track) <= track.nbytes() + 16 < 500
    for i, bar in enumerate(walk(400)):
        track.close(bar)
        track.forget(bar.start - 59 * LENGTH)
        assert track.nbytes() <= 16 * 1024, i
    assert track.nbytes() > 60 * 15 * 8
