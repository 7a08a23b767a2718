"""The model server: tritonserver, started by the model project in that project's own environment."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from kinemesh.embedded.checks import Check, http_ok
from kinemesh.embedded.process import ServerSpec

PORTS = 3
SHM_PREFIX = "kinemesh_triton_"


@dataclass(frozen=True, slots=True)
class TritonModels:
    """Which models to serve, and with what.

    :param python: the interpreter that ``kinemesh_models`` is installed for.
    :param repository: a model repository that ``kinemesh_models build`` wrote.
    :param own: another one, for the models that users bring; made if missing. It outlives what is built.
    """

    python: Path
    repository: Path
    own: Path | None = None

    @property
    def repositories(self) -> tuple[Path, ...]:
        """All that are served."""
        return (self.repository, self.own) if self.own is not None else (self.repository,)


def shm_prefix(folder: Path) -> str:
    """Names the shared memory of one server; the same at every start, so that each clears up after the one before."""
    return f"{SHM_PREFIX}{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:8]}_"


def triton_spec(
    models: TritonModels,
    folder: Path,
    log: Path,
    ports: tuple[int, ...],
    *,
    name: str = "triton",
    restarts: int = 0,
    otlp_url: str = "",
    alive: Check | None = None,
) -> ServerSpec:
    """A server on 127.0.0.1 that is ready when all models are loaded.

    :param folder: for what the launcher keeps between starts.
    :param ports: :data:`PORTS` free ones: gRPC, HTTP, metrics.
    :param otlp_url: where its spans go, by OTLP over HTTP; nowhere if empty.
    :param alive: asks whether it still answers, such as :func:`~kinemesh.embedded.grpc_checks.grpc_answers`.
    """
    grpc_port, http_port, metrics_port = ports
    prefix = shm_prefix(folder)

    def prepare() -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if models.own is not None:
            models.own.mkdir(parents=True, exist_ok=True)

    return ServerSpec(
        name=name,
        argv=(
            str(models.python),
            *("-m", "kinemesh_models", "serve"),
            *(f"--repository={repository.resolve()}" for repository in models.repositories),
            f"--cache={folder.resolve()}",
            "--host=127.0.0.1",
            f"--grpc-port={grpc_port}",
            f"--http-port={http_port}",
            f"--metrics-port={metrics_port}",
            f"--shm-prefix={prefix}",
            *((f"--otlp-url={otlp_url}",) if otlp_url else ()),
        ),
        ready=http_ok("127.0.0.1", http_port, "/v2/health/ready"),
        log=log,
        address=f"127.0.0.1:{grpc_port}",
        cwd=folder,
        prepare=prepare,
        alive=alive,
        restarts=restarts,
        grace_s=15.0,
        leftovers=(f"/dev/shm/{prefix}*",),  # noqa: S108 - POSIX shared memory, not a temporary file
    )
