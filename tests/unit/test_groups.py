"""A member's assignment is read as Kafka writes it, and nothing else is taken for one."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.groups import assigned

PLACES = st.dictionaries(st.text(max_size=20), st.lists(st.integers(0, 1_000), max_size=5), max_size=5)


def encoded(places: dict[str, list[int]], version: int = 1, user_data: bytes = b"") -> bytes:
    value = struct.pack(">hi", version, len(places))
    for topic, partitions in places.items():
        name = topic.encode()
        value += struct.pack(">h", len(name)) + name
        value += struct.pack(f">i{len(partitions)}i", len(partitions), *partitions)
    return value + struct.pack(">i", len(user_data)) + user_data


@given(PLACES, st.binary(max_size=10))
def test_it_reads_what_was_assigned(places: dict[str, list[int]], user_data: bytes) -> None:
    expected = [(topic, p) for topic, partitions in places.items() for p in partitions]
    assert assigned(encoded(places, user_data=user_data)) == expected


def test_nothing_is_no_assignment() -> None:
    assert assigned(b"") == []


@given(PLACES.filter(bool), st.data())
def test_what_is_cut_off_is_refused(places: dict[str, list[int]], data: st.DataObject) -> None:
    whole = encoded(places)[:-4]
    with pytest.raises(ValueError, match="not a member's assignment"):
        assigned(whole[: data.draw(st.integers(1, len(whole) - 1))])
