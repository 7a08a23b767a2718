"""``python -m kinemesh_matcher``"""

from __future__ import annotations

from kinemesh.serving.server import run
from kinemesh_matcher.app import app
from kinemesh_matcher.settings import MatcherSettings


def main() -> None:
    run("matcher", MatcherSettings, app)


if __name__ == "__main__":
    main()
