"""The direction of imports, as `lint-imports` checks it with the contracts of pyproject.toml."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINTER = Path(sysconfig.get_path("scripts")) / "lint-imports"


def test_imports_point_one_way_and_the_domain_is_pure() -> None:
    done = subprocess.run(
        [str(LINTER), "--no-cache"], cwd=ROOT, check=False, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.mark.parametrize("service", ["detect_track", "gateway", "ingest", "matcher", "pose", "render"])
def test_a_domain_loads_no_transport(service: str) -> None:
    loaded = loaded_with(f"kinemesh_{service}.domain")
    assert "kinemesh_" + service in loaded
    transports = {"alembic", "av", "fastapi", "google", "grpc", "httpx", "minio", "nats", "psycopg", "sqlalchemy"}
    assert loaded & (transports | {"opentelemetry", "pyarrow", "structlog", "tritonclient"}) == set()


def test_a_command_is_not_kept_waiting_for_what_others_need() -> None:
    """A second for each: they are loaded when a command runs that needs them."""
    loaded = loaded_with("kinemesh_client.cli.app")
    assert "kinemesh_client" in loaded
    assert loaded & {"av", "cv2", "google", "grpc", "jwt", "minio", "numpy", "pydantic", "websockets"} == set()


def loaded_with(name: str) -> set[str]:
    """All top-level packages that a module, or a package with all of its modules, loads."""
    program = (
        "import importlib, pkgutil, sys\n"
        f"module = importlib.import_module({name!r})\n"
        "for found in pkgutil.walk_packages(getattr(module, '__path__', ()), module.__name__ + '.'):\n"
        "    importlib.import_module(found.name)\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=120)
    return set(done.stdout.split())
