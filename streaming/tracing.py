"""Traces of single trades from the socket to the row, by OpenTelemetry, where TRACING_SAMPLE_RATE asks for them.

Ingest begins a trace for a share of the trades; it travels in the header ``traceparent`` (W3C) of the trade's record
and of those made from it. Values stay as they are. Spans go by HTTP where OTEL_EXPORTER_OTLP_ENDPOINT says.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from streaming.processor import Partition
from streaming.settings import ServiceSettings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor

TRACEPARENT: Final = "traceparent"
Process = Callable[[int, bytes, int], bool]
_choice: Final = random.SystemRandom()  # not the shared one, which a seed may make alike in all processes


def tracing_of(settings: ServiceSettings, service: str) -> Tracing | None:
    """What writes spans for ``service``; None where tracing is off, and then nothing of OpenTelemetry is loaded."""
    if not settings.tracing_sample_rate:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise RuntimeError("TRACING_SAMPLE_RATE needs OpenTelemetry: install market-pipeline[tracing]") from error
    return Tracing(service, settings.tracing_sample_rate, BatchSpanProcessor(OTLPSpanExporter()))


class Tracing:
    """Writes spans to ``processor``; what is left goes out when the process ends."""

    def __init__(self, service: str, rate: float, processor: SpanProcessor) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.sampling import ALWAYS_ON
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        provider = TracerProvider(ALWAYS_ON, Resource.create({"service.name": service}))
        provider.add_span_processor(processor)
        self._tracer = provider.get_tracer("market-pipeline")
        self._words = TraceContextTextMapPropagator()
        self._rate = rate

    def sampled(self) -> bool:
        """Whether to begin a trace now."""
        return _choice.random() < self._rate

    def span(
        self, name: str, start_us: int, end_us: int, parent: bytes | None = None, **attributes: str | int
    ) -> bytes:
        """Write one span and give the header by which others continue it. Without ``parent`` a trace begins."""
        from opentelemetry.trace import set_span_in_context

        before = None if parent is None else self._words.extract({TRACEPARENT: parent.decode("ascii", "replace")})
        span = self._tracer.start_span(name, before, start_time=start_us * 1_000, attributes=attributes)
        carrier: dict[str, str] = {}
        self._words.inject(carrier, set_span_in_context(span))
        span.end(max(end_us, start_us) * 1_000)
        return carrier[TRACEPARENT].encode()


def parent_of(headers: Iterable[tuple[str, bytes]] | None) -> bytes | None:
    """The trace that a record's headers carry on, if they do."""
    for name, value in headers or ():
        if name == TRACEPARENT:
            return value
    return None


def traced(tracing: Tracing, partition: Partition, records: Iterable[Any]) -> Process:
    """How to process a run, with a span for each record that carries a trace; what it emits carries it on.

    The span lasts from Kafka's time of the record until it is processed.
    """
    process, emitter, name = partition.processor.process, partition.emitter, partition.stage.name
    parents = {r.offset(): (parent, r.timestamp()[1] * 1_000) for r in records if (parent := parent_of(r.headers()))}
    if not parents:
        return process

    def process_traced(offset: int, value: bytes, now: int) -> bool:
        if offset not in parents:
            return process(offset, value, now)
        parent, since = parents[offset]
        emitter.trace((TRACEPARENT, tracing.span(name, since, time.time_ns() // 1_000, parent, offset=offset)))
        try:
            return process(offset, value, now)
        finally:
            emitter.trace(None)

    return process_traced
