"""Traces go along in headers; values know nothing of them."""

from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from streaming.emitter import Emitter
from streaming.outbox import Outbox, Ticket
from streaming.settings import ServiceSettings
from streaming.tracing import TRACEPARENT, Tracing, parent_of, traced, tracing_of


class Producer:
    """Keeps (value, headers) of what is produced."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, Any]] = []

    def produce(self, topic: str, value: bytes, key: Any, partition: int, done: Any, headers: Any = None) -> None:
        self.sent.append((value, headers))
        if done is not None:
            done(None, None)


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracing(spans: InMemorySpanExporter) -> Tracing:
    return Tracing("test", 1.0, SimpleSpanProcessor(spans))


def run(records: list[Any], tracing: Tracing) -> list[tuple[bytes, Any]]:
    """What a stage that copies its input emits for ``records``."""
    producer = Producer()
    emitter = Emitter(Outbox(producer), 0, ["out"])  # type: ignore[arg-type]
    emitter.begin(Ticket(lambda: None))

    def process(offset: int, value: bytes, now: int) -> bool:
        emitter.emit("out", None, value, [("kind", b"copy")])
        return False

    partition: Any = SimpleNamespace(
        processor=SimpleNamespace(process=process), emitter=emitter, stage=SimpleNamespace(name="copy")
    )
    chosen = traced(tracing, partition, records)
    for record in records:
        chosen(record.offset(), record.value(), 0)
    emitter.end()
    assert (chosen is process) == (not any(parent_of(record.headers()) for record in records))
    return producer.sent


def record(offset: int, headers: list[tuple[str, bytes]]) -> Any:
    said = {"offset": offset, "value": b"%d" % offset, "headers": headers, "timestamp": (1, 1_000)}
    return SimpleNamespace(**{name: lambda value=value: value for name, value in said.items()})


def test_a_trace_goes_on_through_a_stage_and_others_are_left_alone(
    tracing: Tracing, spans: InMemorySpanExporter
) -> None:
    first = tracing.span("ingest", 1_000_000, 1_002_000, symbol="MARA")
    records = [record(1, [("kind", b"trade")]), record(2, [("kind", b"trade"), (TRACEPARENT, first)]), record(3, [])]
    sent = run(records, tracing)
    assert [value for value, _ in sent] == [b"1", b"2", b"3"]
    assert [headers for _, headers in sent][::2] == [[("kind", b"copy")]] * 2
    onward = parent_of(sent[1][1])
    assert onward is not None
    tracing.span("sink", 2_000_000, 2_100_000, onward)
    ingest, stage, sink = spans.get_finished_spans()
    assert len({span.context.trace_id for span in (ingest, stage, sink)}) == 1
    assert [span.parent.span_id for span in (stage, sink)] == [ingest.context.span_id, stage.context.span_id]
    assert (ingest.start_time, ingest.end_time) == (1_000_000_000, 1_002_000_000)


def test_a_run_without_traces_is_processed_by_the_processor_itself(
    tracing: Tracing, spans: InMemorySpanExporter
) -> None:
    assert len(run([record(1, []), record(2, [("kind", b"trade")])], tracing)) == 2
    assert spans.get_finished_spans() == ()


def test_a_header_that_is_none_begins_a_trace_of_its_own(tracing: Tracing, spans: InMemorySpanExporter) -> None:
    tracing.span("sink", 1, 2, b"\xff nonsense")
    (span,) = spans.get_finished_spans()
    assert span.parent is None


def test_it_is_off_unless_asked_for_and_samples_a_share() -> None:
    assert tracing_of(ServiceSettings(), "test") is None
    chosen = Tracing("test", 0.25, SimpleSpanProcessor(InMemorySpanExporter()))
    assert 300 < sum(chosen.sampled() for _ in range(2_000)) < 700
