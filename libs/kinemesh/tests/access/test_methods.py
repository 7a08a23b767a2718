"""The table of methods is whole."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from google.protobuf.descriptor import FileDescriptor
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from kinemesh.access.identity import SCOPES
from kinemesh.access.methods import NEEDED, PUBLIC

PROTOS = Path(__file__).parents[4] / "protos"
PUBLIC_ON_PURPOSE = {
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
    "/kinemesh.access.v1.AccessService/ExchangeKey",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
}


def generated() -> list[FileDescriptor]:
    """Every file of protos/, and what comes with gRPC."""
    names = sorted(path.relative_to(PROTOS).with_suffix("").as_posix() for path in PROTOS.rglob("*.proto"))
    ours = [import_module(f"{name.replace('/', '.')}_pb2").DESCRIPTOR for name in names]
    return [*ours, health_pb2.DESCRIPTOR, reflection_pb2.DESCRIPTOR]


def test_every_method_is_in_the_table_and_none_besides() -> None:
    methods = {
        f"/{service.full_name}/{method.name}"
        for file in generated()
        for service in file.services_by_name.values()
        for method in service.methods
    }
    assert len(methods) > 60
    assert set(NEEDED) == methods


def test_only_what_is_meant_to_be_is_public() -> None:
    assert {method for method, scope in NEEDED.items() if scope == PUBLIC} == PUBLIC_ON_PURPOSE
    assert set(NEEDED.values()) <= {PUBLIC, *SCOPES}


def test_what_reads_changes_nothing() -> None:
    changing = ("Delete", "Update", "Create", "Import", "Add", "Set", "Cancel", "Confirm", "Process", "Revoke")
    for method, scope in NEEDED.items():
        name = method.rpartition("/")[2]
        if name.startswith(changing) and not name.endswith("Download"):
            assert scope != "read", method
