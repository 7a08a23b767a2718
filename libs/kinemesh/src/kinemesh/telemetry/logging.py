"""Structured logs: one JSON object a line, with the ids of the request, the job and the trace bound."""

from __future__ import annotations

import logging
import logging.handlers
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import structlog
from opentelemetry import trace

from kinemesh.settings import LogSettings


def configure_logging(service: str, settings: LogSettings, audit_file: Path | None = None) -> None:
    """Send structlog and the standard library's loggers to stdout through one chain.

    :param audit_file: gets what the logger ``audit`` says too, as JSON.
    """
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        _add_trace_ids,
        structlog.processors.format_exc_info,
    ]
    renderer = structlog.processors.JSONRenderer() if settings.json_lines else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[settings.level]),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _name_service(service), renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level)
    logging.captureWarnings(True)
    for chatty in ("asyncio", "nats", "httpx", "urllib3", "uvicorn.access", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # Also where little else is logged.
    audit = logging.getLogger("audit")
    audit.setLevel(logging.INFO)
    audit.handlers[:] = [] if audit_file is None else [_file_handler(audit_file, service, shared)]


def _file_handler(path: Path, service: str, shared: list[Any]) -> logging.Handler:
    path.touch(mode=0o600)
    handler = logging.handlers.WatchedFileHandler(path)
    meta, renderer = structlog.stdlib.ProcessorFormatter.remove_processors_meta, structlog.processors.JSONRenderer()
    processors = [meta, _name_service(service), renderer]
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=processors))
    return handler


def _name_service(service: str) -> Any:
    def add(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["service"] = service
        return event

    return add


def _add_trace_ids(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = trace.format_trace_id(context.trace_id)
        event["span_id"] = trace.format_span_id(context.span_id)
    return event
