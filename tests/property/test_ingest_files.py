"""The file source against a plain recomputation: collect all, sort, put the clocks between."""

import gzip
import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from marketdata.clock import FileClock
from marketdata.recording import HOUR_MS
from marketdata.records import Trade
from marketdata.topics import MARKETS
from services.ingest.files import FileSource

BASE = 1_514_851_200_000
Row = dict[str, Any]
Log = list[tuple[str, str, Any]]


@dataclass
class FakeWriter:
    """Keeps what it is given, in order."""

    epoch: int = 1
    records: int = 0
    log: Log = field(default_factory=list)
    dead: list[bytes] = field(default_factory=list)

    def trade(self, market: str, trade: Trade) -> bool:
        assert trade.received_ts == trade.ts
        self.log.append(("trade", market, (trade.symbol, trade.ts, trade.id, trade.trf_ts)))
        return True

    def clock(self, market: str, ts: int) -> None:
        self.log.append(("clock", market, ts))

    def dead_letter(self, reason: str, raw: bytes, now: int) -> None:
        self.dead.append(raw)

    def poll(self) -> None:
        pass


@dataclass(frozen=True)
class Recording:
    rows: list[Row | bytes]
    start_ms: int | None
    laps: int | None  # None: to the end of the others

    def spec(self, directory: Path, number: int) -> str:
        path = directory / (f"{number}.jsonl.gz" if number % 2 else f"{number}.jsonl")
        lines = b"".join((row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in self.rows)
        path.write_bytes(gzip.compress(lines, 1) if number % 2 else lines)
        start = "" if self.start_ms is None else f"@2018-01-0{2 + self.start_ms // 24 // HOUR_MS}T00:00Z"
        return f"{path}{start}*{'end' if self.laps is None else self.laps}"

    def bad_up_to(self, end_ms: int) -> list[bytes]:
        """Its lines that are no event and no known other channel; an endless one stops at the end of the others."""
        hour = self.good[0]["t"] // HOUR_MS * HOUR_MS
        shift = 0 if self.start_ms is None else BASE + self.start_ms - hour
        past = [n for n, row in enumerate(self.rows) if isinstance(row, dict) and row["t"] + shift > end_ms]
        read = self.rows[: past[0]] if past and self.laps is None else self.rows
        return [row for row in read if isinstance(row, bytes) and row and b'"Q"' not in row]

    @property
    def good(self) -> list[Row]:
        return [row for row in self.rows if isinstance(row, dict)]


def stock(t: int, number: int) -> Row:
    return {"ev": "T", "sym": "AB"[number % 2], "p": 1.5, "t": t, "i": str(number), "trft": t - 1}


def coin(t: int, number: int) -> Row:
    return {"ev": "XT", "pair": "BTC-USD", "p": 9.5, "t": t, "i": number, "s": 0.5}


BAD = st.sampled_from([b"", b"nonsense", b'{"ev":"Q","sym":"A"}', b'{"ev":"T"}', b"\xff\xfe", b'{"ev":"\xff"}'])


@st.composite
def recordings(draw: st.DrawFn, *, endless: bool) -> Recording:
    spread = draw(st.sampled_from([3, 120, 2 * HOUR_MS + 7]))
    times = sorted(draw(st.lists(st.integers(0, spread), min_size=1, max_size=12)))
    first = BASE + draw(st.sampled_from([0, 1, HOUR_MS - 1, HOUR_MS // 2]))
    make = draw(st.sampled_from([stock, coin, None]))  # None: one file holds both
    rows: list[Row | bytes] = [
        (make or draw(st.sampled_from([stock, coin])))(first + t, number) for number, t in enumerate(times)
    ]
    for place in draw(st.lists(st.integers(0, len(rows)), max_size=2)):
        rows.insert(place, draw(BAD))
    start = draw(st.sampled_from([None, 0, 24 * HOUR_MS]))
    return Recording(rows, start, None if endless else draw(st.integers(1, 3)))


def expected(files: list[Recording]) -> Log:
    """By the words of the semantics: laps of whole hours, shifted, sorted by (t, crypto first, file, line)."""
    placed: list[tuple[list[Row], int, int, Recording]] = []
    for file in files:
        rows = file.good
        hour = rows[0]["t"] // HOUR_MS * HOUR_MS
        hours = 1
        while hour + hours * HOUR_MS <= rows[-1]["t"]:
            hours += 1
        shift = 0 if file.start_ms is None else BASE + file.start_ms - hour
        placed.append((rows, shift, hours * HOUR_MS, file))
    end = max(
        rows[-1]["t"] + shift + (f.laps - 1) * length for rows, shift, length, f in placed if f.laps is not None
    )
    events = []
    for number, (rows, shift, length, file) in enumerate(placed):
        lap = 0
        while lap < file.laps if file.laps is not None else rows[0]["t"] + shift + lap * length <= end:
            for line, row in enumerate(rows):
                t = row["t"] + shift + lap * length
                if file.laps is None and t > end:
                    break
                name = f"{row['i']}-{lap}" if lap else str(row["i"])
                trf_ts = (t - 1) * 1_000 if row["ev"] == "T" else 0
                symbol = row.get("sym") or row["pair"]
                events.append((t, row["ev"] == "T", number, lap, line, (symbol, t * 1_000, name, trf_ts)))
            lap += 1
    events.sort(key=lambda event: event[:5])
    clock, log = FileClock(), Log()
    for t, is_stock, *_, trade in events:
        log += [("clock", market, value) for value in clock.before(t * 1_000) for market in MARKETS]
        log.append(("trade", "stocks" if is_stock else "crypto", trade))
    return log + [("clock", market, value) for value in clock.end() for market in MARKETS]


@settings(deadline=None)
@given(
    st.lists(recordings(endless=False), min_size=1, max_size=3),
    st.lists(recordings(endless=True), max_size=1),
    st.booleans(),
)
def test_files_are_merged_as_by_collecting_and_sorting_everything(
    ended: list[Recording], endless: list[Recording], endless_first: bool
) -> None:
    files = endless + ended if endless_first else ended + endless
    writer = FakeWriter()
    with tempfile.TemporaryDirectory() as directory:
        specs = tuple(file.spec(Path(directory), number) for number, file in enumerate(files))
        counts = FileSource(specs, writer, 0, lambda: False).run()  # type: ignore[arg-type]
    wanted = expected(files)
    assert writer.log == wanted
    assert sum(counts.values()) == sum(kind == "trade" for kind, *_ in wanted)
    end_ms = max(trade[1] for kind, _, trade in wanted if kind == "trade") // 1_000
    unreadable = [raw for file in files for raw in file.bad_up_to(end_ms)]
    assert sorted(raw.rstrip(b"\n") for raw in writer.dead) == sorted(unreadable), "each once, whatever the laps"
