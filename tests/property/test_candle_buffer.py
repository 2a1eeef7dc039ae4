"""The buffer of finished candles against a plain dict, with every field of a candle made up."""

from __future__ import annotations

import random
import struct
import types
import typing
from functools import cache
from typing import Annotated, Any, Final, Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketdata.candle_buffer import CandleBuffer
from marketdata.records import Candle

SECOND: Final = 1_000_000


def made_up(kind: Any, rng: random.Random) -> Any:
    """Any value of a field's type: null where it may be, floats of any bits, integers of up to 63."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return made_up(rng.choice(arguments), rng)
    if origin is Annotated:
        return made_up(arguments[0], rng)
    if origin is Literal:
        return rng.choice(arguments)
    if origin is tuple:
        some = [arguments[0]] * rng.randrange(4) if arguments[-1] is ... else arguments
        return tuple(made_up(one, rng) for one in some)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind(**{name: made_up(one, rng) for name, one in fields(kind)})
    return SIMPLE[kind](rng)


@cache
def fields(kind: type[msgspec.Struct]) -> list[tuple[str, Any]]:
    return [(field.name, field.type) for field in msgspec.structs.fields(kind)]


def any_float(rng: random.Random) -> float:
    value = float("nan")
    while value - value != 0:  # not NaN, which equals nothing, and not infinite
        (value,) = struct.unpack("<d", rng.randbytes(8))
    return rng.choice([value, -0.0, round(rng.uniform(1, 500), 2)])


SIMPLE: Final[dict[Any, typing.Callable[[random.Random], Any]]] = {
    float: any_float,
    int: lambda rng: rng.getrandbits(rng.randrange(64)),
    str: lambda rng: "".join(rng.choices("ABC-é€", k=rng.randrange(9))),
    bool: lambda rng: rng.random() < 0.5,
    type(None): lambda _: None,
}


def candle(rng: random.Random, second: int, revision: int) -> Candle:
    any_one: Candle = made_up(Candle, rng)
    return msgspec.structs.replace(any_one, timestamp_in=second * SECOND, revision=revision)


class Model:
    """What the buffer should hold, the slow and plain way."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.held: dict[int, Candle] = {}

    def add(self, new: Candle) -> bool:
        old = self.held.get(new.timestamp_in)
        if old is not None and old.revision >= new.revision:
            return False
        self.held[new.timestamp_in] = new
        if len(self.held) > self.capacity:
            oldest = min(self.held)
            del self.held[oldest]
            return oldest != new.timestamp_in
        return True

    def between(self, start: int, end: int) -> list[Candle]:
        return [self.held[at] for at in sorted(self.held) if start <= at < end]


def same(found: list[Candle], expected: list[Candle]) -> bool:
    """Equal in every field and bit: text tells 0.0 from -0.0, and 1 from 1.0."""
    return found == expected and repr(found) == repr(expected)


@pytest.mark.parametrize("capacity", [1, 2, 100, 129, 200, 400])
@pytest.mark.parametrize("late", [0.0, 0.4])
def test_the_buffer_is_a_dict_of_the_newest(capacity: int, late: float) -> None:
    rng = random.Random(capacity)
    some = [candle(rng, 0, 0) for _ in range(8)]
    buffer, model, second = CandleBuffer(capacity), Model(capacity), 2_000
    for n in range(600):
        second += rng.choice([1, 2, 2])
        at = second - rng.randrange(2 * capacity + 9) if rng.random() < late else second
        new = msgspec.structs.replace(
            rng.choice(some), timestamp_in=at * SECOND, revision=rng.randrange(5), src=(0, n, 0)
        )
        assert buffer.add(new) == model.add(new)
        assert len(buffer) == len(model.held)
    assert same(list(buffer), model.between(0, 1 << 63))
    start, end = sorted((rng.randrange(second + 9) * SECOND, rng.randrange(second + 9) * SECOND))
    assert same(list(buffer.between(start, end)), model.between(start, end))
    count = rng.randrange(capacity + 3)
    assert same(buffer.newest(count), model.between(0, 1 << 63)[-count:] if count else [])


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_every_field_comes_back_bit_for_bit(seed: int) -> None:
    rng = random.Random(seed)
    given_ = [candle(rng, n, rng.randrange(5)) for n in range(150)]
    buffer = CandleBuffer(150)
    for one in given_:
        buffer.add(one)
    assert same(list(buffer), given_)


def test_most_candles_are_packed() -> None:
    rng = random.Random(1)
    buffer = CandleBuffer(1_000)
    some = candle(rng, 0, 0)
    for n in range(2_000):
        buffer.add(msgspec.structs.replace(some, timestamp_in=n * SECOND))
    assert 0 < buffer.nbytes() < 1_064 * 300


def test_a_buffer_holds_something() -> None:
    with pytest.raises(ValueError, match="at least one"):
        CandleBuffer(0)


def test_a_candle_that_is_past_the_capacity_is_gone_for_good() -> None:
    one = candle(random.Random(1), 0, 0)
    buffer = CandleBuffer(150)
    for n in range(192):
        buffer.add(msgspec.structs.replace(one, timestamp_in=n * SECOND))
    revised = [msgspec.structs.replace(one, timestamp_in=n * SECOND, revision=1) for n in (41, 42)]
    assert [buffer.add(new) for new in revised] == [False, True]
    assert next(iter(buffer)) == revised[1]
