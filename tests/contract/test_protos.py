"""The API keeps its conventions and its generated code."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import sysconfig
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator, Iterable
from importlib import import_module
from pathlib import Path

import grpc
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor, MethodDescriptor, ServiceDescriptor
from grpc_reflection.v1alpha import reflection

ROOT = Path(__file__).resolve().parents[2]
PROTOS = ROOT / "protos"
SOURCES = sorted(path.relative_to(PROTOS) for path in PROTOS.rglob("*.proto"))
BUF = Path(sysconfig.get_path("scripts")) / "buf"

# A method that starts with none of these changes something and so needs a request_id.
READS = (
    *("Get", "List", "Search", "Query", "Watch", "Compare"),
    *("Detect", "Track", "Match", "Transfer", "Render", "Estimate", "Test", "Exchange"),
)
# Methods that answer with a page.
PAGES = ("List", "Search", "Query")

SERVICES = {
    "kinemesh.access.v1.AccessService",
    "kinemesh.asset.v1.AssetService",
    "kinemesh.detect_track.v1.DetectTrackService",
    "kinemesh.environment.v1.EnvironmentService",
    "kinemesh.job.v1.JobService",
    "kinemesh.matcher.v1.MatcherService",
    "kinemesh.model.v1.ModelService",
    "kinemesh.pose.v1.PoseService",
    "kinemesh.render.v1.RenderService",
    "kinemesh.route.v1.RouteService",
    "kinemesh.session.v1.SessionService",
    "kinemesh.usage.v1.UsageService",
}


def module_name(source: Path) -> str:
    return ".".join(source.with_suffix("").parts) + "_pb2"


def descriptors() -> list[FileDescriptor]:
    return [import_module(module_name(source)).DESCRIPTOR for source in SOURCES]


def services() -> Iterable[ServiceDescriptor]:
    for file in descriptors():
        yield from file.services_by_name.values()


def every_method() -> Iterable[MethodDescriptor]:
    return (method for service in services() for method in service.methods)


METHODS = [pytest.param(method, id=method.full_name) for method in every_method()]


def kinds(message: Descriptor) -> dict[str, int]:
    return {field.name: field.type for field in message.fields}


def changes_something(method: MethodDescriptor) -> bool:
    signs_a_url = method.name.startswith("Create") and method.name.endswith("Download")
    return not signs_a_url and not method.name.startswith(READS)


def test_every_service_of_the_design_is_there() -> None:
    assert {service.full_name for service in services()} == SERVICES


@pytest.mark.parametrize("source", SOURCES, ids=str)
def test_the_folder_is_the_package(source: Path) -> None:
    assert import_module(module_name(source)).DESCRIPTOR.package == ".".join(source.parent.parts)


@pytest.mark.parametrize("method", METHODS)
def test_lists_are_paginated(method: MethodDescriptor) -> None:
    asked, answered = kinds(method.input_type), kinds(method.output_type)
    if not method.name.startswith(PAGES):
        assert "page_token" not in asked, "a paginated method is named List, Search or Query"
        return
    assert asked["page_size"] == FieldDescriptor.TYPE_INT32
    assert asked["page_token"] == FieldDescriptor.TYPE_STRING
    assert answered["next_page_token"] == FieldDescriptor.TYPE_STRING
    assert answered["total_size"] == FieldDescriptor.TYPE_INT32
    assert sum(field.is_repeated for field in method.output_type.fields) == 1


@pytest.mark.parametrize("method", METHODS)
def test_what_changes_something_can_be_repeated(method: MethodDescriptor) -> None:
    has_request_id = kinds(method.input_type).get("request_id") == FieldDescriptor.TYPE_STRING
    assert has_request_id == changes_something(method)


def test_updates_have_a_mask() -> None:
    updates = [method for method in every_method() if method.name.startswith("Update")]
    assert updates
    for method in updates:
        mask = method.input_type.fields_by_name["update_mask"].message_type
        assert mask is not None
        assert mask.full_name == "google.protobuf.FieldMask", method.full_name


def check(root: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(root / "tools/protos.py"), "check"]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_format_lint_breaking_changes_and_generated_code() -> None:
    done = check(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The protos, their generated code and their tool, to be spoilt."""
    for folder in ("tools", "protos", "libs/kinemesh/gen"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    return tmp_path


def test_check_names_generated_files_that_drifted(copy: Path) -> None:
    generated = copy / "libs/kinemesh/gen/kinemesh/job/v1"
    (generated / "job_pb2.pyi").write_text("")
    (generated / "parameters_pb2.py").unlink()
    (generated / "gone_pb2.py").write_text("")
    done = check(copy)
    assert done.returncode == 1
    for finding in ("job_pb2.pyi: differs", "parameters_pb2.py: missing", "gone_pb2.py: left over"):
        assert f"libs/kinemesh/gen/kinemesh/job/v1/{finding}" in done.stderr


@pytest.mark.parametrize(
    ("present", "changed", "finding"),
    [
        ("string job_id = 1;", "string job_id = 99;", "deleted"),
        ("  // Which job.\n", "", "should have a non-empty comment"),
        ("  rpc GetJob(", "  rpc  GetJob(", "job.proto.orig"),
    ],
    ids=["breaking", "lint", "format"],
)
def test_check_refuses(copy: Path, present: str, changed: str, finding: str) -> None:
    proto = copy / "protos/kinemesh/job/v1/job.proto"
    proto.write_text(proto.read_text().replace(present, changed, 1))
    done = check(copy)
    assert done.returncode == 1
    assert finding in done.stdout + done.stderr


def test_generated_code_imports_without_warnings() -> None:
    names = [module_name(source) + suffix for source in SOURCES for suffix in ("", "_grpc")]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import {', '.join(names)}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
async def reflecting_server() -> AsyncIterator[str]:
    """A server of every service, without behaviour, that tells what it has."""
    server = grpc.aio.server()
    for service in services():
        module = import_module(service.file.name.removesuffix(".proto").replace("/", ".") + "_pb2_grpc")
        getattr(module, f"add_{service.name}Servicer_to_server")(getattr(module, f"{service.name}Servicer")(), server)
    reflection.enable_server_reflection([*SERVICES, reflection.SERVICE_NAME], server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"http://127.0.0.1:{port}"
    await server.stop(None)


async def buf_curl(*arguments: str) -> tuple[int, str]:
    """Exit status and both outputs of ``buf curl`` as the documentation calls it."""
    process = await asyncio.create_subprocess_exec(
        BUF, "curl", "--http2-prior-knowledge", "--protocol", "grpc", *arguments, stdout=PIPE, stderr=STDOUT
    )
    async with asyncio.timeout(60):
        output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


async def test_buf_curl_needs_no_files(reflecting_server: str) -> None:
    status, listed = await buf_curl("--list-methods", reflecting_server)
    assert status == 0, listed
    own = {line for line in listed.split() if line.startswith("kinemesh.")}
    assert own == {f"{method.containing_service.full_name}/{method.name}" for method in every_method()}

    status, answer = await buf_curl(
        "--data", '{"page_size": 5}', f"{reflecting_server}/kinemesh.job.v1.JobService/ListJobs"
    )
    assert status != 0
    assert json.loads(answer)["code"] == "unimplemented"
