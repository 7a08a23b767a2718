"""A mesh that lives as long as a command."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from kinemesh.embedded.mesh import Mesh, MeshConfig
from kinemesh_client.local import find_models


@asynccontextmanager
async def temporary_mesh(models: str, brought: Path | None = None) -> AsyncIterator[Mesh]:
    """A mesh on free ports that has taken hold of a folder of its own, which goes with it; still to be started.

    :param brought: the data folder of a mesh that does not run, whose added and imported models are served as well.
    """
    folder = Path(tempfile.mkdtemp(prefix="kinemesh-"))
    try:
        config = MeshConfig(data_dir=folder, models=find_models(models), http_port=0, durable=False)
        async with Mesh(config) as mesh:
            if brought is not None and (own := brought / mesh.layout.models.name).is_dir():
                # Copied: what is imported or removed here is nothing to the mesh that they belong to.
                await asyncio.to_thread(
                    shutil.copytree, own, mesh.layout.models, ignore=shutil.ignore_patterns(".*"), dirs_exist_ok=True
                )
            yield mesh
    finally:
        shutil.rmtree(folder, ignore_errors=True)
