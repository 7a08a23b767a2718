"""Every route of the gateway as JSON, taken from the application itself: ``tools/export_routes.py [--out FILE]``.

For whoever writes a client, a proxy's rules, a table of permissions or a test over all routes. The same application
gives the same bytes.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute, APIWebSocketRoute, RouteContext, iter_route_contexts

from kinemesh_gateway.domain.scopes import ANY, PUBLIC, scope_of
from kinemesh_gateway.rest.api import create_api
from kinemesh_gateway.settings import GatewaySettings

VERSION = "v1"
WEBSOCKET = "WEBSOCKET"
_REFERENCE = "#/components/schemas/"
_PLACE = re.compile(r"\{[^}]*\}")
_FORM = "multipart/form-data"
_TYPES: dict[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean"}


def export(app: FastAPI) -> dict[str, Any]:
    """``{"version", "title", "api_version", "routes"}``, routes by path and method.

    A route has ``method`` (``WEBSOCKET`` for those), ``path``, ``name``, ``surface`` (its heading in the OpenAPI
    document), ``summary``, ``parameters`` (``name``, ``in``, ``type``, ``required``, ``description``; those of a form
    are in ``form``), ``request`` (content type → model, ``form`` for forms), ``responses`` (status → model, null
    without a body that has one), ``scope`` (what tokens must allow: ``read``, ``write``, ``models``, ``admin``; ``any``
    for any token, ``none`` for none) and ``deprecated``. HEAD is as GET at the same path, without models.
    """
    document = app.openapi()
    routes = [route for context in iter_route_contexts(app.routes) for route in _routes(context, document)]
    routes.sort(key=lambda route: (route["path"], route["method"]))
    return {
        "version": VERSION,
        "title": document["info"]["title"],
        "api_version": document["info"]["version"],
        "routes": routes,
    }


def text(app: FastAPI) -> str:
    """:func:`export` as text."""
    return json.dumps(export(app), indent=2, ensure_ascii=False) + "\n"


def _routes(context: RouteContext, document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    route = context.original_route
    if isinstance(route, APIWebSocketRoute):
        yield _websocket(context, route)
    elif isinstance(route, APIRoute):
        for method in sorted(context.methods or ()):
            yield _operation(context, method, document)
    else:  # pages and the document itself, which the framework serves
        for method in sorted(context.methods or ()):
            yield _entry(context, method, surface="documentation", summary="", parameters=[], responses={"200": None})


def _operation(context: RouteContext, method: str, document: dict[str, Any]) -> dict[str, Any]:
    methods = document["paths"].get(context.path_format, {})
    operation = methods.get("get" if method == "HEAD" else method.lower(), {})
    content = {
        kind: _resolved(body.get("schema", {}), document)
        for kind, body in sorted(operation.get("requestBody", {}).get("content", {}).items())
    }
    forms = [schema for kind, (_, schema) in content.items() if kind == _FORM]
    answers = operation.get("responses", {})
    return _entry(
        context,
        method,
        surface=next(iter(operation.get("tags", [])), ""),
        summary=_first(operation.get("description", "")),
        parameters=[_parameter(parameter) for parameter in operation.get("parameters", [])]
        + [field for form in forms for field in _fields(form)],
        request={kind: "form" if kind == _FORM else model for kind, (model, _) in content.items()},
        responses={status: None if method == "HEAD" else _answer(answers[status]) for status in sorted(answers)},
        deprecated=operation.get("deprecated", False),
    )


def _resolved(schema: dict[str, Any], document: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """The name of a schema, and the schema itself."""
    name = _model(schema)
    known: dict[str, Any] = document["components"]["schemas"]
    return name, known.get(name or "", schema)


def _fields(form: dict[str, Any]) -> list[dict[str, Any]]:
    required = form.get("required", [])
    return [
        {
            "name": name,
            "in": "form",
            "type": _model(schema) or "file",
            "required": name in required,
            "description": schema.get("description", ""),
        }
        for name, schema in form.get("properties", {}).items()
    ]


def _answer(answer: dict[str, Any]) -> str | None:
    return next((_model(body.get("schema", {})) for body in answer.get("content", {}).values()), None)


def _websocket(context: RouteContext, route: APIWebSocketRoute) -> dict[str, Any]:
    fields = [("path", field) for field in route.dependant.path_params]
    fields += [("query", field) for field in route.dependant.query_params]
    parameters = [
        {
            "name": field.alias,
            "in": where,
            "type": _TYPES.get(field.field_info.annotation, "string"),
            "required": field.field_info.is_required(),
            "description": field.field_info.description or "",
        }
        for where, field in fields
    ]
    summary = _first(route.endpoint.__doc__ or "")
    return _entry(
        context, WEBSOCKET, surface="websocket", summary=summary, parameters=parameters, responses={"101": None}
    )


def _entry(
    context: RouteContext,
    method: str,
    *,
    surface: str,
    summary: str,
    parameters: list[dict[str, Any]],
    responses: dict[str, str | None],
    request: dict[str, str | None] | None = None,
    deprecated: bool = False,
) -> dict[str, Any]:
    return {
        "method": method,
        "path": context.path_format or context.path,
        "name": context.name,
        "surface": surface,
        "summary": summary,
        "parameters": parameters,
        "request": request or {},
        "responses": responses,
        "scope": _scope(method, str(context.path)),
        "deprecated": deprecated,
    }


def _scope(method: str, path: str) -> str:
    """What a token must allow, for any values in the path."""
    needed = scope_of(method, _PLACE.sub("x", path))
    return "none" if needed is PUBLIC else "any" if needed == ANY else needed


def _parameter(parameter: dict[str, Any]) -> dict[str, Any]:
    schema = parameter["schema"]
    return {
        "name": parameter["name"],
        "in": parameter["in"],
        "type": _model(schema),
        "required": parameter["required"],
        "description": parameter.get("description") or schema.get("description", ""),
    }


def _model(schema: dict[str, Any]) -> str | None:
    """The model that a schema refers to, or its type in words; None for a body of bytes."""
    if "$ref" in schema:
        return str(schema["$ref"]).removeprefix(_REFERENCE)
    if "anyOf" in schema:
        return " | ".join(str(_model(option)) for option in schema["anyOf"])
    if schema.get("type") == "array":
        return f"{_model(schema['items'])}[]"
    if schema.get("format") == "binary":
        return None
    return schema.get("type")


def _first(description: str) -> str:
    """The first paragraph, in one line."""
    return " ".join(description.strip().split("\n\n")[0].split())


def main() -> None:
    """Write the routes to stdout, or into a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="file to write; standard output without it")
    out: Path | None = parser.parse_args().out
    content = text(create_api(GatewaySettings()))
    if out is None:
        sys.stdout.write(content)
    else:
        out.write_text(content)


if __name__ == "__main__":
    main()
