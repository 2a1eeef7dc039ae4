"""In which order gaps are filled, and what becomes of one that cannot be."""

import asyncio
from typing import Any, cast

import pytest

from marketdata.records import Gap
from marketdata.units import SECOND_US
from services.ingest.gaps import Gaps
from services.ingest.rest import RefusedError, RestError

NOW = 1_709_650_800 * SECOND_US


class Recorder:
    """Stands for the writer, the back-filler and the poller; a fill waits until it is let go."""

    def __init__(self) -> None:
        self.epoch = 1
        self.enabled = True
        self.gaps: list[Gap] = []
        self.filled = {"stocks": 0, "crypto": 0}
        self.filling: list[tuple[str, tuple[int, int]]] = []
        self.go = {"stocks": asyncio.Event(), "crypto": asyncio.Event()}
        self.error: RestError | None = None
        self.handed: list[tuple[str, str, tuple[int, int]]] = []

    def gap(self, gap: Gap) -> None:
        self.gaps.append(gap)

    def newest_clock(self, market: str) -> int:
        del market
        return NOW

    def known_from(self, market: str) -> int:
        del market
        return NOW - 900 * SECOND_US

    def nothing(self, *_: Any) -> None:
        return

    hold = release = expect = done = nothing

    async def fill(self, market: str, span: tuple[int, int], known_from: int, deadline: float) -> None:
        del known_from, deadline
        self.filling.append((market, span))
        await self.go[market].wait()
        if self.error:
            raise self.error
        self.filled[market] += 7

    def after_gap(self, market: str, span: tuple[int, int]) -> None:
        self.handed.append(("after", market, span))

    def retry(self, market: str, span: tuple[int, int]) -> None:
        self.handed.append(("retry", market, span))

    def said(self) -> list[tuple[str, str, int]]:
        return [(gap.cluster, gap.status, gap.trades) for gap in self.gaps]


async def both_lost() -> tuple[Recorder, Gaps]:
    all_three = Recorder()
    gaps = Gaps(cast("Any", all_three), cast("Any", all_three), cast("Any", all_three), 30 * SECOND_US)
    for market in ("stocks", "crypto"):
        gaps.begin(market, NOW, NOW)
        assert gaps.limit(market, NOW) == NOW
    return all_three, gaps


async def settle() -> None:
    await asyncio.sleep(0.1)


async def test_btc_stands_before_the_stocks() -> None:
    seen, gaps = await both_lost()
    gaps.flows("stocks", NOW + 5, NOW)
    await settle()
    assert not seen.filling, "crypto is still away"
    gaps.flows("crypto", NOW + 9, NOW)
    await settle()
    assert seen.filling == [("crypto", (NOW, NOW + 9))]
    seen.go["crypto"].set()
    await settle()
    assert seen.filling[1:] == [("stocks", (NOW, NOW + 5))]
    assert gaps.limit("crypto", NOW + 10) is None
    assert gaps.limit("stocks", NOW + 10) == NOW, "each cluster's clock waits for its own gap"
    seen.go["stocks"].set()
    await settle()
    gaps.check()
    assert gaps.limit("stocks", NOW + 10) is None
    assert seen.said()[2:] == [("crypto", "filled", 7), ("stocks", "filled", 7)]
    assert [kind for kind, _, _ in seen.handed] == ["after", "after"]


@pytest.mark.parametrize("error", [RestError("no"), RefusedError(403)])
async def test_what_cannot_be_filled_is_given_up_and_left_to_the_poller(error: RestError) -> None:
    seen, gaps = await both_lost()
    seen.error = error
    seen.go["crypto"].set()
    gaps.flows("crypto", NOW + 9, NOW)
    await settle()
    gaps.check()
    assert seen.said()[2:] == [("crypto", "given_up", 0)]
    assert gaps.limit("crypto", NOW + 10) is None
    assert seen.handed == [("retry", "crypto", (NOW, NOW + 9))]
    await gaps.stop()


async def test_a_feed_that_stays_away_is_given_up_once_and_left_to_the_poller_when_it_is_back() -> None:
    seen, gaps = await both_lost()
    late = NOW + 31 * SECOND_US
    assert [gaps.limit("stocks", late) for _ in range(3)] == [None] * 3
    assert gaps.is_open("stocks")
    gaps.flows("stocks", late, late)
    assert not gaps.is_open("stocks")
    assert [(gap.status, gap.end) for gap in seen.gaps[2:]] == [("given_up", None), ("given_up", late)]
    assert seen.handed == [("retry", "stocks", (NOW, late))]
    assert not seen.filling


async def test_a_loss_while_it_is_filled_lengthens_the_gap_and_it_is_filled_anew() -> None:
    seen, gaps = await both_lost()
    gaps.flows("crypto", NOW + 9, NOW)
    await settle()
    gaps.begin("crypto", NOW + 20, NOW + 20)
    seen.go["crypto"].set()
    await settle()
    assert gaps.limit("crypto", NOW + 30) == NOW
    gaps.flows("crypto", NOW + 40, NOW + 40)
    await settle()
    assert seen.filling == [("crypto", (NOW, NOW + 9)), ("crypto", (NOW, NOW + 40))]
    assert seen.said()[2:] == [("crypto", "filled", 7)]


async def test_a_predecessors_gaps_that_lie_inside_end_with_the_one_that_holds_them() -> None:
    seen = Recorder()
    gaps = Gaps(cast("Any", seen), cast("Any", seen), cast("Any", seen), 30 * SECOND_US)
    gaps.begin("crypto", NOW, NOW, (NOW + 3, NOW + 5))
    seen.go["crypto"].set()
    gaps.flows("crypto", NOW + 9, NOW)
    await settle()
    assert [(gap.status, gap.start, gap.end, gap.trades) for gap in seen.gaps] == [
        ("open", NOW, None, 0), ("filled", NOW, NOW + 9, 7), ("filled", NOW + 3, NOW + 9, 0),
        ("filled", NOW + 5, NOW + 9, 0),
    ]  # fmt: skip
    gaps.begin("crypto", NOW + 20, NOW + 20)
    seen.error = RestError("no")
    gaps.flows("crypto", NOW + 29, NOW + 20)
    await settle()
    assert [(gap.status, gap.start) for gap in seen.gaps[4:]] == [("open", NOW + 20), ("given_up", NOW + 20)]
    await gaps.stop()


async def test_each_gap_inside_one_that_is_given_up_is_tried_again() -> None:
    seen = Recorder()
    gaps = Gaps(cast("Any", seen), cast("Any", seen), cast("Any", seen), 30 * SECOND_US)
    gaps.begin("crypto", NOW, NOW, (NOW + 3,))
    seen.error = RestError("no")
    seen.go["crypto"].set()
    gaps.flows("crypto", NOW + 9, NOW)
    await settle()
    assert [(gap.status, gap.start, gap.end) for gap in seen.gaps[1:]] == [
        ("given_up", NOW, NOW + 9), ("given_up", NOW + 3, NOW + 9)
    ]  # fmt: skip
    assert seen.handed == [("retry", "crypto", (NOW, NOW + 9)), ("retry", "crypto", (NOW + 3, NOW + 9))]
    await gaps.stop()


async def test_a_gap_older_than_the_writer_remembers_is_left_to_the_poller() -> None:
    """A fill leaves alone what may stand in the log unknown to the writer."""
    seen = Recorder()
    gaps = Gaps(cast("Any", seen), cast("Any", seen), cast("Any", seen), 30 * SECOND_US)
    old = NOW - 901 * SECOND_US
    gaps.begin("stocks", old, NOW)
    seen.go["stocks"].set()
    gaps.flows("stocks", NOW + 9, NOW)
    await settle()
    assert seen.said()[1:] == [("stocks", "given_up", 0)]
    assert seen.handed == [("retry", "stocks", (old, NOW + 9))]
    await gaps.stop()


async def test_a_fault_of_ours_is_not_swallowed() -> None:
    seen, gaps = await both_lost()
    seen.error = cast("Any", ValueError("a bug"))
    seen.go["crypto"].set()
    gaps.flows("crypto", NOW + 9, NOW)
    await settle()
    with pytest.raises(ValueError, match="a bug"):
        gaps.check()
