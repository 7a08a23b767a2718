"""What gateways that follow a script have in common: HTTP, forms, errors and uploads."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

_CODES = {403: "PERMISSION_DENIED", 404: "NOT_FOUND", 409: "FAILED_PRECONDITION"}


@dataclass(frozen=True)
class Asked:
    """A request; of a form, ``body`` has the fields."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: Any


@dataclass(frozen=True)
class Answer:
    """Bytes as they are, all else as JSON, and nothing for None."""

    status: int
    value: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


def error(status: int, reason: str, **metadata: str) -> tuple[int, Any]:
    """A refusal."""
    code = _CODES.get(status, "INVALID_ARGUMENT")
    facts = {"status": code, "reason": reason, "metadata": metadata, "request_id": ""}
    return status, {"detail": "No.", "error": facts}


def answer_assets(assets: dict[str, dict[str, Any]], url: str, method: str, path: str, body: Any) -> tuple[int, Any]:
    """Uploads to a gateway at ``url`` that keeps ``assets``; it is the storage as well."""
    match [method, *path.strip("/").split("/")]:
        case ["POST", "api", "v1", "assets"]:
            asset_id = f"asset{len(assets)}"
            named = {"asset_id": asset_id, "state": "READY", "failure": None, "create_time": ""}
            assets[asset_id] = {"kind": "VIDEO", **body, **named}
            upload: dict[str, Any] = {"url": f"{url}/put/{asset_id}", "headers": {}, "parts": None, "part_size": None}
            return 201, {"asset": assets[asset_id], "upload": upload}
        case ["PUT", "put", _]:
            return 200, None
        case ["POST", "api", "v1", "assets", asset_id, "confirm"]:
            return 200, assets[asset_id]
        case ["DELETE", "api", "v1", "assets", asset_id]:
            del assets[asset_id]
            return 204, None
    return error(404, "NOT_FOUND")


def parsed(kind: str, body: bytes) -> Any:
    """JSON, or the fields of a form; of a file its name and bytes."""
    if kind.startswith("application/json"):
        return json.loads(body)
    if not kind.startswith("multipart/form-data"):
        return body
    form = BytesParser().parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
    fields: dict[str, Any] = {}
    for part in form.walk():
        assert isinstance(part, Message)
        if name := part.get_param("name", header="content-disposition"):
            data = part.get_payload(decode=True)
            assert isinstance(data, bytes)
            fields[str(name)] = (part.get_filename(), data) if part.get_filename() else data.decode()
    return fields


@contextmanager
def served(answer: Callable[[Asked], Answer]) -> Iterator[str]:
    """The URL of a server that answers so."""

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path, _, query = self.path.partition("?")
            sent = parsed(self.headers.get("Content-Type") or "", body)
            answered = answer(Asked(self.command, path, query, dict(self.headers), sent))
            value = answered.value
            data = value if isinstance(value, bytes) else b"" if value is None else json.dumps(value).encode()
            self.send_response(answered.status)
            self.send_header("Content-Length", str(len(data)))
            for name, text in answered.headers.items():
                self.send_header(name, text)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
