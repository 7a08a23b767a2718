"""Starts a tritonserver: that of the wheel ``nvidia-pytriton``, or an installed one of the same release."""

from __future__ import annotations

import os
import re
import sys
import sysconfig
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

_SHM = Path("/dev/shm")  # noqa: S108 - POSIX shared memory has this name on Linux
_SAFE_PREFIX = re.compile(r"[A-Za-z0-9_.-]{4,64}")


@dataclass(frozen=True, slots=True)
class Listen:
    """Where the server listens. Bind to loopback unless a network policy guards it: Triton authenticates nobody."""

    host: str
    grpc_port: int
    http_port: int
    metrics_port: int


def serve(
    repositories: Sequence[Path],
    listen: Listen,
    shm_prefix: str,
    cache: Path,
    otlp_url: str = "",
    installed: Path | None = None,
) -> None:
    """Replace this process by tritonserver; does not return.

    ``installed`` is the folder of a server to take instead of the wheel's, such as /opt/tritonserver of NVIDIA's image,
    with all backends that it has. It must be of the wheel's release, which brings what runs Python models.

    Every model in ``repositories`` is loaded at the start; others can be loaded later through the model control API.
    Beside the first repository, which was built, others hold what users brought: with those, a model that cannot be
    loaded is only missing and keeps the server from nothing. Those others are made if they are not there.
    With ``otlp_url`` it sends spans of the requests whose trace context says that they are sampled, as part of their
    traces, and of all that have none.
    The server is ready when ``GET http://host:http_port/v2/health/ready`` answers 200.
    Raises ``OSError`` when the server cannot be executed.
    """
    clean_shared_memory(shm_prefix)
    for repository in repositories[1:]:
        repository.mkdir(parents=True, exist_ok=True)
    wheel = _package_folder("pytriton") / "tritonserver"
    server = installed or wheel
    backends = _assemble_backends(server, wheel, cache)
    argv = _command(server, backends, [path.resolve() for path in repositories], listen, shm_prefix)
    argv += _tracing(otlp_url) if otlp_url else []
    os.execve(argv[0], argv, _environment(dict(os.environ), installed))  # noqa: S606


def ready(http_port: int, timeout_s: float = 4.0) -> bool:
    """Whether the server of this machine says that its models can be asked."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{http_port}/v2/health/ready", timeout=timeout_s) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def clean_shared_memory(prefix: str) -> list[str]:
    """Remove what a killed server with this ``--shm-prefix`` left in /dev/shm and return the names removed.

    Call it only while no server with that prefix runs. Raises ``ValueError`` for a prefix that is too short or
    holds other characters than letters, digits, ``_``, ``.`` and ``-``.
    """
    if not _SAFE_PREFIX.fullmatch(prefix):
        raise ValueError(f"a shared-memory prefix has 4–64 letters, digits, _ . or -: {prefix!r}")
    left = sorted(_SHM.glob(f"{prefix}*")) if _SHM.is_dir() else []
    for region in left:
        region.unlink(missing_ok=True)
    return [region.name for region in left]


def _command(server: Path, backends: Path, repositories: Sequence[Path], listen: Listen, shm_prefix: str) -> list[str]:
    python_backend = {
        "shm-region-prefix-name": shm_prefix,
        "shm-default-byte-size": 4 << 20,
        "shm-growth-byte-size": 4 << 20,
    }
    return [
        str(server / "bin" / "tritonserver"),
        *(f"--model-repository={repository}" for repository in repositories),
        *(("--exit-on-error=false", "--strict-readiness=false") if len(repositories) > 1 else ()),
        "--model-control-mode=explicit",
        "--load-model=*",
        "--disable-auto-complete-config",
        f"--backend-directory={backends}",
        *(f"--backend-config=python,{key}={value}" for key, value in python_backend.items()),
        f"--grpc-address={listen.host}",
        f"--grpc-port={listen.grpc_port}",
        f"--http-address={listen.host}",
        f"--http-port={listen.http_port}",
        f"--metrics-address={listen.host}",
        f"--metrics-port={listen.metrics_port}",
        "--allow-gpu-metrics=false",
        "--exit-timeout-secs=10",
    ]


def _tracing(otlp_url: str) -> list[str]:
    settings = ("mode=opentelemetry", "level=TIMESTAMPS", "rate=1")
    exporter = (f"opentelemetry,url={otlp_url}", "opentelemetry,resource=service.name=kinemesh-triton")
    return [f"--trace-config={setting}" for setting in (*settings, *exporter)]


def _environment(inherited: dict[str, str], installed: Path | None) -> dict[str, str]:
    """The server's environment: its libraries, and this environment's packages for the Python backend's stub."""
    libpython = sysconfig.get_config_var("LIBDIR")
    if installed is None:
        libraries = f"{_package_folder('pytriton').parent / 'nvidia_pytriton.libs'}:{libpython}"
    else:
        # An image of it says where CUDA and its companions lie.
        libraries = ":".join(filter(None, (f"{installed / 'lib'}", inherited.get("LD_LIBRARY_PATH"), libpython)))
    return {
        **inherited,
        "LD_LIBRARY_PATH": libraries,
        # The stub finds its interpreter's prefix through PATH, and with it this virtual environment.
        "PATH": f"{Path(sys.executable).parent}:{inherited.get('PATH', '')}",
        "PYTHONPATH": ":".join(path for path in sys.path if path.endswith(("site-packages", "src"))),
        # One instance is one thread; numpy's own threads would fight with them.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


def _assemble_backends(server: Path, wheel: Path, cache: Path) -> Path:
    """A backend directory of links: the wheel keeps the stubs of all Python versions apart from the backend."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = cache / f"backends-{metadata.version('nvidia-pytriton')}-{python}"
    (folder / "python").mkdir(parents=True, exist_ok=True)
    # The last of two of a name counts: NVIDIA's image has a stub too, of another Python.
    stub = wheel / "python_backend_stubs" / python / "triton_python_backend_stub"
    links = {folder / "python" / file.name: file for file in (*(server / "backends" / "python").iterdir(), stub)}
    links |= {folder / other.name: other for other in (server / "backends").iterdir() if other.name != "python"}
    for link, file in links.items():
        if not link.is_symlink() or link.readlink() != file:
            link.unlink(missing_ok=True)
            link.symlink_to(file)
    return folder


def _package_folder(name: str) -> Path:
    """Where a package lies, without importing it (pytriton's import starts threads)."""
    spec = util.find_spec(name)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"the package {name} is not installed")
    return Path(spec.origin).parent
