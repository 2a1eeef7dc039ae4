"""The vendor's trades as records of ours."""

from __future__ import annotations

from typing import NoReturn

from marketdata.records import Trade
from marketdata.units import SECOND_US
from marketdata.vendor import CryptoTrade, StockTrade, VendorTrade

EARLIEST_US = 946_684_800_000_000  # 2000-01-01
FUTURE_US = 3_600 * SECOND_US
LATEST_US = 4_102_444_800_000_000  # 2100-01-01
MAX_NAME = 64
MAX_PRICE = 1e12
MAX_SIZE = 1e15


class NormaliseError(ValueError):
    """An event that cannot be a trade; the message says which value is wrong."""


def normalise(event: VendorTrade, received_ts: int, epoch: int) -> Trade:
    """The record of ``event``, received at ``received_ts`` µs.

    Raises:
        NormaliseError: a price, size, time, symbol or id that no trade can have.
    """
    trade = _stock(event, received_ts, epoch) if type(event) is StockTrade else _crypto(event, received_ts, epoch)
    if not (
        0 < trade.price < MAX_PRICE
        and 0 <= trade.size < MAX_SIZE
        and 0 < len(trade.symbol) <= MAX_NAME
        and 0 < len(trade.id) <= MAX_NAME
        and EARLIEST_US <= trade.ts < LATEST_US
        and trade.ts <= received_ts + FUTURE_US
    ):
        _refuse(event, trade, received_ts)
    return trade


def _refuse(event: VendorTrade, trade: Trade, received_ts: int) -> NoReturn:
    """Say which value of ``trade`` no trade can have."""
    if not 0 < trade.price < MAX_PRICE:
        raise NormaliseError(f"price {trade.price!r} is not a positive number below {MAX_PRICE:g}")
    if not 0 <= trade.size < MAX_SIZE:
        raise NormaliseError(f"size {trade.size!r} is not a number from 0 to {MAX_SIZE:g}")
    if not (0 < len(trade.symbol) <= MAX_NAME and 0 < len(trade.id) <= MAX_NAME):
        raise NormaliseError(f"a trade needs a symbol and an id of 1 to {MAX_NAME} characters")
    check_time(event.t, trade.ts, received_ts)
    raise AssertionError("a trade was refused for nothing")


def check_time(sent: int, ts: int, received_ts: int, units: str = "not in milliseconds") -> None:
    """Check ``ts`` µs, which the vendor sent as ``sent``.

    Raises:
        NormaliseError: it is not of this century, or more than an hour after its receipt.
    """
    if not EARLIEST_US <= ts < LATEST_US:
        raise NormaliseError(f"time {sent} is {units} of this century")
    if ts > received_ts + FUTURE_US:
        raise NormaliseError(f"time {sent} is more than an hour after its receipt")


def _stock(event: StockTrade, received_ts: int, epoch: int) -> Trade:
    return Trade(
        symbol=event.sym,
        ts=event.t * 1_000,
        received_ts=received_ts,
        price=event.p,
        size=event.s if event.ds is None else _decimal(event.ds),
        exchange=event.x,
        id=event.i if type(event.i) is str else str(event.i),
        epoch=epoch,
        conditions=event.c,
        sequence=event.q,
        trf=event.trfi,
        trf_ts=event.trft * 1_000,
        tape=int(event.z),
        correction=event.corr,
    )


def _crypto(event: VendorTrade, received_ts: int, epoch: int) -> Trade:
    if type(event) is not CryptoTrade:
        raise NormaliseError(f"{type(event).__name__} is not a trade")
    side = event.c[0] if event.c else 0
    return Trade(
        symbol=event.pair,
        ts=event.t * 1_000,
        received_ts=received_ts,
        price=event.p,
        size=event.s,
        exchange=event.x,
        id=event.i if type(event.i) is str else str(event.i),
        epoch=epoch,
        side=side if side in (1, 2) else 0,
    )


def _decimal(text: str) -> float:
    if not (text.isascii() and text.replace(".", "", 1).isdigit()):  # float() would take 1_0, nan and blanks
        raise NormaliseError(f"decimal size {text[:MAX_NAME]!r} is not a number")
    return float(text)
