"""What the gateway measures beside what all services do."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from kinemesh.telemetry.metrics import SECONDS

HTTP_SECONDS = Histogram(
    "kinemesh_http_seconds",
    "Time until requests were answered whole, or until WebSockets ended",
    ["method", "route", "status"],
    buckets=SECONDS,
)

WEBSOCKET_CLIENTS = Gauge("kinemesh_websocket_clients", "Open WebSockets", ["kind"])
WEBSOCKET_CLOSED = Counter(
    "kinemesh_websocket_closed_total", "WebSockets that ended, by closing code", ["kind", "code"]
)
WEBSOCKET_BEHIND_SECONDS = Histogram(
    "kinemesh_websocket_behind_seconds",
    "How old news were when a client got them, of those that came while it was connected",
    ["kind"],
    buckets=SECONDS,
)

UPLOADS_IN_FLIGHT = Gauge("kinemesh_uploads_in_flight", "Uploads that come through the API just now")
UPLOAD_BYTES = Counter("kinemesh_upload_bytes_total", "Bytes of uploads that came through the API")
