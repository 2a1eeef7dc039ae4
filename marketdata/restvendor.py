"""The vendor's trades as its REST side gives them, made into the same records as those of the socket.

Source: the vendor's specification of /v3/trades/{ticker}. Times are nanoseconds; a stock trade's is the SIP's, a
crypto trade has only the exchange's. Unknown fields are ignored.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from marketdata.normalise import NormaliseError, normalise
from marketdata.records import Trade
from marketdata.vendor import Code, CryptoTrade, Sequence, StockTrade, Tape

MS_NS: Final = 1_000_000
TimeNs = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class RestTrade(msgspec.Struct, gc=False):
    """One row of a page; it does not name its symbol, which was asked for."""

    price: float
    id: str | int = ""
    size: float = 0
    exchange: Code = 0
    decimal_size: str | None = None
    sip_timestamp: TimeNs | None = None
    participant_timestamp: TimeNs | None = None
    sequence_number: Sequence = 0
    tape: Tape = 0
    trf_id: Code = 0
    trf_timestamp: TimeNs = 0
    conditions: tuple[Code, ...] = ()
    correction: Code = 0


def ticker_of(market: str, symbol: str) -> str:
    """The name REST knows a symbol by: MARA, X:BTCUSD."""
    return symbol if market == "stocks" else "X:" + symbol.replace("-", "")


def rest_trade(market: str, symbol: str, row: RestTrade, received_ts: int, epoch: int) -> Trade:
    """The record of ``row``, as the socket's event of the same trade would have given it, marked as back-filled.

    Raises:
        NormaliseError: a value that no trade can have.
    """
    stocks = market == "stocks"
    ts_ns = row.sip_timestamp if stocks else row.participant_timestamp
    if ts_ns is None:
        raise NormaliseError("a row without its time")
    event = _stock(symbol, row, ts_ns) if stocks else _crypto(symbol, row, ts_ns)
    trade = normalise(event, received_ts, epoch)
    return msgspec.structs.replace(trade, correction=row.correction, backfilled=True, ts_ns=ts_ns)


def _stock(symbol: str, row: RestTrade, ts_ns: int) -> StockTrade:
    return StockTrade(
        sym=symbol,
        p=row.price,
        t=ts_ns // MS_NS,
        i=row.id,
        x=row.exchange,
        s=row.size,
        ds=row.decimal_size,
        c=row.conditions,
        z=row.tape,
        q=row.sequence_number,
        trfi=row.trf_id,
        trft=row.trf_timestamp // MS_NS,
    )


def _crypto(symbol: str, row: RestTrade, ts_ns: int) -> CryptoTrade:
    return CryptoTrade(
        pair=symbol, p=row.price, t=ts_ns // MS_NS, s=row.size, i=row.id, x=row.exchange, c=row.conditions
    )
