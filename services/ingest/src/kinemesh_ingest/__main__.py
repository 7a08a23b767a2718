"""``python -m kinemesh_ingest``"""

from __future__ import annotations

from kinemesh.serving.server import run
from kinemesh_ingest.app import app
from kinemesh_ingest.settings import IngestSettings


def main() -> None:
    run("ingest", IngestSettings, app)


if __name__ == "__main__":
    main()
