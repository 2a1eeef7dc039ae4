"""Features against TA-Lib and plain numpy, for any series of candles, revised and restored in any way."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from marketdata.features import FeatureBar, FeatureTrack
from tests.support.feature_oracle import (
    KYLE_SLACK,
    ROLL_SLACK,
    Features,
    flow_alone,
    price_features,
    ratio_features,
    slack,
)

LENGTH: Final = 15_000_000
T0: Final = 1_700_006_400_000_000
VIEWS: Final = ("all", "regular")
KIND: Final = ("price", "ratio")
EXAMPLES, CANDLES = 40, 2_500
KINDS: Final = ("walk", "jump", "flat", "tick", "line", "swing", "whisper", "wild")
SLOW: Final = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@dataclass(frozen=True)
class Shape:
    """What a series of candles is like; the numbers themselves come from the seed."""

    seed: int
    scale: float = 1.0
    kinds: tuple[str, ...] = ("walk",)
    gap: float = 0.0
    no_close: float = 0.0
    no_trades: float = 0.0
    no_sides: float = 0.0
    no_ratio: float = 0.0
    fractions: bool = False
    session: int = 1_000


def shapes() -> st.SearchStrategy[Shape]:
    share = st.sampled_from([0.0, 0.05, 0.3])
    return st.builds(
        Shape,
        seed=st.integers(0, 2**32 - 1),
        scale=st.sampled_from([1e-6, 1e-3, 1.0, 100.0, 1e6]),
        kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=6).map(tuple),
        gap=share,
        no_close=share,
        no_trades=st.sampled_from([0.0, 0.3, 0.95]),
        no_sides=share,
        no_ratio=share,
        fractions=st.booleans(),
        session=st.sampled_from([7, 40, 300, 5_000]),
    )


def steps(kind: str, rng: np.random.Generator, n: int) -> np.ndarray[Any, Any]:
    """Factors from one close to the next, the first from the piece before."""
    if kind == "walk":
        return np.exp(rng.normal(size=n) * 0.002)
    if kind == "jump":
        return np.exp(rng.normal(size=n) * 0.002 + (rng.random(n) < 0.03) * rng.choice([-0.7, 0.7], size=n))
    if kind == "tick":
        return 1 + rng.integers(-1, 2, size=n) * 0.0005
    if kind == "line":
        return 1 + 0.001 / (1 + 0.001 * np.arange(n))
    if kind == "swing":
        return np.where(np.arange(n) % 2 == 0, 1.01, 1 / 1.01)
    if kind == "whisper":
        return 1 + rng.normal(size=n) * 1e-9
    return np.ones(n)


def closes(shape: Shape, rng: np.random.Generator, n: int) -> np.ndarray[Any, Any]:
    made: list[float] = []
    price = shape.scale * (1 + rng.random())
    for i, kind in enumerate(shape.kinds):
        size = (n + i) // len(shape.kinds)
        piece = price * np.cumprod(steps(kind, rng, size))
        if kind == "wild":
            piece = np.where(rng.random(size) < 0.5, rng.choice([1e-6, 1.0, 1e6], size), rng.uniform(1e-6, 1e6, size))
        made.extend(np.clip(piece, 1e-9, 1e9).tolist())
    return np.array(made)


def series(shape: Shape, n: int) -> list[FeatureBar]:
    """Bars in order of time, with gaps, sessions, bars without a close, without trades, without a side or a ratio."""
    rng = np.random.default_rng(shape.seed)
    close = closes(shape, rng, n)
    flat = [kind for i, kind in enumerate(shape.kinds) for _ in range((n + i) // len(shape.kinds))]
    start, session, made = T0, T0, []
    for i, c in enumerate(close.tolist()):
        start += LENGTH * (1 + int(rng.integers(1, 2_000)) * int(rng.random() < shape.gap))
        if rng.random() < 1 / shape.session:
            session = start
        made.append(bar(shape, rng, start, session, c, still=flat[i] == "flat"))
    return made


def bar(
    shape: Shape, rng: np.random.Generator, start: int, session: int, c: float, still: bool = False
) -> FeatureBar:
    """One bar around a close; a still one has no range."""
    regular = (start - T0) // LENGTH % 97 < 60
    if rng.random() < shape.no_close:
        return nothing(start, session, regular, float(rng.integers(0, 50)))
    noise = np.abs(rng.normal(size=3)) * (0 if still else 0.001)
    o = c * float(1 + noise[0] * rng.choice([-1, 1]))
    h, low = max(o, c) * float(1 + noise[1]), min(o, c) * float(1 - noise[2])
    traded = rng.random() >= shape.no_trades
    parts = (rng.integers(0, 40, size=4) * traded).astype(float) / (7 if shape.fractions else 1)
    buy, sell = (0.0, 0.0) if rng.random() < shape.no_sides else (float(parts[0]), float(parts[1]))
    volume = float(parts[:3].sum())
    ratio = None if rng.random() < shape.no_ratio else 9e4 * float(np.exp(rng.normal() * 0.0005 * (not still)))
    of_ratio = [None if ratio is None else value / ratio for value in (o, h, low, c)]
    spreads = [None, float(noise[0])] if rng.random() < 0.5 else [float(noise[1]), None]
    return FeatureBar(
        start, session, regular, o, h, low, c, volume, int(rng.integers(1, 90)) * int(traded),
        float(parts[3]) * (c + o) / 2, float(parts[3]), buy, sell, int(rng.integers(0, 4)), *of_ratio, *spreads,
    )  # fmt: skip


def nothing(start: int, session: int, regular: bool, volume: float = 0.0) -> FeatureBar:
    """A bar without a close: volume at most."""
    return FeatureBar(start, session, regular, None, None, None, None, volume, int(volume > 0), 0.0, 0.0, 0.0, 0.0, 0,
                      None, None, None, None)  # fmt: skip


Blocks = dict[str, tuple[Features | None, Features | None]]


def oracle(bars: Sequence[FeatureBar]) -> dict[int, Blocks]:
    """What each bar's features are, given all that came before it in this sequence, by start."""
    found: dict[int, Blocks] = {b.start: {} for b in bars}
    for view in VIEWS:
        seen = [b for b in bars if view == "all" or b.regular]
        priced = [b for b in seen if b.close is not None]
        joined = [b for b in seen if b.ratio_close is not None]
        prices = dict(zip((b.start for b in priced), price_features(priced, LENGTH), strict=True))
        ratios = dict(zip((b.start for b in joined), ratio_features(joined, LENGTH), strict=True))
        for b in seen:
            alone = flow_alone(b, LENGTH) if b.close is None else None
            found[b.start][view] = prices.get(b.start, alone), ratios.get(b.start)
    return found


def check(b: FeatureBar, got: Any, expected: Blocks) -> None:
    """Field by field; a message says which feature of which candle of which view is wrong."""
    assert got.keys() == expected.keys(), b
    for view, wanted in expected.items():
        for kind, price, block, want in zip(KIND, (b.close, b.ratio_close), got[view], wanted, strict=True):
            assert (block is None) == (want is None), f"{view} {kind} block of {b}"
            if want is not None:
                compare(msgspec.structs.asdict(block), want, price or 0.0, (view, kind, b))


def compare(found: dict[str, Any], want: Features, price: float, where: object) -> None:
    assert found.keys() >= want.keys() - {KYLE_SLACK, ROLL_SLACK}, where
    wanted: Features = dict.fromkeys(found) | want
    unlike = [name for name, got in found.items() if got != wanted[name]]
    wrong = {n: (found[n], wanted[n]) for n in unlike if not near(n, found[n], wanted, price)}
    assert not wrong, f"{wrong} (got, wanted) in the {where}"


def near(name: str, got: Any, wanted: Features, price: float) -> bool:
    want = wanted[name]
    if name == "roll_spread_20" and isinstance(rest := wanted[ROLL_SLACK], float):
        # Of a covariance of 0 but for rounding the sign, which tells null from a value, says nothing.
        squares = [0.0 if spread is None else float(spread) ** 2 for spread in (got, want)]
        if abs(squares[0] - squares[1]) <= rest:
            return True
    if not isinstance(want, float) or not isinstance(got, float):
        return False
    off = abs(got - want)
    return off <= 1e-9 * abs(want) or off <= slack(name, wanted, price)


def test_100_000_candles_agree_with_ta_lib_and_numpy() -> None:
    count = 0

    @settings(SLOW, max_examples=EXAMPLES)
    @given(shapes())
    @example(Shape(1, 1e-6, ("flat",)))
    @example(Shape(2, 1.1, ("flat",)))
    @example(Shape(3, 1e6, ("flat",)))
    @example(Shape(4, 1e6, ("whisper", "jump", "flat", "walk"), fractions=True))
    @example(Shape(5, 1e-6, ("walk", "jump", "flat", "tick")))
    @example(Shape(0, 1e-6, ("line",), no_close=0.3, session=7))
    def agrees(shape: Shape) -> None:
        nonlocal count
        bars = series(shape, CANDLES)
        expected = oracle(bars)
        track = FeatureTrack(LENGTH, VIEWS)
        for i, b in enumerate(bars):
            check(b, track.close(b), expected[b.start])
            if i % 50 == 0:
                track.forget(b.start - 20 * LENGTH)
        count += len(bars)

    agrees()
    assert count >= 100_000


class Story:
    """A track, a twin that is restored now and then, and all that is known of the past."""

    def __init__(self, shape: Shape, slots: int) -> None:
        self.rng = np.random.default_rng(shape.seed)
        self.shape = shape
        self.slots = series(shape, slots)
        self.next = 0
        self.floor = 0
        self.known: dict[int, FeatureBar] = {}
        self.track = FeatureTrack(LENGTH, VIEWS)
        self.twin = FeatureTrack(LENGTH, VIEWS)

    def begin(self, n: int) -> None:
        """The first n slots, one after another."""
        expected = oracle(self.slots[:n])
        for b in self.slots[:n]:
            self.publish(b, expected[b.start])
        self.next = n

    def publish(self, b: FeatureBar, expected: Blocks | None = None) -> None:
        """Close a bar, for the first time or again, and compare what comes out."""
        self.known[b.start] = b
        got = self.track.close(b)
        check(b, got, expected or self.expected(self.known, b))
        assert got == self.twin.close(b), "a restored track goes on as if it had never stopped"

    @staticmethod
    def expected(known: dict[int, FeatureBar], b: FeatureBar) -> Blocks:
        return oracle([known[start] for start in sorted(known)])[b.start]

    def slot(self, back: int) -> FeatureBar | None:
        """A slot that has passed and may still change."""
        i = self.next - 1 - back
        return self.slots[i] if i >= 0 and self.slots[i].start >= self.floor else None

    def forward(self, _: int) -> None:
        self.publish(self.slots[self.next])
        self.next += 1

    def skip(self, _: int) -> None:
        self.next += 1

    def revise(self, back: int) -> None:
        """Other numbers for a slot, or its first ones if it was skipped."""
        if old := self.slot(back):
            price = self.shape.scale * float(np.exp(self.rng.normal() * 0.01))
            self.publish(bar(self.shape, self.rng, old.start, old.session, price))

    def remove(self, back: int) -> None:
        if old := self.slot(back):
            self.publish(nothing(old.start, old.session, old.regular))

    def forget(self, back: int) -> None:
        if old := self.slot(back):
            self.floor = old.start
            self.track.forget(old.start)
            self.twin.forget(old.start)

    def peek(self, _: int) -> None:
        """What the forming bar would have: it must leave no trace."""
        b = self.slots[self.next]
        before = self.track.state()
        check(b, self.track.peek(b), self.expected({**self.known, b.start: b}, b))
        assert self.track.state() == before

    def restore(self, _: int) -> None:
        rows = [self.known[start] for start in sorted(self.known) if start >= self.floor]
        self.twin = FeatureTrack.restore(LENGTH, VIEWS, self.track.state(), rows)


OPS: Final = {"forward": Story.forward, "skip": Story.skip, "revise": Story.revise, "remove": Story.remove,
              "forget": Story.forget, "peek": Story.peek, "restore": Story.restore}  # fmt: skip


def tales() -> st.SearchStrategy[list[tuple[str, int]]]:
    name = st.sampled_from(["forward", "forward", *OPS])
    return st.lists(st.tuples(name, st.integers(0, 30)), min_size=1, max_size=60)


@settings(SLOW, max_examples=60)
@given(shapes(), st.integers(0, 70), tales())
@example(
    Shape(0, 1e-6, ("walk", "wild", "flat", "walk", "flat"), session=7), 46, [("forward", 0)]
)  # a jump that rests
def test_revisions_late_closes_removals_and_restores(shape: Shape, start: int, tale: list[tuple[str, int]]) -> None:
    story = Story(shape, start + len(tale) + 1)
    story.begin(start)
    for name, back in tale:
        OPS[name](story, back)
    story.forward(0)


EXTREMES: Final = [5e-324, 1e-300, 1e-12, 1e-6, 1.0, 1 + 2**-52, 1e12, 1e300]


@settings(SLOW, max_examples=60)
@given(st.lists(st.tuples(*[st.sampled_from(EXTREMES)] * 4, st.sampled_from([0.0, *EXTREMES]), st.integers(0, 3)),
                min_size=40, max_size=60))  # fmt: skip
def test_no_input_makes_a_nan_or_an_infinity(rows: list[tuple[float, float, float, float, float, int]]) -> None:
    track = FeatureTrack(LENGTH, VIEWS)
    for i, (a, b, o, c, volume, count) in enumerate(rows):
        h, low = max(a, b, o, c), min(a, b, o, c)
        money = min(volume * c, 1e308)
        of_price = (o, h, low, c)
        got = track.close(FeatureBar(T0 + i * LENGTH, T0, True, *of_price, volume, count, money, volume, volume,
                                     0.0, 1, *of_price))  # fmt: skip
        for block in numbers(got):
            assert all(math.isfinite(value) for value in block.values()), block


def numbers(got: Any) -> Iterator[dict[str, float]]:
    for blocks in got.values():
        for block in blocks:
            if block is not None:
                fields = msgspec.structs.asdict(block)
                yield {name: value for name, value in fields.items() if isinstance(value, float | int)}


def scaled(b: FeatureBar, factor: float) -> FeatureBar:
    """The bar as if every price had always been multiplied by the factor and every size divided by it."""
    if b.close is None:
        return b._replace(volume=b.volume / factor)
    prices = {name: getattr(b, name) for name in FeatureBar._fields[3:7] + FeatureBar._fields[14:18]}
    moved = {name: None if value is None else value * factor for name, value in prices.items()}
    sizes = {name: getattr(b, name) / factor for name in ("volume", "priced_size", "buy", "sell")}
    return b._replace(**moved, **sizes)


@settings(SLOW, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(0, 90), st.integers(1, 60), st.sampled_from([0.1, 0.25, 1 / 3, 2, 10]))
def test_a_split_scales_the_past(seed: int, past: int, future: int, factor: float) -> None:
    shape = Shape(seed, 100.0, no_ratio=0.1, no_close=0.1, fractions=True, session=30)
    bars = series(shape, past + future)
    track = FeatureTrack(LENGTH, VIEWS)
    for b in bars[:past]:
        track.close(b)
    track.adjust(factor)
    after = [scaled(b, factor) for b in bars]
    expected = oracle(after)
    for b in after[past:]:
        check(b, track.close(b), expected[b.start])
