"""Splits and renames: what is read from a file, and the factors over several of them."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketdata.actions import (
    Action,
    ActionsError,
    ActionTable,
    Rename,
    Split,
    day_number,
    day_text,
    format_actions,
    parse_actions,
)
from marketdata.calendar import trading_day
from marketdata.units import DAY_US
from streaming.actions import load_actions

HEADING = "kind,symbol,day,from,to\n"
TEXT = HEADING + (
    "split,AAPL,2014-06-09,1,7\n"
    "split,AAPL,2020-08-31,1,4\n"
    "split,HIVE,2022-05-20,5,1\n"
    "rename,FB,2022-06-09,FB,META\n"
    "split,GE,2023-01-04,1,1.281\n"
)


def days(*texts: str) -> tuple[int, ...]:
    return tuple(map(day_number, texts))


def split(symbol: str, day: str, old: str, new: str) -> Split:
    return Split(symbol, day_number(day), Decimal(old), Decimal(new))


def test_a_file_is_read_and_written_back() -> None:
    table = parse_actions(TEXT)
    assert table.actions == (
        split("AAPL", "2014-06-09", "1", "7"),
        split("AAPL", "2020-08-31", "1", "4"),
        split("HIVE", "2022-05-20", "5", "1"),
        Rename("FB", "META", day_number("2022-06-09")),
        split("GE", "2023-01-04", "1", "1.281"),
    )
    assert format_actions(table) == TEXT
    shuffled = HEADING + "\r\n".join(reversed(TEXT.splitlines()[1:])) + "\r\n\r\n"
    assert parse_actions(shuffled) == table, "order, line ends and empty lines mean nothing"
    assert parse_actions(HEADING) == ActionTable()
    assert len(ActionTable()) == 0


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        ("", "line 1: the heading must be kind,symbol,day,from,to"),
        ("kind,symbol,date,from,to", "line 1: the heading must be kind,symbol,day,from,to"),
        (HEADING + "split,MARA,2024-01-02,1", "line 2: 4 cells, where kind,symbol,day,from,to are 5"),
        (HEADING + "\nspilt,MARA,2024-01-02,1,2", "line 3: the kind is split or rename, not 'spilt'"),
        (HEADING + "split,MARA,2024-02-30,1,2", "line 2: '2024-02-30' is no day: write YYYY-MM-DD"),
        (HEADING + "split,MARA,20240102,1,2", "line 2: '20240102' is no day: write YYYY-MM-DD"),
        (HEADING + "split,MARA,2024-01-02,0,2", "line 2: '0' is no number of shares"),
        (HEADING + "split,MARA,2024-01-02,-1,2", "line 2: '-1' is no number of shares"),
        (HEADING + "split,MARA,2024-01-02,1,NaN", "line 2: 'NaN' is no number of shares"),
        (HEADING + "split,MARA,2024-01-02,1,Infinity", "line 2: 'Infinity' is no number of shares"),
        (HEADING + "split,MARA,2024-01-02,1,two", "line 2: 'two' is no number of shares"),
        (HEADING + "split,MARA,2024-01-02,2,2.0", "line 2: a split from 2 to 2.0 changes nothing"),
        (HEADING + "split,,2024-01-02,1,2", "line 2: '' is no symbol"),
        (HEADING + "split,MA RA,2024-01-02,1,2", "line 2: 'MA RA' is no symbol"),
        (HEADING + "rename,FB,2022-06-09,FX,META", "line 2: a rename of FB is from FB, not from 'FX'"),
        (HEADING + "rename,FB,2022-06-09,FB,FB", "line 2: FB keeps its name"),
        (TEXT + "split,AAPL,2014-06-09,1,7", "line 7: the same stands in line 2"),
        (TEXT + "split,AAPL,2014-06-09,1,2", "line 7: AAPL has two splits on 2014-06-09"),
        (TEXT + "rename,FB,2022-06-09,FB,MTA", "line 7: FB gets two new names on 2022-06-09"),
        (
            TEXT + "split,FB,2022-06-09,1,2\nsplit,META,2022-06-09,1,2",
            "line 5: FB becomes META on 2022-06-09: its split stands under both names",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_its_line(lines: str, error: str) -> None:
    with pytest.raises(ActionsError) as caught:
        parse_actions(lines)
    assert str(caught.value) == error


def test_the_file_is_named_too(tmp_path: Path) -> None:
    path = tmp_path / "actions.csv"
    with pytest.raises(ActionsError, match=r"actions\.csv cannot be read"):
        load_actions(path)
    path.write_text(HEADING + "split,MARA,2024-01-02,1,0\n")
    with pytest.raises(ActionsError, match=r"actions\.csv: line 2: '0' is no number of shares"):
        load_actions(path)
    path.write_bytes(b"kind,symbol\xff")
    with pytest.raises(ActionsError, match=r"actions\.csv cannot be read"):
        load_actions(path)
    path.write_text(TEXT)
    assert load_actions(path) == parse_actions(TEXT)
    assert load_actions(None) == ActionTable()


def test_factors_over_several_splits() -> None:
    table = parse_actions(TEXT)
    before, first, between, second, after = days("2014-06-06", "2014-06-09", "2017-01-03", "2020-08-31", "2024-01-02")
    assert table.factor("AAPL", before, after) == Fraction(1, 28)
    assert table.factor("AAPL", before, first) == Fraction(1, 7), "a split counts on its day"
    assert table.factor("AAPL", first, after) == Fraction(1, 4), "and no more after it"
    assert table.factor("AAPL", between, second - 1) == 1
    assert table.factor("AAPL", between, second) == Fraction(1, 4)
    assert table.factor("AAPL", second, after) == 1
    assert table.factor("MARA", before, after) == 1
    assert table.factor("AAPL", after, before) == 1, "nothing lies between"


def test_a_reverse_split_raises_earlier_prices() -> None:
    table = parse_actions(TEXT)
    before, day = days("2022-05-19", "2022-05-20")
    assert table.factor("HIVE", before, day) == 5
    assert Fraction("1.6") * table.factor("HIVE", before, day) == 8
    assert parse_actions(TEXT).factor("GE", 0, 10**6) == Fraction(1000, 1281), "exact, however odd"


def test_a_forward_and_a_reverse_split_undo_one_another() -> None:
    table = ActionTable([split("X", "2020-01-02", "1", "3"), split("X", "2021-01-04", "3", "1")])
    before, between, after = days("2019-12-31", "2020-06-01", "2021-06-01")
    assert [table.factor("X", day, after) for day in (before, between, after)] == [1, 3, 1]


def test_a_split_on_a_weekend_counts_from_the_next_trade_on() -> None:
    table = ActionTable([split("X", "2026-11-21", "1", "2")])
    friday, monday = days("2026-11-20", "2026-11-23")
    assert table.factor("X", friday, monday) == Fraction(1, 2)


def test_days_are_those_of_trades() -> None:
    """20:00 New York, 01:00 UTC of the next day, still belongs to the old shares."""
    number = day_number("2020-08-31")
    assert trading_day(number * DAY_US + DAY_US // 24) == number - 1
    assert trading_day(number * DAY_US + DAY_US // 2) == number


def test_what_happens_on_a_day() -> None:
    table = parse_actions(TEXT)
    (renamed,) = days("2022-06-09")
    (rename,) = (action for action in table.actions if isinstance(action, Rename))
    assert table.on("AAPL", day_number("2020-08-31")) == (split("AAPL", "2020-08-31", "1", "4"),)
    assert table.on("AAPL", day_number("2020-09-01")) == ()
    assert table.on("FB", renamed) == table.on("META", renamed) == (rename,)
    assert table.on("AAPL", renamed) == ()


def chain() -> tuple[ActionTable, tuple[int, int, int, int]]:
    """A becomes B becomes C; the name A is later given to another company, which splits too."""
    lines = (
        "split,A,2020-01-02,1,2\nrename,A,2021-01-04,A,B\nsplit,B,2022-01-03,1,5\nrename,B,2023-01-03,B,C\n"
        "split,C,2024-01-02,1,7\nrename,Z,2022-06-01,Z,A\nsplit,A,2025-01-02,1,11\nsplit,Z,2021-06-01,1,13\n"
        "split,B,2020-06-01,1,17\n"
    )
    return parse_actions(HEADING + lines), (
        day_number("2019-01-02"),
        day_number("2021-06-01"),
        day_number("2023-06-01"),
        day_number("2026-01-02"),
    )


def test_factors_follow_a_company_through_its_names() -> None:
    table, (first, as_b, as_c, now) = chain()
    assert table.factor("A", first, now) == Fraction(1, 2 * 5 * 7), "not the split of another B or the later A"
    assert table.factor("B", as_b, now) == Fraction(1, 5 * 7)
    assert table.factor("C", as_c, now) == Fraction(1, 7)
    assert table.factor("A", day_number("2023-01-03"), now) == Fraction(1, 11), "by then it is the other company"
    assert table.factor("Z", first, now) == Fraction(1, 13 * 11)
    assert [table.newest_name("A", day) for day in (first, as_c)] == ["C", "A"]
    assert (table.newest_name("Z", first), table.newest_name("B", as_b), table.newest_name("Q", 0)) == ("A", "C", "Q")


def test_a_history_starts_anew_where_a_name_comes_or_goes() -> None:
    table, (first, as_b, as_c, now) = chain()
    changed = day_number("2021-01-04")
    assert not table.starts_anew("A", first, changed - 1)
    assert table.starts_anew("A", changed - 1, changed)
    assert table.starts_anew("B", first, changed)
    assert not table.starts_anew("B", changed, as_b)
    assert not table.starts_anew("A", changed, day_number("2022-05-31"))
    assert table.starts_anew("A", changed, as_c), "another company's since 2022-06-01"
    assert table.starts_anew("C", first, now)
    assert not table.starts_anew("D", first, now)


def test_on_the_day_of_a_rename_the_split_may_stand_under_either_name() -> None:
    for name in ("OLD", "NEW"):
        table = parse_actions(f"{HEADING}rename,OLD,2024-01-02,OLD,NEW\nsplit,{name},2024-01-02,10,1\n")
        day = day_number("2024-01-02")
        assert table.factor("OLD", day - 1, day) == 10
        assert table.factor("NEW", day, day + 9) == 1


def test_two_companies_may_change_names_on_one_day() -> None:
    table = parse_actions(f"{HEADING}rename,A,2024-01-02,A,B\nrename,B,2024-01-02,B,A\nsplit,A,2025-01-02,1,3\n")
    day, now = day_number("2024-01-02"), day_number("2026-01-02")
    assert [table.factor(name, day - 1, now) for name in "AB"] == [1, Fraction(1, 3)]
    assert [table.factor(name, day, now) for name in "AB"] == [Fraction(1, 3), 1], "renamed already"
    assert [table.newest_name(name, day - 1) for name in "AB"] == ["B", "A"]
    assert [table.newest_name(name, day) for name in "AB"] == ["A", "B"]


SHARES = st.decimals(min_value=Decimal("0.01"), max_value=Decimal(1000), places=2)
SPLITS = st.builds(Split, st.sampled_from("ABCD"), st.integers(0, 40), SHARES, SHARES).filter(
    lambda s: s.old != s.new
)
RENAMES = st.builds(Rename, st.sampled_from("ABCD"), st.sampled_from("ABCDEF"), st.integers(0, 40)).filter(
    lambda r: r.old != r.new
)


@given(st.lists(SPLITS | RENAMES, max_size=12, unique_by=lambda a: (a.symbol, a.day)), st.data())
def test_factors_multiply_and_a_file_keeps_everything(actions: list[Action], data: st.DataObject) -> None:
    try:
        table = ActionTable(actions)
    except ActionsError:
        return
    assert parse_actions(format_actions(table)) == table
    first, between, last = sorted(data.draw(st.tuples(*[st.integers(0, 40)] * 3)))
    symbol = data.draw(st.sampled_from("ABCD"))
    if not any(isinstance(action, Rename) for action in actions):
        whole = table.factor(symbol, first, last)
        assert whole == table.factor(symbol, first, between) * table.factor(symbol, between, last)
        product = Fraction(1)
        for action in actions:
            if isinstance(action, Split) and action.symbol == symbol and first < action.day <= last:
                product *= Fraction(action.old) / Fraction(action.new)
        assert whole == product
    assert day_number(day_text(last)) == last
