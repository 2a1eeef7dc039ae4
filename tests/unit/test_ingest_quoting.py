"""Quotes on their way through ingest."""

from __future__ import annotations

from typing import Any

import pytest

from marketdata.records import Quote, Trade
from marketdata.vendor import CryptoQuote, StockQuote
from services.ingest.quoting import KEPT_US, Quoting
from services.ingest.settings import IngestSettings

MS, S = 1_000, 1_000_000
T_MS = 1_709_650_800_000
NOW = T_MS * MS


class FakeWriter:
    """Keeps what it is told to write."""

    epoch = 3

    def __init__(self) -> None:
        self.quotes: list[tuple[str, str, int]] = []
        self.copies: list[tuple[str, int, bool]] = []
        self.dead: list[str] = []
        self.clock = NOW

    def quote(self, market: str, quote: Quote) -> None:
        assert quote.epoch == 3
        self.quotes.append((market, quote.symbol, (quote.ts - NOW) // MS))

    def quote_copy(self, quote: Quote, *, everywhere: bool) -> None:
        self.copies.append((quote.symbol, (quote.ts - NOW) // MS, everywhere))

    def dead_letter(self, reason: str, _raw: bytes, _now: int) -> None:
        self.dead.append(reason)

    def newest_clock(self, _market: str) -> int:
        return self.clock


class Bench:
    """The quotes of one source, whose connections were made when ``since`` says."""

    def __init__(self, late_us: int = 0) -> None:
        self.writer = FakeWriter()
        self.since = {"stocks": NOW, "crypto": NOW}
        writer: Any = self.writer
        self.quoting = Quoting(writer, ("BTC-USD",), 2 * S, late_us, lambda market: self.since[market])

    def stock(self, ms: int, bid: float = 1.0, symbol: str = "MARA", received: int | None = None) -> None:
        event = StockQuote(symbol, T_MS + ms, bp=bid, ap=bid + 1)
        self.quoting.take("stocks", [event], NOW + (ms if received is None else received) * MS)

    def coin(self, ms: int, symbol: str = "BTC-USD") -> None:
        self.quoting.take("crypto", [CryptoQuote(symbol, T_MS + ms, bp=1.0, ap=2.0)], NOW + ms * MS)

    def bid(self, ms: int, received: int | None = None, symbol: str = "MARA") -> float | None:
        at = NOW + (ms if received is None else received) * MS
        trade = Trade(symbol=symbol, ts=NOW + ms * MS, received_ts=at, price=1, size=1, exchange=1, id="1", epoch=3)
        return self.quoting.stamped("crypto" if "-" in symbol else "stocks", trade).bid

    def clock(self, ms: int) -> list[tuple[str, int, bool]]:
        before = len(self.writer.copies)
        self.quoting.before_clock(NOW + ms * MS)
        self.writer.clock = NOW + ms * MS
        return self.writer.copies[before:]


def test_every_quote_is_written_and_what_is_none_is_put_aside() -> None:
    bench = Bench()
    bench.stock(1)
    bench.stock(2, bid=-1.0)
    bench.coin(3)
    bench.quoting.take("stocks", [CryptoQuote("BTC-USD", T_MS, bp=1.0)], NOW)
    bench.quoting.take("crypto", [StockQuote("MARA", T_MS, bp=1.0)], NOW)
    assert bench.writer.quotes == [("stocks", "MARA", 1), ("crypto", "BTC-USD", 3)]
    assert ["price" in reason or "cluster" in reason for reason in bench.writer.dead] == [True, True, True]


def test_a_trade_is_stamped_with_what_was_received_by_then() -> None:
    bench = Bench()
    assert bench.bid(5) is None
    bench.stock(1)
    bench.stock(9, bid=3.0)
    bench.coin(1)
    assert (bench.bid(5), bench.bid(9), bench.bid(5, symbol="BTC-USD")) == (1.0, 3.0, 1.0)


def test_a_new_connection_begins_without_quotes_from_its_first_frame_on() -> None:
    bench = Bench()
    bench.stock(1)
    bench.since["stocks"] = NOW + 50 * MS
    assert bench.bid(5, received=49) == 1.0, "a frame of the old one, written late"
    assert bench.bid(5, received=50) is None
    bench.stock(60, bid=2.0)
    assert bench.bid(61) == 2.0
    assert bench.bid(59, received=61) is None


def test_the_first_clock_past_each_250_ms_has_copies_above_it() -> None:
    bench = Bench()
    bench.clock(0)
    bench.stock(10)
    bench.stock(20, symbol="CAN")
    bench.stock(249, bid=2.0)
    bench.stock(251, bid=3.0)
    bench.coin(30)
    bench.coin(40, symbol="ETH-USD")
    assert bench.clock(200) == []
    assert bench.clock(250) == [("BTC-USD", 30, True), ("CAN", 20, False), ("MARA", 249, False)]
    assert bench.clock(300) == []
    assert bench.clock(600) == [("MARA", 251, False)]
    assert bench.clock(800) == []


@pytest.mark.parametrize(("late_us", "found"), [(0, []), (900 * S, [("BTC-USD", 201, True)])])
def test_btc_is_remembered_for_stocks_that_come_late(late_us: int, found: list[Any]) -> None:
    bench = Bench(late_us)
    for ms in range(0, 800_000, 100):
        bench.coin(ms + 1)
    assert KEPT_US < 5 * S
    assert bench.clock(250) == found


def test_quotes_are_subscribed_only_where_they_are_wanted() -> None:
    plain = IngestSettings(symbols=("MARA",))
    assert (plain.channels("stocks"), plain.channels("crypto")) == (("T.MARA",), ("XT.BTC-USD",))
    wanted = IngestSettings(symbols=("MARA", "CAN"), quotes=True)
    assert wanted.channels("stocks") == ("T.MARA", "T.CAN", "Q.MARA", "Q.CAN")
    assert wanted.channels("crypto") == ("XT.BTC-USD", "XQ.BTC-USD")
