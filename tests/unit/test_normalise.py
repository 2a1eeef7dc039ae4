from typing import Any

import msgspec
import pytest

from marketdata.normalise import NormaliseError, normalise
from marketdata.records import UNREADABLE, Trade, encode
from marketdata.vendor import VendorTrade

T = 1_709_650_800_123
RECEIVED = T * 1_000 + 5_000
STOCK = {"ev": "T", "sym": "MARA", "p": 20.5, "t": T, "i": "7", "x": 12, "s": 100, "z": 3, "q": 9}
CRYPTO = {"ev": "XT", "pair": "BTC-USD", "p": 65_000.5, "t": T, "s": 0.25, "i": "8", "x": 1, "c": [2]}


def event(base: dict[str, Any], **changes: Any) -> VendorTrade:
    kept = {name: value for name, value in (base | changes).items() if value is not ...}
    decoded: VendorTrade = msgspec.json.decode(msgspec.json.encode(kept), type=VendorTrade)
    return decoded


def trade(base: dict[str, Any], **changes: Any) -> Trade:
    return normalise(event(base, **changes), RECEIVED, 3)


def test_a_stock_trade_keeps_every_field() -> None:
    full = trade(STOCK, c=[14, 41], ds="100.5", trfi=202, trft=T + 1, _corr=8, pt=1, novelty={"a": [1]})
    assert full == Trade(
        symbol="MARA", ts=T * 1_000, received_ts=RECEIVED, price=20.5, size=100.5, exchange=12, id="7", epoch=3,
        conditions=(14, 41), sequence=9, trf=202, trf_ts=(T + 1) * 1_000, tape=3, correction=8,
    )  # fmt: skip


def test_a_crypto_trade_keeps_every_field() -> None:
    assert trade(CRYPTO, r=T + 40) == Trade(
        symbol="BTC-USD", ts=T * 1_000, received_ts=RECEIVED, price=65_000.5, size=0.25, exchange=1, id="8", epoch=3,
        side=2,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "field", "expected"),
    [
        ({"ds": "0.000001", "s": 0}, "size", 0.000001),
        ({"ds": "12.5"}, "size", 12.5),
        ({"ds": None}, "size", 100),
        ({"s": ..., "ds": "3"}, "size", 3),
        ({"s": 0}, "size", 0),
        ({"z": 2.0}, "tape", 2),
        ({"z": ...}, "tape", 0),
        ({"i": 12345678901234567890}, "id", "12345678901234567890"),
        ({"i": 0}, "id", "0"),
        ({"c": ...}, "conditions", ()),
        ({"_corr": 10}, "correction", 10),
        ({"x": ..., "q": ...}, "exchange", 0),
    ],
)
def test_stock_fields(changes: dict[str, Any], field: str, expected: object) -> None:
    found = getattr(trade(STOCK, **changes), field)
    assert found == expected
    assert type(found) is type(expected) or field == "size"


@pytest.mark.parametrize(
    ("conditions", "side"), [([0], 0), ([1], 1), ([2], 2), ([3], 0), ([], 0), (..., 0), ([2, 1], 2)]
)
def test_the_takers_side(conditions: object, side: int) -> None:
    assert trade(CRYPTO, c=conditions).side == side


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"p": 0}, "price 0"),
        ({"p": -1.5}, "price -1.5"),
        ({"s": -1}, "size -1"),
        ({"ds": "-0.5"}, "decimal size '-0.5'"),
        ({"ds": "nan"}, "decimal size 'nan'"),
        ({"ds": "inf"}, "decimal size 'inf'"),
        ({"ds": "1_0"}, "decimal size"),
        ({"s": 1e15}, "size 1000000"),
        ({"p": 1e12}, "price 1000000"),
        ({"ds": "ten"}, "'ten' is not a number"),
        ({"ds": ""}, "'' is not a number"),
        ({"ds": "x" * 10_000}, "is not a number"),
        ({"t": 0}, "time 0"),
        ({"t": T // 1_000}, "milliseconds"),
        ({"t": 4_102_444_800_000}, "milliseconds"),
        ({"sym": ""}, "symbol"),
        ({"sym": "A" * 65}, "symbol"),
        ({"i": ""}, "an id"),
        ({"i": "1" * 65}, "an id"),
    ],
)
def test_what_no_trade_can_have(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(NormaliseError, match=reason) as caught:
        trade(STOCK, **changes)
    assert len(str(caught.value)) < 200


def test_a_crypto_trade_needs_an_id() -> None:
    with pytest.raises(NormaliseError, match="an id"):
        trade(CRYPTO, i=...)


@pytest.mark.parametrize("price", [float("inf"), float("nan")])
def test_a_price_that_is_no_number(price: float) -> None:
    broken = event(STOCK)
    broken.p = price
    with pytest.raises(NormaliseError, match="price"):
        normalise(broken, RECEIVED, 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"t": T * 10**6},
        {"t": T + 0.5},
        {"q": 2**63},
        {"q": -1},
        {"x": 2**31},
        {"trfi": 2**31},
        {"trft": 2**43},
        {"z": 1e308},
        {"c": [2**31]},
        {"c": 12},
        {"_corr": -1},
        {"p": "20.5"},
        {"i": 7.5},
        {"sym": ...},
        {"p": ...},
        {"t": ...},
        {"i": ...},
    ],
)
def test_what_cannot_be_read_as_a_trade(changes: dict[str, Any]) -> None:
    with pytest.raises(UNREADABLE):
        event(STOCK, **changes)


def test_the_greatest_values_that_are_read_can_be_written() -> None:
    greatest = trade(STOCK, q=2**63 - 1, x=2**31 - 1, trft=2**43 - 1, z=2.0**31 - 129, p=9e11)
    assert msgspec.json.decode(encode(greatest), type=Trade) == greatest


def test_a_time_far_after_its_receipt_is_refused() -> None:
    event = msgspec.json.decode(
        b'{"ev":"T","sym":"MARA","p":1.0,"s":1,"t":1700003600001,"i":"1","x":4}', type=VendorTrade
    )
    with pytest.raises(NormaliseError, match="after its receipt"):
        normalise(event, 1_700_000_000_000_000, 1)
