"""``market actions load`` and the adjusted views, on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from market.actions.store import load
from market.cli import app
from market.stack import StackError
from marketdata.actions import Action, ActionsError, ActionTable, Rename, Split, parse_actions
from services.sink.migrate import migrate, read_migrations
from services.sink.storage import PLAIN

pytestmark = pytest.mark.integration
HEADING = "kind,symbol,day,from,to\n"
NOW = 30_000
Row = dict[str, Any]


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database, autocommit=True) as made:
        migrate(made, "public", PLAIN, read_migrations())
        yield made


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def put(
    connection: psycopg.Connection[Any],
    symbol: str,
    start: datetime,
    *,
    length: timedelta = timedelta(minutes=1),
    interval: str = "1m",
    close: str | None = "100",
    ratio: str | None = "0.001",
) -> None:
    """A candle whose prices are ``close``, its vwap a half more, with a volume of 700."""
    values = {
        "symbol": symbol, "interval": interval, "hours": "all", "start": start, "end": start + length,
        "market": "stocks", "session": "regular",
        "open": close, "high": close, "low": close, "close": close, "avg": close,
        "vwap": None if close is None else Decimal(close) * Decimal("1.5"), "volume": 700, "tick_count": 3,
        "trade_count": 4, "ratio_open": ratio, "ratio_high": ratio, "ratio_low": ratio, "ratio_close": ratio,
        "ratio_avg": ratio, "ratio_twap": ratio, "ratio_tick_count": 3, "revision": 0,
        "timestamp_out": start + length, "latency_ms": 250, "src_partition": 0, "src_offset": 0, "src_n": 0,
    }  # fmt: skip
    columns = ", ".join(f'"{name}"' for name in values)
    connection.execute(
        f"INSERT INTO candles ({columns}) VALUES ({', '.join(['%s'] * len(values))})", list(values.values())
    )


def read(connection: psycopg.Connection[Any], where: str = "true") -> list[Row]:
    with connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        return cursor.execute(f"SELECT * FROM candles_adjusted WHERE {where} ORDER BY start, symbol").fetchall()


def closes(connection: psycopg.Connection[Any], symbol: str) -> list[tuple[str, Decimal]]:
    return [(row["traded_as"], row["close"]) for row in read(connection, f"symbol = '{symbol}'")]


def test_another_schema_has_its_own(connection: psycopg.Connection[Any], database: str) -> None:
    with psycopg.connect(database, autocommit=True) as other:
        migrate(other, "replay_1", PLAIN, read_migrations())
    put(connection, "X", at("2024-01-02 15:00"))
    load(database, "replay_1", parse_actions(HEADING + "split,X,2025-01-02,1,2\n"))
    assert connection.execute("SELECT count(*) FROM replay_1.candle_adjustments").fetchone() == (1,)
    assert closes(connection, "X") == [("X", 100)]


def test_what_a_user_changes_by_hand_counts_at_once(connection: psycopg.Connection[Any]) -> None:
    put(connection, "X", at("2024-01-02 15:00"))
    connection.execute("INSERT INTO corporate_actions VALUES ('split', 'X', '2025-01-02', 1, 2, NULL)")
    assert closes(connection, "X") == [("X", 50)]
    connection.execute("UPDATE corporate_actions SET new_shares = 4")
    assert closes(connection, "X") == [("X", 25)]
    connection.execute("TRUNCATE corporate_actions")
    assert closes(connection, "X") == [("X", 100)]


def test_without_actions_the_view_is_the_table(connection: psycopg.Connection[Any]) -> None:
    put(connection, "MARA", at("2024-01-02 15:00"), close="17.4250")
    put(connection, "MARA", at("2024-01-02 15:01"), close=None, ratio=None)
    columns = (
        'symbol, interval, hours, start, "end", market, session, open, high, low, close, avg, vwap, volume, '
        "tick_count, trade_count, ratio_open, ratio_high, ratio_low, ratio_close, ratio_avg, ratio_twap, "
        "ratio_tick_count, revision, timestamp_out, known_at"
    )
    raw = connection.execute(f"SELECT {columns} FROM candles ORDER BY start").fetchall()
    seen = connection.execute(f"SELECT {columns} FROM candles_adjusted ORDER BY start").fetchall()
    assert [[repr(value) for value in row] for row in seen] == [[repr(value) for value in row] for row in raw]
    assert [(row["traded_as"], row["price_factor"]) for row in read(connection)] == [("MARA", 1), ("MARA", 1)]


def test_a_split_changes_what_stands_before_its_day(connection: psycopg.Connection[Any], database: str) -> None:
    for day in ("2020-08-28", "2020-08-31"):
        put(connection, "AAPL", at(f"{day} 15:00"), close="500")
    put(connection, "AAPL", at("2020-08-30 15:00"), close=None, ratio=None)
    load(database, "public", parse_actions(HEADING + "split,AAPL,2020-08-31,1,4\n"))
    before, empty, after = read(connection)
    prices = ("open", "high", "low", "close", "avg")
    assert [before[name] for name in prices] == [125] * 5
    assert (before["vwap"], before["volume"], before["price_factor"]) == (Decimal("187.5"), 2_800, Decimal("0.25"))
    assert [before[f"ratio_{name}"] for name in (*prices, "twap")] == [Decimal("0.00025")] * 6
    assert (before["tick_count"], before["trade_count"], before["traded_as"]) == (3, 4, "AAPL")
    assert (empty["close"], empty["vwap"], empty["volume"]) == (None, None, 2_800)
    assert (after["close"], after["volume"], after["price_factor"]) == (500, 700, 1)
    raw = connection.execute("SELECT close, volume FROM candles ORDER BY start").fetchall()
    assert raw == [(500, 700), (None, 700), (500, 700)], "the raw ones stay"


def test_several_splits_multiply_and_a_reverse_split_raises(
    connection: psycopg.Connection[Any], database: str
) -> None:
    for day in ("2019-01-02", "2021-01-04", "2023-01-03", "2025-01-02"):
        put(connection, "X", at(f"{day} 15:00"), close="7")
    lines = "split,X,2020-01-02,1,7\nsplit,X,2022-01-03,50,1\nsplit,X,2024-01-02,2,3\n"
    load(database, "public", parse_actions(HEADING + lines))
    found = [close for _, close in closes(connection, "X")]
    wanted = [7 * Fraction(1, 7) * 50 * Fraction(2, 3), 7 * 50 * Fraction(2, 3), 7 * Fraction(2, 3), Fraction(7)]
    for close, want in zip(found, wanted, strict=True):
        assert abs(Fraction(close) / want - 1) < Fraction(1, 10**15)


def test_a_candle_belongs_to_the_trading_day_it_ends_in(connection: psycopg.Connection[Any], database: str) -> None:
    """20:00 New York is 01:00 UTC of the next day; the day of a longer candle is that of its end."""
    load(database, "public", parse_actions(HEADING + "split,X,2026-01-07,1,2\n"))
    put(connection, "X", at("2026-01-07 00:58"))
    put(connection, "X", at("2026-01-07 04:59"))
    put(connection, "X", at("2026-01-07 05:00"))
    for day in ("2026-01-06", "2026-01-07"):
        put(connection, "X", at(f"{day} 00:00"), length=timedelta(days=1), interval="24h")
    found = {(row["interval"], f"{row['start'].astimezone(UTC):%d %H:%M}"): row["close"] for row in read(connection)}
    assert found == {
        ("1m", "07 00:58"): 50,
        ("1m", "07 04:59"): 50,
        ("1m", "07 05:00"): 100,
        ("24h", "06 00:00"): 50,
        ("24h", "07 00:00"): 100,
    }


def test_a_company_has_its_newest_name_and_another_of_the_old_name_keeps_it(
    connection: psycopg.Connection[Any], database: str
) -> None:
    put(connection, "FB", at("2021-01-04 15:00"))
    put(connection, "FB", at("2022-06-08 15:00"))
    put(connection, "META", at("2022-06-09 15:00"))
    put(connection, "FB", at("2025-01-02 15:00"), close="9")
    put(connection, "META", at("2025-01-02 15:00"))
    put(connection, "MARA", at("2025-01-02 15:00"))
    lines = "rename,FB,2022-06-09,FB,META\nsplit,META,2024-01-02,1,2\nsplit,FB,2022-01-03,1,5\n"
    load(database, "public", parse_actions(HEADING + lines))
    assert closes(connection, "META") == [("FB", 10), ("FB", 50), ("META", 50), ("META", 100)]
    assert closes(connection, "FB") == [("FB", 9)], "another company's"
    assert closes(connection, "MARA") == [("MARA", 100)]
    assert len(read(connection)) == 6


def some_actions(rng: Random, days: int) -> ActionTable:
    while True:
        actions: list[Action] = []
        for _ in range(rng.randrange(9)):
            day = rng.randrange(1, days)
            if rng.random() < 0.4:
                old, new = rng.sample("ABCD", 2)
                actions.append(Rename(old, new, day))
            else:
                old_shares, new_shares = rng.sample(range(1, 21), 2)
                actions.append(Split(rng.choice("ABCD"), day, Decimal(old_shares), Decimal(new_shares)))
        try:
            return ActionTable(actions)
        except ActionsError:
            continue


def test_the_view_says_what_the_table_in_python_says(connection: psycopg.Connection[Any], database: str) -> None:
    days, rng = 12, Random(5)
    for symbol in "ABCD":
        for day in range(days):
            put(connection, symbol, datetime(1970, 1, 1, 15, tzinfo=UTC) + timedelta(days=day))
    renamed = split = 0
    for _ in range(60):
        table = some_actions(rng, days)
        load(database, "public", table)
        rows = read(connection)
        assert len(rows) == 4 * days
        for row in rows:
            day, name = (row["start"].date() - date(1970, 1, 1)).days, row["traded_as"]
            want = table.factor(name, day, NOW)
            assert row["symbol"] == table.newest_name(name, day), (table.actions, day, name)
            for value, wanted in (
                (row["close"], 100 * want),
                (row["price_factor"], want),
                (row["volume"], 700 / want),
            ):
                assert abs(Fraction(value) / wanted - 1) < Fraction(1, 10**14), (table.actions, day, name)
            renamed, split = renamed + (row["symbol"] != name), split + (want != 1)
    assert renamed > 100
    assert split > 400


def test_a_symbols_candles_are_found_by_the_index(connection: psycopg.Connection[Any], database: str) -> None:
    load(database, "public", parse_actions(HEADING + "rename,S1,2024-06-03,S1,T1\nsplit,S2,2024-06-03,1,2\n"))
    connection.execute(
        'INSERT INTO candles (symbol, interval, hours, start, "end", market, close, volume, tick_count, trade_count, '
        "revision, timestamp_out, latency_ms, src_partition, src_offset, src_n) "
        "SELECT 'S' || n % 100, '1m', 'all', moment, moment + INTERVAL '1 minute', 'stocks', 100, 1, 1, 1, 0, "
        "moment, 1, 0, 0, 0 FROM generate_series(1, 40000) AS n, "
        "LATERAL (SELECT TIMESTAMPTZ '2024-06-02 00:00Z' + n * INTERVAL '5 seconds' AS moment) AS times"
    )
    connection.execute("ANALYZE candles")
    for symbol in ("S2", "T1", "S7"):
        plan = connection.execute(
            f"EXPLAIN SELECT * FROM candles_adjusted WHERE symbol = '{symbol}' AND interval = '1m'"
        ).fetchall()
        text = "\n".join(line for (line,) in plan)
        assert "Seq Scan on candles c" not in text, text
        assert "JIT" not in text, "it would compile for seconds what takes milliseconds"
    assert {close for _, close in closes(connection, "S2")} == {50, 100}
    assert {name for name, _ in closes(connection, "T1")} == {"S1"}


def market(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["actions", *arguments], catch_exceptions=False)


def test_the_command_loads_a_file_and_twice_does_no_harm(
    connection: psycopg.Connection[Any], database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTGRES_DSN", database)
    monkeypatch.delenv("DATABASE_SCHEMA", raising=False)
    path = tmp_path / "actions.csv"
    path.write_text(HEADING + "split,AAPL,2020-08-31,1,4\nrename,FB,2022-06-09,FB,META\n")
    said = [market("load", "--file", str(path)).stderr for _ in range(2)]
    assert said == [
        "schema public: 2 added, 0 removed, 0 as before\n",
        "schema public: 0 added, 0 removed, 2 as before\n",
    ]
    path.write_text(
        HEADING + "split,AAPL,2020-08-31,1,5\nrename,FB,2022-06-09,FB,META\nsplit,GE,2023-01-04,1,1.281\n"
    )
    assert market("load", "--file", str(path)).stderr == "schema public: 2 added, 1 removed, 1 as before\n"
    rows = connection.execute(
        "SELECT kind, symbol, day, old_shares, new_shares, new_symbol FROM corporate_actions ORDER BY day"
    ).fetchall()
    assert rows == [
        ("split", "AAPL", date(2020, 8, 31), 1, 5, None),
        ("rename", "FB", date(2022, 6, 9), None, None, "META"),
        ("split", "GE", date(2023, 1, 4), 1, Decimal("1.281"), None),
    ]


def test_a_schema_of_another_version_and_an_absent_database_are_said(database: str) -> None:
    with pytest.raises(
        StackError, match="schema public has no table corporate_actions yet: start this version's sink"
    ):
        load(database, "public", ActionTable())
    with pytest.raises(StackError, match="the database refuses"):
        load("postgresql://postgres@127.0.0.1:1/none", "public", ActionTable())


@pytest.mark.parametrize(
    "values",
    [
        "('split', 'X', '2020-01-01', 1, NULL, NULL)",
        "('split', 'X', '2020-01-01', 0, 2, NULL)",
        "('split', 'X', '2020-01-01', 1, 2, 'Y')",
        "('rename', 'X', '2020-01-01', NULL, NULL, NULL)",
        "('rename', 'X', '2020-01-01', NULL, NULL, 'X')",
        "('rename', 'X', '2020-01-01', 1, 2, 'Y')",
        "('merger', 'X', '2020-01-01', NULL, NULL, 'Y')",
        "('rename', 'X', 'infinity', NULL, NULL, 'Y')",
    ],
)
def test_the_database_refuses_what_cannot_be(connection: psycopg.Connection[Any], values: str) -> None:
    columns = "kind, symbol, day, old_shares, new_shares, new_symbol"
    with pytest.raises(psycopg.errors.CheckViolation):
        connection.execute(f"INSERT INTO corporate_actions ({columns}) VALUES {values}")
