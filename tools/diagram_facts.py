"""What the pictures show, read from the sources: protos, composition roots, settings, topology, pipelines."""

from __future__ import annotations

import ast
import importlib
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import export_routes
from kinemesh.bus.topology import streams
from kinemesh.embedded.environment import ASKS, GATEWAY, SERVICES
from kinemesh.settings import ServiceSettings
from kinemesh_gateway.rest.api import create_api
from kinemesh_gateway.settings import GatewaySettings
from kinemesh_ingest.domain.pipelines import PIPELINES

ROOT = Path(__file__).resolve().parent.parent
_ADDING = re.compile(r"add_(\w+)Servicer_to_server$")
STORES = {"database": "PostgreSQL", "nats": "NATS JetStream", "s3": "S3", "triton": "Triton"}
"""Groups of settings that say where something is kept or asked for."""


@dataclass(frozen=True, slots=True)
class Service:
    """One of our services.

    :ivar apis: gRPC services that it answers for, with the number of their methods.
    :ivar stages: that it works on.
    :ivar stores: groups of settings in ``STORES`` that it has.
    :ivar asks: services that it calls.
    """

    name: str
    apis: tuple[tuple[str, int], ...]
    stages: tuple[str, ...]
    stores: tuple[str, ...]
    asks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """The mesh.

    :ivar surfaces: headings of REST with the number of their calls, WebSockets as one more.
    :ivar streams: names with what they hold (subject) and how (retention).
    """

    services: tuple[Service, ...]
    surfaces: tuple[tuple[str, int], ...]
    streams: tuple[tuple[str, str, str], ...]


def gather() -> Facts:
    """Read everything."""
    order = (GATEWAY, *(name for name in SERVICES if name != GATEWAY))
    methods = _methods()
    stages = {stage.name: stage.service for pipeline in PIPELINES.values() for stage in pipeline.stages}
    services = tuple(
        Service(
            name,
            tuple((api, methods[api]) for api in _served(name)),
            tuple(stage for stage, service in stages.items() if service == name),
            _stores(name),
            tuple(ASKS.get(name, ())),
        )
        for name in order
    )
    routes = export_routes.export(create_api(GatewaySettings()))["routes"]
    counted = Counter(route["surface"] for route in routes if route["method"] != "HEAD")
    del counted["documentation"]
    held = tuple(
        (str(stream.name), ", ".join(stream.subjects or ()), "queue" if _is_queue(stream.retention) else "history")
        for stream in streams(1)
    )
    return Facts(services, tuple(counted.items()), held)


def _is_queue(retention: object) -> bool:
    return str(getattr(retention, "value", retention)) == "workqueue"


def _methods() -> dict[str, int]:
    """gRPC services of ``protos/`` by name, with the number of their methods."""
    found = {}
    for proto in sorted((ROOT / "protos").rglob("*.proto")):
        name = ".".join(proto.relative_to(ROOT / "protos").with_suffix("").parts) + "_pb2"
        for service in importlib.import_module(name).DESCRIPTOR.services_by_name.values():
            found[str(service.name)] = len(service.methods)
    return found


def _served(service: str) -> list[str]:
    """Names of the gRPC services that a composition root adds, by the generated functions that add them."""
    text = (ROOT / f"services/{service}/src/kinemesh_{service}/app.py").read_text()
    calls = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call) and len(node.args) > 1)
    found = (_ADDING.search(ast.unparse(node.args[1])) for node in calls if ast.unparse(node.func) == "Servicer")
    return [match[1] for match in found if match]


def _stores(service: str) -> tuple[str, ...]:
    module = importlib.import_module(f"kinemesh_{service}.settings")
    (settings,) = (
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, ServiceSettings) and value.__module__ == module.__name__
    )
    return tuple(group for group in STORES if group in settings.model_fields)
