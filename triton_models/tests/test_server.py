"""How a tritonserver is started that does not come with the wheel, and whether one is ready."""

from __future__ import annotations

import os
import subprocess
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from kinemesh.testing.fixtures import triton_python

# It says how it was started and ends.
SERVER = '#!/bin/sh\necho "$LD_LIBRARY_PATH"\nprintf "%s\\n" "$@"\n'


def models(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [str(triton_python()), "-m", "kinemesh_models", *map(str, arguments)]
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False
    )


def install(folder: Path) -> Path:
    """What of NVIDIA's image counts here: a program, and backends, one of them with a stub of another Python."""
    for file in ("python/libtriton_python.so", "python/triton_python_backend_stub", "onnxruntime/libtriton.so"):
        (folder / "backends" / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / "backends" / file).touch()
    (folder / "bin").mkdir()
    (folder / "bin/tritonserver").write_text(SERVER)
    (folder / "bin/tritonserver").chmod(0o755)
    return folder


def test_an_installed_server_keeps_its_backends_and_libraries_and_gets_our_stub(tmp_path: Path) -> None:
    installed = install(tmp_path / "tritonserver")
    (tmp_path / "models").mkdir()
    own = tmp_path / "volume/own"  # empty volumes of containers have no such folder yet
    options = ("--server", installed, f"--repository={tmp_path / 'models'}", f"--repository={own}")
    for _ in range(2):  # the second start finds the links of the first
        run = models("serve", *options, "--cache", tmp_path / "cache", LD_LIBRARY_PATH="/usr/local/cuda/lib64")
    assert run.returncode == 0, run.stderr
    assert own.is_dir()
    libraries, *arguments = run.stdout.splitlines()
    assert libraries.split(":")[:2] == [str(installed / "lib"), "/usr/local/cuda/lib64"]
    assert "nvidia_pytriton" not in libraries
    (backends,) = (Path(word.partition("=")[2]) for word in arguments if word.startswith("--backend-directory="))
    assert (backends / "python/libtriton_python.so").readlink() == installed / "backends/python/libtriton_python.so"
    assert "python_backend_stubs" in (backends / "python/triton_python_backend_stub").readlink().parts
    assert (backends / "onnxruntime/libtriton.so").is_file()


@pytest.mark.parametrize(("status", "expected"), [(200, 0), (400, 1)])
def test_ready_asks_the_server(status: int, expected: int) -> None:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/v2/health/ready" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as listening:
        thread = Thread(target=listening.handle_request)
        thread.start()
        assert models("ready", "--http-port", listening.server_port).returncode == expected
        thread.join()
    assert models("ready", "--http-port", listening.server_port).returncode == 1
