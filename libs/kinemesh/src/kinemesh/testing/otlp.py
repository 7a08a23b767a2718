"""A collector of spans, as a test sees them: by gRPC, as services send them, and by HTTP, as the model server does."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

_IDS = frozenset({"traceId", "spanId", "parentSpanId"})


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps the spans that it is sent, each as ``(service, span)``.

    :ivar address: host and port, for OTLP over gRPC.
    :ivar http_url: for OTLP over HTTP.
    :ivar metadata: what came along with the last call over gRPC.
    """

    def __init__(self) -> None:
        self.spans: list[tuple[str, Any]] = []
        self.address = ""
        self.http_url = ""
        self.metadata: dict[str, str] = {}

    async def Export(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Take spans."""
        self.metadata = dict(context.invocation_metadata())
        self.keep(request)
        return trace_service_pb2.ExportTraceServiceResponse()

    def keep(self, request: Any) -> None:
        """Note the spans of a request."""
        for resource in request.resource_spans:
            [service] = [a.value.string_value for a in resource.resource.attributes if a.key == "service.name"]
            self.spans += [(service, span) for scope in resource.scope_spans for span in scope.spans]


@asynccontextmanager
async def collector() -> AsyncIterator[Collector]:
    """A collector that listens on free ports of this machine."""
    server = grpc.aio.server()
    collecting = Collector()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collecting, server)  # type: ignore[no-untyped-call]
    collecting.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        with _over_http(collecting):
            yield collecting
    finally:
        await server.stop(None)


@contextmanager
def _over_http(collecting: Collector) -> Iterator[None]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            request = trace_service_pb2.ExportTraceServiceRequest()
            collecting.keep(ParseDict(_with_ids(body), request, ignore_unknown_fields=True))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Not on standard error."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collecting.http_url = f"http://127.0.0.1:{server.server_port}/v1/traces"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def _with_ids(value: Any) -> Any:
    """OTLP writes ids in hexadecimal, where JSON of protobuf has base64."""
    if isinstance(value, dict):
        return {
            name: base64.b64encode(bytes.fromhex(one)).decode() if name in _IDS else _with_ids(one)
            for name, one in value.items()
        }
    return [_with_ids(one) for one in value] if isinstance(value, list) else value
