"""What the sink writes as COPY text reads back, by PostgreSQL's own rules, as what it was."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.sink import copytext

_UNESCAPE = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def read_field(field: str) -> str | None:
    r"""A field of COPY text as the server reads it: \N is NULL, a backslash escapes what follows."""
    if field == "\\N":
        return None
    return re.sub(r"\\(.)", lambda m: _UNESCAPE.get(m[1], m[1]), field, flags=re.DOTALL)


texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@given(texts)
def test_a_text_reads_back(value: str) -> None:
    written = copytext.text(value)
    assert read_field(written) == value
    assert not set("\t\n\r") & set(written)


@given(st.lists(st.none() | texts, min_size=1))
def test_a_line_of_texts_splits_into_its_fields(values: list[str | None]) -> None:
    line = "\t".join(map(copytext.optional_text, values))
    assert [read_field(field) for field in line.split("\t")] == values


@pytest.mark.parametrize("value", ["\\N", "\\.", "a\\tb", "\\", "a\tb\nc\rd"])
def test_what_copy_gives_a_meaning_stays_plain_text(value: str) -> None:
    assert read_field(copytext.text(value)) == value


@pytest.mark.parametrize("value", ["a\0", "\0", "x\ud800"])
def test_what_no_text_column_can_hold_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match=r"NUL|surrogates"):
        copytext.text(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_keeps_every_digit(value: float) -> None:
    assert float(copytext.number(value)) == value
    assert float(Decimal(copytext.number(value))) == value


def test_no_number_is_null() -> None:
    assert copytext.number(None) == copytext.optional_timestamp(None) == "\\N"


@given(st.integers(0, 4_102_444_800_000_000))
def test_a_time_is_exact_to_the_microsecond(us: int) -> None:
    written = copytext.timestamp(us)
    assert written.endswith("+00")
    assert datetime.fromisoformat(written + ":00") == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)
