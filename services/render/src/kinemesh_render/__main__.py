"""Runs the service."""

from __future__ import annotations

from kinemesh.serving.server import run
from kinemesh_render.app import app
from kinemesh_render.settings import RenderSettings


def main() -> None:
    run("render", RenderSettings, app)


if __name__ == "__main__":
    main()
