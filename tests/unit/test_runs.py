"""Which seek a run belongs to, when a fetch is under way while another seek is made."""

import asyncio
import contextlib
from types import SimpleNamespace
from typing import Any

from faust.types import TP

from streaming.runs import RunThread

PLACE = TP("trades.stocks", 0)


class FakeFetcher:
    """aiokafka's fetcher: gives what stands at the position, as soon as something does."""

    def __init__(self) -> None:
        self.position = 5_000
        self.end = 5_000
        self.arrived = asyncio.Event()
        self._closed = False
        self._subscriptions = SimpleNamespace(fetch_context=contextlib.nullcontext)

    async def fetched_records(self, _: Any, *, max_records: int, **__: Any) -> dict[TP, list[Any]]:
        while self.position >= self.end:
            self.arrived.clear()
            await self.arrived.wait()
        offsets = range(self.position, min(self.end, self.position + max_records))
        self.position = offsets[-1] + 1
        return {PLACE: [SimpleNamespace(offset=offset) for offset in offsets]}


class FakeConsumer:
    def __init__(self) -> None:
        self._closed = False
        self._fetcher = FakeFetcher()

    def seek(self, tp: TP, offset: int) -> None:
        self._fetcher.position = offset
        self._fetcher.arrived.set()


def make() -> tuple[Any, FakeConsumer]:
    thread: Any = RunThread.__new__(RunThread)  # without its thread: what runs in it is called here
    thread.generation = 1
    thread.consumer = SimpleNamespace(flow_active=True)
    thread._consumer = FakeConsumer()
    return thread, thread._consumer


def fetch(thread: Any) -> asyncio.Task[Any]:
    consumer = thread._consumer
    return asyncio.create_task(thread._fetch_records(consumer, {PLACE}, timeout=1, max_records=1_000))


async def test_a_fetch_that_waits_across_a_seek_brings_what_the_seek_asked_for() -> None:
    thread, _ = make()
    waiting = fetch(thread)
    await asyncio.sleep(0)
    await thread.seek_all({PLACE: 0}, generation=2)
    (run,) = (await waiting)[PLACE]
    assert (run.records[0].offset, run.last_offset) == (0, 999)
    assert run.generation == 2  # or it would be dropped, and the log's first thousand records with it


async def test_what_was_read_before_a_seek_belongs_to_the_time_before_it() -> None:
    thread, consumer = make()
    consumer._fetcher.end = 6_000
    before = fetch(thread)
    await asyncio.sleep(0)
    await thread.seek_all({PLACE: 0}, generation=2)
    after = fetch(thread)
    (old,), (new,) = (await before)[PLACE], (await after)[PLACE]
    assert (old.generation, old.records[0].offset) == (1, 5_000)
    assert (new.generation, new.records[0].offset) == (2, 0)


async def test_a_fetch_without_records_is_no_run() -> None:
    thread, consumer = make()
    thread.consumer.flow_active = False
    assert await thread._fetch_records(consumer, {PLACE}, timeout=1, max_records=10) == {}
