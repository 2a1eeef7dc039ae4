"""What LULD events mean, and which band is in force when."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import msgspec
import pytest

from marketdata.bands import KEPT, BandBook, band_of, state_of
from marketdata.normalise import NormaliseError
from marketdata.records import Band, Luld
from marketdata.vendor import LuldBand

S = 1_000_000
T0 = 1_794_412_800 * S  # 2026-11-11 16:00 UTC
NOW = T0 + 3_600 * S


def event(**more: Any) -> LuldBand:
    fields = {"ev": "LULD", "T": "MARA", "h": 24.2, "l": 19.8, "i": [15], "z": 3, "t": T0 // 1_000, "q": 7}
    return msgspec.json.decode(msgspec.json.encode(fields | more), type=LuldBand)


def band(ts: int, *indicators: int, sequence: int = 0, up: float | None = 22.0, symbol: str = "MARA") -> Band:
    return Band(
        symbol=symbol, ts=T0 + ts, received_ts=T0 + ts, epoch=1, limit_up=up, limit_down=18.0,
        indicators=indicators, sequence=sequence,
    )  # fmt: skip


def book(*bands: Band, oldest: int = 0) -> BandBook:
    made = BandBook()
    for one in bands:
        made.add(one, oldest)
    return made


def test_an_event_becomes_a_record() -> None:
    found = band_of(event(), NOW, 3)
    assert (found.symbol, found.ts, found.received_ts, found.epoch) == ("MARA", T0, NOW, 3)
    assert (found.limit_up, found.limit_down, found.indicators) == (24.2, 19.8, (15,))
    assert (found.sequence, found.tape) == (7, 3)


@pytest.mark.parametrize("t", [T0 // 1_000, T0 * 1_000, T0 * 1_000 + 999])
def test_times_are_taken_in_milliseconds_and_in_nanoseconds(t: int) -> None:
    assert band_of(event(t=t), NOW, 1).ts == T0


def test_the_vendors_own_example_can_be_read() -> None:
    raw = b'{"ev":"LULD","T":"MSFT","h":492.99,"l":446.04,"i":[16],"z":3,"t":1764086430905642800,"q":5925769}'
    found = band_of(msgspec.json.decode(raw, type=LuldBand), 1_764_086_431 * S, 1)
    assert (found.ts, found.indicators, found.limit_down) == (1_764_086_430_905_642, (16,), 446.04)


def test_a_price_of_0_is_no_band() -> None:
    found = band_of(event(h=0, l=0, i=[17]), NOW, 1)
    assert (found.limit_up, found.limit_down) == (None, None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"T": ""}, {"T": "M" * 65}, {"t": 5}, {"t": T0}, {"t": 2**62}, {"t": (NOW + 3_601 * S) // 1_000},
        {"h": -1.0}, {"l": -1.0}, {"h": 1e12, "l": 1.0}, {"h": 19.0}, {"i": list(range(17))},
    ],
)  # fmt: skip
def test_what_cannot_be_a_band_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(NormaliseError):
        band_of(event(**wrong), NOW, 1)


@pytest.mark.parametrize(
    ("indicators", "state"),
    [
        ((), None), ((16,), None), ((22,), None), ((99,), None), ((15,), "normal"), ((21,), "normal"),
        ((14,), "normal"), ((18,), "normal"), ((19,), "normal"), ((17,), "paused"), ((23,), "limit"),
        ((24,), "normal"), ((29,), "limit"), ((30,), "limit"), ((17, 23), "paused"), ((15, 25), "limit"),
    ],
)  # fmt: skip
def test_what_indicators_tell(indicators: tuple[int, ...], state: str | None) -> None:
    assert state_of(indicators) == state


def test_the_last_event_before_the_end_counts() -> None:
    made = book(band(0, 15, up=22.0), band(10 * S, 15, up=23.0))
    assert made.in_force("MARA", T0) is None, "at the end itself is after it"
    assert made.in_force("MARA", T0 + 1) == Luld(22.0, 18.0, "normal", T0)
    assert made.in_force("MARA", T0 + 10 * S) == Luld(22.0, 18.0, "normal", T0)
    assert made.in_force("MARA", T0 + 11 * S) == Luld(23.0, 18.0, "normal", T0)
    assert made.in_force("RIOT", T0 + 11 * S) is None
    assert not BandBook()
    assert made


def test_a_pause_lasts_until_the_re_opening() -> None:
    made = book(band(0, 15), band(S, 17, up=None), band(2 * S, 16), band(3 * S, 18))
    states = [made.in_force("MARA", T0 + n * S + 1) for n in range(4)]
    assert [(s.state, s.since) for s in states if s] == [
        ("normal", T0), ("paused", T0 + S), ("paused", T0 + S), ("normal", T0 + 3 * S)
    ]  # fmt: skip


def test_nothing_is_known_on_another_trading_day() -> None:
    made = book(band(0, 17))
    five_utc = T0 + 13 * 3_600 * S
    assert made.in_force("MARA", five_utc) is not None
    assert made.in_force("MARA", five_utc + 1) is None
    made.add(band(14 * 3_600 * S, 16), 0)
    assert made.in_force("MARA", five_utc + 3_601 * S) == Luld(22.0, 18.0, "normal", five_utc + 3_600 * S)


def test_the_order_of_arrival_changes_nothing_but_for_events_of_the_same_time_and_number() -> None:
    bands = [band(0, 15), band(S, 17), band(S, 16, sequence=1), band(2 * S, 16), band(3 * S, 18), band(4 * S, 23)]
    ends = range(T0, T0 + 6 * S, S // 2)
    straight = [book(*bands).in_force("MARA", end) for end in ends]
    for order in permutations(bands):
        assert [book(*order).in_force("MARA", end) for end in ends] == straight


def test_what_no_candle_asks_for_any_more_is_forgotten() -> None:
    made = BandBook()
    for n in range(300):
        made.add(band(n * S, 15, up=20.0 + n), T0 + (n - 10) * S)
    assert len(made.state("MARA")) <= 12
    assert made.in_force("MARA", T0 + 290 * S) == Luld(309.0, 18.0, "normal", T0)
    before = made.state("MARA")
    made.add(band(5 * S, 17), T0 + 290 * S)
    assert made.state("MARA") == before, "too late to be in force anywhere"


def test_a_flood_of_events_has_a_bound() -> None:
    made = book(*(band(n, 15) for n in range(KEPT + 50)))
    assert len(made.state("MARA")) == KEPT


def test_a_restored_book_goes_on_as_the_old_one() -> None:
    made = book(band(0, 17), band(0, 15, symbol="RIOT"))
    assert made.take_changed() == {"MARA", "RIOT"}
    assert made.take_changed() == set()
    again = BandBook()
    again.restore((symbol, made.state(symbol)) for symbol in ("MARA", "RIOT", "CAN"))
    for one in (made, again):
        one.add(band(S, 16), 0)
    assert again.in_force("MARA", T0 + 2 * S) == made.in_force("MARA", T0 + 2 * S) == Luld(22.0, 18.0, "paused", T0)
    assert again.take_changed() == {"MARA"}
    assert again.state("CAN") == ()
