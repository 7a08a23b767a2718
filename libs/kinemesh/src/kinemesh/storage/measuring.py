"""How long requests to storage take, by operation."""

from __future__ import annotations

import time
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import urllib3

from kinemesh.telemetry.metrics import STORAGE_SECONDS

_BY_QUERY: Final = {
    ("GET", "list-type"): "list",
    ("GET", "uploads"): "list_uploads",
    ("GET", "uploadId"): "list_parts",
    ("PUT", "partNumber"): "put_part",
    ("POST", "uploads"): "create_upload",
    ("POST", "uploadId"): "complete_upload",
    ("POST", "delete"): "delete",
    ("DELETE", "uploadId"): "abort_upload",
}
_OF_OBJECTS: Final = {"GET": "get", "HEAD": "head", "PUT": "put", "DELETE": "delete"}


class MeasuredPool(urllib3.PoolManager):
    """Connections whose requests are measured, each with its retries as one."""

    def urlopen(self, method: str, url: str, redirect: bool = True, **how: Any) -> Any:  # type: ignore[override]
        status = "error"
        started = time.perf_counter()
        try:
            response = super().urlopen(method, url, redirect, **how)
            status = str(response.status)
            return response
        finally:
            STORAGE_SECONDS.labels(operation_of(method, url), status).observe(time.perf_counter() - started)


def operation_of(method: str, url: str) -> str:
    """What an S3 request does."""
    parts = urlsplit(url)
    for name in parse_qs(parts.query, keep_blank_values=True):
        if (method, name) in _BY_QUERY:
            return _BY_QUERY[method, name]
    if "/" not in parts.path.strip("/"):
        return "bucket"
    return _OF_OBJECTS.get(method, "other")
