"""The Retry-After header, which is a number of seconds or a date."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Final

MOST_S: Final = 300.0


def seconds_of(header: str | None, now: float) -> float | None:
    """How long to wait from ``now`` (seconds since the epoch), at most five minutes; None where it does not say."""
    if header is None:
        return None
    text = header.strip()
    try:
        seconds = float(text) if text.replace(".", "", 1).isdigit() else parsedate_to_datetime(text).timestamp() - now
    except (ValueError, OverflowError):
        return None
    return min(max(seconds, 0.0), MOST_S)
