"""Dead letters: read, told apart, shown, and sent through once more after a fix.

A service that reads a record again writes its letter again; a letter about a place in a log is told by that place.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import msgspec
from confluent_kafka.admin import AdminClient

from market.stack import StackError
from marketdata.records import UNREADABLE, DeadLetter
from marketdata.topics import MARKETS, SERVICES, Topics
from streaming.kafkaclient import client_config
from streaming.producer import Headers, exact_producer, produce
from streaming.tails import END, read_ranges

ALL: Final = -(1 << 40)
HEX_WIDTH: Final = 32
_decode = msgspec.json.Decoder(DeadLetter).decode


@dataclass(slots=True)
class Letter:
    """One dead letter; ``number`` is its first offset in the service's topic, ``copies`` how often it was written."""

    number: int
    letter: DeadLetter
    copies: int = 1

    @property
    def name(self) -> str:
        """What ``market dlq show`` takes: ratio:17."""
        return f"{self.letter.service}:{self.number}"

    @property
    def place(self) -> str:
        """Where the record stood, if it stood in a topic."""
        letter = self.letter
        return "the feed" if letter.topic is None else f"{letter.topic}/{letter.partition} offset {letter.offset}"


@dataclass(frozen=True, slots=True)
class Group:
    """Letters of one service with reasons that begin alike."""

    service: str
    reason: str
    count: int
    newest: Letter


def read_letters(bootstrap: str, topics: Topics, service: str | None = None) -> list[Letter]:
    """The letters of a service, or of all, in the order in which they were written; repeats are one.

    Raises:
        TailError: the broker did not give all of them.
    """
    names = {topics.dead_letters(name): name for name in SERVICES if service in (None, name)}
    existing = AdminClient(client_config(bootstrap, {"log_level": 2})).list_topics(timeout=15).topics
    places = {(topic, 0): (ALL, END) for topic in names if topic in existing}
    found: dict[tuple[object, ...], Letter] = {}
    for read in read_ranges(bootstrap, places):
        letter = _letter(names[read.place[0]], read.value)
        place = (read.offset,) if letter.topic is None else (letter.topic, letter.partition, letter.offset)
        key = (letter.service, *place)
        if key in found:
            found[key].copies += 1
        else:
            found[key] = Letter(read.offset, letter)
    return sorted(found.values(), key=lambda one: (one.letter.service, one.number))


def _letter(service: str, value: bytes) -> DeadLetter:
    try:
        letter = _decode(value)
    except UNREADABLE as error:
        return DeadLetter(service=service, reason=f"not a dead letter itself: {error}", raw=value, ts=0)
    return msgspec.structs.replace(letter, service=service)


def groups(letters: Iterable[Letter]) -> list[Group]:
    """By service and reason, most first; numbers and quoted values in a reason do not make another one."""
    found: dict[tuple[str, str], list[Letter]] = defaultdict(list)
    for one in letters:
        found[one.letter.service, _kind(one.letter.reason)].append(one)
    made = [
        Group(service, reason, len(some), max(some, key=lambda one: one.letter.ts))
        for (service, reason), some in found.items()
    ]
    return sorted(made, key=lambda group: (group.service, -group.count, group.reason))


def _kind(reason: str) -> str:
    return "".join("#" if c.isdigit() else c for c in reason)[:80].replace("##", "#")


def describe(one: Letter) -> str:
    """All of one letter, its bytes as text where they are text."""
    letter = one.letter
    lines = [
        f"letter    {one.name}" + (f" ({one.copies} copies)" if one.copies > 1 else ""),
        f"written   {shown(letter.ts)} UTC",
        f"stood     {one.place}",
        f"reason    {letter.reason}",
        f"bytes     {len(letter.raw):,}",
        "",
        *_bytes(letter.raw),
    ]
    return "\n".join(lines)


def _bytes(raw: bytes) -> Iterator[str]:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = ""
    if text and all(c.isprintable() or c in "\n\r\t" for c in text):
        yield text
        return
    for at in range(0, len(raw), HEX_WIDTH):
        part = raw[at : at + HEX_WIDTH]
        yield f"{at:08x}  {part.hex(' ')}  {''.join(chr(b) if 32 <= b < 127 else '.' for b in part)}"


def shown(ts: int) -> str:
    """A time in µs, to the second."""
    return f"{datetime.fromtimestamp(ts / 1e6, UTC):%Y-%m-%d %H:%M:%S}"


def target(letter: DeadLetter, topics: Topics) -> str | None:
    """The service through which it goes once more: ingest for what is or was a feed's event; None: there is no way.

    A record of a derived topic cannot be sent again to whom could not read it: its src is passed.
    """
    if letter.service == "sink":
        return None if letter.topic is None else "sink"
    trades = {None, *map(topics.trades, MARKETS)}
    return "ingest" if letter.topic in trades else None


def choose(letters: Iterable[Letter], topics: Topics, reason: str = "") -> tuple[list[Letter], list[Letter]]:
    """Those whose reason contains ``reason``: (what can be sent once more, what cannot)."""
    chosen = [one for one in letters if reason in one.letter.reason]
    able = [one for one in chosen if target(one.letter, topics) is not None]
    return able, [one for one in chosen if target(one.letter, topics) is None]


def send(bootstrap: str, topics: Topics, letters: Iterable[Letter]) -> int:
    """Write them to the retry topics and wait for their delivery; returns how many.

    Raises:
        StackError: they were not delivered within a minute.
    """
    producer = exact_producer(bootstrap, name="dlq")
    count = 0
    for one in letters:
        service = target(one.letter, topics)
        if service is None:
            continue
        produce(producer, topics.retry(service), one.letter.raw, None, 0, _headers(one.letter))
        count += 1
    if left := producer.flush(60):
        raise StackError(f"{left} letters were not delivered within 60 s: send them again, repeats do no harm")
    return count


def _headers(letter: DeadLetter) -> Headers | None:
    if letter.topic is None:
        return None
    place = {"topic": letter.topic, "partition": letter.partition, "offset": letter.offset}
    return [(name, str(value).encode()) for name, value in place.items()]
