"""The application: routers, middleware and error answers put together."""

from __future__ import annotations

import contextlib
import re
import socket
from asyncio import Event, create_task
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import structlog
import uvicorn
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.middleware.cors import CORSMiddleware

from kinemesh.access.tokens import tokens_of
from kinemesh.errors import Unavailable
from kinemesh_gateway.rest import (
    analyze,
    areas,
    assets,
    attempts,
    auth,
    environments,
    health,
    jobs,
    match,
    models,
    pipelines,
    pitstop,
    processing_tasks,
    references,
    routes,
    session_resources,
    sessions,
    tracks,
    usage,
    watch,
)
from kinemesh_gateway.rest.admission import OWNER_HEADER, Admission, document_admission
from kinemesh_gateway.rest.context import Mesh
from kinemesh_gateway.rest.errors import handle_errors
from kinemesh_gateway.rest.middleware import RequestContext
from kinemesh_gateway.rest.parameters import (
    InstructorParameters,
    MultiCameraParameters,
    PitstopParameters,
    PoseParameters,
    RouteMatchParameters,
)
from kinemesh_gateway.rest.route_resources import ReferenceCreate
from kinemesh_gateway.rest.shared_frames import SharedFramesProtocol
from kinemesh_gateway.rest.sites import HomographyBody
from kinemesh_gateway.rest.upload import Uploader
from kinemesh_gateway.settings import GatewaySettings, HttpSettings

VERSION = "1.0.0"

_log = structlog.get_logger()

# Longer than clients and load balancers keep an idle connection: they must be the ones who close it, or else a request
# may be on its way when it ends.
_IDLE_S = 75

_STREAMED = re.compile(
    "|".join((analyze.PATH, pitstop.PATH, references.PATH, f"{sessions.PATH}/import", f"{models.PATH}/[^/]+/test")),
    re.ASCII,
)
_ROUTERS = (
    auth,
    assets,
    jobs,
    pipelines,
    models,
    environments,
    tracks,
    session_resources,
    # A path such as /routes/areas must be looked for before /routes/{route_id}.
    areas,
    references,
    attempts,
    routes,
    match,
    analyze,
    processing_tasks,
    sessions,
    pitstop,
    usage,
    health,
    watch,
)
# The paths of objects, which <video> and <img> ask for.
_MEDIA = re.compile(
    "|".join(
        re.sub(r"\?P<[^>]+>", "?:", route.path_regex.pattern)
        for module in _ROUTERS
        for route in module.router.routes
        if isinstance(route, APIRoute) and 206 in route.responses
    )
)
_IN_TEXT = (
    PoseParameters,
    InstructorParameters,
    PitstopParameters,
    MultiCameraParameters,
    RouteMatchParameters,
    ReferenceCreate,
    sessions.ImportMetadata,
    HomographyBody,
    processing_tasks.StatusUpdate,
    processing_tasks.TrackingUpdate,
)
_REQUEST_HEADERS = [
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-None-Match",
    "If-Range",
    "Range",
    "X-Request-ID",
    OWNER_HEADER,
]
_RESPONSE_HEADERS = [
    "Accept-Ranges",
    "Content-Disposition",
    "Content-Length",
    "Content-Range",
    "Deprecation",
    "ETag",
    "Location",
    "RateLimit-Limit",
    "RateLimit-Remaining",
    "RateLimit-Reset",
    "Retry-After",
    "WWW-Authenticate",
    "X-Request-ID",
]
_DESCRIPTION = """Videos in; people, poses, metrics and annotated videos out.

Errors are `ErrorAnswer`s. Times are RFC 3339 in UTC. Ids are opaque. Repeating a call with the same `Idempotency-Key`
answers as the first time. A job's progress, log and results per frame come over `WS /ws/jobs/{job_id}?since=SEQUENCE`,
as `{"type": "state" | "progress" | "log" | "frames" | "steps", "sequence", "job_id", "time", "payload"}`; what several
cameras see together over `WS /ws/tracking/{task_id}?since_frame=N`, as `StatusUpdate`s and `TrackingUpdate`s."""


def create_api(settings: GatewaySettings) -> FastAPI:
    """The routes; they work once ``app.state.mesh`` is set."""
    app = FastAPI(title="Kinemesh", version=VERSION, description=_DESCRIPTION)
    app.state.uploader = Uploader(settings.uploads)
    for module in _ROUTERS:
        app.include_router(module.router)
    handle_errors(app)
    tokens, proxies = tokens_of(settings.auth), settings.http.trusted_proxies
    admission = app.state.admission = Admission(tokens, settings.rates, proxies, _MEDIA)
    app.add_middleware(RequestContext, settings=settings.http, admission=admission, streamed=_STREAMED)
    if settings.http.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.http.cors_origins,
            allow_methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=_REQUEST_HEADERS,
            expose_headers=_RESPONSE_HEADERS,
        )
    _document(app)
    return app


def _document(app: FastAPI) -> None:
    """Parameters of jobs are free in the schema, so that pipelines are data, and forms hold text: list what is known of
    both beside it. What callers meet before any route is no route's to say."""
    original = app.openapi

    def openapi() -> dict[str, Any]:
        document = original()
        schemas = document["components"]["schemas"]
        for kind in _IN_TEXT:
            schema = kind.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas.update(schema.pop("$defs", {}))
            schemas[kind.__name__] = schema
        document_admission(document)
        return document

    app.openapi = openapi  # type: ignore[method-assign]


class _Server(uvicorn.Server):
    """Leaves the process's signals to the runtime."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def bind(settings: HttpSettings) -> socket.socket:
    """Take the port before anything else starts.

    :raises Unavailable: ``PORT_TAKEN``.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # Told the protocol, the event loop does not let small answers wait for acknowledgements (TCP_NODELAY).
    taken = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Connections inherit it. Without it one whose client lives and does not read stays for good, closed or not, and
    # with it the object that is being sent.
    taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(settings.stalled_s * 1000))
    try:
        taken.bind((settings.host, settings.port))
    except OSError:
        taken.close()
        raise Unavailable(
            "PORT_TAKEN", f"Port {settings.port} of {settings.host} is taken.", field="KINEMESH_HTTP__PORT"
        ) from None
    return taken


def serve(app: FastAPI, mesh: Mesh, taken: socket.socket) -> Callable[[Event], Awaitable[None]]:
    """A loop that serves until it is told to stop, and then lets requests in hand end."""
    app.state.mesh = mesh
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        proxy_headers=False,
        ws=SharedFramesProtocol,
        ws_max_size=64 * 1024,
        ws_max_queue=4,
        # Compressing would take longer than sending to a client nearby.
        ws_per_message_deflate=False,
        limit_concurrency=2048,
        timeout_keep_alive=_IDLE_S,
        timeout_graceful_shutdown=max(1, round(mesh.settings.drain_s)),
    )
    server = _Server(config)

    async def loop(stop: Event) -> None:
        taken.listen(config.backlog)
        host, port = taken.getsockname()[:2]
        serving = create_task(server.serve(sockets=[taken]))
        watching = create_task(stop.wait())
        _log.info("serving http", host=host, port=port)
        watching.add_done_callback(lambda _: setattr(server, "should_exit", True))
        try:
            await serving
        finally:
            watching.cancel()
            taken.close()

    return loop
