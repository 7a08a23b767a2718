"""Invariants of ARCHITECTURE.md that follow from what the code is, not from what it does."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from kinemesh.bus.topology import STAGES
from kinemesh.event.v1 import event_pb2
from kinemesh.task.v1 import task_pb2
from kinemesh_ingest.domain.pipelines import PIPELINES, Pipeline

ROOT = Path(__file__).parents[2]
SERVICES = ("detect_track", "gateway", "ingest", "matcher", "pose", "render")
MESSAGES = [
    *task_pb2.DESCRIPTOR.message_types_by_name.values(),
    *event_pb2.DESCRIPTOR.message_types_by_name.values(),
]


# A job's snapshot of its environment has no calibration file: it is answered as the points or the matrix that it held.
NEVER_SENT = {"kinemesh.environment.v1.CalibrationFile.data"}


def byte_fields(message: Descriptor, above: tuple[str, ...] = ()) -> list[str]:
    """Full names of the fields of type bytes in a message and in all that it holds."""
    if message.full_name in above:
        return []
    found = []
    for field in message.fields:
        if field.type == FieldDescriptor.TYPE_BYTES:
            found.append(str(field.full_name))
        elif field.message_type is not None:
            found += byte_fields(field.message_type, (*above, message.full_name))
    return found


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: str(message.full_name))
def test_no_message_between_services_carries_pixels(message: Descriptor) -> None:
    assert set(byte_fields(message)) <= NEVER_SENT


def handled(service: str) -> set[str]:
    """Stages that a service's composition root names with a handler: the first of a tuple of three."""
    tree = ast.parse((ROOT / f"services/{service}/src/kinemesh_{service}/app.py").read_text())
    return {
        str(node.elts[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Tuple) and len(node.elts) == 3 and isinstance(node.elts[0], ast.Constant)
    }


@pytest.mark.parametrize("pipeline", PIPELINES.values(), ids=lambda pipeline: str(pipeline.name))
def test_every_stage_of_a_pipeline_has_a_consumer_and_a_handler(pipeline: Pipeline) -> None:
    for stage in pipeline.stages:
        assert stage.name in STAGES
        assert [service for service in SERVICES if stage.name in handled(service)] == [stage.service]


@pytest.mark.parametrize("pipeline", PIPELINES.values(), ids=lambda pipeline: str(pipeline.name))
def test_stages_come_after_those_that_they_read(pipeline: Pipeline) -> None:
    names = [stage.name for stage in pipeline.stages]
    assert len(set(names)) == len(names)
    for position, stage in enumerate(pipeline.stages):
        assert set(stage.after) <= set(names[:position])


def python_files(*folders: str) -> list[Path]:
    return [path for folder in folders for path in (ROOT / folder).rglob("*.py") if ".venv" not in path.parts]


def test_there_is_one_copy_of_generated_code() -> None:
    generated = {path.parent for path in ROOT.glob("*/**/*_pb2.py") if ".venv" not in path.parts}
    assert generated
    assert {path.relative_to(ROOT).parts[:3] for path in generated} == {("libs", "kinemesh", "gen")}


@pytest.mark.parametrize(
    "call",
    [
        r"structlog\.configure\(",
        r"error_details_pb2\.ErrorInfo\(",
        r"grpc\.aio\.server\(",
        r"\.jetstream\.publish\(",
        r"Minio\(",
        r"InferenceServerClient\(",
    ],
)
def test_services_leave_to_the_runtime_what_is_the_runtimes(call: str) -> None:
    """Logging, error mapping, serving, publishing, storage and inference each begin at one place."""
    own = [path for path in python_files("libs", "services") if "src" in path.parts and path.parent.name != "testing"]
    naming = [path.relative_to(ROOT).as_posix() for path in own if re.search(call, path.read_text())]
    assert len(naming) == 1
    assert naming[0].startswith("libs/kinemesh/src/kinemesh/")


def test_owners_are_compared_in_one_place() -> None:
    sources = (ROOT / "services/ingest/src").rglob("*.py")
    comparing = {path.name for path in sources if re.search(r"c\.owner( [=!]= |\.in_)", path.read_text())}
    assert comparing == {"owned.py"}


OPENERS = {
    "probe",
    "build_index",
    "read_times",
    "decode",
    "concatenate",
    "remux",
    "plays_in_browsers",
    "decode_picture",
}


@pytest.mark.parametrize("service", SERVICES)
def test_services_open_media_in_confined_processes_only(service: str) -> None:
    """What they do before the first task, with a clip of their own, is not in question."""
    for path in (ROOT / f"services/{service}/src").rglob("*.py"):
        if path.name == "rehearsal.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                modules = [str(node.module)]
                if str(node.module).startswith("kinemesh.media"):
                    assert not OPENERS & {alias.name for alias in node.names}, path
            assert not any(module == "av" or module.startswith("av.") for module in modules), path
