import asyncio
from pathlib import Path
from random import Random

import pytest
from structlog.testing import capture_logs

from marketdata.units import CLOCK_STEP_US, SECOND_US
from services.ingest.backoff import Backoff
from services.ingest.queue import FrameQueue
from services.ingest.segments import Received
from services.ingest.settings import IngestSettings
from services.ingest.silence import SilenceWatch
from services.ingest.spool import Spool

NOW = 34_000_000 * CLOCK_STEP_US


class Highest(Random):
    """Draws the greatest value every time."""

    def uniform(self, a: float, b: float) -> float:
        return max(a, b)


@pytest.mark.parametrize("random", [Highest(), Random(1), Random(2)])
def test_delays_stay_in_their_bounds(random: Random) -> None:
    backoff, now = Backoff(random), 1_000.0
    delays = []
    while now < 1_000 + 600:
        delays.append((now, backoff.next_delay(now)))
        now += delays[-1][1]
    assert 0 < delays[0][1] < 1
    assert all(0.05 < delay < 5 for at, delay in delays if at < 1_060)
    assert all(0.05 < delay <= 30 for _, delay in delays)
    assert max(delay for _, delay in delays) > 10, "it does grow after the first minute"
    assert sum(at < 1_060 for at, _ in delays) < 60, "no hot loop"


def test_data_must_flow_before_an_outage_counts_as_over() -> None:
    backoff = Backoff(Highest())
    for _ in range(5):
        backoff.next_delay(0)
    backoff.flowed(9.9)
    assert backoff.next_delay(61) > 20, "the outage goes on, past its first minute"
    backoff.flowed(10)
    assert backoff.next_delay(100) < 1


def test_a_refused_key_waits_a_minute_every_time() -> None:
    backoff = Backoff(Random(1))
    assert [backoff.next_delay(at, refused=True) for at in (0, 60, 120)] == [60, 60, 60]
    assert backoff.next_delay(0) < 1


def frame(number: int, size: int = 10) -> Received:
    return Received("stocks", number, b"x" * size)


def in_memory(frames: int, size: int) -> FrameQueue:
    """A queue that may put nothing on disk."""
    return FrameQueue(frames, size, Spool(Path("/nowhere"), 0))


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_queue_keeps_the_order() -> None:
    queue = in_memory(100, 10_000)
    for number in range(50):
        await queue.put(frame(number))
    assert queue.oldest_ts == 0
    assert [taken.received_ts for _ in range(50) if (taken := queue.take())] == list(range(50))
    assert queue.take() is None
    assert queue.oldest_ts is None
    assert (queue.added, queue.taken, len(queue)) == (50, 50, 0)


@pytest.mark.parametrize(("frames", "size", "held"), [(3, 1_000_000, 3), (1_000, 35, 4)])
async def test_a_full_queue_makes_every_reader_wait(frames: int, size: int, held: int) -> None:
    queue = in_memory(frames, size)

    async def read(first: int) -> None:
        for number in range(first, first + 5):
            await queue.put(frame(number))

    readers = [asyncio.create_task(read(first)) for first in (0, 10)]
    seen = []
    for _ in range(10):
        await settle()
        assert len(queue) <= held
        assert queue.full or all(reader.done() for reader in readers)
        taken = queue.take()
        assert taken is not None
        seen.append(taken.received_ts)
    await asyncio.gather(*readers)
    assert [n for n in seen if n < 10] == list(range(5))
    assert [n for n in seen if n >= 10] == list(range(10, 15))


async def test_small_frames_do_not_make_room_for_large_ones() -> None:
    queue = in_memory(1_000, 100)
    for number in range(5):
        await queue.put(frame(number, 1))
    await queue.put(frame(5, 200))
    waiting = asyncio.create_task(queue.put(frame(6, 200)))
    for _ in range(5):
        queue.take()
        await settle()
        assert not waiting.done(), "still over its bound"
    queue.take()
    await settle()
    assert waiting.done()


async def test_waiting_ends_with_a_frame_or_the_time() -> None:
    queue = in_memory(10, 1_000)
    await queue.wait(0.01)
    asyncio.get_running_loop().call_later(0.01, asyncio.ensure_future, queue.put(frame(1)))
    async with asyncio.timeout(1):
        await queue.wait(30)
        await queue.wait(30)
    assert queue.take() == frame(1)


def test_silence_counts_from_the_start_and_only_while_the_market_is_open() -> None:
    watch = SilenceWatch({"stocks": ("MARA", "RIOT"), "crypto": ("*",)})
    opened = True

    def is_open(market: str, now: int) -> bool:
        return opened

    with capture_logs() as logs:
        for second in range(0, 290, 10):
            watch.look(NOW + second * SECOND_US, is_open)
        watch.of("stocks")["MARA"] = NOW + 290 * SECOND_US
        assert not watch.of("crypto")
        assert logs == []
        for second in (305, 310, 320):
            watch.look(NOW + second * SECOND_US, is_open)
        assert [entry["symbols"] for entry in logs] == [["RIOT"]], "said once"
        watch.of("stocks")["RIOT"] = NOW + 321 * SECOND_US
        watch.look(NOW + 330 * SECOND_US, is_open)
        assert [entry["symbols"] for entry in logs] == [["RIOT"], []]
        opened = False
        for second in range(340, 2_000, 20):
            watch.look(NOW + second * SECOND_US, is_open)
        opened = True
        watch.look(NOW + 2_100 * SECOND_US, is_open)
        assert len(logs) == 2, "a closed market is not silent"


@pytest.mark.parametrize(("text", "speed"), [("max", 0), ("0", 0), ("1", 1), ("50", 50), ("2.5", 2.5)])
def test_speeds(monkeypatch: pytest.MonkeyPatch, text: str, speed: float) -> None:
    monkeypatch.setenv("SPEED", text)
    assert IngestSettings().speed == speed


def test_the_key_decides_which_feed_is_read_and_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STOCKS_URL", "CRYPTO_URL", "POLYGON_API_KEY", "DRY_RUN"):
        monkeypatch.delenv(name, raising=False)
    assert IngestSettings().bundled
    monkeypatch.setenv("POLYGON_API_KEY", "s3cret")
    settings = IngestSettings()
    assert not settings.bundled
    assert settings.url("crypto") == "wss://socket.massive.com/crypto"
    assert settings.api_key == "s3cret"
    assert "s3cret" not in repr(settings)
    assert "s3cret" not in settings.model_dump_json()
    monkeypatch.setenv("DRY_RUN", "true")
    assert IngestSettings().bundled
    assert IngestSettings().api_key != "s3cret", "the bundled feed never sees it"
