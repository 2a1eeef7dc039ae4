"""Snapshots of an agent's state on its compacted topic: what changed, then one position record that makes it valid.

A snapshot at position S says: everything up to S is processed and delivered; read again from ``begin`` on, where
``mark`` holds; the rest of the state is in the states. Which version of each state belongs to it is sealed by a
checksum, so a version that compaction took, or that a replaced writer added late, makes it invalid, never wrong.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import msgspec
import structlog

from marketdata.records import UNREADABLE
from streaming.places import Place
from streaming.tails import END, read_ranges

POSITION_KEY: Final = b"\x00position"
NOTHING: Final = b"null"
log = structlog.stdlib.get_logger()


class Capture(NamedTuple):
    """What a processor gives: where to read again from, and the states that changed (None: no longer any)."""

    begin: int
    newest: int
    mark: bytes
    states: dict[str, bytes | None]


class _State(msgspec.Struct, tag_field="kind", tag="state", frozen=True):
    position: int
    state: msgspec.Raw  # NOTHING where the symbol has no state any more


class _Position(msgspec.Struct, tag_field="kind", tag="position", frozen=True):
    position: int
    begin: int
    newest: int
    mark: msgspec.Raw
    topic_id: str
    states: int
    checksum: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A valid snapshot. ``versions`` says at which position each state was stored."""

    position: int
    begin: int
    newest: int
    mark: bytes
    topic_id: str
    states: dict[str, bytes]
    versions: dict[str, int]


@dataclass(slots=True)
class SnapshotWriter:
    """Makes the records of one partition's snapshots; ``versions`` and ``states`` go on from the restored one's."""

    topic_id: str
    versions: dict[str, int] = field(default_factory=dict)

    def records(self, position: int, capture: Capture) -> Iterator[tuple[bytes, bytes]]:
        """(key, value) in the order in which they must be written."""
        for symbol, state in capture.states.items():
            if state is None and symbol not in self.versions:
                continue
            self.versions[symbol] = position
            yield symbol.encode(), _encode(_State(position, msgspec.Raw(NOTHING if state is None else state)))
        yield POSITION_KEY, _encode(_Position(
            position, capture.begin, capture.newest, msgspec.Raw(capture.mark), self.topic_id,
            len(self.versions), _checksum(self.versions),
        ))  # fmt: skip


@dataclass(slots=True)
class _Found:
    positions: dict[int, _Position] = field(default_factory=dict)
    states: dict[str, dict[int, bytes | None]] = field(default_factory=dict)


def read_snapshots(bootstrap: str, places: Iterable[Place]) -> dict[Place, Snapshot]:
    """The newest valid snapshot of each (state topic, partition) that has one.

    Raises:
        TailError: the broker did not give the topics within its time.
    """
    found: dict[Place, _Found] = {}
    for read in read_ranges(bootstrap, dict.fromkeys(places, (-END, END))):
        try:
            _take(found.setdefault(read.place, _Found()), read.key, read.value)
        except UNREADABLE as error:
            topic, partition = read.place
            log.warning("a record of a snapshot cannot be read", topic=topic, partition=partition,
                        offset=read.offset, error=str(error))  # fmt: skip
    newest = {place: _newest(place, some) for place, some in found.items()}
    return {place: snapshot for place, snapshot in newest.items() if snapshot is not None}


def _take(found: _Found, key: bytes, value: bytes) -> None:
    record = _decode(value)
    if isinstance(record, _Position):
        found.positions[record.position] = record
    else:
        state = bytes(record.state)
        found.states.setdefault(key.decode(), {})[record.position] = None if state == NOTHING else state


def _newest(place: Place, found: _Found) -> Snapshot | None:
    for position in sorted(found.positions, reverse=True):
        record = found.positions[position]
        versions, states = {}, {}
        for symbol, stored in found.states.items():
            version = max((p for p in stored if p <= position), default=None)
            if version is not None:
                versions[symbol] = version
                if (state := stored[version]) is not None:
                    states[symbol] = state
        if (len(versions), _checksum(versions)) == (record.states, record.checksum):
            mark = bytes(record.mark)
            return Snapshot(position, record.begin, record.newest, mark, record.topic_id, states, versions)
        log.warning("a snapshot is not whole", topic=place[0], partition=place[1], position=position,
                    action="taking an older one, or reading the input from its beginning")  # fmt: skip
    return None


def _checksum(versions: Mapping[str, int]) -> int:
    return sum(zlib.crc32(symbol.encode()) * position for symbol, position in versions.items()) % 2**62


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(_Position | _State).decode
