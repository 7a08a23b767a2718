"""``kinemesh`` and ``python -m kinemesh_client``"""

from __future__ import annotations

from kinemesh_client.cli.app import main

if __name__ == "__main__":
    main()

__all__ = ["main"]
