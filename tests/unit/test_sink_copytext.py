"""What the sink writes for COPY reads back, by PostgreSQL's own rules of its text format, as what it was."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.sink import copytext


def read_line(line: bytes) -> list[str | None]:
    r"""The fields as the server reads them: ``null`` is NULL, then a character behind \ is itself but for these."""
    text = line.decode()
    assert text.endswith("\n")
    assert not text.startswith("\\.")
    fields: list[str | None] = []
    at, end = 0, len(text) - 1
    while at <= end:
        begin, value = at, ""
        while text[at] not in ",\n":
            assert text[at] != "\r"
            if text[at] == "\\":
                at += 1
                assert text[at] not in "bftv01234567x"
                value += {"n": "\n", "r": "\r"}.get(text[at], text[at])
            else:
                value += text[at]
            at += 1
        fields.append(None if text[begin:at] == "null" else value)
        at += 1
    return fields


texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
values = st.none() | texts | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(values, min_size=1))
def test_a_row_reads_back_field_by_field(row: list[str | float | None]) -> None:
    for found, sent in zip(read_line(copytext.line(tuple(row))), row, strict=True):
        if found is None or sent is None or isinstance(sent, str):
            assert found == sent
        else:
            assert type(sent)(found) == sent
            assert type(sent)(Decimal(found)) == sent


@pytest.mark.parametrize(
    "value", ["null", "", "\\N", "\\.", "\n\\.\n", 'a"b', "\\", "\\\\n", "a\tb\nc\rd,e", "\x01", "é\x7f"]
)
def test_what_copy_gives_a_meaning_stays_plain_text(value: str) -> None:
    assert read_line(copytext.line((value, 1, None, value))) == [value, "1", None, value]


@pytest.mark.parametrize("value", ["a\0", "\0", "x\ud800"])
def test_what_no_text_column_can_hold_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match=r"NUL|surrogates"):
        copytext.line((1, value))


likely = texts | st.text(st.sampled_from('null"\\\\, \n\x7f-.:A1é'))


@given(likely)
def test_a_plain_text_needs_no_looking_for_what_is_not_there(text: str) -> None:
    if copytext.is_plain(text) or (text.isalnum() and text != "null"):  # the latter is how ids are told
        row = (text, None, 1.5, text)
        assert copytext.plain_line(row) == copytext.line(row)
        assert read_line(copytext.plain_line(row))[0] == text


@pytest.mark.parametrize("text", ["MARA", "BRK.A", "BTC-USD", "X:BTCUSD", "1s", "a b"])
def test_a_usual_text_is_plain(text: str) -> None:
    assert copytext.is_plain(text)


@given(st.integers(0, 4_102_444_800_000_000))
def test_a_time_is_exact_to_the_microsecond(us: int) -> None:
    written = copytext.timestamp(us)
    assert written.endswith("+00")
    assert datetime.fromisoformat(written + ":00") == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)
