"""The checker of chaos runs finds each kind of defect: it must, for it is all that stands between us and them."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from tests.chaos import check as c

SECOND = 1_000_000
DAY = 1_514_903_400 * SECOND
HORIZON = 60 * SECOND


def trade(ms: int, trade_id: str, **more: Any) -> c.Record:
    fields: dict[str, Any] = {
        "kind": "trade",
        "symbol": "MARA",
        "price": 20.0,
        "size": 100.0,
        "exchange": 4,
        "epoch": 1,
    } | more
    return c.Record(ts=DAY + ms * 1_000, id=trade_id, **fields)


def btc(ms: int, trade_id: str, price: float = 100_000.0, **more: Any) -> c.Record:
    fields: dict[str, Any] = {"kind": "reference", "symbol": "BTC-USD", "size": 0.5, "exchange": 1}
    return trade(ms, trade_id, **fields | {"price": price} | more)


def clock(ms: int, epoch: int = 1) -> c.Record:
    return c.Record(kind="clock", ts=DAY + ms * 1_000, epoch=epoch)


def log_of(*records: c.Record) -> tuple[c.Log, c.Tally]:
    tally = c.Tally()
    log = c.Log("log", tally, HORIZON)
    for offset, record in enumerate(records):
        log.take(offset, record)
    log.finish()
    return log, tally


def wrong(tally: c.Tally, check: str) -> dict[str, int]:
    return {kind: n for kind, n in tally.counts[check].items() if kind != "compared" and n}


def line_of(record: c.Record, **more: Any) -> c.LedgerLine:
    cluster = "crypto" if "-" in record.symbol else "stocks"
    line = c.LedgerLine(
        cluster, record.symbol, record.exchange, record.id, record.ts // 1_000, record.trf, record.correction,
        record.price, record.size, record.conditions, record.sequence,
    )  # fmt: skip
    return msgspec.structs.replace(line, **more)


def answers(log: c.Log) -> dict[str, Any]:
    """The price of each stock trade's BTC trade, or the reason for none."""
    found = {t.record.id: c.expected_answer(t) for trades in log.trades.values() for t in trades}
    return {key: reason if reference is None else reference.price for key, (reference, reason) in found.items()}


# --- streams -----------------------------------------------------------------------------------------------------


def compare(found: Iterable[tuple[int, bytes]], expected: Iterable[tuple[int, bytes]], way: str) -> dict[str, int]:
    tally = c.Tally()
    if way == "sorted":
        c.compare_sorted("x", found, expected, lambda pair: pair[0], tally)
    else:
        c.compare_lists("x", list(found), list(expected), tally)
    return wrong(tally, "x")


ROWS = [(n, b"%d" % n) for n in range(10)]


@pytest.mark.parametrize("way", ["sorted", "lists"])
def test_equal_streams_have_no_difference(way: str) -> None:
    assert compare(ROWS, ROWS, way) == {}


@pytest.mark.parametrize("way", ["sorted", "lists"])
@pytest.mark.parametrize("at", [0, 4, 9])
def test_a_hole_is_one_lost_record_and_no_more(way: str, at: int) -> None:
    assert compare(ROWS[:at] + ROWS[at + 1 :], ROWS, way) == {"lost": 1}


@pytest.mark.parametrize("way", ["sorted", "lists"])
@pytest.mark.parametrize("at", [0, 4, 9])
def test_a_record_too_many_is_doubled(way: str, at: int) -> None:
    assert compare(ROWS, ROWS[:at] + ROWS[at + 1 :], way) == {"doubled": 1}


@pytest.mark.parametrize("way", ["sorted", "lists"])
def test_another_value_is_different(way: str) -> None:
    assert compare([*ROWS[:4], (4, b"x"), *ROWS[5:]], ROWS, way) == {"different": 1}


def test_a_repeated_key_and_another_order_are_found_in_lists() -> None:
    assert compare([*ROWS[:5], ROWS[4], *ROWS[5:]], ROWS, "lists") == {"doubled": 1}
    assert compare([ROWS[1], ROWS[0], *ROWS[2:]], ROWS, "lists") == {"different": 1}


def candle(offset: int, **fields: Any) -> bytes:
    record = {"kind": "candle", "symbol": "MARA", "timestamp_out": 5, "latency_ms": 1.5, "src": [0, offset, 0]}
    return msgspec.json.encode(record | fields)


def test_the_readers_rule_drops_repeats_and_a_hole_stays_a_hole() -> None:
    whole = [(0, candle(n, timestamp_in=n)) for n in range(6)]
    dropped: list[int] = []
    repeated = [*whole[:4], whole[2], whole[3], *whole[4:]]
    assert list(c.under_rule(repeated, dropped=dropped)) == list(c.under_rule(whole))
    assert len(dropped) == 2
    holed = list(c.under_rule([*whole[:2], *whole[3:4], whole[2], *whole[4:]]))  # what comes too late is not accepted
    assert compare(holed, c.under_rule(whole), "sorted") == {"lost": 1}  # type: ignore[arg-type]


def test_times_of_output_and_where_told_src_are_no_difference() -> None:
    one, other = [(0, candle(1, timestamp_out=7, latency_ms=2.0))], [(0, candle(1))]
    assert list(c.under_rule(one)) == list(c.under_rule(other))
    shifted = [(0, candle(9))]
    assert list(c.under_rule(shifted)) != list(c.under_rule(other))
    assert list(c.under_rule(shifted, keep_src=False)) == list(c.under_rule(other, keep_src=False))
    price = [(0, candle(1, price=3))]
    assert list(c.under_rule(price, keep_src=False)) != list(c.under_rule(other, keep_src=False))


# --- the log -----------------------------------------------------------------------------------------------------


def test_what_an_older_epoch_adds_is_not_counted() -> None:
    log, tally = log_of(trade(0, "1"), trade(1, "2", epoch=2), trade(2, "3"), clock(500), clock(50, epoch=2))
    assert [t.record.id for t in log.trades["MARA"]] == ["1", "2"]
    assert (log.old_epochs, log.clock) == (2, DAY + 50_000)
    assert not tally.counts


def test_a_clock_is_enough_to_end_an_epoch() -> None:
    log, _ = log_of(clock(0, epoch=2), trade(1, "1"))
    assert not log.trades


def test_a_repeat_is_a_take_overs_or_a_doubled_trade() -> None:
    log, tally = log_of(trade(0, "1"), trade(0, "1", epoch=2))
    assert (len(log.trades["MARA"]), log.repeats, tally.counts) == (1, 1, {})
    log, tally = log_of(trade(0, "1"), trade(0, "1"))
    assert wrong(tally, "log") == {"doubled": 1}
    _, tally = log_of(btc(0, "1"), btc(0, "1"))
    assert wrong(tally, "log") == {"doubled": 1}


def test_a_cancel_is_not_a_repeat_and_an_id_may_come_again_elsewhere() -> None:
    same = [
        trade(0, "1"),
        trade(0, "1", correction=10),
        trade(0, "1", exchange=5),
        trade(0, "1", trf=2),
        trade(86_400_000, "1"),
    ]
    log, tally = log_of(*same)
    assert len(log.accepted) == 5
    assert not tally.counts


# --- the ledger --------------------------------------------------------------------------------------------------


def held_against(ledger: list[c.LedgerLine], *records: c.Record) -> dict[str, int]:
    log, tally = log_of(*records)
    said = {c.identity_of(c.as_record(line)): line for line in ledger}
    c.compare_with_ledger("ledger", log.accepted, said, log.first_clock or 0, tally)
    return wrong(tally, "ledger")


def test_a_log_that_has_the_ledgers_trades_is_whole() -> None:
    trades = [trade(n, str(n), sequence=n, conditions=(37,)) for n in range(5)]
    assert held_against([line_of(t) for t in trades], *trades) == {}


def test_lost_invented_and_changed_trades_are_found() -> None:
    trades = [trade(n, str(n)) for n in range(5)]
    ledger = [line_of(t) for t in trades]
    assert held_against(ledger, *trades[1:]) == {"lost": 1}
    assert held_against(ledger[1:], *trades) == {"doubled": 1}
    for field, value in {
        "price": 20.01,
        "size": 1.0,
        "sequence": 7,
        "conditions": (2,),
        "ts": DAY // 1_000 + 9,
    }.items():
        changed = msgspec.structs.replace(ledger[2], **{field: value})
        assert held_against([*ledger[:2], changed, *ledger[3:]], *trades) == {"different": 1}, field


def test_a_trade_that_only_an_older_epoch_wrote_is_lost() -> None:
    trades = [trade(0, "1", epoch=2), trade(1, "2", epoch=1)]
    assert held_against([line_of(t) for t in trades], *trades) == {"lost": 1}


def test_what_was_made_before_the_first_clock_may_be_missing_but_nothing_later() -> None:
    trades = [trade(n, str(n)) for n in (10, 60, 110)]
    ledger = [line_of(t) for t in trades]
    assert held_against(ledger, clock(50), *trades[1:], clock(100)) == {}
    assert held_against(ledger, clock(50), *trades[2:], clock(100)) == {"lost": 1}


def test_gaps_must_be_filled_unless_no_trade_came_after_their_start() -> None:
    def left(status: str, start: int = 5) -> dict[str, int]:
        tally = c.Tally()
        first = {"cluster": "stocks", "start": start, "end": None, "status": "open"}
        c.compare_gaps([first, first | {"end": 9, "status": status}], {"stocks": 7}, tally)
        return wrong(tally, "B feed.gaps")

    assert left("filled") == {}
    assert left("open") == {"lost": 1}
    assert left("given_up") == {"lost": 1}
    assert left("open", start=8) == {}
    assert left("given_up", start=8) == {"lost": 1}


def test_the_ledger_is_read_by_symbol_and_half_a_line_at_its_end_left() -> None:
    trades = [trade(0, "1"), btc(1, "2"), trade(2, "3", symbol="RIOT")]
    ledger = c.Ledger([msgspec.json.encode(line_of(t)) + b"\n" for t in trades] + [b'{"cluster":"st'])
    assert ledger.symbols == [("crypto", "BTC-USD"), ("stocks", "MARA"), ("stocks", "RIOT")]
    assert list(ledger.trades("stocks", "MARA")) == [c.identity_of(trades[0])]
    total = c.Tally(symbols=[("stocks", "MARA"), ("crypto", "BTC-USD")])
    c.finish(total, ledger)
    assert wrong(total, "B trades.stocks: once each")["lost"] == 1


# --- the join ----------------------------------------------------------------------------------------------------


def test_the_answer_is_the_last_reference_in_event_time_that_stands_before() -> None:
    log, _ = log_of(
        btc(10, "9", 1.0), btc(10, "10", 2.0), btc(5, "11", 3.0), trade(9, "a"), trade(10, "b"), trade(11, "c"),
        btc(11, "12", 4.0),
    )  # fmt: skip
    assert answers(log) == {"a": 3.0, "b": 2.0, "c": 2.0}  # "10" is more than "9": a number


def test_no_stale_and_late_references_are_said() -> None:
    log, _ = log_of(
        trade(0, "a"), btc(1, "1"), trade(120_001, "b"), trade(120_002, "c"), clock(200_000), trade(2, "d")
    )
    assert answers(log) == {"a": "no_reference", "b": 100_000.0, "c": "stale_reference", "d": "past_horizon"}


def test_only_a_back_filled_reference_within_the_horizon_revises() -> None:
    def with_later(*later: c.Record) -> float:
        log, _ = log_of(btc(0, "1", 1.0), trade(10, "a"), *later)
        answer: float = answers(log)["a"]
        return answer

    assert with_later(btc(5, "2", 2.0)) == 1.0
    assert with_later(btc(5, "2", 2.0, backfilled=True)) == 2.0
    assert with_later(btc(11, "2", 2.0, backfilled=True)) == 1.0
    assert with_later(clock(60_000), btc(5, "2", 2.0, backfilled=True)) == 2.0
    assert with_later(clock(60_050), btc(5, "2", 2.0, backfilled=True)) == 1.0
    assert with_later(btc(7, "3", 3.0), btc(5, "2", 2.0, backfilled=True)) == 2.0
    assert with_later(btc(7, "3", 3.0, backfilled=True), btc(5, "2", 2.0, backfilled=True)) == 3.0


def join_by_hand(records: list[c.Record]) -> dict[str, Any]:
    """The definition, word by word, in quadratic time."""
    found: dict[str, Any] = {}
    clocks = [max([r.ts for r in records[: i + 1] if r.kind == "clock"], default=0) for i in range(len(records))]
    for i, t in enumerate(records):
        if t.kind != "trade":
            continue
        if t.ts < clocks[i] - HORIZON:
            found[t.id] = "past_horizon"
            continue
        known = [
            r
            for j, r in enumerate(records)
            if r.kind == "reference" and r.ts <= t.ts
            if j < i or (r.backfilled and t.ts >= clocks[j] - HORIZON)
        ]
        best = max(known, key=c.order_of, default=None)
        stale = best is not None and t.ts - best.ts > c.MAX_BTC_AGE
        found[t.id] = "no_reference" if best is None else "stale_reference" if stale else best.price
    return found


@pytest.mark.parametrize("seed", range(20))
def test_the_join_is_its_definition(seed: int) -> None:
    rng = random.Random(seed)
    records: list[c.Record] = []
    now = 0
    for i in range(400):
        now += rng.choice((0, 1, 700, 3_000))
        late = rng.choice((0, 0, 0, 400, 20_000, 90_000))
        if rng.random() < 0.3:
            records.append(clock(now - now % 50))
        elif rng.random() < 0.4:
            records.append(btc(now - late, str(i), float(i + 1), backfilled=rng.random() < 0.3))
        else:
            records.append(trade(now - late, str(i)))
    assert answers(log_of(*records)[0]) == join_by_hand(records)


_CELLS = {"True": "t", "False": "f", "None": r"\N"}


def tick_row(t: c.Taken, **changes: Any) -> bytes:
    """The row as COPY writes it, columns as in TICKS."""
    btc_trade, reason = c.expected_answer(t)
    r, b = t.record, btc_trade
    values: dict[str, Any] = {
        "time": r.ts, "exchange": r.exchange, "trf": r.trf, "trade_id": r.id, "stock_price": r.price,
        "stock_volume": int(r.size), "stock_size": r.size, "sequence": r.sequence, "received_at": r.received_ts,
        "btc_price": b and b.price, "btc_volume": b and b.size, "btc_time": b and b.ts,
        "btc_age_us": b and r.ts - b.ts, "ratio": b and r.price / b.price, "inverse_ratio": b and b.price / r.price,
        "reason": reason, "reference": b and b.symbol, "eligible": True, "updates_open_close": True,
        "updates_volume": True,
    } | changes  # fmt: skip
    cells = [_CELLS.get(repr(value)) or str(value) for value in values.values()]
    return "\t".join(cells).encode()


def test_a_lost_doubled_or_changed_tick_row_is_found() -> None:
    log, _ = log_of(btc(0, "b"), *(trade(n, str(n)) for n in range(1, 6)))
    trades = log.trades["MARA"]
    rows = [tick_row(t) for t in trades]

    def found(some: list[bytes]) -> dict[str, int]:
        tally = c.Tally()
        c.compare_ticks("ticks", "MARA", some, trades, tally)
        return wrong(tally, "ticks")

    assert found(rows) == {}
    assert found(rows[1:]) == {"lost": 1}
    assert found([*rows, tick_row(trades[0], trade_id="77")]) == {"doubled": 1}
    for name in c.TICKS.wanted[:13]:
        value: Any = "late" if name in {"reason", "reference"} else 3
        assert found([*rows[:2], tick_row(trades[2], **{name: value}), *rows[3:]]) == {"different": 1}, name


# --- candles -----------------------------------------------------------------------------------------------------


def counted(ms: int, price: float, size: float = 1.0, **more: Any) -> c.Counted:
    return c.Counted(c.order_of(trade(ms, str(ms))), price, size, **more)


def test_a_candle_by_hand() -> None:
    trades = [
        counted(100, 10.0, 2.0, ratio=0.1), counted(0, 12.0, 1.0, ratio=0.2), counted(300, 9.0, 1.0, ratio=0.4),
        counted(400, 50.0, 5.0, high_low=False, open_close=False),
        counted(450, 11.0, 4.0, open_close=False, volume=False),
        counted(500, 7.0),
    ]  # fmt: skip
    bar = c.Columns(trades).bar(DAY, DAY + 500_000)
    wanted = {
        "open": 12.0, "high": 12.0, "low": 9.0, "close": 9.0, "tick_count": 4, "trade_count": 4, "avg": 10.5,
        "vwap": 85 / 8, "volume": 9.0, "ratio_open": 0.2, "ratio_high": 0.4, "ratio_low": 0.1, "ratio_close": 0.4,
        "ratio_tick_count": 3, "ratio_avg": 0.7 / 3, "ratio_twap": (0.2 * 100 + 0.1 * 200 + 0.4 * 200) / 500,
    }  # fmt: skip
    assert {name for name in c.BAR if not c.same(name, bar[name], wanted[name])} == set()


def test_lost_extra_and_changed_candles_are_found() -> None:
    columns = c.Columns([counted(0, 10.0), counted(600, 11.0), counted(1_200, 12.0)])
    keys = c.expected_keys([DAY, DAY + 600_000, DAY + 1_200_000], ["500ms", "1s"], DAY + 2_000_000)
    assert len(keys) == 5
    whole = {key: columns.bar(key[1], key[1] + c.length_of(key[0])) for key in keys}

    def found(some: dict[c.CandleKey, c.Bar]) -> dict[str, int]:
        tally = c.Tally()
        c.compare_candles("candles", "MARA", some, keys, columns, c.BAR, tally)
        return wrong(tally, "candles")

    first = ("500ms", DAY)
    assert found(whole) == {}
    assert found({k: v for k, v in whole.items() if k != first}) == {"lost": 1}
    assert found(whole | {("500ms", DAY + 3_000_000): whole[first]}) == {"doubled": 1}
    for name in c.PRICE_ONLY:
        value = whole[first][name]
        assert value is not None
        assert found(whole | {first: whole[first] | {name: value * 1.000001}}) == {"different": 1}, name


def test_candles_are_expected_where_the_clock_has_passed() -> None:
    assert c.expected_keys([DAY, DAY + 700_000], ["500ms", "1s"], DAY + 999_999) == {("500ms", DAY)}


@pytest.mark.parametrize(
    ("cancel", "gone"),
    [
        (trade(9, "2", correction=10), "2"),
        (trade(9, "x", price=21.0, correction=10), "3"),
        (trade(9, "x", price=99.0, correction=10), None),
        (trade(9, "2", exchange=7, correction=10), None),
    ],
)
def test_a_cancel_names_its_original_by_id_else_by_value(cancel: c.Record, gone: str | None) -> None:
    trades = [trade(1, "1"), trade(2, "2"), trade(3, "3", price=21.0)]
    log, _ = log_of(*trades, cancel, clock(1_000))
    assert [t.record.id for t in log.trades["MARA"] if t.cancelled] == [gone] * (gone is not None)


def test_late_and_cancelled_trades_are_in_no_candle_but_leave_it_there() -> None:
    log, tally = log_of(
        trade(1, "1"), clock(70_000), trade(2, "2"), trade(70_000, "3"), trade(70_000, "3", correction=10),
        clock(80_000),
    )  # fmt: skip
    options = c.Options("", "", "", "", "", "", ("500ms",), HORIZON, "BTC-USD")
    rows = {c.identity_of(t.record): c.as_counted(t.record) for t in log.trades["MARA"]}
    empty: c.Bar = c.Columns([]).bar(0, 1)
    stored = {("500ms", DAY): c.Columns([counted(1, 20.0, 100.0)]).bar(DAY, DAY + 500_000)}
    check = c.CandleCheck("MARA", log, options, tally)
    check.against("candles", stored | {("500ms", DAY + 70_000_000): empty}, rows, c.BAR)
    assert wrong(tally, "candles") == {}


# --- the whole ---------------------------------------------------------------------------------------------------


def test_a_check_that_compared_nothing_has_failed() -> None:
    total = c.Tally()
    c.finish(total, c.Ledger([]))
    assert {name for name in c.REQUIRED if wrong(total, name) == {"lost": 1}} == set(c.REQUIRED)


def test_tallies_add_up_and_keep_the_first_five() -> None:
    total = c.Tally()
    for part in range(3):
        one = c.Tally()
        one.compared("x", 10)
        for n in range(4):
            one.wrong("x", "lost", part, n)
        total.merge(one)
    assert total.counts["x"] == {"compared": 30, "lost": 12, "doubled": 0, "different": 0}
    assert total.examples == {"x: lost": ["0 0", "0 1", "0 2", "0 3", "1 0"]}
    assert total.failed == 12
    assert "x" in c.report(total)
    assert '"ok": false' in c.as_json(total)
