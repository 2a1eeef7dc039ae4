"""Pages of REST while trades go on arriving, on time and late."""

from random import Random

import pytest

from feed.events import StockTrade
from feed.history import History
from feed.rest_query import encode_cursor, read_query

T0 = 1_709_650_800_000


def add(history: History, number: int, t: int) -> None:
    history.add(StockTrade("MARA", 12, str(number), 3, 20.5, 100, t, number))


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("seed", range(5))
def test_what_was_there_at_the_first_page_comes_exactly_once(order: str, seed: int) -> None:
    rng = Random(seed)
    history = History(10**9, 10**6)
    for number in range(200):
        add(history, number, T0 + rng.randrange(60))
    got: list[int] = []
    number = 200
    query = read_query("MARA", {"order": order, "limit": "7"})
    while rows := history.page("MARA", query.span, query.limit, query.descending):
        got += [int(row[2].i) for row in rows]
        if number < 400:
            for t in (T0 + 60 + number, T0 + rng.randrange(60), rows[-1][2].t):  # newest, late, beside the cursor
                add(history, number, t)
                number += 1
        query = read_query("MARA", {"cursor": encode_cursor(query.after(rows[-1]))})
    assert len(got) == len(set(got)), "no row twice"
    assert set(range(200)) <= set(got), "no row left out"
