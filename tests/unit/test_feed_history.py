from random import Random

import pytest

from feed.events import CryptoTrade, StockTrade
from feed.history import History, ticker_of, time_ns
from feed.rest import vendor_trade
from feed.rest_query import DAY_NS, Query, QueryError, encode_cursor, read_query

T0 = 1_709_650_800_000


def stock(number: int, t: int, **fields: object) -> StockTrade:
    return StockTrade("MARA", 12, str(number), 3, 20.5, 100, t, number, **fields)  # type: ignore[arg-type]


def filled(times: list[int], max_age_ms: int = 10**9, max_trades: int = 10**6) -> History:
    history = History(max_age_ms, max_trades)
    for number, t in enumerate(times):
        history.add(stock(number, t))
    return history


def pages(history: History, params: dict[str, str]) -> list[list[str]]:
    """Ids page by page, each next page asked for with nothing but the cursor."""
    result, query = [], read_query("MARA", params)
    while rows := history.page("MARA", query.span, query.limit, query.descending):
        result.append([row[2].i for row in rows])
        query = read_query("MARA", {"cursor": encode_cursor(query.after(rows[-1]))})
    return result


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages_joined_are_the_whole_in_order(order: str) -> None:
    rng = Random(1)
    times = [T0 + rng.randrange(50) for _ in range(103)]
    history = filled(times)
    whole = [i for page in pages(history, {"order": order, "limit": "10"}) for i in page]
    expected = sorted(range(103), key=lambda n: (time_ns(stock(n, times[n])), n), reverse=order == "desc")
    assert whole == [str(n) for n in expected]
    assert [len(page) for page in pages(history, {"order": order, "limit": "10"})] == [10] * 10 + [3]


def test_bounds_are_nanoseconds() -> None:
    history = filled([T0, T0 + 1, T0 + 2])
    middle = time_ns(stock(1, T0 + 1))

    def ids(**bounds: int) -> list[str]:
        params = {name.replace("_", "."): str(value) for name, value in bounds.items()}
        return [i for page in pages(history, {"order": "asc", **params}) for i in page]

    assert ids(timestamp=middle) == ["1"]
    assert ids(timestamp_gte=middle) == ["1", "2"]
    assert ids(timestamp_gt=middle) == ["2"]
    assert ids(timestamp_lte=middle) == ["0", "1"]
    assert ids(timestamp_lt=middle) == ["0"]
    assert ids(timestamp_gt=middle, timestamp_lt=middle + 5_000_000) == ["2"]
    assert ids(timestamp_gt=middle, timestamp_lt=middle) == []


def test_a_date_is_its_whole_day_in_utc() -> None:
    midnight = 1_709_596_800_000  # 2024-03-05T00:00:00Z
    history = filled([midnight - 1, midnight, midnight + DAY_NS // 1_000_000 - 1, midnight + DAY_NS // 1_000_000])

    def ids(name: str) -> list[str]:
        return [i for page in pages(history, {"order": "asc", name: "2024-03-05"}) for i in page]

    assert ids("timestamp") == ["1", "2"]
    assert ids("timestamp.gte") == ["1", "2", "3"]
    assert ids("timestamp.gt") == ["3"]
    assert ids("timestamp.lte") == ["0", "1", "2"]
    assert ids("timestamp.lt") == ["0"]


@pytest.mark.parametrize(
    "params",
    [
        {"limit": "0"},
        {"limit": "50001"},
        {"limit": "x"},
        {"order": "up"},
        {"sort": "price"},
        {"timestamp.gte": "yesterday"},
        {"timestamp.any": "1"},
        {"cursor": "!!"},
        {"cursor": "e30="},
        {"cursor": encode_cursor(Query("RIOT", ((0, 0), (1, 1)), 10, descending=False))},
    ],
)
def test_bad_parameters_are_refused(params: dict[str, str]) -> None:
    with pytest.raises(QueryError):
        read_query("MARA", params)


def test_old_trades_are_forgotten() -> None:
    history = filled([T0, T0 + 500, T0 + 2000], max_age_ms=1000)
    history.trim()
    assert history.size == 1
    assert pages(history, {}) == [["2"]]


def test_the_oldest_are_forgotten_beyond_the_bound() -> None:
    history = History(10**9, 250)
    for second in range(10):
        for number in range(100):
            history.add(stock(second * 100 + number, T0 + second * 1000 + number))
        history.trim()
    kept = [int(i) for page in pages(history, {"order": "asc"}) for i in page]
    assert 150 <= history.size <= 250
    assert kept == list(range(1000 - history.size, 1000))


def test_a_cancel_is_shown_and_marks_its_trade_from_then_on() -> None:
    history = History(10**9, 10**6)
    history.add(stock(1, T0), 8)
    history.add(stock(2, T0 + 1), 0)
    query = read_query("MARA", {"order": "asc"})

    def marks() -> list[int]:
        return [history.correction(row) for row in history.page("MARA", query.span, 10, descending=False)]

    assert marks() == [0, 0], "nobody knows yet that it will be cancelled"
    history.add(stock(3, T0 + 9), 10)
    assert marks() == [8, 0, 10]


def test_a_record_that_names_its_trade_marks_that_one_and_no_other() -> None:
    history = History(10**9, 10**6)
    first, second = stock(1, T0), stock(2, T0)
    for trade in (first, second):
        history.add(trade)
    for number, (about, record) in enumerate([(second, 10), (first, 12)]):
        history.add(stock(3 + number, T0 + 9), record, about)
    query = read_query("MARA", {"order": "asc"})
    rows = history.page("MARA", query.span, 10, descending=False)
    assert {row[2].i: history.correction(row) for row in rows} == {"1": 1, "2": 8, "3": 10, "4": 12}


def test_a_stock_trade_in_the_vendors_shape() -> None:
    trade = stock(7, T0, c=(14, 37), ds="0.5", trfi=202, trft=T0 - 3)
    shown = vendor_trade((time_ns(trade), 0, trade), 0)
    assert shown["sip_timestamp"] // 1_000_000 == T0
    assert shown.pop("participant_timestamp") < shown.pop("sip_timestamp")
    assert shown == {
        "exchange": 12, "id": "7", "price": 20.5, "size": 100, "decimal_size": "0.5", "conditions": (14, 37),
        "sequence_number": 7, "tape": 3, "trf_id": 202, "trf_timestamp": (T0 - 3) * 1_000_000,
    }  # fmt: skip
    assert vendor_trade((0, 0, stock(8, T0)), 10)["correction"] == 10


def test_a_crypto_trade_in_the_vendors_shape() -> None:
    trade = CryptoTrade("BTC-USD", 65_000.5, T0, 0.25, "9", 23, (2,), T0 + 40)
    shown = vendor_trade((time_ns(trade), 0, trade), 0)
    assert shown.pop("participant_timestamp") // 1_000_000 == T0
    assert shown == {"exchange": 23, "id": "9", "price": 65_000.5, "size": 0.25, "conditions": (2,)}
    assert ticker_of(trade) == "X:BTCUSD"
