"""What a new ingest learns from feed.gaps, and as how many jobs it is read again."""

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import pytest

from marketdata.records import Gap
from marketdata.topics import Topics
from marketdata.units import DAY_US, SECOND_US
from services.ingest import corrections, metrics
from services.ingest.backfill import REACH_BACK_US
from services.ingest.corrections import LATE_PRINTS_US, Corrections, Log
from services.ingest.follow import LogEnd, LogFollower
from services.ingest.hostclock import wall_us
from services.ingest.jobs import MOST_US, TRIES, Job, Jobs
from services.ingest.left import Left
from services.ingest.rest import RestError
from services.ingest.standing import StandingError

NOW = 1_709_650_800 * SECOND_US
HOUR_US = 3_600 * SECOND_US


def gap(status: Any, start: int, end: int | None, market: str = "stocks") -> Gap:
    return Gap(cluster=market, start=start, end=end, status=status, epoch=1)


def read_back(*gaps: Gap) -> LogEnd:
    """What a follower makes of these records of feed.gaps, in their order."""
    topics = Topics("test.")
    follower = LogFollower("127.0.0.1:1", topics, 1, horizon_us=SECOND_US, references=())
    for each in gaps:
        follower._note_gap(each)
    return LogEnd(settled={"stocks": NOW, "crypto": NOW}, gaps=tuple(follower._words.values()))


def test_the_newest_word_on_each_gap_counts() -> None:
    a, b, c, d = (NOW - n * 100 * SECOND_US for n in (9, 8, 7, 6))
    left = read_back(
        gap("open", a, None), gap("given_up", a, None), gap("given_up", a, a + 5),
        gap("open", b, None), gap("given_up", b, b + 5), gap("filled", b, b + 5),
        gap("open", c, None), gap("filled", c, c + 5),
        gap("given_up", d, d + 5), gap("open", d, None, "crypto"),
    ).left()  # fmt: skip
    assert left.starts == {"stocks": NOW, "crypto": d}
    assert left.given_up("stocks", 0) == [(a, a + 5), (d, d + 5)]
    assert left.given_up("stocks", a + 6) == [(d, d + 5)]
    assert left.filled("stocks", 0) == [(b, b + 5), (c, c + 5)]
    assert left.filled("stocks", c) == [(c, c + 5)]
    assert (left.given_up("crypto", 0), left.inside("crypto"), left.inside("stocks")) == ([], (), ())


def test_what_lies_within_the_gap_that_is_begun_is_part_of_it() -> None:
    start = NOW - 50 * SECOND_US
    left = read_back(
        gap("given_up", start, None), gap("open", start + 7, None), gap("given_up", start + 3, start + 5),
        gap("filled", start + 4, start + 5), gap("given_up", start - 9, start - 8),
    ).left()  # fmt: skip
    assert left.starts["stocks"] == start
    assert left.inside("stocks") == (start + 3, start + 7)
    assert left.given_up("stocks", 0) == [(start - 9, start - 8)]


def test_stretches_that_touch_are_read_once_and_each_gap_is_spoken_for() -> None:
    jobs = Jobs()
    for start in (0, 50, 90, 300):
        jobs.ask("stocks", (start, start + 60), (start, start + 10))
    jobs.ask("crypto", (0, 10))
    jobs.ask("stocks", (100, 110))
    crypto, whole, alone = (jobs.take(lambda _: True) for _ in range(3))
    assert crypto == Job("crypto", (0, 10))
    assert alone == Job("stocks", (0, 150), [(0, 10), (50, 60), (90, 100)])
    assert whole == Job("stocks", (300, 360), [(300, 310)]), "what is short comes first"
    assert jobs.take(lambda _: True) is None


def test_a_job_is_kept_short_and_one_that_has_begun_stays_as_it_is() -> None:
    jobs = Jobs()
    jobs.ask("stocks", (0, MOST_US - 5), (0, 1))
    jobs.ask("stocks", (MOST_US - 10, MOST_US + 5), (2, 3))
    assert len(jobs) == 2
    job = jobs.take(lambda j: j.span[0] == 0)
    assert job is not None
    job.done.add("MARA")
    jobs.failed(job)
    jobs.ask("stocks", (5, 6), (5, 6))
    assert len(jobs) == 3
    assert jobs.take(lambda j: j.span[0] == 0) is job
    job.tries = TRIES - 1
    jobs.failed(job)
    assert jobs.take(lambda j: j.span[0] == 0) is None, "not for ever"


class Side:
    """Stands for the back-filler and the writer; reading ``failing`` fails once."""

    enabled, epoch, under_way = True, 7, 0

    def __init__(self, failing: str = "") -> None:
        self.failing = failing
        self.read_: list[tuple[str, tuple[int, int]]] = []
        self.gaps: list[Gap] = []

    def symbols(self, market: str) -> list[str]:
        return ["BTC-USD"] if market == "crypto" else ["CAN", "MARA", "RIOT"]

    def known_from(self, market: str) -> int:
        del market
        return 0

    async def read(self, market: str, spans: Mapping[str, tuple[int, int]], deadline: float, **_: Any) -> int:
        del market, deadline
        ((symbol, span),) = spans.items()
        if symbol == self.failing:
            self.failing = ""
            raise RestError("no")
        self.read_.append((symbol, span))
        return 2

    def gap(self, gap: Gap) -> None:
        self.gaps.append(gap)


@pytest.fixture
def began(monkeypatch: pytest.MonkeyPatch) -> int:
    """Where the log begins, two days ago."""
    at = wall_us() - 2 * DAY_US
    monkeypatch.setattr(corrections, "first_clock", lambda *_: at)
    return at


def poller(side: Side) -> Corrections:
    where = Log("nowhere", str, 2)
    both = cast("Any", side)
    return Corrections(both, both, where, every_s=1, window_us=SECOND_US, delay_us=lambda _: 0)


async def test_what_was_given_up_within_a_day_and_what_was_filled_just_now_is_read_again(began: int) -> None:
    del began
    now = wall_us()
    old, first, second = now - 25 * HOUR_US, now - 2 * HOUR_US, now - 2 * HOUR_US + LATE_PRINTS_US
    long_filled, filled = now - 700 * SECOND_US, [now - 500 * SECOND_US, now - 90 * SECOND_US]
    words = [gap("given_up", start, start + SECOND_US) for start in (old, first, second)]
    words += [gap("filled", start, start + SECOND_US) for start in (long_filled, *filled)]
    words.append(gap("given_up", first, first + 2, "crypto"))
    side = Side()
    made = poller(side)
    made.take_up(Left({"stocks": now, "crypto": now}, tuple(words)))
    for _ in range(9):
        await made._one_job()
    again = (first - LATE_PRINTS_US, second + 2 * SECOND_US)
    after = (filled[0] - LATE_PRINTS_US, filled[1] - REACH_BACK_US)
    own = {symbol: {span for name, span in side.read_ if name == symbol} for symbol in ("BTC-USD", "CAN", "RIOT")}
    assert own["CAN"] == own["RIOT"] == {again, after}
    assert own["BTC-USD"] == {(first - LATE_PRINTS_US, first + 2 + SECOND_US)}
    assert len(side.read_) == 1 + 2 * 3, "each once"
    assert [(g.cluster, g.start, g.end, g.status, g.trades, g.epoch) for g in side.gaps] == [
        ("crypto", first, first + 2, "filled", 2, 7),
        ("stocks", first, first + SECOND_US, "filled", 6, 7),
        ("stocks", second, second + SECOND_US, "filled", 0, 7),
    ]


async def test_a_job_that_failed_goes_on_with_the_symbols_that_are_left(began: int) -> None:
    side = Side(failing="RIOT")
    made = poller(side)
    start = began + HOUR_US
    made.retry("stocks", (start, start + 5))
    with pytest.raises(RestError):
        await made._one_job()
    assert not side.gaps
    assert metrics.REREADS._value.get() == made.waiting == 1
    await made._one_job()
    assert metrics.REREADS._value.get() == made.waiting == 0
    assert sorted(symbol for symbol, _ in side.read_) == ["CAN", "MARA", "RIOT"]
    assert [(g.start, g.status, g.trades) for g in side.gaps] == [(start, "filled", 6)]


async def test_a_gap_is_not_said_to_be_filled_before_kafka_has_it(began: int) -> None:
    side = Side()
    made = poller(side)
    made.retry("crypto", (began + HOUR_US, began + HOUR_US + 5))
    side.under_way = 1
    job = asyncio.create_task(made._one_job())
    await asyncio.sleep(0.2)
    assert side.read_
    assert not side.gaps
    assert made.waiting == 1
    side.under_way = 0
    await job
    assert len(side.gaps) == 1


async def test_nothing_is_said_to_be_filled_where_the_log_was_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corrections, "first_clock", lambda *_: 0)
    side = Side()
    made = poller(side)
    made.retry("crypto", (NOW, NOW + 5))
    with pytest.raises(StandingError):
        await made._one_job()
    assert not side.gaps
    assert len(made._jobs) == 1
