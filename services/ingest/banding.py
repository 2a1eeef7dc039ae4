"""Price bands of the feed: each is written, what is none becomes a dead letter."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from marketdata.bands import band_of
from marketdata.normalise import NormaliseError
from marketdata.vendor import LuldBand
from services.ingest.writer import Writer


def take_bands(writer: Writer, market: str, events: Iterable[LuldBand], received_ts: int) -> None:
    """Write the bands of one frame of ``market``, received at ``received_ts`` µs."""
    for event in events:
        try:
            if market != "stocks":
                raise NormaliseError(f"{type(event).__name__} on the {market} cluster")
            writer.band(band_of(event, received_ts, writer.epoch))
        except NormaliseError as error:
            writer.dead_letter(str(error), msgspec.json.encode(event), received_ts)
