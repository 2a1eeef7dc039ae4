"""What one transaction will write."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final

from marketdata.records import DeadLetter
from services.sink.positions import Move
from services.sink.tables import Table
from streaming.places import Place

MOST_BYTES: Final = 64 * 1024 * 1024


@dataclass(slots=True)
class Lines:
    """COPY lines of one table: first ones, and those that replace what may stand already."""

    fresh: list[bytes] = field(default_factory=list)
    revised: list[bytes] = field(default_factory=list)


@dataclass(slots=True)
class Batch:
    """Rows and the steps of the positions that belong to them."""

    tables: dict[Table, Lines] = field(default_factory=lambda: defaultdict(Lines))
    days: set[tuple[str, int]] = field(default_factory=set)
    dead: list[DeadLetter] = field(default_factory=list)
    moves: dict[Place, Move] = field(default_factory=dict)
    published: list[int] = field(default_factory=list)
    traces: list[tuple[bytes, int]] = field(default_factory=list)
    """Of records that are traced: the header, and when the record was taken in µs."""
    rows: int = 0
    size: int = 0
    """Bytes of rows and dead letters."""

    def add(self, table: Table, line: bytes, revision: int = 0, published: int | None = None) -> None:
        """One row and the time its record was published, where the record says so."""
        lines = self.tables[table]
        (lines.revised if revision else lines.fresh).append(line)
        if published is not None:
            self.published.append(published)
        self.rows += 1
        self.size += len(line)

    def refuse(self, letter: DeadLetter) -> None:
        """One record that gives no row."""
        self.dead.append(letter)
        self.size += len(letter.raw)

    def is_full(self, limit_rows: int) -> bool:
        """Whether no more may be read into it while the database takes nothing."""
        return self.rows + len(self.dead) >= limit_rows or self.size >= MOST_BYTES
