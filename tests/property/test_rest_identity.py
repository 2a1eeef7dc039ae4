"""A trade has the same identity, time and values whether the socket or REST tells of it."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from feed.events import CryptoTrade, StockTrade
from feed.history import time_ns
from feed.rest import vendor_trade
from marketdata.normalise import normalise
from marketdata.records import Trade
from marketdata.restvendor import RestTrade, rest_trade, ticker_of
from services.ingest.frames import read_frame
from services.ingest.seen import Seen

NOW_MS = 1_709_650_800_000
codes = st.integers(0, 60)
prices = st.floats(0.0001, 1e6, allow_nan=False)
times = st.integers(NOW_MS - 10**9, NOW_MS)
ids = st.text("0123456789abcXYZ-", min_size=1, max_size=20)
conditions = st.none() | st.lists(codes, max_size=4).map(tuple)
trf = st.none() | st.tuples(st.integers(201, 203), times)


@st.composite
def stocks(draw: st.DrawFn) -> StockTrade:
    report = draw(trf)
    whole = draw(st.integers(0, 10_000))
    return StockTrade(
        sym=draw(st.sampled_from(["MARA", "BRK.A"])), x=draw(codes), i=draw(ids), z=draw(st.integers(1, 3)),
        p=draw(prices), s=whole, t=draw(times), q=draw(st.integers(0, 2**40)), c=draw(conditions),
        ds=draw(st.none() | st.integers(0, 999_999).map(lambda part: f"{whole}.{part:06}")),
        trfi=report and report[0], trft=report and report[1],
    )  # fmt: skip


@st.composite
def coins(draw: st.DrawFn) -> CryptoTrade:
    return CryptoTrade(
        pair="BTC-USD", p=draw(prices), t=draw(times), s=draw(st.floats(0, 1e4)), i=draw(ids), x=draw(codes),
        c=draw(st.none() | st.integers(0, 2).map(lambda side: (side,))), r=NOW_MS,
    )  # fmt: skip


def by_socket(trade: StockTrade | CryptoTrade) -> Trade:
    (event,) = read_frame(msgspec.json.encode([trade])).trades
    return normalise(event, NOW_MS * 1_000, 1)


def by_rest(trade: StockTrade | CryptoTrade, correction: int = 0) -> Trade:
    row = msgspec.json.encode(vendor_trade((time_ns(trade), 0, trade), correction))
    market, symbol = ("stocks", trade.sym) if isinstance(trade, StockTrade) else ("crypto", trade.pair)
    return rest_trade(market, symbol, msgspec.json.decode(row, type=RestTrade), NOW_MS * 1_000, 1)


@given(stocks() | coins())
def test_rest_and_socket_give_the_same_record(trade: StockTrade | CryptoTrade) -> None:
    live, fetched = by_socket(trade), by_rest(trade)
    assert fetched.ts_ns == time_ns(trade)
    assert fetched.ts == live.ts == trade.t * 1_000
    assert msgspec.structs.replace(fetched, ts_ns=None, backfilled=False) == live
    assert fetched.backfilled
    seen = Seen(900_000_000)
    assert seen.is_new(live)
    assert not seen.is_new(fetched)


@given(stocks(), st.sampled_from([1, 7, 8]), st.sampled_from([10, 11, 12]))
def test_a_mark_is_the_same_trade_and_a_record_about_it_is_not(trade: StockTrade, mark: int, record: int) -> None:
    seen = Seen(900_000_000)
    assert seen.is_new(by_socket(trade))
    assert not seen.is_new(by_rest(trade, mark))
    about = by_rest(trade, record)
    assert about.correction == record
    assert seen.is_new(about)
    assert not seen.is_new(about)


def test_tickers() -> None:
    assert (ticker_of("stocks", "MARA"), ticker_of("crypto", "BTC-USD")) == ("MARA", "X:BTCUSD")
