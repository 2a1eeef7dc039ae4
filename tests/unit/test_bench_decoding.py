"""Reading and decoding: the clock of a pass, its check, and the report."""

from collections.abc import Iterable
from typing import Any

import pytest

from bench.context import BenchError
from bench.decoding import measure
from bench.decoding.measure import Passes, timed
from bench.decoding.readers import READERS, Batches, Log, Reader
from bench.decoding.report import figures, table

LOG: Any = Log(None, "t", records=6, sum_ts=600)  # type: ignore[arg-type]


def batches(some: Iterable[tuple[int, int]]) -> Batches:
    yield from some


def test_the_first_batch_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    walls, cpus = iter([10.0, 12.5]), iter([1.0, 1.5])
    monkeypatch.setattr(measure.time, "perf_counter", lambda: next(walls))
    monkeypatch.setattr(measure.time, "process_time", lambda: next(cpus))

    assert timed(batches([(0, 0), (2, 200), (0, 0), (3, 300), (1, 100), (9, 9)]), LOG) == (4, 2.5, 0.5)


@pytest.mark.parametrize(
    ("some", "complaint"),
    [
        ([(3, 300), (2, 200)], "5 records with event times of 500"),
        ([(3, 300), (4, 400)], "7 records"),
        ([(3, 300), (3, 299)], "of 599 µs together were read where 6 with 600 stand"),
        ([(6, 600)], "one batch"),
    ],
)
def test_a_reader_that_loses_repeats_or_misreads_has_failed(some: list[tuple[int, int]], complaint: str) -> None:
    with pytest.raises(BenchError, match=complaint):
        timed(batches(some), LOG)


def test_where_nothing_comes_the_pass_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "STALL_S", -1.0)

    with pytest.raises(BenchError, match="3 records"):
        timed(batches([(3, 300), (0, 0), (3, 300)]), LOG)


def test_a_failed_reader_is_not_asked_again() -> None:
    asked = []

    def failing(log: Log) -> Batches:
        asked.append(log)
        yield 1, 1
        raise TypeError("no bytes")

    passes = Passes(Reader("x", "x", failing))
    passes.add(LOG)
    passes.add(LOG)

    assert (passes.failed, len(asked), passes.rates) == ("no bytes", 1, [])


def passes_of(name: str, *rates: float, failed: str | None = None) -> Passes:
    reader = next(reader for reader in READERS if reader.name == name)
    return Passes(reader, list(rates), [2.5] * len(rates), failed)


def test_the_report_holds_shares_failures_and_reasons_to_void() -> None:
    machine = dict.fromkeys(("cores", "cpu", "memory_gib", "system", "python", "kafka", "librdkafka"), "m")
    head = {"date": "d", "command": "c", "commit": "x", "load_before": 0.1, "void": ["busy"], "machine": machine,
            "options": {"records": 1_000, "symbols": 20, "partitions": 3},
            "packages": {"aiokafka": "1", "msgspec": "2"}}  # fmt: skip
    found = [passes_of("product", 100, 200, 300), passes_of("loop", 400, 100, 400),
             passes_of("aiokafka", failed="it fell over")]  # fmt: skip

    report = figures(head, found)

    assert [one["product_to_it"] for one in report["readers"].values()] == [None, 0.75, None]
    assert report["void"][0] == "busy"
    assert "fell to 25%" in report["void"][1]
    lines = table(report)
    for part in ("VOID: busy", "VOID: the hand-written loop's floor", "1,000 records of 20 symbols", "0.75",
                 "FAILED: it fell over", "100, 200, 300"):  # fmt: skip
        assert part in lines
