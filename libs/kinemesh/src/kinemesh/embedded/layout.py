"""Where things lie in the data folder of a mesh."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths below the data folder ``root``."""

    root: Path

    @property
    def secrets(self) -> Path:
        """Credentials; for the owner's eyes only."""
        return self.root / "secrets.json"

    @property
    def lock(self) -> Path:
        """Locked while a mesh runs in this folder."""
        return self.root / "lock"

    @property
    def state(self) -> Path:
        """Where to reach the mesh that runs in this folder."""
        return self.root / "mesh.json"

    @property
    def models(self) -> Path:
        """The models that users bring, as a repository of the model server."""
        return self.root / "models"

    def data(self, server: str) -> Path:
        """What a server keeps."""
        return self.root / server

    def scratch(self, service: str) -> Path:
        """Where a service has its temporary files."""
        return self.root / "scratch" / service

    def log(self, server: str) -> Path:
        """What a server prints."""
        return self.root / "logs" / f"{server}.log"
