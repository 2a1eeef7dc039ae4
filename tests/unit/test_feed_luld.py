"""The bundled feed's price bands: around the last price, with now and then a limit state, and pauses on demand."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest

from feed.events import Event
from feed.faults import NoFaults
from feed.hub import Hub
from feed.luld import PAUSE_MS, Banded
from feed.model import MarketModel
from feed.pump import wall_ms
from feed.server import _market
from feed.settings import FeedSettings
from marketdata.bands import band_of, state_of
from marketdata.vendor import LuldBand

START = 1_794_412_800_000
SYMBOLS = ["MARA", "RIOT", "CAN", "CLSK", "HUT", "BTC-USD"]


def played(
    seconds: int, *, wanted: bool = True, pauses: float = 0.0, rate: float = 40.0
) -> tuple[list[Any], list[Any]]:
    market = Banded(MarketModel(SYMBOLS, 7, rate, START), 7, lambda _: wanted, every_ms=3_000, pauses=pauses)
    events: list[Event] = []
    for ms in range(START, START + seconds * 1_000 + 1, 50):
        events += market.advance(ms)
    trades = [event for event in events if event.trade is not None]
    return trades, [event.payload for event in events if event.ev == "LULD"]


def test_trades_are_the_same_whether_anybody_listens_or_not() -> None:
    silent, none = played(60, wanted=False)
    heard, bands = played(60)
    assert none == []
    assert bands
    assert heard == silent


def test_each_stock_has_bands_around_its_last_price_again_and_again() -> None:
    trades, bands = played(120)
    symbols = {b["T"] for b in bands}
    assert symbols == set(SYMBOLS) - {"BTC-USD"}
    for symbol in symbols:
        mine = [b for b in bands if b["T"] == symbol]
        told = [b["t"] // 1_000_000 for b in mine if b["i"][0] in {15, 21, 22}]
        assert {later - earlier for earlier, later in itertools.pairwise(told)} == {3_000}
        assert [b["q"] for b in mine] == sorted({b["q"] for b in mine})
        for band in mine:
            before = [e.trade.p for e in trades if e.symbol == symbol and e.send_ms <= band["t"] / 1e6 + 50]
            assert 0 < band["l"] < before[-1] < band["h"]
    assert {state_of(b["i"]) for b in bands} >= {"normal", "limit"}, "now and then a limit state"


def test_ingest_can_read_them() -> None:
    _, bands = played(20)
    for payload in bands:
        event = msgspec.json.decode(msgspec.json.encode(payload), type=LuldBand)
        band = band_of(event, (START + 60_000) * 1_000, 1)
        assert (band.symbol, band.ts) == (payload["T"], payload["t"] // 1_000)


def test_a_paused_stock_does_not_trade_and_the_others_trade_as_ever() -> None:
    free, _ = played(400, wanted=False, rate=8)
    trades, bands = played(400, pauses=60, rate=8)
    pauses = [(b["T"], b["t"] // 1_000_000) for b in bands if b["i"] == [17]]
    assert pauses
    assert all(b["h"] == b["l"] == 0 for b in bands if b["i"] == [17])
    inside = {(s, ms): [e for e in free if e.symbol == s and ms <= e.trade.t < ms + PAUSE_MS] for s, ms in pauses}
    assert all(inside.values())
    left_out = {id(e.trade): e for found in inside.values() for e in found}
    kept = [msgspec.json.encode(e.trade) for e in free if id(e.trade) not in left_out]
    assert [msgspec.json.encode(e.trade) for e in trades] == kept
    ends = {(b["T"], b["t"] // 1_000_000) for b in bands if b["i"] == [18]}
    assert {(s, ms + PAUSE_MS) for s, ms in pauses if ms + PAUSE_MS < START + 400_000} == ends


def test_bands_are_told_only_while_a_client_listens() -> None:
    heard = {"now": True}
    market = Banded(MarketModel(SYMBOLS, 7, 40.0, START), 7, lambda channel: channel == "LULD" and heard["now"],
                    every_ms=1_000)  # fmt: skip
    told = []
    for second in range(1, 60):
        heard["now"] = not 20 < second <= 40
        events = [e for ms in range(0, 1_000, 50) for e in market.advance(START + second * 1_000 + ms)]
        told.append(sum(e.ev == "LULD" for e in events))
    assert min(told[5:19]) > 0
    assert max(told[20:39]) == 0
    assert min(told[43:]) > 0
    assert max(told) < 3 * len(SYMBOLS), "what was not told meanwhile is not made up for"


@pytest.mark.parametrize(("every_ms", "pauses"), [(0, 0.0), (1_000, -1.0)])
def test_what_cannot_be_is_refused(every_ms: int, pauses: float) -> None:
    with pytest.raises(ValueError, match="bands need"):
        Banded(MarketModel(SYMBOLS, 7, 40.0, START), 7, lambda _: True, every_ms=every_ms, pauses=pauses)


def test_the_server_wires_them() -> None:
    hub = Hub(NoFaults())
    hub.has = lambda channel: channel == "LULD"  # type: ignore[method-assign]
    market = _market(FeedSettings(symbols=tuple(SYMBOLS), luld_seconds=0.5), hub)
    now = wall_ms()
    assert any(event.ev == "LULD" for ms in range(0, 5_000, 100) for event in market.advance(now + ms))
