"""Traces that cross gRPC metadata, NATS headers and Triton requests, in W3C trace context."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import grpc
from opentelemetry import propagate, trace
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span, SpanKind

from kinemesh.settings import TracingSettings

_EXPORT_S = 3


def configure_tracing(service: str, settings: TracingSettings) -> Callable[[], None]:
    """Export spans if an endpoint is set, in the clear unless it is https; returns what to call at the end."""
    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(settings.sample)),
        resource=Resource.create({SERVICE_NAME: f"kinemesh-{service}"}),
    )
    if settings.otlp_endpoint:
        # Imported here: the exporter costs start-up time that most runs do not need.
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        clear = not settings.otlp_endpoint.startswith("https://")
        authority = settings.ca_file.read_bytes() if settings.ca_file else None
        exporter = OTLPSpanExporter(
            endpoint=settings.otlp_endpoint,
            insecure=clear,
            credentials=None if clear else grpc.ssl_channel_credentials(authority),
            headers=_pairs(settings.headers.get_secret_value()),
            timeout=_EXPORT_S,
        )
        provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=500))
    trace.set_tracer_provider(provider)
    return provider.shutdown


def _pairs(text: str) -> list[tuple[str, str]]:
    """gRPC takes names in lower case only."""
    split = (pair.partition("=") for pair in text.split(",") if pair.strip())
    return [(name.strip().lower(), value.strip()) for name, _, value in split]


def trace_headers() -> dict[str, str]:
    """The current trace context as headers, to be sent along with a message or call."""
    headers: dict[str, str] = {}
    propagate.inject(headers)
    return headers


@contextmanager
def span(
    name: str,
    kind: SpanKind = SpanKind.INTERNAL,
    parent: Mapping[str, str] | None = None,
    **attributes: str | int | float | bool,
) -> Iterator[Span]:
    """Open a span, below the context found in ``parent`` headers if given, else below the current one."""
    context = propagate.extract(dict(parent)) if parent is not None else None
    tracer = trace.get_tracer("kinemesh")
    with tracer.start_as_current_span(name, context=context, kind=kind, attributes=attributes) as current:
        yield current
