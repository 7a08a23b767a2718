"""The OpenAPI document that clients are written against."""

from __future__ import annotations

import json
from pathlib import Path

from kinemesh_gateway.rest.openapi import document

GOLDEN = Path(__file__).with_name("openapi.json")
COMMAND = "python -m kinemesh_gateway.rest.openapi > tests/contract/openapi.json"


def test_the_document_is_the_one_that_was_agreed() -> None:
    assert document() == GOLDEN.read_text(), f"the API changed; if that is meant: {COMMAND}"


def test_every_operation_says_how_it_fails() -> None:
    for path, methods in json.loads(document())["paths"].items():
        for method, operation in methods.items():
            assert operation.get("description") or operation.get("summary"), (method, path)
            failures = [status for status in operation["responses"] if status >= "400"]
            assert failures, (method, path)
            for status in failures:
                schema = json.dumps(operation["responses"][status].get("content", {}))
                assert "ErrorAnswer" in schema or (path, status) == ("/api/v1/health", "503") or status == "416"
