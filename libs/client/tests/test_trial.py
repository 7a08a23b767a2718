"""``kinemesh test-upload`` on a mesh that returns something else; on a real one: test_commands.py."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from kinemesh_client.testing import kinemesh, one_object


@pytest.fixture
def forgetful() -> Iterator[str]:
    """The URL of an API that takes every upload and returns other bytes."""
    asset = {"asset_id": "a1", "filename": "test-upload.mp4", "size_bytes": 1, "state": "READY", "create_time": ""}

    class Answer(BaseHTTPRequestHandler):
        def answer(self, body: bytes) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            url = f"http://127.0.0.1:{listening.server_port}/put"
            created = {"asset": asset, "upload": {"url": url, "headers": {}, "parts": [], "part_size": 0}}
            self.answer(json.dumps(asset if self.path.endswith("confirm") else created).encode())

        def do_PUT(self) -> None:
            self.answer(b"")

        def do_GET(self) -> None:
            self.answer(b"something else")

        def do_DELETE(self) -> None:
            self.answer(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()
        thread.join()


def test_other_bytes_are_noticed(forgetful: str) -> None:
    tried = kinemesh("test-upload", "--seconds", "1", f"--url={forgetful}", "--json")
    assert tried.returncode == 2
    assert one_object(tried.stdout)["error"]["reason"] == "CONTENT_DIFFERS"
