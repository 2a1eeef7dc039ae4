"""``market actions fetch`` and ``list`` against the bundled feed's REST."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from feed.faults import NoFaults, RestAnswer
from feed.server import FeedServer
from market.actions import rest
from market.actions.rest import SplitsClient
from market.cli import app
from market.stack import StackError
from marketdata.actions import split_of
from tests.feed_peer import Script, free_ports

HEADING = "kind,symbol,day,from,to\n"
ROWS: list[dict[str, Any]] = [
    {"ticker": "AAPL", "execution_date": "2014-06-09", "split_from": 1, "split_to": 7},
    {"ticker": "AAPL", "execution_date": "2020-08-31", "split_from": 1, "split_to": 4},
    {"ticker": "GE", "execution_date": "2023-01-04", "split_from": 1, "split_to": 1.281},
    {"ticker": "HIVE", "execution_date": "2022-05-20", "split_from": 5, "split_to": 1},
]
LINES = {
    "AAPL": "split,AAPL,2014-06-09,1,7\nsplit,AAPL,2020-08-31,1,4\n",
    "HIVE": "split,HIVE,2022-05-20,5,1\n",
    "GE": "split,GE,2023-01-04,1,1.281\n",
}


class Rest(NoFaults):
    """Gives these answers first, then the true ones; counts all requests."""

    def __init__(self) -> None:
        self.answers: list[RestAnswer] = []
        self.requests = 0

    async def on_rest(self, path: str) -> RestAnswer | None:
        self.requests += 1
        return self.answers.pop(0) if self.answers else None


class Feed:
    """A feed whose table of splits is ``rows``, and the command run against it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows = folder / "splits.jsonl"
        self.file = folder / "actions.csv"
        self.rest = Rest()
        self.put(ROWS)
        self._monkeypatch = monkeypatch
        self._server = FeedServer(free_ports(splits=self.rows, api_key="demo"), Script(), self.rest)

    def put(self, rows: list[dict[str, Any]]) -> None:
        self.rows.write_text("".join(json.dumps(row) + "\n" for row in rows))

    async def restart(self, rows: list[dict[str, Any]]) -> None:
        await self.stop()
        self.put(rows)
        self._server = FeedServer(free_ports(splits=self.rows, api_key="demo"), Script(), self.rest)
        await self.start()

    async def start(self) -> None:
        await self._server.__aenter__()
        self._monkeypatch.setenv("REST_URL", self.url)

    async def stop(self) -> None:
        await self._server.__aexit__()

    @property
    def url(self) -> str:
        return self._server.rest_url

    async def market(self, *arguments: str) -> Result:
        command = ["actions", *arguments, "--file", str(self.file)]
        return await asyncio.to_thread(CliRunner().invoke, app, command, catch_exceptions=False)

    async def fetch(self, *more: str, first: str = "2014-01-01", last: str = "2025-01-01") -> Result:
        return await self.market("fetch", "--from", first, "--to", last, *more)


@pytest.fixture
async def feed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Feed]:
    for name in ("POLYGON_API_KEY", "DRY_RUN", "SYMBOLS", "CORPORATE_ACTIONS", "REST_CALLS_PER_MINUTE"):
        monkeypatch.delenv(name, raising=False)
    made = Feed(tmp_path, monkeypatch)
    await made.start()
    yield made
    await made.stop()


async def test_a_file_is_made_and_then_kept_up_to_date(feed: Feed) -> None:
    done = await feed.fetch("--symbols", "AAPL,HIVE")
    assert done.exit_code == 0, done.output
    assert feed.file.read_text() == HEADING + LINES["AAPL"] + LINES["HIVE"]
    assert "3 added, 0 removed, 0 as before" in done.stderr
    assert "2022-05-20  HIVE     reverse split 5 -> 1, prices before it x 5" in done.stdout
    written = feed.file.stat().st_mtime_ns
    assert "0 added, 0 removed, 3 as before" in (await feed.fetch("--symbols", "AAPL,HIVE")).stderr
    assert feed.file.stat().st_mtime_ns == written, "nothing new is not written"
    done = await feed.fetch("--symbols", "*", first="2023-01-01")
    assert feed.file.read_text() == HEADING + LINES["AAPL"] + LINES["HIVE"] + LINES["GE"]


async def test_what_rest_no_longer_says_goes_and_what_it_was_not_asked_for_stays(feed: Feed) -> None:
    by_hand = "rename,FB,2022-06-09,FB,META\nsplit,ZZZ,2021-01-04,1,2\nsplit,HIVE,2024-06-03,1,3\n"
    feed.file.write_text(HEADING + LINES["AAPL"] + by_hand + "split,HIVE,2022-05-20,4,1\n")
    await feed.restart([row for row in ROWS if row["execution_date"] != "2020-08-31"])
    done = await feed.fetch("--symbols", "AAPL,HIVE", first="2015-01-01", last="2024-01-01")
    assert "1 added, 2 removed, 4 as before" in done.stderr
    assert set(feed.file.read_text().splitlines()) == {
        HEADING.strip(),
        "split,AAPL,2014-06-09,1,7",
        *by_hand.splitlines(),
        "split,HIVE,2022-05-20,5,1",
    }


async def test_pages_are_followed_to_the_end(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"ticker": f"S{n:03}", "execution_date": "2021-03-01", "split_from": 1, "split_to": n + 2}
            for n in range(95)]  # fmt: skip
    await feed.restart(rows)
    monkeypatch.setattr(rest, "ROWS", 10)
    done = await feed.fetch("--symbols", "*")
    assert "95 added" in done.stderr
    assert feed.rest.requests == 10
    assert len(feed.file.read_text().splitlines()) == 96


async def test_errors_that_pass_are_tried_again_and_others_are_said(
    feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest, "FIRST_WAIT_S", 0.01)
    feed.rest.answers = [RestAnswer(503, b""), RestAnswer(429, b"", {"Retry-After": "0"}), RestAnswer(200, b"<html>")]
    assert (await feed.fetch("--symbols", "HIVE")).exit_code == 0
    assert feed.file.read_text() == HEADING + LINES["HIVE"]
    feed.rest.answers = [RestAnswer(503, b"")] * rest.TRIES
    done = await feed.fetch("--symbols", "AAPL")
    assert (done.exit_code, feed.rest.answers) == (1, [])
    assert "the server fails (503), 5 times: try later" in done.stderr
    assert feed.file.read_text() == HEADING + LINES["HIVE"], "the file stays as it was"
    for status, word in ((401, "check POLYGON_API_KEY"), (403, "the plan does not include splits"), (404, "404")):
        feed.rest.answers = [RestAnswer(status, b"{}")]
        before = feed.rest.requests
        done = await feed.fetch("--symbols", "AAPL")
        assert (done.exit_code, feed.rest.requests - before) == (1, 1), "asking again changes nothing"
        assert word in done.stderr


def next_page(url: str) -> RestAnswer:
    return RestAnswer(200, json.dumps({"status": "OK", "results": [], "next_url": url}).encode())


@pytest.mark.parametrize(
    ("next_url", "error"),
    [
        ("http://example.com/v3/reference/splits?cursor=x", "at example.com/v3/reference/splits: not followed"),
        ("{base}/v3/trades/AAPL?cursor=x", "at 127.0.0.1/v3/trades/AAPL: not followed"),
        ("https://[broken", "no address"),
        ("{base}/v3/reference/splits", "the pages have no end (1 read)"),
    ],
)
async def test_a_next_page_elsewhere_is_not_followed(feed: Feed, next_url: str, error: str) -> None:
    feed.rest.answers = [next_page(next_url.format(base=feed.url))]
    done = await feed.fetch("--symbols", "AAPL")
    assert done.exit_code == 1
    assert error in done.stderr
    assert feed.rest.requests == 1
    assert not feed.file.exists()


async def test_pages_in_a_circle_end(feed: Feed) -> None:
    feed.rest.answers = [next_page(f"{feed.url}/v3/reference/splits?cursor=same")] * 9
    done = await feed.fetch("--symbols", "AAPL")
    assert "the pages have no end" in done.stderr
    assert feed.rest.requests == 2


async def test_rows_that_cannot_be_are_left_out_and_said(feed: Feed) -> None:
    odd = [
        {"ticker": "AAPL", "execution_date": "2021-01-04", "split_from": 2, "split_to": 2},
        {"ticker": "AAPL", "execution_date": "2020-08-31", "split_from": 1, "split_to": 5},
    ]
    await feed.restart([*ROWS, *odd])
    done = await feed.fetch("--symbols", "AAPL")
    assert done.exit_code == 0
    assert feed.file.read_text() == HEADING + LINES["AAPL"]
    assert "left out: AAPL 2021-01-04: a split from 2 to 2 changes nothing" in done.stderr
    assert "left out: AAPL 2020-08-31: 1 -> 5 is the second one" in done.stderr


async def test_a_split_listed_under_both_names_counts_once(feed: Feed) -> None:
    feed.file.write_text(HEADING + "rename,OLD,2024-01-02,OLD,NEW\n")
    both = [
        {"ticker": name, "execution_date": "2024-01-02", "split_from": 10, "split_to": 1} for name in ("OLD", "NEW")
    ]
    await feed.restart(both)
    assert (await feed.fetch("--symbols", "OLD,NEW")).exit_code == 0
    assert feed.file.read_text() == HEADING + "split,NEW,2024-01-02,10,1\nrename,OLD,2024-01-02,OLD,NEW\n"


async def test_list_prints_by_day_and_a_broken_file_is_named(feed: Feed) -> None:
    feed.file.write_text(HEADING + LINES["HIVE"] + LINES["AAPL"] + "rename,FB,2022-06-09,FB,META\n")
    done = await feed.market("list")
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        "2014-06-09",
        "2020-08-31",
        "2022-05-20",
        "2022-06-09",
    ]
    assert "2014-06-09  AAPL     split 1 -> 7, prices before it x 0.142857" in done.stdout
    assert (await feed.market("list", "--symbol", "META")).stdout == "2022-06-09  FB       becomes META\n"
    feed.file.write_text(HEADING + "split,AAPL,2014-06-09,1\n")
    for done in (await feed.market("list"), await feed.fetch()):
        assert done.exit_code == 1
        assert "actions.csv: line 2: 4 cells" in done.stderr


async def test_calls_keep_to_the_plan_and_none_is_said(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    now, slept = 1_000.0, []

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        slept.append(seconds)

    def ask(count: int) -> None:
        with SplitsClient(feed.url, "demo", 3, clock=lambda: now, sleep=sleep) as client:
            for _ in range(count):
                assert list(client.splits("HIVE", "2022-05-20", "2022-05-20")) == [
                    split_of("HIVE", "2022-05-20", "5", "1")
                ]

    await asyncio.to_thread(ask, 7)
    assert slept == [60, 60], "three at once, three a minute later, one more a minute later"
    monkeypatch.setenv("REST_CALLS_PER_MINUTE", "0")
    done = await feed.fetch("--symbols", "AAPL")
    assert "REST_CALLS_PER_MINUTE=0 allows no call" in done.stderr


async def test_the_file_must_be_named_and_the_days_in_order(feed: Feed) -> None:
    done = await asyncio.to_thread(CliRunner().invoke, app, ["actions", "list"])
    assert "set CORPORATE_ACTIONS or give --file" in done.stderr
    done = await feed.fetch(first="2025-01-02", last="2025-01-01")
    assert "--from 2025-01-02 is after --to 2025-01-01" in done.stderr


async def test_nothing_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask() -> None:
        with SplitsClient("http://127.0.0.1:1", "demo", 300, sleep=lambda _: None) as client:
            list(client.splits("HIVE", "2022-05-20", "2022-05-20"))

    with pytest.raises(StackError, match="no answer"):
        await asyncio.to_thread(ask)
