"""The order of trades: a property of the trade, never of its arrival."""

from __future__ import annotations

IdKey = tuple[int, int, bytes]
OrderKey = tuple[int, int, int, IdKey, int]


def id_key(trade_id: str) -> IdKey:
    """A trade id as it is ordered: an all-digit id as an integer, before all others, which go by their bytes."""
    if trade_id.isascii() and trade_id.isdigit():
        return (0, int(trade_id), b"")
    return (1, 0, trade_id.encode())


def id_text(key: IdKey) -> str:
    """An id that has this key (leading zeros, which do not count, are gone)."""
    return key[2].decode() if key[0] else str(key[1])


def order_key(ts: int, sequence: int, exchange: int, trade_id: str, trf: int) -> OrderKey:
    """(ts, sequence, exchange, trade id), then the TRF, which alone can still tell two identities apart."""
    return (ts, sequence, exchange, id_key(trade_id), trf)
