"""How frames lie in a spool's files: a header (length of the body, its checksum), a body (market, time, bytes)."""

from __future__ import annotations

import fcntl
import os
import struct
import zlib
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from marketdata.topics import MARKETS

_HEAD: Final = struct.Struct("<II")
_BODY: Final = struct.Struct("<Bq")
LOCK: Final = "lock"
SUFFIX: Final = ".frames"


class Received(NamedTuple):
    """A frame as it came, with the market of its cluster and its receive time in µs."""

    market: str
    received_ts: int
    raw: bytes


def pack(frame: Received) -> bytes:
    """A frame as it lies in a file."""
    body = _BODY.pack(MARKETS.index(frame.market), frame.received_ts) + frame.raw
    return _HEAD.pack(len(body), zlib.crc32(body)) + body


def unpack(file: BinaryIO) -> Received | None:
    """The frame at the file's position; None where no whole frame stands there."""
    head = file.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    length, checksum = _HEAD.unpack(head)
    body = file.read(length)
    if len(body) < max(length, _BODY.size) or zlib.crc32(body) != checksum:
        return None
    market, received_ts = _BODY.unpack_from(body)
    return Received(MARKETS[market], received_ts, body[_BODY.size :]) if market < len(MARKETS) else None


def count_frames(path: Path) -> int:
    """How many frames the headers of a file tell of, a torn last one aside."""
    size, at, count = path.stat().st_size, 0, 0
    with path.open("rb") as file:
        while len(head := file.read(_HEAD.size)) == _HEAD.size:
            at += _HEAD.size + int(_HEAD.unpack(head)[0])
            if at > size:
                break
            file.seek(at)
            count += 1
    return count


class Home:
    """The directory of one process's segments, locked while that process lives."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def make(cls, path: Path) -> Home:
        """Make it and lock it. Raises OSError."""
        path.mkdir(parents=True, exist_ok=True)
        home = cls.claim(path)
        if home is None:
            raise FileExistsError(f"{path} belongs to a process that runs")
        return home

    @classmethod
    def claim(cls, path: Path) -> Home | None:
        """Lock one that is there; None where its process still lives."""
        lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            return None
        return cls(path, lock)

    def files(self) -> list[Path]:
        """Its segments, oldest first."""
        return sorted(self.path.glob(f"*{SUFFIX}"))

    def close(self) -> None:
        """Unlock it, and remove it where no segment is left."""
        if not self.files():
            with suppress(OSError):
                (self.path / LOCK).unlink()
                self.path.rmdir()
        os.close(self._lock)
