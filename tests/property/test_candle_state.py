"""An engine that was captured, lost and made again goes on as if nothing had happened, whatever the log holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from marketdata.bar import Tick
from marketdata.calendar import TradingHours
from marketdata.candle_state import EngineMark, SymbolState, decode_state, encode_state
from marketdata.candles import CandleEngine
from marketdata.intervals import levels
from marketdata.rewind import Rewind

S = 1_000_000
T0 = 1_700_006_400 * S
SESSIONS = {(T0 // (86_400 * S)): (T0 + 1_800 * S, T0 + 9_000 * S)}
LEVELS = levels(
    ("500ms", "1s", "5s", "15s", "30s", "45s", "1m", "5m", "15m", "1h", "4h", "24h", "1d"),
    TradingHours(SESSIONS, (0, 1 << 40)),
)
HORIZON = 150 * S
STEPS = (0, 50_000, 450_000, S, 7 * S, 31 * S, 65 * S, 400 * S, 4_000 * S)


@dataclass(frozen=True)
class Step:
    """One record: a trade (late by ``late``), a cancel or a revision of an earlier one, or a clock."""

    kind: str
    symbol: str = ""
    late: int = 0
    which: int = 0
    forward: int = 0


steps = st.lists(
    st.one_of(
        st.builds(
            Step,
            kind=st.just("trade"),
            symbol=st.sampled_from("AB"),
            late=st.sampled_from((-3 * S, 0, 0, 200_000, 3 * S, 40 * S, 100 * S, 140 * S, 200 * S)),
        ),
        st.builds(Step, kind=st.sampled_from(("cancel", "revise")), which=st.integers(0, 30)),
        st.builds(Step, kind=st.just("clock"), forward=st.sampled_from(STEPS)),
        st.builds(Step, kind=st.just("clock"), forward=st.sampled_from(STEPS[:5])),
    ),
    min_size=20,
    max_size=160,
)


@dataclass
class Record:
    """What stands in the log."""

    kind: str
    symbol: str
    tick: Tick | None
    id: str
    clock: int


def log_of(script: list[Step]) -> list[Record]:
    log: list[Record] = []
    trades: list[tuple[str, Tick, str]] = []
    clock = T0
    for i, step in enumerate(script):
        if step.kind == "clock":
            clock += step.forward
            log.append(Record("clock", "", None, "", clock))
        elif step.kind == "trade":
            price = 1 + i % 3  # few prices, so that a cancel by value has a choice
            tick = Tick(clock + 100_000 - step.late, 0, 1, str(i), 0, price, 1, True, i % 4 != 0, True,
                        None if i % 5 == 0 else 1 / price, quote=None if i % 3 else (0.5, 0.5 + i % 4))  # fmt: skip
            trades.append((step.symbol, tick, str(i)))
            log.append(Record("trade", step.symbol, tick, str(i), 0))
        elif trades:
            symbol, tick, name = trades[-1 - step.which % len(trades)]
            if step.kind == "cancel":
                name = name if step.which % 2 else "x" + name
                log.append(Record("cancel", symbol, replace(tick, ts=tick.ts + step.which), name, 0))
            else:
                log.append(Record("revise", symbol, replace(tick, ratio=i / 7), name, 0))
    return log


class Reader:
    """Takes records by offset and notes what was closed."""

    def __init__(self) -> None:
        self.engine = CandleEngine(LEVELS, HORIZON)
        self.rewind: Rewind[int] = Rewind(0)
        self.out: list[Any] = []

    def take(self, offset: int, record: Record) -> None:
        engine, tick = self.engine, record.tick
        if tick is None:
            if engine.refilling:
                engine.skip(record.clock)
            for closed in engine.advance(record.clock) if not engine.refilling else ():
                self.out.append((offset, *closed[:5], shown(closed), *closed[6:]))
            self.rewind.note(offset + 1, record.clock)
            return
        self.rewind.newest = max(self.rewind.newest, tick.ts)
        if record.kind == "trade":
            taken = engine.add(record.symbol, tick, offset)
        elif record.kind == "cancel":
            taken = engine.cancel(record.symbol, tick, record.id, offset, offset)
        else:
            taken = engine.revise(record.symbol, tick, offset)
        self.out.append((offset, record.kind, taken))


def shown(closed: Any) -> Any:
    bar = closed.bar
    return bar.price_block(), bar.bought, bar.sold, bar.quoted, bar.ratio_block(closed.end)


class Store:
    """The state topic: a snapshot replaces what changed."""

    def __init__(self) -> None:
        self.states: dict[str, bytes] = {}
        self.at: tuple[int, int, int, EngineMark] | None = None

    def take(self, reader: Reader, offset: int) -> None:
        for symbol, state in reader.engine.capture().items():
            if state is None:
                self.states.pop(symbol, None)
            else:
                self.states[symbol] = encode_state(state)
        mark = reader.rewind.since(reader.engine.oldest)
        self.at = (offset + 1, mark.offset, mark.newest, EngineMark(mark.state, reader.engine.oldest))

    def restored(self, log: list[Record]) -> tuple[Reader, int]:
        """A new reader at the snapshot's position."""
        assert self.at is not None
        position, begin, newest, mark = self.at
        reader = Reader()
        reader.rewind = Rewind(mark.clock, begin, newest)
        states: dict[str, SymbolState] = {s: decode_state(value) for s, value in self.states.items()}
        reader.engine.restore(mark, states)
        for offset in range(begin, position):
            reader.take(offset, log[offset])
        reader.engine.restored()
        reader.out.clear()
        return reader, position


def play(log: list[Record], snapshots: set[int], deaths: set[int]) -> list[Any]:
    reader, store, out = Reader(), Store(), []
    done = offset = 0
    while offset < len(log):
        if offset in deaths:
            deaths = deaths - {offset}
            out += [o for o in reader.out if o[0] >= done]
            done = offset
            if store.at is None:
                reader, offset = Reader(), 0
            else:
                reader, offset = store.restored(log)
            continue
        reader.take(offset, log[offset])
        if log[offset].kind == "clock" and offset in snapshots:
            store.take(reader, offset)
        offset += 1
    return out + [o for o in reader.out if o[0] >= done]


@settings(max_examples=400)
@given(steps, st.data())
def test_a_restored_engine_goes_on_as_the_old_one_would_have(script: list[Step], data: st.DataObject) -> None:
    log = log_of(script)
    clocks = [i for i, record in enumerate(log) if record.kind == "clock"]
    if not clocks or len(log) < 2:
        return
    snapshots = set(data.draw(st.lists(st.sampled_from(clocks), max_size=6), "snapshots"))
    deaths = set(data.draw(st.lists(st.integers(1, len(log) - 1), min_size=1, max_size=3), "deaths"))
    assert play(log, snapshots, deaths) == play(log, set(), set())


@pytest.mark.parametrize("seed", range(4))
def test_long_runs_with_many_deaths(seed: int) -> None:
    import random

    rng = random.Random(seed)
    script = [
        Step("trade", rng.choice("ABCDE"), late=rng.choice((0, 0, 0, 300_000, 20 * S, 90 * S, 149 * S, 160 * S)))
        if (draw := rng.random()) < 0.6
        else Step(rng.choice(("cancel", "revise")), which=rng.randrange(60))
        if draw < 0.65
        else Step("clock", forward=rng.choice(STEPS[:6] if rng.random() < 0.97 else STEPS))
        for _ in range(4_000)
    ]
    log = log_of(script)
    clocks = {i for i, record in enumerate(log) if record.kind == "clock" and rng.random() < 0.2}
    deaths = {rng.randrange(1, len(log)) for _ in range(25)}
    assert play(log, clocks, deaths) == play(log, set(), set())
