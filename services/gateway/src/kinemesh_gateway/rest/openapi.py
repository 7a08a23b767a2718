"""``python -m kinemesh_gateway.rest.openapi``: writes the OpenAPI document to stdout."""

from __future__ import annotations

import json
import sys

from kinemesh_gateway.rest.api import create_api
from kinemesh_gateway.settings import GatewaySettings


def document() -> str:
    """The document as text that changes only when the API does."""
    return json.dumps(create_api(GatewaySettings()).openapi(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())
