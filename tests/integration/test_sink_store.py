"""How rows get into the tables: COPY while their keys are new, merged while they are known, and what that leaves."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import Any

import psycopg
import pytest

from marketdata.records import Candle, Ratio
from marketdata.units import DAY_US
from services.sink import metrics
from services.sink.batch import Batch
from services.sink.database import Database
from services.sink.positions import LogId, Move
from services.sink.rows import candle_line, feature_line, tick_line
from services.sink.settings import SinkSettings
from services.sink.tables import CANDLES, FEATURES, TICKS, Table
from tests.integration.test_sink_support import BASE_US, candle, ratio

pytestmark = pytest.mark.integration
PLACE = ("ratios", 0)


class Writer:
    """A sink's database side, given one batch after the other."""

    def __init__(self, dsn: str) -> None:
        self.database = Database(SinkSettings(postgres_dsn=dsn), threading.Event())
        self.database.prepare()
        self.database.claim([PLACE], LogId("c", {"ratios": "a"}))
        self._at = 0

    def write(self, ticks: Iterable[Ratio] = (), candles: Iterable[Candle] = ()) -> None:
        batch = Batch(days={(TICKS.name, BASE_US // DAY_US)})
        for tick in ticks:
            batch.add(TICKS, tick_line(tick), tick.revision)
        for made in candles:
            batch.add(CANDLES, candle_line(made, "stocks"), made.revision)
            batch.add(FEATURES, feature_line(made, "stocks"), made.revision)
        batch.moves = {PLACE: Move(self._at, self._at + 1, (0, self._at, 0))}
        self._at += 1
        self.database.write(batch)


@pytest.fixture
def writer(database: str) -> Iterator[Writer]:
    made = Writer(database)
    yield made
    made.database.close()


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database, autocommit=True) as made:
        yield made


def ways(table: Table) -> tuple[float, float]:
    """How often its rows were copied and merged."""
    copied, merged = (metrics.WRITES.labels(table.name, way)._value.get() for way in ("copy", "merge"))
    return copied, merged


def test_known_rows_are_merged_until_all_of_a_batch_are_new(writer: Writer, connection: Any) -> None:
    ticks = [ratio(n) for n in range(70)]
    copied, merged = ways(TICKS)
    for batch, expected in (
        (ticks[:20], (1, 0)),
        (ticks[:20], (1, 1)),  # all known: its COPY fails first
        (ticks[10:30], (1, 2)),  # some known: no COPY is tried
        (ticks[30:40], (1, 3)),  # all new
        (ticks[40:60], (2, 3)),
        (ticks[59:], (2, 4)),
    ):
        writer.write(batch)
        assert ways(TICKS) == (copied + expected[0], merged + expected[1])
    rows = connection.execute("SELECT trade_id FROM ratio_ticks_live ORDER BY src_offset").fetchall()
    assert rows == [(tick.id,) for tick in ticks]


def test_a_row_that_is_known_is_not_touched(writer: Writer, connection: Any) -> None:
    """To lock it, as a conflict does, would write it and its log once more for nothing."""
    ticks, candles = [ratio(n) for n in range(50)], [candle(n) for n in range(50)]
    stored: dict[str, list[Any]] = {}
    for _ in range(3):
        writer.write(ticks, candles)
        for table in ("ratio_ticks_live", "candles", "features"):
            found = connection.execute(f"SELECT ctid, xmin, xmax FROM {table} ORDER BY 1").fetchall()
            assert len(found) == 50
            assert all(locker == "0" for _, _, locker in found)
            assert stored.setdefault(table, found) == found


def test_known_keys_in_several_tables_and_a_key_twice_in_one_batch(writer: Writer, connection: Any) -> None:
    first, second = candle(0), candle(1)
    writer.write([ratio(0)], [first])
    writer.write([ratio(0), ratio(1), ratio(1)], [first, second, candle(1, revision=1, close=3.0)])
    assert connection.execute("SELECT count(*) FROM ratio_ticks_live").fetchone() == (2,)
    for table, history in (("candles", "candle_revisions"), ("features", "feature_revisions")):
        assert connection.execute(f"SELECT revision FROM {table} ORDER BY start").fetchall() == [(0,), (1,)]
        assert connection.execute(f"SELECT revision FROM {history}").fetchall() == [(0,)]


def test_what_is_read_again_after_it_was_revised_changes_nothing(writer: Writer, connection: Any) -> None:
    """Its first revision is older than the stored one: it stands in the history, once."""
    records = [candle(0), candle(0, revision=1, close=3.0), candle(0, revision=2, close=4.0)]
    for made in records:
        writer.write(candles=[made])
    every = "SELECT revision, close FROM candles UNION ALL SELECT revision, close FROM candle_revisions ORDER BY 1"
    known = connection.execute(every).fetchall()
    assert [revision for revision, _ in known] == [0, 1, 2]
    writer.write(candles=records)
    for made in records:
        writer.write(candles=[made])
    assert connection.execute(every).fetchall() == known
    assert connection.execute("SELECT revision FROM candles").fetchall() == [(2,)]
