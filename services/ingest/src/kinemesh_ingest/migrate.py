"""``python -m kinemesh_ingest.migrate``: the schema of the catalogue, up, down, or just looked at.

Reads the settings of ingest. Ends with status 0 when done (and, for ``check``, when the schema is the newest), 1 when
refused, 2 for wrong arguments or settings.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from kinemesh.settings import load
from kinemesh_ingest.catalogue.schema import HEAD, migrate, require_newest, revisions
from kinemesh_ingest.commands import tell
from kinemesh_ingest.settings import IngestSettings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; answers with the status to end with."""
    parser = argparse.ArgumentParser(prog="python -m kinemesh_ingest.migrate", description="The catalogue's schema.")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("upgrade", help="to the newest revision, or to another; what there is stays")
    up.add_argument("--to", default=HEAD, metavar="REV")
    down = commands.add_parser("downgrade", help="to an older revision; what only newer ones can hold is lost")
    down.add_argument("--to", required=True, metavar="REV", help="`base` removes everything")
    commands.add_parser("current", help="print the database's revision and the newest")
    commands.add_parser("check", help="whether this version can run on the database as it is")
    asked = parser.parse_args(arguments)
    url = load(IngestSettings).database.url.get_secret_value()

    def work() -> str:
        if asked.command == "check":
            require_newest(url)
        found = revisions(url) if asked.command in ("check", "current") else migrate(url, asked.to)
        return f"current {found.current or 'none'}, newest {found.newest}"

    return tell(work)


if __name__ == "__main__":
    sys.exit(main())
