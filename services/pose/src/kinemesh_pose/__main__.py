"""``python -m kinemesh_pose``"""

from __future__ import annotations

from kinemesh.serving.server import run
from kinemesh_pose.app import app
from kinemesh_pose.settings import PoseSettings


def main() -> None:
    run("pose", PoseSettings, app)


if __name__ == "__main__":
    main()
