"""The placement that Java and aiokafka clients would choose."""

import pytest
from aiokafka.partitioner import murmur2 as aiokafka_murmur2
from hypothesis import given
from hypothesis import strategies as st

from marketdata.partition import murmur2, partition_of

PLACES = {
    "BTC-USD": 3,
    "BTDR": 2,
    "CAN": 5,
    "CIFR": 0,
    "CLSK": 1,
    "CORZ": 3,
    "HIVE": 4,
    "HUT": 4,
    "MARA": 4,
    "RIOT": 0,
}


@pytest.mark.parametrize(("symbol", "partition"), PLACES.items())
def test_default_symbols_stand_where_the_specification_says(symbol: str, partition: int) -> None:
    assert partition_of(symbol, 6) == partition


@given(st.binary(max_size=40))
def test_equals_another_implementation(data: bytes) -> None:
    assert murmur2(data) == aiokafka_murmur2(data) & 0xFFFFFFFF
