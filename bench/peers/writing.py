"""Writes an input's records as the product's services do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from bench.context import BenchError
from bench.peers.job import Record
from marketdata.records import Clock, Ratio, Reference, Trade, encode
from streaming.producer import Headers, exact_producer, produce

LINGER_MS: Final = 50
"""So that the log holds batches of many records, as that of a busy topic does."""
_HEADERS: Final[dict[type[Record], Headers]] = {
    Ratio: [("kind", b"ratio")],
    Trade: [("kind", b"trade")],
    Reference: [("kind", b"reference")],
    Clock: [("kind", b"clock")],
}


def write_log(
    bootstrap: str, topic: str, log: Iterable[tuple[int, Record]], note: Callable[[int, Record], None]
) -> None:
    """Write every (partition, record) to an empty ``topic``, each once and in order, and ``note`` it too.

    Raises:
        BenchError: the broker does not take them.
    """
    producer = exact_producer(bootstrap, name="bench", linger_ms=LINGER_MS)
    for n, (partition, record) in enumerate(log):
        note(partition, record)
        key = None if isinstance(record, Clock) else record.symbol.encode()
        produce(producer, topic, encode(record), key, partition, _HEADERS[type(record)])
        if n & 0x3FF == 0:
            producer.poll(0)
    if producer.flush(60):
        raise BenchError("the input could not be written within 60 s")
