"""Rows as PostgreSQL's COPY reads them in CSV format, written by msgspec's JSON encoder.

A JSON array without its brackets is such a row, where the escape is the backslash and NULL is ``null``: texts are in
double quotes, numbers are the shortest digits that read back as the same float. Only control characters differ.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

import msgspec

OPTIONS: Final = r"""(FORMAT csv, NULL 'null', QUOTE '"', ESCAPE E'\\')"""
Value = str | float | bool | None
_encode: Final = msgspec.json.Encoder().encode


def line(values: tuple[Value, ...]) -> bytes:
    """One row with its line end, to be read with ``OPTIONS``.

    Raises:
        ValueError: a text holds NUL or a lone surrogate, which no text column can hold.
    """
    row = _encode(values)
    if b"\\" in row:  # JSON escaped something: CSV escapes less
        return b",".join(map(_field, values)) + b"\n"
    return row[1:-1] + b"\n"


def _field(value: Value) -> bytes:
    if not isinstance(value, str):
        return _encode(value)
    if "\0" in value:
        raise ValueError("NUL in a text")
    return b'"' + value.replace("\\", "\\\\").replace('"', '\\"').encode() + b'"'


@lru_cache(maxsize=65_536)
def timestamp(us: int) -> str:
    """Microseconds since the epoch as a TIMESTAMPTZ, exactly. Most stand in many rows: what is known is kept."""
    return f"{_second(us // 1_000_000)}.{us % 1_000_000:06d}+00"


@lru_cache(maxsize=65_536)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%d %H:%M:%S")
