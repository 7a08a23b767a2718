"""Errors keep their kind, reason and facts on every way that they travel."""

from __future__ import annotations

import pickle

import grpc
import pytest
from google.protobuf import any_pb2, wrappers_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from kinemesh import errors
from kinemesh.serving.status import as_error, from_rpc_error, to_failure, to_status

KINDS = sorted(
    {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.KinemeshError)},
    key=lambda kind: kind.__name__,
)
TRAVELLERS = [kind for kind in KINDS if kind is not errors.KinemeshError]
DETAILS = "grpc-status-details-bin"


def rpc_error(code: grpc.StatusCode, *trailing: tuple[str, bytes]) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailing), "internal text", None)


def test_the_table_in_the_docstring_is_the_tree() -> None:
    rows = [line.split() for line in (errors.__doc__ or "").splitlines() if "──" in line]
    table = {row[1]: (row[2], int(row[3])) for row in rows}
    assert table == {kind.__name__: (kind.code, kind.http_status) for kind in TRAVELLERS}


@pytest.mark.parametrize("kind", TRAVELLERS)
def test_every_kind_survives_the_wire(kind: type[errors.KinemeshError]) -> None:
    error = kind(
        "TOO_SHORT", "Ten frames are too few – at least 24.", frames=10, camera="left", reason="r", message="m"
    )
    status = to_status(error)
    assert code_pb2.Code.Name(status.code) == kind.code
    rebuilt = from_rpc_error(rpc_error(grpc.StatusCode[kind.code], (DETAILS, status.SerializeToString())))
    assert type(rebuilt) is kind
    assert (rebuilt.reason, rebuilt.message) == ("TOO_SHORT", "Ten frames are too few – at least 24.")
    assert rebuilt.metadata == {"frames": "10", "camera": "left", "reason": "r", "message": "m"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_pickled(kind: type[errors.KinemeshError]) -> None:
    error = kind("TOO_SHORT", "Too short.", frames=10)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert (copy.reason, copy.message, copy.metadata, str(copy)) == (
        "TOO_SHORT",
        "Too short.",
        {"frames": "10"},
        "Too short.",
    )


def test_a_failure_that_is_kept_says_the_same() -> None:
    failure = to_failure(errors.TooLarge("TOO_LARGE", "Too large.", most_mb=5))
    assert (failure.code, failure.reason, failure.message) == ("INVALID_ARGUMENT", "TOO_LARGE", "Too large.")
    assert dict(failure.metadata) == {"most_mb": "5"}


def test_an_error_without_a_reason_leaks_nothing() -> None:
    for error in (ValueError("password=hunter2"), OSError(2, "no such file", "/srv/secret"), KeyError("hunter2")):
        visible = as_error(error)
        assert isinstance(visible, errors.Internal)
        status = to_status(visible)
        assert b"hunter2" not in status.SerializeToString()
        assert b"secret" not in status.SerializeToString()
        assert visible.reason == "INTERNAL"


def test_errors_that_python_names_get_a_kind() -> None:
    assert as_error(TimeoutError()).code == "DEADLINE_EXCEEDED"
    assert as_error(NotImplementedError()).code == "UNIMPLEMENTED"
    own = errors.NotFound("JOB_NOT_FOUND", "No such job.")
    assert as_error(own) is own


def test_a_long_text_is_cut_to_what_a_trailer_holds() -> None:
    status = to_status(errors.InvalidArgument("BAD_NAME", "x" * 100_000, name="y" * 100_000))
    assert status.ByteSize() < 4096


def test_strangers_details_are_no_description() -> None:
    foreign = any_pb2.Any()
    foreign.Pack(wrappers_pb2.StringValue(value="x"))
    info = any_pb2.Any()
    info.Pack(error_details_pb2.ErrorInfo(reason="QUOTA", domain="googleapis.com"))
    broken = any_pb2.Any(type_url=info.type_url, value=b"\xff\xff\xff")
    wrong_number = any_pb2.Any()
    wrong_number.Pack(error_details_pb2.ErrorInfo(reason="X", domain="kinemesh", metadata={"http_status": "many"}))
    statuses = [
        status_pb2.Status(details=[detail]).SerializeToString() for detail in (foreign, info, broken, wrong_number)
    ]
    for value in (b"\xff\xff", *statuses):
        rebuilt = from_rpc_error(rpc_error(grpc.StatusCode.NOT_FOUND, (DETAILS, value)))
        assert type(rebuilt) is errors.NotFound
        assert rebuilt.reason == "NOT_FOUND"
        assert "internal text" not in rebuilt.message


def test_a_code_that_we_never_send_is_internal() -> None:
    assert type(from_rpc_error(rpc_error(grpc.StatusCode.DATA_LOSS))) is errors.Internal
    assert type(from_rpc_error(rpc_error(grpc.StatusCode.UNAVAILABLE))) is errors.Unavailable
