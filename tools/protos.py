"""Generate the Python code of ``protos/``, and check the API: ``generate``, ``check``, ``baseline``.

``check`` fails when a file is not formatted, breaks a lint rule, breaks callers of ``protos/baseline.binpb``,
or when the generated code is not what the protos say.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
BASELINE = PROTOS / "baseline.binpb"
GENERATED = ROOT / "libs/kinemesh/gen"
# Tools of this environment, whatever PATH says: versions come from the lock.
SCRIPTS = Path(sysconfig.get_path("scripts"))
TIMEOUT_SEC = 120


def buf(*arguments: str) -> bool:
    """Run buf on the module; its findings go to the terminal. True when it finds nothing."""
    command = [str(SCRIPTS / "buf"), *arguments]
    return subprocess.run(command, cwd=PROTOS, timeout=TIMEOUT_SEC, check=False).returncode == 0


def compile_into(target: Path) -> None:
    """Write messages, stubs and their types for every proto; raises CalledProcessError when protoc refuses one."""
    sources = sorted(path.relative_to(PROTOS).as_posix() for path in PROTOS.rglob("*.proto"))
    plugins = [f"--plugin={name}={SCRIPTS / name}" for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")]
    outputs = [
        f"--python_out={target}",
        f"--grpc_python_out={target}",
        f"--mypy_out=quiet:{target}",
        f"--mypy_grpc_out=quiet:{target}",
    ]
    command = [sys.executable, "-m", "grpc_tools.protoc", "--proto_path=.", *plugins, *outputs, *sources]
    subprocess.run(command, cwd=PROTOS, timeout=TIMEOUT_SEC, check=True)


def read_tree(root: Path) -> dict[str, bytes]:
    """Contents by relative path, without byte code."""
    files = (path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def expected_tree() -> dict[str, bytes]:
    """What the generated code should be."""
    with tempfile.TemporaryDirectory() as folder:
        compile_into(Path(folder))
        return read_tree(Path(folder))


def generate() -> bool:
    """Bring the generated code up to date; touches only files that differ."""
    expected, present = expected_tree(), read_tree(GENERATED)
    for name in present.keys() - expected.keys():
        (GENERATED / name).unlink()
    for name, content in expected.items():
        if present.get(name) != content:
            path = GENERATED / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return True


def in_sync() -> bool:
    """Name every generated file that is not what the protos say."""
    expected, present = expected_tree(), read_tree(GENERATED)
    differing = sorted(name for name in expected.keys() | present.keys() if expected.get(name) != present.get(name))
    for name in differing:
        what = "missing" if name not in present else "left over" if name not in expected else "differs"
        print(f"{(GENERATED / name).relative_to(ROOT)}: {what}; run tools/protos.py generate", file=sys.stderr)
    return not differing


def check() -> bool:
    """Run every check, so that one run shows all findings."""
    results = [
        buf("format", "--diff", "--exit-code"),
        buf("lint"),
        buf("breaking", "--against", str(BASELINE)),
        in_sync(),
    ]
    return all(results)


def baseline() -> bool:
    """Make the present API the one that callers rely on."""
    return buf("build", "--exclude-source-info", "--output", str(BASELINE))


COMMANDS = {"generate": generate, "check": check, "baseline": baseline}

if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in COMMANDS:
        sys.exit(f"usage: protos.py {'|'.join(COMMANDS)}")
    sys.exit(0 if COMMANDS[sys.argv[1]]() else 1)
