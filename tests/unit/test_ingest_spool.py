"""Frames on disk: order, limits, what a next start finds."""

import asyncio
import errno
import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from services.ingest import spool as module
from services.ingest.queue import FrameQueue
from services.ingest.segments import SUFFIX, Received, pack
from services.ingest.spool import Spool

MIB = 1024 * 1024


def frame(number: int, size: int = 100, market: str = "stocks") -> Received:
    return Received(market, number, number.to_bytes(4, "big") * (size // 4))


def taken(spool: Spool) -> list[int]:
    return [one.received_ts for one in iter(spool.take, None)]


def files(directory: Path) -> list[Path]:
    return sorted(directory.rglob(f"*{SUFFIX}"))


def left(directory: Path, *frames: Received) -> Spool:
    """What a process left that was killed: its files, whole, and nobody's lock."""
    spool = Spool(directory, MIB)
    assert all(map(spool.put, frames))
    spool.close([])
    return spool


def test_frames_come_back_as_they_were_in_order_while_more_are_added(tmp_path: Path) -> None:
    spool, wanted, found = Spool(tmp_path, MIB), [], []
    for number in range(2_000):
        one = frame(number, number % 700, "crypto" if number % 3 else "stocks")
        assert spool.put(one)
        wanted.append(one)
        if number % 3 == 0:
            assert spool.peek() == wanted[len(found)]
            found.append(spool.take())
    found += iter(spool.take, None)
    assert found == wanted
    assert (spool.frames, spool.bytes, files(tmp_path)) == (0, 0, [])
    assert spool.take() is None
    assert spool.put(frame(1)), "it goes on after it was empty"
    assert taken(spool) == [1]
    spool.close([])
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_made_before_the_first_frame(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "none", MIB)
    assert spool.adopt({}) == 0
    assert spool.take() is None
    spool.close([])
    assert not (tmp_path / "none").exists()


def test_the_limit_is_of_bytes_on_disk(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 100_000)
    with capture_logs() as logs:
        accepted = sum(spool.put(frame(number, 1_000)) for number in range(1_000))
    assert 95 <= accepted <= 100
    assert sum(path.stat().st_size for path in files(tmp_path)) == spool.bytes <= 100_000
    assert [entry["event"] for entry in logs] == ["frames wait on disk", "the spool is full"], "said once"
    for _ in range(accepted // 2):
        spool.take()
    assert spool.put(frame(5_000, 1_000)), "files that were read make room"
    assert taken(spool)[-1] == 5_000


def test_a_killed_process_leaves_its_frames_to_the_next(tmp_path: Path) -> None:
    first = Spool(tmp_path, MIB)
    for number in range(500):
        first.put(frame(number, 4_000))
    for _ in range(100):
        first.take()
    assert Spool(tmp_path, MIB).adopt({}) == 0, "not while it lives"
    del first  # its lock goes with it
    second = Spool(tmp_path, MIB)
    _release_locks(tmp_path)
    assert second.adopt({})
    assert second.put(frame(9_999))
    found = taken(second)
    assert found[-1] == 9_999
    assert found[0] <= 100, "a file read in part is read again: what was written is dropped as repeated"
    assert found[:-1] == list(range(found[0], found[0] + len(found) - 1))
    assert found[-2] >= 250
    second.close([])
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


def _release_locks(directory: Path) -> None:
    """A lock goes when its process dies; here both are one process."""
    for lock in directory.rglob("lock"):
        lock.unlink()


def test_what_two_dead_processes_left_is_read_in_the_order_of_their_starts(tmp_path: Path) -> None:
    left(tmp_path, frame(1), frame(2))
    left(tmp_path, frame(3), frame(4))
    spool = Spool(tmp_path, MIB)
    assert spool.adopt({}) == 4
    assert taken(spool) == [1, 2, 3, 4]


@pytest.mark.parametrize("cut", [1, 50, 111, 112, 119])
def test_a_torn_end_costs_the_torn_frame_only(tmp_path: Path, cut: int) -> None:
    left(tmp_path, *map(frame, range(10)))
    (path,) = files(tmp_path)
    path.write_bytes(path.read_bytes()[:-cut])
    spool = Spool(tmp_path, MIB)
    spool.adopt({})
    spool.put(frame(20))
    assert len(pack(frame(0))) > 112
    assert taken(spool) == [*range(10 - -(-cut // len(pack(frame(0))))), 20]
    assert files(tmp_path) == []


def test_a_flipped_bit_costs_the_rest_of_that_file_and_is_said(tmp_path: Path) -> None:
    left(tmp_path, *map(frame, range(10)))
    left(tmp_path, frame(50))
    path = files(tmp_path)[0]
    data = bytearray(path.read_bytes())
    data[len(pack(frame(0))) * 6 + 40] ^= 1
    path.write_bytes(data)
    spool = Spool(tmp_path, MIB)
    spool.adopt({})
    with capture_logs() as logs:
        assert taken(spool) == [0, 1, 2, 3, 4, 5, 50]
    assert [entry["frames"] for entry in logs if entry["log_level"] == "error"] == [4]
    assert spool.frames == 0


def test_frames_from_before_what_is_remembered_are_passed_over(tmp_path: Path) -> None:
    """Whether they were written cannot be told any more, and twice would be worse: the vendor's history has them."""
    left(tmp_path, *(frame(number, market=market) for number in range(10) for market in ("stocks", "crypto")))
    spool = Spool(tmp_path, MIB)
    spool.adopt({"stocks": 7, "crypto": 2})
    found = list(iter(spool.take, None))
    assert [one.received_ts for one in found if one.market == "stocks"] == [7, 8, 9]
    assert [one.received_ts for one in found if one.market == "crypto"] == list(range(2, 10))
    left(tmp_path, frame(1))
    spool = Spool(tmp_path, MIB)
    spool.adopt({"stocks": 7})
    assert spool.peek() is None
    assert spool.frames == 0
    assert list(tmp_path.iterdir()) == []


def test_what_memory_held_at_the_stop_is_read_before_what_the_disk_held(tmp_path: Path) -> None:
    first = Spool(tmp_path, MIB)
    for number in (3, 4):
        first.put(frame(number))
    first.close([frame(1), frame(2)])
    second = Spool(tmp_path, MIB)
    assert second.adopt({}) == 4
    assert taken(second) == [1, 2, 3, 4]


@pytest.mark.parametrize("short", [False, True], ids=["refused", "part of it"])
def test_a_full_disk_is_like_a_full_spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short: bool) -> None:
    full, write, now = False, os.write, 1_000.0

    def on_disk(file: int, data: bytes) -> int:
        if full and not short:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data[:50] if full else data)

    monkeypatch.setattr(module.os, "write", on_disk)
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    spool = Spool(tmp_path, MIB)
    assert spool.put(frame(1))
    full = True
    with capture_logs() as logs:
        assert not spool.put(frame(2))
        assert not spool.put(frame(2))
    ((said),) = logs
    assert said["event"] == "the spool cannot be written"
    assert "SPOOL_DIR" in said["remedy"]
    full = False
    assert not spool.put(frame(2)), "a disk that refused is not asked for each frame"
    now += 2
    assert spool.put(frame(3))
    assert taken(spool) == [1, 3], "and nothing torn stands between"
    spool.close([])


def test_a_directory_that_cannot_be_made_is_like_a_full_spool(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    spool = Spool(tmp_path / "file" / "spool", MIB)
    assert not spool.put(frame(1))
    with capture_logs() as logs:
        spool.close([frame(1)])
    assert [entry["event"] for entry in logs] == ["frames are lost at the stop"]


async def test_the_queue_keeps_the_order_over_memory_and_disk(tmp_path: Path) -> None:
    queue, found, number = FrameQueue(10, 10_000, Spool(tmp_path, MIB)), [], 0
    for puts, takes in ((5, 2), (30, 5), (3, 25), (40, 10), (1, 37), (20, 5), (0, 40)):
        for _ in range(puts):
            await asyncio.wait_for(queue.put(frame(number)), 1)
            number += 1
        for _ in range(takes):
            oldest = queue.oldest_ts
            if (one := queue.take()) is not None:
                assert oldest == one.received_ts
                found.append(one.received_ts)
        assert len(queue) == number - len(found)
        assert queue.taken == len(found)
    assert found == list(range(number))
    assert not queue.full


async def test_a_full_spool_makes_the_readers_wait_and_loses_nothing(tmp_path: Path) -> None:
    queue, found = FrameQueue(3, 10_000, Spool(tmp_path, 1_000)), []

    async def read() -> None:
        for number in range(100):
            await queue.put(frame(number))

    reader = asyncio.create_task(read())
    while len(found) < 100:
        await asyncio.sleep(0)
        assert len(queue) <= 3 + 8
        if (one := queue.take()) is not None:
            found.append(one.received_ts)
    await reader
    assert found == list(range(100))


async def test_a_stop_leaves_all_of_the_queue_on_disk(tmp_path: Path) -> None:
    queue = FrameQueue(3, 10_000, Spool(tmp_path, MIB))
    for number in range(10):
        await queue.put(frame(number))
    assert queue.take()
    queue.close()
    spool = Spool(tmp_path, MIB)
    assert spool.adopt({}) == 9
    assert taken(spool) == list(range(1, 10))
