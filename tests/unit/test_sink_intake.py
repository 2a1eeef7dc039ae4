"""Records into rows: which are taken, which are refused, and where the positions then stand."""

from __future__ import annotations

import re
from datetime import date
from typing import Any

import msgspec
import pytest
from confluent_kafka import Message
from hypothesis import given
from hypothesis import strategies as st

from marketdata.records import Candle, DeadLetter, Gap, LateTrade, PriceBlock, Quote, Ratio, RatioBlock, encode
from marketdata.units import DAY_US
from services.sink.intake import Intake
from services.sink.migrate import read_migrations
from services.sink.partitions import partition_name
from services.sink.positions import Move, Position
from services.sink.rows import candle_line, tick_line
from services.sink.settings import SinkSettings
from services.sink.tables import AGGREGATES, CANDLES, DEAD_LETTERS, GAPS, LATE, QUOTES, TABLES, TICKS
from streaming.deadletters import MostlyUnreadableError
from tests.unit.test_sink_copytext import read_line

TS = 1_514_903_400_000_000
RATIO = Ratio(
    symbol="MARA", ts=TS, received_ts=TS + 1, exchange=4, id="a", epoch=1, stock_price=20.5, stock_size=5.5,
    stock_volume=5, eligible=True, updates_open_close=False, updates_volume=True, src=(0, 1, 0), timestamp_out=TS + 2,
    reference=None, btc_price=None, btc_ts=None, btc_age_us=None, btc_volume=None, ratio=None, inverse_ratio=None,
    reason="no_reference",
)  # fmt: skip
CANDLE = Candle(
    symbol="MARA", interval="500ms", hours="all", timestamp_in=TS, end=TS + 500_000, timestamp_out=TS + 9,
    latency_ms=1.5, revision=0, src=(0, 1, 0), ratio=None,
    price=PriceBlock(open=None, high=None, low=None, close=None, avg=None, vwap=None, volume=3.0, tick_count=0,
                     trade_count=1),
)  # fmt: skip
LATE_TRADE = LateTrade(
    symbol="MARA", ts=TS, received_ts=TS + 5, price=1.5, size=2.0, exchange=4, id="x", reason="past_horizon",
    src=(0, 1, 0), correction=12,
)  # fmt: skip
BLOCK = RatioBlock(open=0.1, high=0.1, low=0.1, close=0.1, avg=0.1, twap=0.1, tick_count=1)


def message(
    at: int, body: bytes | None, kind: bytes | None = b"ratio", name: str = "ratios",
    more: list[tuple[str, bytes]] | None = None,
) -> Message:  # fmt: skip
    """A record as Kafka's client gives it, of partition 0."""
    headers = [*([("kind", kind)] if kind is not None else []), *(more or [])]
    return Message(topic=name, partition=0, offset=at, value=body, headers=headers or None)


SETTINGS = SinkSettings(namespace="", intervals=("500ms", "1m"))
STOCKS, CRYPTO = "candles.stocks.500ms", "candles.crypto.500ms"
REBUILT, LATE_STOCKS, RETRY = "candles.rebuilt.stocks", "trades.late.stocks", "sink.retry"


def intake(next_offset: int = 0, src: Any = None) -> Intake:
    made = Intake(SETTINGS, lambda: TS)
    made.place({(name, 0): Position(next_offset, src) for name in made.topics})
    return made


def send(made: Intake, *records: Any, name: str = "ratios") -> None:
    start = made._next[name, 0]
    made.take([message(start + n, encode(record), None, name) for n, record in enumerate(records)])


def with_(record: Any, **changes: Any) -> Any:
    return msgspec.structs.replace(record, **changes)


def fields(line: bytes) -> dict[str, str | None]:
    return dict(zip(TICKS.columns, read_line(line), strict=True))


def test_a_tick_in_its_columns() -> None:
    row = fields(tick_line(RATIO))
    assert row["time"] == "2018-01-02 14:30:00.000000+00"
    assert (row["symbol"], row["stock_price"], row["stock_volume"], row["stock_size"]) == ("MARA", "20.5", "5", "5.5")
    assert (row["eligible"], row["updates_open_close"], row["updates_volume"]) == ("true", "false", "true")
    assert {row[c] for c in ("btc_price", "ratio", "inverse_ratio", "btc_time", "btc_age_us")} == {None}
    assert (row["src_partition"], row["src_offset"], row["src_n"]) == ("0", "1", "0")


def test_a_candle_fills_its_columns_with_and_without_ratio() -> None:
    for block in (None, BLOCK):
        line = candle_line(with_(CANDLE, ratio=block), "stocks")
        assert len(read_line(line)) == len(CANDLES.columns)


@given(st.text(max_size=10), st.text(max_size=64), st.none() | st.text(max_size=1_000))
def test_any_texts_give_a_whole_line_or_a_refusal(symbol: str, trade_id: str, reference: str | None) -> None:
    try:
        line = tick_line(with_(RATIO, symbol=symbol, id=trade_id, reference=reference))
    except ValueError:
        assert "\0" in symbol + trade_id + (reference or "")
        return
    row = fields(line)
    assert (row["symbol"], row["trade_id"], row["reference"]) == (symbol, trade_id, reference)


@pytest.mark.parametrize(
    "changes",
    [
        {"symbol": "ELEVENCHARS"}, {"ts": 1}, {"received_ts": 0}, {"timestamp_out": 10**17}, {"btc_ts": 5},
        {"id": "x" * 65}, {"id": "\0"}, {"exchange": 2**31}, {"exchange": -1}, {"trf": 2**40}, {"revision": -1},
        {"stock_volume": 2**63}, {"sequence": 2**63}, {"btc_age_us": 2**63}, {"reference": "r" * 1_001},
        {"reason": "unknown"},
        {"src": (0, -1, 0)}, {"src": (0, 2**63, 0)}, {"src": (2**31, 1, 0)},
    ],
)  # fmt: skip
def test_what_a_column_cannot_hold_is_a_dead_letter_and_moves_no_src(changes: dict[str, Any]) -> None:
    made = intake()
    send(made, with_(RATIO, **changes), with_(RATIO, src=(0, 2, 0)))
    assert [len(made.batch.dead), made.batch.rows] == [1, 1]
    assert made.batch.dead[0].offset == 0
    assert made.seal().moves["ratios", 0] == Move(0, 2, (0, 2, 0))


def test_only_increasing_src_is_taken_from_the_stored_one_on() -> None:
    made = intake(src=(0, 5, 0))
    send(made, *(with_(RATIO, src=(0, offset, 0), id=f"t{offset}") for offset in (4, 5, 6, 6, 8, 7)))
    assert [fields(line)["trade_id"] for line in made.batch.tables[TICKS].fresh] == ["t6", "t8"]


@pytest.mark.parametrize("kind", [b"clock", b"reference", b"something_new"])
def test_other_kinds_are_passed_by_undecoded_and_the_position_moves(kind: bytes) -> None:
    made = intake()
    made.take([message(0, b"no JSON", kind), message(1, None, kind)])
    batch = made.seal()
    assert (batch.rows, batch.dead, batch.moves) == (0, [], {("ratios", 0): Move(0, 2, None)})


@pytest.mark.parametrize("correction", [10, 11, 12])
def test_correction_records_give_no_tick(correction: int) -> None:
    made = intake()
    send(made, with_(RATIO, correction=correction))
    assert (made.batch.rows, made.batch.dead) == (0, [])


def test_aggregates_come_from_stocks_over_all_hours_with_a_ratio() -> None:
    made = intake()
    send(
        made,
        with_(CANDLE, ratio=BLOCK, src=(0, 1, 0)),
        with_(CANDLE, ratio=BLOCK, src=(0, 2, 0), hours="regular"),
        with_(CANDLE, src=(0, 3, 0)),
        with_(CANDLE, ratio=BLOCK, src=(0, 4, 0), revision=1),
        with_(CANDLE, src=(0, 5, 0), revision=2),
        name=STOCKS,
    )
    send(made, with_(CANDLE, ratio=BLOCK), name=CRYPTO)
    lines = made.batch.tables
    assert (len(lines[AGGREGATES].fresh), len(lines[AGGREGATES].revised)) == (1, 1)
    assert (len(lines[CANDLES].fresh), len(lines[CANDLES].revised)) == (4, 2)
    assert made.batch.dead == []


def test_a_candle_on_the_topic_of_another_interval_is_a_dead_letter() -> None:
    made = intake()
    send(made, with_(CANDLE, interval="1m"), name=STOCKS)
    assert (made.batch.rows, len(made.batch.dead)) == (0, 1)


def test_rebuilt_candles_of_every_interval_come_on_one_topic() -> None:
    made = intake()
    send(
        made,
        with_(CANDLE, ratio=BLOCK, revision=3, src=(0, TS, 0)),
        with_(CANDLE, interval="1m", revision=1, src=(0, TS, 1)),
        with_(CANDLE, interval="1m", revision=2, src=(0, TS, 1)),  # sent twice
        name=REBUILT,
    )
    assert [len(made.batch.tables[t].revised) for t in (CANDLES, AGGREGATES)] == [2, 1]
    assert made.seal().moves[REBUILT, 0] == Move(0, 3, (0, TS, 1))


def test_late_trades_gaps_and_letters_fill_their_columns() -> None:
    made = intake()
    send(made, LATE_TRADE, with_(LATE_TRADE, src=(0, 1, 0)), name=LATE_STOCKS)
    send(made, Gap(cluster="crypto", start=TS, end=None, status="open", epoch=1), name="feed.gaps")
    send(
        made,
        DeadLetter(service="ratio", reason="a\0b", raw=b"\x00\\\xff", ts=TS, topic="t", partition=1, offset=2),
        DeadLetter(service="ingest", reason="r", raw=b"", ts=TS),
        name="ingest.dlq",
    )
    assert made.batch.dead == []
    lines = made.batch.tables
    late = [dict(zip(LATE.columns, read_line(line), strict=True)) for line in lines[LATE].fresh]
    assert [(row["market"], row["correction"], row["reason"]) for row in late] == [("stocks", "12", "past_horizon")]
    gap = dict(zip(GAPS.columns, read_line(lines[GAPS].revised[0]), strict=True))
    assert (gap["cluster"], gap["end"], gap["status"], gap["trades"]) == ("crypto", None, "open", "0")
    letters = [dict(zip(DEAD_LETTERS.columns, read_line(line), strict=True)) for line in lines[DEAD_LETTERS].fresh]
    assert [(row["service"], row["topic"], row["partition"], row["offset"], row["raw"]) for row in letters] == [
        ("ratio", "t", "1", "2", "\\x005cff"),
        ("ingest", "ingest.dlq", "0", "1", "\\x"),
    ]
    assert letters[0]["reason"] == "a\ufffdb"


def again(at: int, body: bytes, topic: str = "ratios", offset: bytes = b"7") -> Message:
    more = [("topic", topic.encode()), ("partition", b"0"), ("offset", offset)]
    return message(at, body, b"ratio" if topic == "ratios" else None, RETRY, more)


def quoting() -> Intake:
    made = Intake(SinkSettings(namespace="", quotes=True), lambda: TS)
    made.place({(name, 0): Position(0, None) for name in made.topics})
    return made


def test_a_quote_fills_its_columns_where_quotes_are_stored() -> None:
    assert not [name for name in intake().topics if "quotes" in name]
    made = quoting()
    quote = Quote(symbol="MARA", ts=TS, received_ts=TS + 1, bid=20.25, bid_size=200, ask=None, ask_size=0, epoch=1,
                  bid_exchange=12, conditions=(1, 2), indicators=(604,), sequence=7, tape=3)  # fmt: skip
    send(made, quote, with_(quote, ts=TS + DAY_US, conditions=()), name="quotes.stocks")
    lines = made.batch.tables[QUOTES].fresh
    first, second = (dict(zip(QUOTES.columns, read_line(line), strict=True)) for line in lines)
    assert (first["bid"], first["ask"], first["bid_size"], first["ask_size"]) == ("20.25", None, "200.0", "0.0")
    assert (first["market"], first["conditions"], first["indicators"]) == ("stocks", "{1,2}", "{604}")
    assert (second["conditions"], second["src_partition"], second["src_offset"]) == ("{}", "0", "1")
    assert {day for _, day in made.batch.days} == {TS // DAY_US, TS // DAY_US + 1}
    assert made.seal().moves["quotes.stocks", 0].next_offset == 2


@pytest.mark.parametrize("changes", [{"sequence": 2**63}, {"ts": 1}, {"symbol": "A" * 65}, {"tape": 2**31}], ids=str)
def test_a_quote_that_fits_no_row_is_a_dead_letter(changes: dict[str, Any]) -> None:
    made = quoting()
    quote = Quote(symbol="MARA", ts=TS, received_ts=TS, bid=None, bid_size=0, ask=1.0, ask_size=0, epoch=1)
    send(made, with_(quote, **changes), name="quotes.stocks")
    assert (made.batch.rows, len(made.batch.dead)) == (0, 1)


def test_a_record_sent_again_is_taken_whatever_src_came_before() -> None:
    made = intake(src=(0, 100, 0))
    made.take([again(0, encode(RATIO)), again(1, encode(CANDLE), STOCKS)])
    assert [len(made.batch.tables[t].fresh) for t in (TICKS, CANDLES)] == [1, 1]
    moves = made.seal().moves
    assert moves[RETRY, 0] == Move(0, 2, (0, 100, 0))
    assert ("ratios", 0) not in moves
    send(made, with_(RATIO, src=(0, 100, 0)), with_(RATIO, src=(0, 101, 0)))
    assert made.batch.rows == 1  # the filter is where it was


def test_one_that_is_still_bad_is_told_by_its_first_place_and_never_stops_the_sink() -> None:
    made = intake()
    made.take([again(n, b"{", offset=b"%d" % (n + 7)) for n in range(1_100)])
    assert [(d.topic, d.offset) for d in made.batch.dead[:2]] == [("ratios", 7), ("ratios", 8)]
    made = intake()
    made.take([
        message(0, encode(RATIO), b"ratio", RETRY),
        again(1, encode(RATIO), "no.such"),
        again(2, encode(RATIO), offset=b"x"),
        again(3, encode(RATIO), RETRY),
    ])  # fmt: skip
    assert [(d.topic, d.offset) for d in made.batch.dead] == [(RETRY, 0), ("no.such", 7), (RETRY, 2), (RETRY, 7)]


def test_a_topic_that_is_mostly_unreadable_ends_the_sink_naming_where() -> None:
    made = intake()
    send(made, *[with_(RATIO, src=(0, n, 0)) for n in range(800)])
    half = [message(800 + n, b"{" if n % 2 else encode(with_(RATIO, src=(0, 900 + n, 0)))) for n in range(2_000)]
    made.take(half)  # a half is allowed
    assert len(made.batch.dead) == 1_000
    with pytest.raises(MostlyUnreadableError, match=r"ratios/0 cannot be read, offsets 1\d+ to 2800"):
        made.take([message(2_800, b"{")])


def test_a_batch_is_full_by_rows_letters_or_bytes() -> None:
    made = intake()
    send(made, RATIO, b"no record")
    assert made.batch.is_full(2)
    assert not made.batch.is_full(3)
    for n in range(2, 260):
        made.take([message(n, b"x" * 300_000, b"ratio")])
    assert made.batch.is_full(100_000)
    assert len(made.batch.dead[-1].raw) == 256 * 1024
    assert "of 300000 bytes" in made.batch.dead[-1].reason


def test_odd_headers_are_no_crash() -> None:
    made = intake()
    odd: list[Any] = [("kind", None)]
    made.take([message(0, b" " + encode(RATIO), None, more=odd)])
    assert made.seal().moves == {("ratios", 0): Move(0, 1, None)}
    made.take([message(1, encode(RATIO), None, more=odd)])  # that it is a ratio stands in its first bytes
    assert made.seal().moves == {("ratios", 0): Move(1, 2, RATIO.src)}


def test_steps_of_consecutive_batches_join() -> None:
    made = intake(next_offset=7)
    send(made, RATIO)
    first = made.seal().moves
    send(made, with_(RATIO, src=(0, 2, 0)), with_(RATIO, src=(0, 3, 0)))
    assert first == {("ratios", 0): Move(7, 8, (0, 1, 0))}
    assert made.seal().moves == {("ratios", 0): Move(8, 10, (0, 3, 0))}
    assert made.seal(every=True).moves[STOCKS, 0] == Move(7, 7, None)


def test_a_jump_is_doubted_once_and_then_believed() -> None:
    made = intake()
    jumped = [message(30, encode(RATIO), None)]
    made.take(jumped)
    assert made.doubtful
    assert made.batch.rows == 0
    made.place({("ratios", 0): Position(0, None)})
    made.take(jumped)
    assert not made.doubtful
    assert made.seal().moves == {("ratios", 0): Move(0, 31, (0, 1, 0))}


def test_records_of_partitions_given_away_are_ignored() -> None:
    made = intake()
    made.place({})
    made.take([message(0, encode(RATIO), None)])
    assert (made.batch.rows, made.seal().moves) == (0, {})


def test_every_column_of_the_code_stands_in_the_migrations() -> None:
    text = "\n".join(migration.body for migration in read_migrations())
    for table in TABLES:
        body = text.split(f"CREATE TABLE {table.name} (")[1].split(");")[0]
        declared = [line.split()[0].strip('"') for line in body.strip().splitlines()]
        changes = re.findall(rf"ALTER TABLE {table.name}\s([^;]*);", text)
        added = [name for change in changes for name in re.findall(r"ADD COLUMN (\w+)", change)]
        assert sorted({*declared, *added} - {"PRIMARY", "known_at"}) == sorted(table.columns)


def test_replays_never_drop_days() -> None:
    assert SinkSettings(namespace="").drops_old_days
    assert not SinkSettings(namespace="replay-1.").drops_old_days
    assert not SinkSettings(namespace="", retention="off").drops_old_days
    assert partition_name("t", date(2018, 1, 2)) == "t_20180102"
