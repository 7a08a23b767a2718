"""``python -m kinemesh_detect_track``"""

from __future__ import annotations

from kinemesh.serving.server import run
from kinemesh_detect_track.app import app
from kinemesh_detect_track.settings import DetectTrackSettings


def main() -> None:
    run("detect_track", DetectTrackSettings, app)


if __name__ == "__main__":
    main()
