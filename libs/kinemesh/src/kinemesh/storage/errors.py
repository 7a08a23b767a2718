"""What S3 and its transport raise, as errors with a reason. Neither keys of objects nor credentials get out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from minio.error import InvalidResponseError, MinioException, S3Error, ServerError
from urllib3.exceptions import HTTPError

from kinemesh.errors import (
    FailedPrecondition,
    Internal,
    InvalidArgument,
    KinemeshError,
    NotFound,
    OutOfRange,
    PermissionDenied,
    Unavailable,
)

_GONE = {"NoSuchKey", "NoSuchObject", "ResourceNotFound", "NotFound"}
_DENIED = {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "AllAccessDisabled"}
_BUSY = {
    "SlowDown",
    "ServiceUnavailable",
    "RequestTimeout",
    "InternalError",
    "OperationAborted",
    "XMinioServerNotInitialized",
}
_BAD_PARTS = {"InvalidPart", "InvalidPartOrder", "EntityTooSmall"}


def from_s3(error: S3Error) -> KinemeshError:
    """The domain error of an S3 error code."""
    code = error.code or ""
    if code in _GONE:
        return NotFound("OBJECT_NOT_FOUND", "The object does not exist.")
    if code == "NoSuchUpload":
        return NotFound("UPLOAD_NOT_FOUND", "The multipart upload does not exist, or is already finished.")
    if code == "NoSuchBucket":
        return FailedPrecondition("BUCKET_NOT_FOUND", "The storage bucket does not exist.")
    if code == "InvalidRange":
        return OutOfRange("RANGE_NOT_SATISFIABLE", "The range lies outside the object.")
    if code == "PreconditionFailed":
        return FailedPrecondition("OBJECT_CHANGED", "The object was replaced while it was being read.")
    if code in _BAD_PARTS:
        return InvalidArgument("UPLOAD_PARTS_INVALID", "The parts of the upload do not fit together.", code=code)
    if code in _DENIED:
        return PermissionDenied("STORAGE_ACCESS_DENIED", "The object store refused the credentials of this service.")
    if code in _BUSY:
        return Unavailable("STORAGE_UNAVAILABLE", "The object store cannot answer at the moment.", code=code)
    return Internal("STORAGE_ERROR", "The object store answered with an error.", code=code)


@contextmanager
def storage_errors() -> Iterator[None]:
    """Translate what minio and urllib3 raise inside the block.

    The cause is dropped from the chain because its text holds keys of objects, hosts and signed URLs.
    """
    try:
        yield
    except S3Error as error:
        raise from_s3(error) from None
    except (ServerError, InvalidResponseError, HTTPError, ConnectionError, TimeoutError):
        raise Unavailable("STORAGE_UNAVAILABLE", "The object store cannot be reached.") from None
    except MinioException:
        raise Internal("STORAGE_ERROR", "The object store answered with an error.") from None
