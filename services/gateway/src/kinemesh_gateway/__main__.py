"""``python -m kinemesh_gateway``"""

from __future__ import annotations

from kinemesh.serving.server import run
from kinemesh_gateway.app import app
from kinemesh_gateway.settings import GatewaySettings


def main() -> None:
    run("gateway", GatewaySettings, app)


if __name__ == "__main__":
    main()
