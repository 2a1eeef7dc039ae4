"""Values as PostgreSQL's COPY text format writes them."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

NULL: Final = "\\N"
_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def text(value: str) -> str:
    r"""``value`` with backslash, tab and line ends escaped.

    Raises:
        ValueError: it holds NUL or a lone surrogate, which no text column can hold.
    """
    if value.isalnum():
        return value
    if "\0" in value:
        raise ValueError("NUL in a text")
    value.encode()
    return value.translate(_ESCAPES)


def optional_text(value: str | None) -> str:
    r"""As ``text``, with \N for None."""
    return NULL if value is None else text(value)


def number(value: float | None) -> str:
    r"""The shortest digits that read back as ``value``, which DECIMAL then holds exactly; \N for None."""
    return NULL if value is None else repr(value)


def flag(value: bool) -> str:
    """A boolean."""
    return "t" if value else "f"


def timestamp(us: int) -> str:
    """Microseconds since the epoch as a TIMESTAMPTZ, exactly."""
    second, fraction = divmod(us, 1_000_000)
    return f"{_second(second)}.{fraction:06d}+00"


def optional_timestamp(us: int | None) -> str:
    r"""As ``timestamp``, with \N for None."""
    return NULL if us is None else timestamp(us)


@lru_cache(maxsize=8192)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%d %H:%M:%S")
