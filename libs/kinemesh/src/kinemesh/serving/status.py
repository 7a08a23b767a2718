"""Errors as google.rpc.Status with ErrorInfo, there and back again."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from kinemesh import errors
from kinemesh.common.v1 import common_pb2

DOMAIN = "kinemesh"
_UNDESCRIBED = {
    "UNAVAILABLE": "The service cannot be reached.",
    "DEADLINE_EXCEEDED": "The service did not answer in time.",
}
_STATUS_KEY = "grpc-status-details-bin"
# gRPC drops trailers above 8 KiB, and with them the reason.
_LONGEST_MESSAGE = 1000
_LONGEST_VALUE = 250

# The kinds that share a gRPC code are told apart by their REST status, which travels in the metadata.
_HTTP_KEY = "http_status"
_KINDS: tuple[type[errors.KinemeshError], ...] = (
    errors.InvalidArgument,
    errors.OutOfRange,
    errors.Unauthenticated,
    errors.PermissionDenied,
    errors.NotFound,
    errors.AlreadyExists,
    errors.FailedPrecondition,
    errors.Aborted,
    errors.TooLarge,
    errors.UnsupportedMedia,
    errors.ResourceExhausted,
    errors.Cancelled,
    errors.Internal,
    errors.Unimplemented,
    errors.Unavailable,
    errors.DeadlineExceeded,
)


def as_error(error: BaseException) -> errors.KinemeshError:
    """The error that a caller may see: itself if it has a reason, else INTERNAL without any detail."""
    if isinstance(error, errors.KinemeshError):
        return error
    if isinstance(error, NotImplementedError):
        return errors.Unimplemented("NOT_AVAILABLE_YET", "This version does not offer that yet.")
    if isinstance(error, TimeoutError):
        return errors.DeadlineExceeded("DEADLINE_EXCEEDED", "The work took longer than its deadline.")
    return errors.Internal("INTERNAL", "Something went wrong inside; the log has the details.")


def to_status(error: errors.KinemeshError) -> status_pb2.Status:
    """Describe an error as google.rpc.Status with one ErrorInfo; very long texts are cut, so that it fits a trailer."""
    metadata = {key: value[:_LONGEST_VALUE] for key, value in error.metadata.items()}
    info = error_details_pb2.ErrorInfo(
        reason=error.reason, domain=DOMAIN, metadata={**metadata, _HTTP_KEY: str(error.http_status)}
    )
    detail = any_pb2.Any()
    detail.Pack(info)
    message = error.message[:_LONGEST_MESSAGE]
    return status_pb2.Status(code=code_pb2.Code.Value(error.code), message=message, details=[detail])


async def abort(context: Any, error: errors.KinemeshError) -> None:
    """End a call with an error that carries ErrorInfo."""
    await context.abort_with_status(rpc_status.to_status(to_status(error)))


def from_rpc_error(error: grpc.aio.AioRpcError) -> errors.KinemeshError:
    """Rebuild the error that a server described; an undescribed one keeps its code and gets a reason."""
    code = error.code().name
    with suppress(DecodeError, ValueError):  # a stranger's trailers are no description
        trailing: Any = error.trailing_metadata()
        for key, value in trailing or ():
            if key == _STATUS_KEY and (described := _described(code, value)) is not None:
                return described
    message = _UNDESCRIBED.get(code, f"The call ended with {code}.")
    return _kind(code, 0)(code, message)


def _described(code: str, value: bytes) -> errors.KinemeshError | None:
    status = status_pb2.Status.FromString(value)
    info = error_details_pb2.ErrorInfo()
    for detail in status.details:
        if detail.Unpack(info) and info.domain == DOMAIN:
            metadata = dict(info.metadata)
            http_status = int(metadata.pop(_HTTP_KEY, "0"))
            return _kind(code, http_status)(info.reason, status.message, **metadata)
    return None


def _kind(code: str, http_status: int) -> type[errors.KinemeshError]:
    same_code = [kind for kind in _KINDS if kind.code == code]
    exact = [kind for kind in same_code if kind.http_status == http_status]
    return (exact or same_code or [errors.Internal])[0]


def to_failure(error: errors.KinemeshError) -> common_pb2.Failure:
    """The same facts as a message, for jobs and assets that remember why they failed."""
    return common_pb2.Failure(reason=error.reason, message=error.message, metadata=error.metadata, code=error.code)
