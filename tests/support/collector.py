"""A receiver of OpenTelemetry's spans."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Collector:
    """Takes spans over OTLP/HTTP at ``url`` while it is entered."""

    def __init__(self) -> None:
        collector = self
        self.spans: dict[bytes, Any] = {}

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                collector.take(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
                """Nothing to say."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def take(self, body: bytes) -> None:
        """Keep the spans of one request by their ids."""
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.spans |= {span.span_id: span for span in scope.spans}

    def paths(self) -> set[str]:
        """The names of spans that led to each span from the beginning of its trace: ``ingest > ratio > sink``."""
        return {" > ".join(self._path(span)) for span in list(self.spans.values())}

    def _path(self, span: Any) -> list[str]:
        parent = self.spans.get(span.parent_span_id)
        if parent is None:
            return [span.name] if not span.parent_span_id else ["?", span.name]
        assert parent.trace_id == span.trace_id
        return [*self._path(parent), span.name]
