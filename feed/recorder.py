"""Writes recordings of the simulated market: the same bytes for the same seed."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import msgspec

from feed.activity import STEP_MS
from feed.events import CRYPTO, STOCKS
from feed.model import MarketModel


def record(out: Path, symbols: list[str], seed: int, *, trades: int, seconds: int, start_ms: int) -> dict[str, Path]:
    """Write `stocks.jsonl.gz` and `crypto.jsonl.gz` with `trades` trades in all, ascending by event time.

    Late TRF prints stand at their own time `t`, as in a file bought from the vendor. Returns the path of each
    cluster's file.
    """
    model = MarketModel(symbols, seed, trades / seconds, start_ms, block_seconds=seconds)
    paths = {cluster: out / f"{cluster}.jsonl.gz" for cluster in (STOCKS, CRYPTO)}
    encode_into = msgspec.json.Encoder().encode
    out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        stocks, crypto = (stack.enter_context(_gzip(path)) for path in paths.values())
        for _ in range(seconds * 1000 // STEP_MS):
            for event in model.step():
                (stocks if event.ev == "T" else crypto).write(encode_into(event.payload) + b"\n")
    return paths


@contextmanager
def _gzip(path: Path) -> Iterator[IO[bytes]]:
    """A gzip file without name and time in its header, so that equal contents are equal bytes."""
    with (
        path.open("wb") as raw,
        gzip.GzipFile("", "wb", compresslevel=5, fileobj=raw, mtime=0) as packed,
    ):
        yield packed  # type: ignore[misc]
