"""The sink on a real Kafka and PostgreSQL: rows exact, whatever is repeated, revised or unreadable."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from marketdata.records import DeadLetter, Gap, LateTrade, Luld, Quote, encode
from tests.integration.test_sink_support import (
    BASE_US,
    Bench,
    at,
    bench,
    candle,
    eventually,
    expected_ticks,
    ratio,
    read_all,
)

pytestmark = pytest.mark.integration
__all__ = ["bench"]


def test_rows_are_exact(bench: Bench) -> None:
    ratios = [ratio(n, price=20.0 + n / 7, size=0.1 + n) for n in range(3_000)]
    bench.send_ratios(ratios)
    bench.send_noise(500)
    with bench.sink():
        bench.wait_positions()
    rows = bench.rows(
        "SELECT time, symbol, trade_id, stock_price, ratio, stock_size, btc_price, src_offset FROM ratio_ticks_live"
    )
    assert sorted(rows) == expected_ticks(ratios)


def test_a_cancel_record_gives_no_tick_and_a_null_ratio_is_stored(bench: Bench) -> None:
    empty = ratio(
        1, btc_price=None, ratio=None, inverse_ratio=None, btc_ts=None, btc_volume=None, reason="no_reference"
    )
    bench.send_ratios([ratio(0, correction=10), empty, ratio(2, correction=8)])
    with bench.sink():
        bench.wait_positions()
    rows = bench.rows("SELECT trade_id, ratio, reason, btc_time FROM ratio_ticks_live ORDER BY 1")
    assert rows == [("t1", None, "no_reference", None), ("t2", Decimal("0.0002"), None, at(BASE_US - 5))]


def test_repeated_records_are_dropped_also_after_a_restart(bench: Bench) -> None:
    first = [ratio(n) for n in range(100)]
    bench.send_ratios(first)
    bench.send_ratios(first[50:])
    with bench.sink() as sink:
        bench.wait_positions()
    assert sink.value("sink_repeated_records_total") == 50
    changed = [
        ratio(n, price=99.0, revision=5) for n in range(100)
    ]  # an older writer's tail: dropped although "higher"
    bench.send_ratios(changed)
    bench.send_ratios([ratio(100)])
    with bench.sink():
        bench.wait_positions()
    rows = bench.rows("SELECT count(*), max(stock_price), max(revision) FROM ratio_ticks_live")
    assert rows == [(101, Decimal("20.0"), 0)]


def test_a_revised_tick_replaces_only_if_higher(bench: Bench) -> None:
    first = [ratio(0), ratio(1), ratio(2)]
    then = [ratio(0, src_offset=10, revision=2, ratio=0.5), ratio(2, src_offset=11, revision=2, ratio=0.5)]
    last = [
        ratio(0, src_offset=12, revision=1, ratio=0.7),
        ratio(1, src_offset=13, revision=0, ratio=0.9),
        ratio(2, src_offset=14, revision=4, ratio=0.8),
        ratio(2, src_offset=15, revision=3, ratio=0.7),
    ]
    with bench.sink():
        for records in (first, then, last):
            bench.send_ratios(records)
            bench.wait_positions()
    rows = bench.rows("SELECT trade_id, ratio, revision, src_offset FROM ratio_ticks_live ORDER BY 1")
    assert rows == [
        ("t0", Decimal("0.5"), 2, 10),
        ("t1", Decimal("0.0002"), 0, 1),
        ("t2", Decimal("0.8"), 4, 14),
    ]


def test_candles_their_revisions_and_what_was_known(bench: Bench) -> None:
    bench.send_candles(
        [
            candle(0, close=1.0, out=100, luld=Luld(22.5, None, "limit", BASE_US + 7)),
            candle(0, interval="1m", close=5.0, out=100),
            candle(0, hours="regular", close=1.0, out=100),
            candle(1, ratio=None, out=200),
        ]
    )
    with bench.sink():
        bench.wait_positions()
        bench.send_candles([candle(0, close=2.0, revision=1, out=300), candle(0, close=3.0, revision=2, out=400)])
        bench.wait_positions()
        bench.send_candles([candle(0, close=4.0, revision=3, out=500, luld=Luld(23.5, 19.5, "normal", BASE_US + 9))])
        bench.wait_positions()
    key = f"interval = '500ms' AND hours = 'all' AND start = '{at(BASE_US)}'"
    assert bench.rows(f"SELECT close, revision FROM candles WHERE {key}") == [(Decimal("4.0"), 3)]
    revisions = bench.rows(f"SELECT revision, close, known_at FROM candle_revisions WHERE {key} ORDER BY 1")
    assert revisions == [
        (0, Decimal("1.0"), at(BASE_US + 100)),
        (1, Decimal("2.0"), at(BASE_US + 300)),
        (2, Decimal("3.0"), at(BASE_US + 400)),
    ]
    for moment, close in ((99, None), (100, "1.0"), (350, "2.0"), (400, "3.0"), (9_999, "4.0")):
        known = bench.rows(f"SELECT close FROM candles_as_of('{at(BASE_US + moment)}') WHERE {key}")
        assert known == ([] if close is None else [(Decimal(close),)])
    bands = "limit_up, limit_down, luld_state, luld_since"
    assert bench.rows(f"SELECT {bands} FROM candles WHERE {key}") == [
        (Decimal("23.5"), Decimal("19.5"), "normal", at(BASE_US + 9))
    ]
    then = bench.rows(f"SELECT {bands} FROM candles_as_of('{at(BASE_US + 100)}') WHERE {key}")
    assert then == [(Decimal("22.5"), None, "limit", at(BASE_US + 7))]
    assert bench.rows(f"SELECT {bands} FROM candles WHERE interval = '1m'") == [(None, None, None, None)]
    aggregates = bench.rows("SELECT time, symbol, close_ratio, tick_count, revision FROM ratio_aggregates_500ms")
    assert aggregates == [(at(BASE_US), "MARA", Decimal("0.0004"), 3, 3)]
    assert bench.rows("SELECT count(*) FROM candles") == [(4,)]


def test_quotes_are_stored_each_once_where_they_are_wanted(bench: Bench) -> None:
    def send(n: int, bid: float | None, conditions: tuple[int, ...] = ()) -> None:
        quote = Quote(symbol="MARA", ts=BASE_US + n * 40_000_000_000, received_ts=BASE_US, bid=bid, bid_size=200,
                      ask=20.5, ask_size=0.25, epoch=1, conditions=conditions, sequence=n)  # fmt: skip
        bench.send(bench.topics.quotes("stocks"), encode(quote), None)
        bench.producer.flush(30)

    def stored() -> list[tuple[object, ...]]:
        return bench.rows("SELECT time, bid, ask_size, conditions, market, src_offset FROM quotes ORDER BY 6")

    size = Decimal("0.25")
    first = [(at(BASE_US), Decimal("20.1"), size, [1, 2], "stocks", 0),
             (at(BASE_US), None, size, [], "stocks", 1)]  # fmt: skip
    send(0, 20.1, (1, 2))
    send(0, None)
    with bench.sink(QUOTES="true"):
        eventually(lambda: "quotes" in str(bench.positions()) and stored() == first, "two quotes")
    send(3, 20.2)  # another day
    bench.rows("DELETE FROM sink_positions RETURNING 1")  # all is read again, and the key keeps it from doubling
    with bench.sink(QUOTES="true"):
        last: tuple[object, ...] = (at(BASE_US + 120_000_000_000), Decimal("20.2"), size, [], "stocks", 2)
        eventually(lambda: stored() == [*first, last], "three quotes")


def test_an_aggregate_whose_only_ratio_was_cancelled_goes(bench: Bench) -> None:
    bench.send_candles([candle(0, out=100), candle(1, out=100), candle(0, ratio=None, revision=1, out=200)])
    with bench.sink():
        bench.wait_positions()
    assert bench.rows("SELECT time FROM ratio_aggregates_500ms") == [(at(BASE_US + 500_000),)]


def test_unreadable_records_become_dead_letters_and_the_stream_goes_on(bench: Bench) -> None:
    good = ratio(5)
    bad: list[tuple[bytes, bytes | None]] = [
        (b"{", b"ratio"),
        (b'{"kind":"clock","ts":1,"epoch":1}', b"ratio"),
        (msgspec.json.encode(ratio(0, symbol="ELEVENCHARS")), b"ratio"),
        (msgspec.json.encode(ratio(1, id="a\0b")), b"ratio"),
        (msgspec.json.encode(ratio(2, ts=17)), b"ratio"),
        (msgspec.json.encode(ratio(3, id="x" * 3_000)), b"ratio"),
        (msgspec.json.encode(ratio(4, exchange=2**31)), b"ratio"),
        (b"[" * 100_000, b"ratio"),
        (b"\xff\xfe", None),
        (b"", None),
    ]
    for value, kind in bad:
        bench.send(bench.topics.ratios, value, kind)
    bench.send(bench.topics.ratios, msgspec.json.encode(good), None)  # no header: told apart by decoding
    bench.send(bench.topics.ratios, b'{"kind":"clock","ts":1,"epoch":1}', None)
    bench.send(bench.topics.candles("stocks", "1m"), msgspec.json.encode(candle(0)), b"candle")
    with bench.sink() as sink:
        bench.wait_positions()
    assert bench.rows("SELECT trade_id FROM ratio_ticks_live") == [("t5",)]
    letters = [
        msgspec.json.decode(v, type=DeadLetter) for v in read_all(bench.kafka, bench.topics.dead_letters("sink"))
    ]
    assert len(letters) == len(bad) + 1
    assert sink.value("dead_letters_total") == len(bad) + 1
    by_offset = {letter.offset: letter for letter in letters if letter.topic == bench.topics.ratios}
    assert [by_offset[n].raw for n in range(len(bad))] == [value for value, _ in bad]
    assert "10" in by_offset[2].reason
    assert all(letter.service == "sink" and letter.partition == 0 for letter in letters)


def test_the_server_reads_any_text_and_number_as_it_was(bench: Bench) -> None:
    ids = ["null", "", "\\N", "\\.", "\n\\.\n", 'a"b', "\\", "\\\\n", "a\tb\nc\rd,e", "\x01", "é\x7f", "\U0001f600"]
    prices = [
        0.1,
        1e-7,
        1.5e-300,
        5e-324,
        123456789.123456789,
        1e11,
        0.1 + 0.2,
        7.0,
        1 / 3,
        100.0,
        999999999999.9,
        12345678.9,
    ]
    ratios = [
        ratio(n, id=i, price=p, ratio=p, inverse_ratio=p) for n, (i, p) in enumerate(zip(ids, prices, strict=True))
    ]
    bench.send_ratios(ratios)
    with bench.sink():
        bench.wait_positions()
    rows = bench.rows("SELECT trade_id, stock_price, ratio FROM ratio_ticks_live ORDER BY src_offset")
    assert rows == [(i, Decimal(repr(p)), Decimal(repr(p))) for i, p in zip(ids, prices, strict=True)]


def test_the_users_queries(bench: Bench) -> None:
    bench.send_ratios(
        [ratio(n, ts=BASE_US + n * 3_600_000_000, symbol="MARA" if n % 3 else "RIOT") for n in range(150)]
    )
    bench.send_candles([candle(n * 10_000) for n in range(150)])
    with bench.sink():
        bench.wait_positions()
    newest = bench.rows("SELECT * FROM ratio_ticks_live ORDER BY time DESC LIMIT 100")
    assert len(newest) == 100
    assert newest[0][0] == at(BASE_US + 149 * 3_600_000_000)
    assert [type(v) for v in newest[0][2:7]] == [Decimal] * 4 + [int]
    assert len(bench.rows("SELECT * FROM ratio_aggregates_500ms ORDER BY time DESC LIMIT 100")) == 100
    counts = bench.rows(
        "SELECT symbol, COUNT(*) AS tick_count, MIN(time) AS first_tick, MAX(time) AS last_tick "
        "FROM ratio_ticks_live GROUP BY symbol"
    )
    assert sorted(counts) == [
        ("MARA", 100, at(BASE_US + 3_600_000_000), at(BASE_US + 149 * 3_600_000_000)),
        ("RIOT", 50, at(BASE_US), at(BASE_US + 147 * 3_600_000_000)),
    ]


def test_a_low_rate_becomes_visible_at_once(bench: Bench) -> None:
    with bench.sink():
        bench.send_ratios([ratio(0)])
        bench.wait_positions()
        delays = sorted(bench.visible_after(ratio(n)) for n in range(1, 31))
    assert delays[15] < 0.2


def test_gaps_late_trades_and_letters_are_stored_once_however_often_they_are_told(bench: Bench) -> None:
    gaps = [Gap(cluster="crypto", start=BASE_US, end=None, status="open", epoch=1),
            Gap(cluster="stocks", start=BASE_US, end=None, status="open", epoch=1),
            Gap(cluster="crypto", start=BASE_US, end=BASE_US + 9, status="given_up", epoch=1),
            Gap(cluster="crypto", start=BASE_US, end=BASE_US + 9, status="filled", epoch=2, trades=7)]  # fmt: skip
    late = LateTrade(symbol="MARA", ts=BASE_US, received_ts=BASE_US, price=1.5, size=2.0, exchange=4, id="x",
                     reason="past_horizon", src=(0, 1, 0))  # fmt: skip
    read = DeadLetter(service="ratio", reason="no", raw=b"\x00\\\xff", ts=BASE_US, topic="t", partition=0, offset=5)
    frame = msgspec.structs.replace(read, service="ingest", topic=None, partition=None, offset=None)

    def tell() -> None:
        for letter in (read, msgspec.structs.replace(read, raw=b"another log"), read):
            bench.send(bench.topics.dead_letters("ratio"), encode(letter), b"dead_letter")
        for src in ((0, 1, 0), (0, 2, 0)):
            bench.send(bench.topics.late("stocks"), encode(msgspec.structs.replace(late, src=src)), b"late_trade")
        cancel = msgspec.structs.replace(late, correction=10, src=(0, 3, 0))
        bench.send(bench.topics.late("stocks"), encode(cancel), b"late_trade")
        for gap in gaps:
            bench.send(bench.topics.gaps, encode(gap), b"gap")

    tell()
    bench.send(bench.topics.dead_letters("ingest"), encode(frame), b"dead_letter")
    bench.send(bench.topics.dead_letters("ingest"), encode(frame), b"dead_letter")
    with bench.sink():
        bench.wait_positions()
        tell()  # as after a restart of their writers
        bench.wait_positions()
    assert bench.rows('SELECT cluster, "end", status, trades, epoch FROM feed_gaps ORDER BY 1') == [
        ("crypto", at(BASE_US + 9), "filled", 7, 2), ("stocks", None, "open", 0, 1),
    ]  # fmt: skip
    assert bench.rows("SELECT market, trade_id, correction FROM late_trades ORDER BY 3") == [
        ("stocks", "x", 0), ("stocks", "x", 10),
    ]  # fmt: skip
    letters = bench.rows('SELECT service, topic, "offset", raw FROM dead_letters ORDER BY 1, 3, 4')
    ingest = bench.topics.dead_letters("ingest")
    assert letters == [
        ("ingest", ingest, 0, read.raw), ("ingest", ingest, 1, read.raw),
        ("ratio", "t", 5, read.raw), ("ratio", "t", 5, b"another log"),
    ]  # fmt: skip


def test_live_and_rebuilt_revisions_meet_in_any_order(bench: Bench) -> None:
    topic = bench.topics.rebuilt("stocks")
    rebuilt = [candle(0, close=9.0, revision=3, ratio=None, out=900), candle(1, close=9.0, revision=2, out=900)]
    live = [
        candle(0),
        candle(1),
        candle(0, close=3.0, revision=1, out=300),
        candle(1, close=5.0, revision=4, out=950),
    ]
    with bench.sink():
        for record in rebuilt:
            bench.send(topic, encode(record), b"candle")
        bench.wait_positions()
        bench.send_candles(live[:2])
        bench.wait_positions()
        bench.send_candles(live[2:])
        bench.wait_positions()
    query = "SELECT start, revision, close FROM {} ORDER BY 1, 2"
    assert bench.rows(query.format("candles")) == [
        (at(BASE_US), 3, Decimal("9.0")), (at(BASE_US + 500_000), 4, Decimal("5.0")),
    ]  # fmt: skip
    assert [row[:2] for row in bench.rows(query.format("candle_revisions"))] == [
        (at(BASE_US), 0), (at(BASE_US), 1), (at(BASE_US + 500_000), 0), (at(BASE_US + 500_000), 2),
    ]  # fmt: skip
    assert bench.rows("SELECT time, revision FROM ratio_aggregates_500ms") == [(at(BASE_US + 500_000), 4)]


def test_a_record_sent_again_is_stored_as_if_it_had_been_readable(bench: Bench) -> None:
    def again(value: bytes, offset: int) -> None:
        headers = [("topic", bench.topics.ratios.encode()), ("partition", b"0"), ("offset", b"%d" % offset)]
        bench.producer.produce(bench.topics.retry("sink"), value, None, 0, headers=[*headers, ("kind", b"ratio")])

    bench.send(bench.topics.ratios, b"{", b"ratio")
    bench.send(bench.topics.ratios, b"{{", b"ratio")
    bench.send_ratios([ratio(n) for n in range(2, 10)])
    with bench.sink():
        bench.wait_positions()
        again(encode(ratio(0)), 0)
        again(b"{{", 1)
        again(encode(ratio(5, price=99.0)), 5)  # it stands already
        bench.wait_positions()
    assert bench.rows("SELECT count(*), min(src_offset), max(stock_price) FROM ratio_ticks_live") == [
        (9, 0, Decimal("20.0"))
    ]
    letters = bench.rows('SELECT topic, "offset", raw FROM dead_letters ORDER BY 2')
    assert letters == [(bench.topics.ratios, 0, b"{"), (bench.topics.ratios, 1, b"{{")]


def test_a_topic_that_is_mostly_unreadable_ends_the_sink(bench: Bench) -> None:
    for _ in range(501):
        bench.send(bench.topics.ratios, b"{", b"ratio")
    bench.producer.flush(30)
    sink = bench.start()
    assert sink.process.wait(60) == 70, bench.logs()
    last = sink.log.read_text().strip().splitlines()[-1]
    assert f"{bench.topics.ratios}/0 cannot be read, offsets 0 to 500" in last
    assert bench.positions()[bench.topics.ratios, 0] <= 500
