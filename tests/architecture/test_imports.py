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
    package = f"kinemesh_{service}.domain"
    program = (
        "import importlib, pkgutil, sys\n"
        f"package = importlib.import_module({package!r})\n"
        "for module in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "    importlib.import_module(module.name)\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=120)
    loaded = set(done.stdout.split())
    assert "kinemesh_" + service in loaded
    transports = {"alembic", "av", "fastapi", "google", "grpc", "httpx", "minio", "nats", "psycopg", "sqlalchemy"}
    assert loaded & (transports | {"opentelemetry", "pyarrow", "structlog", "tritonclient"}) == set()
