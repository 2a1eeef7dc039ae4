"""The join's contest: its input, the answers expected of it, who gives them, and the check of outputs."""

import importlib.util
from collections.abc import Iterator
from functools import cache
from types import ModuleType, SimpleNamespace
from typing import Any

import msgspec
import pytest

from bench.peers import report
from bench.peers.answers import Answers
from bench.peers.contenders import Contender
from bench.peers.contest import Runs
from bench.peers.environments import HERE
from bench.peers.joined import CONTENDERS, JOIN, RESTRICTED
from bench.peers.market import START_US, Scale
from bench.peers.trades import BTC, MAX_AGE_US, Input, trade_log
from marketdata.calendar import new_york_hours
from marketdata.join import RatioJoin
from marketdata.partition import partition_of
from marketdata.records import Clock, Ratio, Reference, Trade, encode
from services.ratio.settings import RatioSettings

SMALL = Scale(symbols=20, partitions=3, rate=2_000)
TRADES = 4_001  # 2 s
OURS, LOOP = (next(c for c in CONTENDERS if c.name == name) for name in ("ours", "loop"))


@cache
def played(trades: int = TRADES) -> list[tuple[int, Input]]:
    return list(trade_log(SMALL, trades))


def answers(log: list[tuple[int, Input]], partitions: int = 3) -> Answers:
    made = Answers(partitions)
    for partition, record in log:
        made.add(partition, record)
    return made


def message(value: bytes, partition: int, *, key: bytes | None = b"A", ms: int = 0, offset: int = 0) -> Any:
    kind = msgspec.json.decode(value).get("kind", "") if value.startswith(b"{") else ""
    return SimpleNamespace(
        value=lambda: value, partition=lambda: partition, key=lambda: key, timestamp=lambda: (2, ms),
        offset=lambda: offset, error=lambda: None, headers=lambda: [("kind", kind.encode())],
    )  # fmt: skip


def as_messages(log: list[tuple[int, Input]]) -> Iterator[Any]:
    offsets = [0] * SMALL.partitions
    for partition, record in log:
        key = None if isinstance(record, Clock) else record.symbol.encode()
        yield message(encode(record), partition, key=key, offset=offsets[partition])
        offsets[partition] += 1


def trade(ts: int, price: float = 10.0) -> Trade:
    return Trade(symbol="A", ts=ts, received_ts=ts, price=price, size=3.0, exchange=4, id=str(ts), epoch=1)


def btc(ts: int, price: float) -> Reference:
    return Reference(symbol=BTC, ts=ts, received_ts=ts, price=price, size=0.5, exchange=1, id=str(ts), epoch=1)


def ratio(place: int, ts: int, btc_price: float | None, btc_ts: int | None, **changed: Any) -> bytes:
    """A peer's record of a trade at ``ts``, price 10."""
    known = btc_price is not None and btc_ts is not None
    fields = {
        "symbol": "A", "ts": ts, "stock_price": 10.0, "stock_size": 3.0, "src": (0, place, 0), "btc_price": btc_price,
        "btc_ts": btc_ts, "btc_age_us": ts - btc_ts if btc_ts is not None else None,
        "btc_volume": 0.5 if known else None, "ratio": 10.0 / btc_price if btc_price else None,
        "inverse_ratio": btc_price / 10.0 if btc_price else None, "reason": None if known else "no_reference",
    }  # fmt: skip
    return msgspec.json.encode(fields | changed)


def test_a_shorter_input_is_the_beginning_of_a_longer_one() -> None:
    short, long = ([r for _, r in played(n) if type(r) is Trade][3 * SMALL.symbols :] for n in (1_000, TRADES))

    assert len(short) == 1_000
    assert len(long) == TRADES
    assert short == long[:1_000]


def test_no_trade_stands_behind_a_clock_past_it_and_every_partition_has_every_btc_trade() -> None:
    clocks, copies = [0] * 3, [0] * 3
    for partition, record in played():
        if isinstance(record, Clock):
            assert record.ts > clocks[partition]
            clocks[partition] = record.ts
        else:
            assert record.ts >= clocks[partition]
            copies[partition] += isinstance(record, Reference)
            assert isinstance(record, Reference) or partition == partition_of(record.symbol, 3)

    assert len(set(copies)) == 1


def test_the_input_asks_for_all_that_an_as_of_join_has_to_tell_apart() -> None:
    newest, behind, ages = [0] * 3, 0, []
    for partition, record in played():
        if isinstance(record, Reference):
            newest[partition] = record.ts
        elif isinstance(record, Trade):
            behind += record.ts < newest[partition]
            ages.append(record.ts - newest[partition])

    assert behind > 50  # trades with a BTC trade before them in the log that happened after them
    assert MAX_AGE_US in ages
    assert MAX_AGE_US + 1_000 in ages


def test_answers_worked_out_by_hand() -> None:
    log: list[tuple[int, Input]] = [
        (0, trade(START_US)), (0, btc(START_US + 1, 50.0)), (0, trade(START_US + 5)), (0, btc(START_US + 9, 40.0)),
        (0, trade(START_US + 8)), (0, trade(START_US + 9)), (0, trade(START_US + 10 + MAX_AGE_US)),
    ]  # fmt: skip
    right = [
        ratio(0, START_US, None, None),
        ratio(2, START_US + 5, 50.0, START_US + 1),
        ratio(4, START_US + 8, 50.0, START_US + 1),
        ratio(5, START_US + 9, 40.0, START_US + 9),
        ratio(6, START_US + 10 + MAX_AGE_US, None, None, reason="stale_reference"),
    ]
    expected = answers(log, 1)

    verdict = expected.judge([message(value, 0, ms=1_000 + n) for n, value in enumerate(right)], LOOP)

    assert verdict == (1.0, 1.004, [])
    assert (expected.trades, expected.wanted(LOOP), expected.wanted(OURS)) == (5, 5, 7)


PLACE = (START_US + 5, 50.0, START_US + 1)


@pytest.mark.parametrize(
    ("outputs", "complaint"),
    [
        ([], "1 of 1 ratios missing"),
        ([ratio(1, *PLACE)] * 2, "1 of 1 ratios written twice"),
        ([ratio(1, *PLACE, ratio=10.0 / 50.0 + 2.0**-55)], "1 of 1 ratios different"),
        ([ratio(1, *PLACE, inverse_ratio=5.000000000000001)], "1 of 1 ratios different"),
        ([ratio(1, START_US + 5, None, None)], "1 of 1 ratios different"),
        ([ratio(1, *PLACE), ratio(0, *PLACE)], "1 of 1 ratios of no stock trade"),
        ([ratio(1, *PLACE, src=(7, 1, 0))], "1 of 1 ratios of no stock trade"),
        ([ratio(1, *PLACE), b"?"], "1 of 1 ratios unreadable"),
    ],
)
def test_a_wrong_output_is_named(outputs: list[bytes], complaint: str) -> None:
    expected = answers([(0, btc(START_US + 1, 50.0)), (0, trade(START_US + 5))], 1)

    verdict = expected.judge([message(value, 0) for value in outputs], LOOP)

    assert complaint in verdict.wrong


def test_another_key_or_partition_is_wrong() -> None:
    expected = answers([(0, btc(START_US + 1, 50.0)), (0, trade(START_US + 5))], 1)

    for changed in (message(ratio(1, *PLACE), 0, key=b"B"), message(ratio(1, *PLACE), 1)):
        assert "another partition" in expected.judge([changed], LOOP).wrong[0]


def test_the_products_own_join_gives_the_expected_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in RESTRICTED.items():
        assert name.lower() in RatioSettings.model_fields
        monkeypatch.setenv(name, value)
    settings, hours = RatioSettings(), new_york_hours()
    joins = [RatioJoin(BTC, hours, settings.join) for _ in range(SMALL.partitions)]
    written = []
    for each in as_messages(played()):
        partition, src = each.partition(), (each.partition(), each.offset(), 0)
        record = msgspec.json.decode(each.value(), type=Trade | Reference | Clock)
        found: Ratio | None = None
        if isinstance(record, Clock):
            assert joins[partition].clock(record, src, 0) == []
        elif isinstance(record, Reference):
            assert joins[partition].reference(record, each.offset())
        else:
            found = joins[partition].stock(record, each.value(), src, 0)
        key = each.key()
        written.append(message(encode(found), partition, key=key) if found is not None else each)  # else passed on

    expected = answers(played())

    assert not settings.ratio_mark
    assert len(written) == expected.wanted(OURS)
    assert expected.judge(written, OURS).wrong == []


def test_the_hand_written_loop_gives_the_expected_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    peer = program("loop", monkeypatch)
    loop = peer.Loop()
    sent: list[Any] = []
    loop.producer = SimpleNamespace(
        produce=lambda _topic, value, key, partition: sent.append(message(value, partition, key=key))
    )
    log = list(as_messages(played()))
    for n in range(0, len(log), 500):
        loop.take(log[n : n + 500])

    expected = answers(played())

    assert len(sent) == expected.wanted(LOOP)
    assert expected.judge(sent, LOOP).wrong == []


def test_the_hand_written_loop_forgets_what_no_trade_can_ask_for(monkeypatch: pytest.MonkeyPatch) -> None:
    history = program("loop", monkeypatch).History()
    for second in range(1_000):
        history.add(btc(second * 1_000_000, 1.0 + second))
        history.clock(second * 1_000_000)

    assert 240 <= len(history.times) == len(history.trades) <= 242
    assert history.as_of(879_500_000).price == 880.0


def program(peer: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    for name in ("BOOTSTRAP", "GROUP", "SOURCE", "OUTPUT"):
        monkeypatch.setenv(name, "127.0.0.1:9")
    monkeypatch.setenv("PARTITIONS", str(SMALL.partitions))
    spec = importlib.util.spec_from_file_location(f"{peer}_join", HERE / peer / JOIN.program)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def runs_of(name: str, *rates: float) -> Runs:
    contender: Contender = next(c for c in CONTENDERS if c.name == name)
    return Runs(contender, 100_000, 100_000, list(rates), [1.25] * len(rates))


@pytest.mark.parametrize(("ours", "missed"), [(400.0, []), (399.0, ["20.loop"])])
def test_four_tenths_of_the_loop_are_required(ours: float, missed: list[str]) -> None:
    result = report.figures(JOIN, SMALL, [runs_of("ours", ours), runs_of("loop", 1_000.0)])

    assert report.missed([result]) == missed
    assert result["contenders"]["ours"]["ratios_checked_equal"] == 100_000
