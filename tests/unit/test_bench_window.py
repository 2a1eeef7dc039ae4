"""What counts in a latency window, on hand-made arrivals."""

from typing import Any

from bench.observer import Arrival, Stored
from bench.window import Findings, Window, behind, floor_latencies, read
from marketdata.records import Candle, Clock, FormingCandle, LiveCandles, PriceBlock, Ratio, Record, Reference, encode

RATIOS, FINAL, LIVE = "ratios", "candles.stocks.1s", "candles.live.stocks"
WINDOW = Window(1_000_000, 3_000_000)


def ratio(received_ts: int, *, ts: int | None = None, out: int | None = None) -> Ratio:
    return Ratio(
        symbol="MARA", ts=received_ts if ts is None else ts, received_ts=received_ts, exchange=4, id="1", epoch=1,
        stock_price=17.0, stock_size=1.0, stock_volume=1, eligible=True, updates_open_close=True,
        updates_volume=True, src=(0, 1, 0), timestamp_out=out or received_ts,
        reference=None, btc_price=None, btc_ts=None, btc_age_us=None,
    btc_volume=None, ratio=None, inverse_ratio=None, reason="no_reference",
    )  # fmt: skip


def candle(end: int, revision: int = 0, late: int = 0) -> Candle:
    block = PriceBlock(open=1, high=1, low=1, close=1, avg=1, vwap=1, volume=1, tick_count=1, trade_count=1)
    return Candle(
        symbol="MARA", interval="1s", hours="all", timestamp_in=end - 1_000_000, end=end, timestamp_out=end + late,
        latency_ms=0, revision=revision, price=block, ratio=None, src=(0, 1, 0),
    )  # fmt: skip


def forming(ts: int) -> LiveCandles:
    second = FormingCandle("1s", 1_000_000, 2_000_000, 1, 1, 1, 1, 1, 1, 1)
    return LiveCandles(symbol="MARA", ts=ts, timestamp_out=ts, candles=(second,))


def clock(ts: int) -> Clock:
    return Clock(ts=ts, epoch=1, src=(0, 1, 0))


def arrivals(*steps: tuple[int, str, Record], partition: int = 0) -> list[Arrival]:
    return [Arrival(at, topic, partition, n, encode(record)) for n, (at, topic, record) in enumerate(steps)]


def find(steps: list[Arrival], visible: Any = lambda *_: None) -> Findings:
    return read(steps, WINDOW, RATIOS, FINAL, visible)


def test_a_trade_counts_by_when_it_was_received_however_late_its_ratio_came() -> None:
    found = find(
        arrivals(
            (1_000_500, RATIOS, ratio(999_999)),  # before the window, seen in it
            (1_002_000, RATIOS, ratio(1_000_000, out=1_001_500)),
            (9_000_000, RATIOS, ratio(2_999_999, out=8_999_999)),  # stuck for 6 s: the very one that must not vanish
            (3_000_001, RATIOS, ratio(3_000_000)),
        )
    )

    assert found.trade_published == [1_500, 6_000_000]
    assert found.trade_arrived == [2_000, 6_000_001]


def test_candles_count_from_their_end_and_revisions_apart() -> None:
    found = find(
        arrivals(
            (1_260_000, FINAL, candle(1_000_000)),
            (2_300_000, FINAL, candle(2_000_000)),
            (2_400_000, FINAL, candle(2_000_000, revision=1)),
            (2_500_000, "candles.stocks.500ms", candle(2_500_000)),
            (2_600_000, FINAL, candle(2_000_000, late=500_000)),  # its only trade came half a second after its end
            (3_260_000, FINAL, candle(3_000_000)),  # ends with the window: the next one's
        ),
        lambda _partition, offset: {0: 1_300_000}.get(offset),
    )

    assert found.candle_arrived == [260_000, 300_000]
    assert (found.candles, found.revisions) == (3, 2)
    assert (found.row_visible, found.rows_missing) == ([300_000], 1)


def test_a_trade_is_late_where_a_clock_above_it_stands_before_it_in_its_partition() -> None:
    steps = arrivals(
        (1_100_000, RATIOS, clock(1_050_000)),
        (1_100_001, RATIOS, ratio(1_100_000, ts=1_049_999)),
        (1_100_002, RATIOS, ratio(1_100_000, ts=1_050_000)),
    ) + arrivals((1_100_003, RATIOS, ratio(1_100_000, ts=1_000_000)), partition=1)  # its clock has not come

    assert find(steps).late_trades == 1


def test_btc_copies_are_no_trades_of_the_window() -> None:
    copy = Reference(symbol="BTC-USD", ts=1, received_ts=1_500_000, price=1.0, size=1.0, exchange=1, id="1", epoch=1)

    assert find(arrivals((1_600_000, RATIOS, copy))).trade_arrived == []


def test_a_trade_is_shown_by_the_first_candle_under_way_that_has_it_or_a_newer_one() -> None:
    found = find(
        arrivals(
            (999_000, RATIOS, ratio(998_000)),  # before the window
            (1_002_000, RATIOS, ratio(1_001_000)),
            (1_003_000, LIVE, forming(998_000)),  # older than the trade
            (1_004_000, RATIOS, ratio(1_003_500, ts=1_000_500)),  # not its symbol's newest: no record tells of it
            (1_008_000, RATIOS, ratio(1_004_000)),
            (1_009_000, LIVE, forming(1_004_000)),
            (1_059_000, LIVE, forming(1_005_000)),  # sooner here than its ratio
            (1_060_000, RATIOS, ratio(1_005_000)),
            (1_070_000, RATIOS, ratio(1_069_000)),
        )
    )

    assert found.forming_arrived == [8_000, 5_000, 54_000]
    assert found.not_shown == 1


def test_both_the_whole_and_what_is_beyond_the_allowance_are_reported() -> None:
    report = Findings(candle_arrived=[260_000], row_visible=[310_000], candles=4, revisions=1).report(250_000)

    assert report["candle_1s_from_end"]["p50_ms"] == 260
    assert report["candle_1s_beyond_allowance"]["p50_ms"] == 10
    assert report["row_1s_beyond_allowance"]["max_ms"] == 60
    assert report["revisions_share"] == 0.25
    assert report["late_trades_share"] is None  # no trade, no share


def test_a_log_or_rows_that_did_not_get_past_the_window_void_it() -> None:
    done = Findings(clocks={0: 3_000_000, 1: 3_050_000})

    assert behind(done, WINDOW, 2) == []
    assert "0.5 s behind" in behind(Findings(clocks={0: 3_000_000, 1: 2_500_000}), WINDOW, 2)[0]
    assert behind(done, WINDOW, 3)  # a partition from which nothing came
    assert "2 candles" in behind(Findings(clocks=done.clocks, rows_missing=2), WINDOW, 2)[0]
    assert "3 trades" in behind(Findings(clocks=done.clocks, not_shown=3), WINDOW, 2)[0]


def test_the_floor_counts_from_when_a_record_was_due() -> None:
    steps = [Arrival(at, "floor", 0, n, b"%d   " % due) for n, (due, at) in enumerate([
        (999_999, 1_000_100), (1_000_000, 1_004_000), (2_999_999, 3_500_000), (3_000_000, 3_000_100),
    ])]  # fmt: skip

    assert floor_latencies(steps, WINDOW) == [4_000, 500_001]


def test_a_window_begins_after_what_is_discarded() -> None:
    assert Window.after(1_000, 5, 20) == Window(5_001_000, 25_001_000)


def test_a_row_is_visible_from_the_first_position_beyond_its_record() -> None:
    stored = Stored({3: [(10, 100), (20, 200)]})

    assert [stored.visible_at(3, offset) for offset in (0, 9, 10, 19, 20)] == [100, 100, 200, 200, None]
    assert stored.visible_at(4, 0) is None
