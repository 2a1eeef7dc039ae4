"""Ingest against the vendor's client: the stream, what goes over the wire, the check of the topics, the report."""

import json
import re
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from websockets.frames import Opcode

from bench.context import BenchError
from bench.wire import report
from bench.wire.contenders import CONTENDERS, FLOOR, OURS, PARSED, RAW, Runs
from bench.wire.official import counted
from bench.wire.ours import cpu_between
from bench.wire.outputs import collect, differences
from bench.wire.server import CHUNK, on_the_wire, shifted
from bench.wire.stream import FRAME, START_MS, Sold, Stream, frames, sold_of, write_stream
from feed.events import CryptoTrade, StockTrade
from marketdata.normalise import normalise
from marketdata.records import Clock, Reference, Trade, encode
from services.ingest.frames import read_frame

TRADES = 20_000
SHIFT_MS = 7_000_000
NOW_US = (START_MS + SHIFT_MS + 10_000) * 1_000


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Stream:
    return write_stream(tmp_path_factory.mktemp("stream") / "frames.jsonl", TRADES)


def lines(stream: Stream) -> list[bytes]:
    return stream.path.read_bytes().splitlines()


def payloads(wire: bytes) -> list[bytes]:
    """The unmasked text frames that ``wire`` is made of."""
    found, file = [], BytesIO(wire)
    while head := file.read(2):
        assert head[0] == 0x80 | Opcode.TEXT
        length = head[1]
        if length >= 126:
            length = int.from_bytes(file.read(2 if length == 126 else 8), "big")
        found.append(file.read(length))
    return found


def written_by_ingest(stream: Stream, partitions: int = 6) -> list[Any]:
    """The records that the product makes of the stream, clocks and copies included."""
    records: list[Any] = [Clock(ts=NOW_US - NOW_US % 50_000, epoch=1)]
    for _, wire in on_the_wire(lines(stream), SHIFT_MS):
        for raw in payloads(wire):
            for event in read_frame(raw).trades:
                trade = normalise(event, NOW_US, 1)
                records.append(trade)
                if trade.symbol == "BTC-USD":
                    records += [copy_of(trade)] * partitions
    return records


def copy_of(trade: Trade) -> Reference:
    return msgspec.convert(msgspec.to_builtins(trade) | {"kind": "reference"}, Reference)


def messages(records: list[Any], ms: int = 0) -> list[Any]:
    return [message(record, ms + n) for n, record in enumerate(records)]


def message(record: Any, ms: int) -> Any:
    kind = str(record.__struct_config__.tag).encode()
    return SimpleNamespace(value=lambda: encode(record), headers=lambda: [("kind", kind)], timestamp=lambda: (2, ms))


def test_the_stream_is_the_same_each_time_and_a_longer_one_begins_alike() -> None:
    first, again = ([trade for frame in frames(3_000) for trade in frame] for _ in range(2))
    longer = [trade for frame in frames(4_000) for trade in frame]

    assert len(first) == 3_000
    assert first == again
    assert [t for t in longer if isinstance(t, StockTrade)][:2_000] == [
        t for t in first if isinstance(t, StockTrade)
    ][:2_000]


def test_frames_have_the_size_they_should_and_one_cluster_each() -> None:
    cut = list(frames(TRADES))
    stocks = [frame for frame in cut if isinstance(frame[0], StockTrade)]

    assert all(FRAME[0] <= len(frame) <= FRAME[1] for frame in stocks[:-1])
    assert all(len({type(trade) for trade in frame}) == 1 for frame in cut)
    assert len(stocks) < len(cut)


def test_every_trade_has_an_identity_of_its_own(stream: Stream) -> None:
    assert stream.trades == TRADES
    assert stream.frames == len(lines(stream))
    assert 0 < stream.crypto < TRADES


def test_the_exact_size_of_a_fractional_trade_is_what_must_arrive() -> None:
    trade = StockTrade("MARA", 4, "7", 3, 20.5, 2, START_MS, 1, ds="2.25", trfi=202, trft=START_MS)

    assert sold_of(trade) == (("MARA", "7"), Sold(20.5, 2.25, START_MS, 4, 202))


def test_all_times_of_a_trade_are_moved() -> None:
    stock = shifted(StockTrade("MARA", 4, "7", 3, 20.5, 2, 1_000, 1, trfi=202, trft=990), 5)
    coin = shifted(CryptoTrade("BTC-USD", 65_000.0, 1_000, 0.5, "7", 1, r=1_020), 5)

    assert isinstance(stock, StockTrade)
    assert isinstance(coin, CryptoTrade)
    assert (stock.t, stock.trft, coin.t, coin.r) == (1_005, 995, 1_005, 1_025)


def test_the_wire_holds_every_frame_once_in_order(stream: Stream) -> None:
    sent = list(on_the_wire(lines(stream), 0))

    assert [raw for _, wire in sent for raw in payloads(wire)] == lines(stream)
    assert {cluster for cluster, _ in sent} == {"stocks", "crypto"}
    assert all(len(wire) < CHUNK + 64 * 1024 for _, wire in sent)


def test_what_the_product_makes_of_it_is_right(stream: Stream) -> None:
    records = written_by_ingest(stream)
    found = collect(messages(records, 5_000), stream.expected, SHIFT_MS)

    assert differences(found, stream.crypto * 6) == []
    assert found.trades == TRADES
    newest = max(n for n, record in enumerate(records) if type(record) is Trade)
    assert found.last == (5_000 + newest) / 1_000  # a millisecond each; what stands below it is no trade


def spoiled(records: list[Any], how: str) -> list[Any]:
    place = next(n for n, record in enumerate(records) if isinstance(record, Trade))
    trade = records[place]
    rest = records[:place] + records[place + 1 :]
    changed = {
        "missing": [],
        "written twice": [trade, trade],
        "different": [msgspec.structs.replace(trade, price=trade.price + 0.01)],
        "not expected": [trade, msgspec.structs.replace(trade, id="none's")],
        "reference copies": [trade, copy_of(trade)],
    }
    return rest + changed[how]


@pytest.mark.parametrize("how", ["missing", "written twice", "different", "not expected", "reference copies"])
def test_a_wrong_output_is_named(stream: Stream, how: str) -> None:
    records = spoiled(written_by_ingest(stream), how)

    wrong = differences(collect(messages(records), stream.expected, SHIFT_MS), stream.crypto * 6)

    assert len([line for line in wrong if how in line]) == 1
    assert len(wrong) == (2 if how == "different" else 1)  # the first of them is shown


def test_another_time_size_exchange_or_trf_is_different(stream: Stream) -> None:
    trade = next(record for record in written_by_ingest(stream) if isinstance(record, Trade))
    for changes in ({"ts": trade.ts + 1_000}, {"size": trade.size + 1}, {"exchange": 99}, {"trf": 999}):
        other = msgspec.structs.replace(trade, **changes)
        assert collect(messages([other]), stream.expected, SHIFT_MS).different


def test_cpu_time_between_two_moments_is_by_proportion() -> None:
    samples = [(10.0, 1.0), (11.0, 2.0), (12.0, 4.0)]

    assert cpu_between(samples, 10.5, 11.5) == 1.5
    assert cpu_between(samples, 11.0, 12.0) == 2.0
    assert cpu_between(samples, 9.0, 13.0) == 3.0  # nothing is known beyond the samples


def test_the_official_client_must_count_each_trade_once() -> None:
    told = json.dumps({"trades": 100, "seconds": 2.0, "cpu_s": 1.0})

    assert counted(f"a warning\n{told}\n", 100, 0.5).seconds == 2.0
    with pytest.raises(BenchError, match="100 trades were counted where 99 are right"):
        counted(told, 99, 0.5)


def runs_of(contender: Any, *rates: float, failed: str | None = None) -> Runs:
    return Runs(contender, list(rates), [2.0] * len(rates), [0.125] * len(rates), failed)


def whole(found: list[Runs], void: list[str]) -> dict[str, Any]:
    floor = runs_of(FLOOR, 1_000, 1_000, 1_000)
    results = report.figures(floor, found)
    names = ("cores", "cpu", "memory_gib", "system", "python", "kafka", "librdkafka")
    return {
        "date": "d", "command": "c", "commit": "x", "load_before": 0.1, "void": void,
        "machine": dict.fromkeys(names, "m"),
        "options": {"trades": 5_000}, "missed": report.missed(results), "results": results,
        "stream": {"frames": 50, "bytes": 5_000_000, "crypto_trades": 3, "symbols": 9, "official_client": "client 1"},
    }  # fmt: skip


def test_our_share_is_the_median_over_runs_of_what_stood_side_by_side() -> None:
    found = whole([runs_of(OURS, 100, 200, 300), runs_of(PARSED, 200, 250, 250), runs_of(RAW, 400, 400, 400)], [])

    assert {name: one["ours_to_it"] for name, one in found["results"].items()} == {
        "server": 0.2, "ours": None, "parsed": 0.8, "raw": 0.5,
    }  # fmt: skip
    assert found["missed"] == ["parsed"]  # nothing is required against raw frames


def test_what_fails_is_missed_and_the_table_says_why() -> None:
    text = report.table(whole([runs_of(OURS, failed="2 trades missing"), runs_of(PARSED, 200)], ["busy"]))

    assert re.search(r"socket to Kafka, acks=all +FAILED: 2 trades missing", text)
    assert re.search(r"parsed, no Kafka +200 +2.00 +0.12 +>= 1 +200", text)
    assert "VOID: busy" in text
    assert "missed: ours, parsed" in text


def test_a_server_no_faster_than_its_reader_voids_the_run() -> None:
    floor = runs_of(FLOOR, 1_000, 500)

    assert report.too_slow(floor, [runs_of(PARSED, 400, 499)]) == []
    (reason,) = report.too_slow(floor, [runs_of(RAW, 400, 500)])
    assert reason.startswith("run 2: the server alone sent 500 trades/s")


def test_an_official_client_far_below_its_own_best_voids_the_run() -> None:
    assert report.unquiet([runs_of(PARSED, 100, 71), runs_of(OURS, 100, 10)]) == []
    (reason,) = report.unquiet([runs_of(PARSED, 100, 60)])
    assert "official client's" in reason
    assert "fell to 60%" in reason


def test_a_reader_that_fails_in_a_later_run_is_compared_by_none() -> None:
    results = report.figures(runs_of(FLOOR, 1_000, 1_000), [runs_of(OURS, 100, 100), runs_of(RAW, 90, failed="cut")])

    assert results["raw"]["ours_to_it"] is None
    assert results["raw"]["rates"] is None


def test_the_readers_have_names_of_their_own() -> None:
    assert len({contender.name for contender in (*CONTENDERS, FLOOR)}) == len(CONTENDERS) + 1
