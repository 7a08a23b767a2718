"""Errors that a user may see. Pure: imports no transport, so that a domain may raise them.

::

    KinemeshError                code (gRPC name)      REST
    ├── InvalidArgument          INVALID_ARGUMENT      400
    ├── OutOfRange               OUT_OF_RANGE          416
    ├── Unauthenticated          UNAUTHENTICATED       401
    ├── PermissionDenied         PERMISSION_DENIED     403
    ├── NotFound                 NOT_FOUND             404
    ├── AlreadyExists            ALREADY_EXISTS        409
    ├── FailedPrecondition       FAILED_PRECONDITION   409
    ├── Aborted                  ABORTED               409
    ├── TooLarge                 INVALID_ARGUMENT      413
    ├── UnsupportedMedia         INVALID_ARGUMENT      415
    ├── ResourceExhausted        RESOURCE_EXHAUSTED    429
    ├── Cancelled                CANCELLED             499
    ├── Internal                 INTERNAL              500
    ├── Unimplemented            UNIMPLEMENTED         501
    ├── Unavailable              UNAVAILABLE           503
    └── DeadlineExceeded         DEADLINE_EXCEEDED     504

An error carries a sentence for a person, ``reason`` (UPPER_SNAKE) for a program, and ``metadata`` of
strings. ``retryable`` says whether doing the same work again may succeed: a worker uses it to choose
between another delivery and the dead-letter stream.
"""

from __future__ import annotations

from typing import ClassVar


class KinemeshError(Exception):
    """Base of all errors with a reason.

    :param reason: machine-readable cause, UPPER_SNAKE.
    :param message: one sentence for a person; holds nothing internal.
    :param metadata: further facts; values become strings.
    """

    code: ClassVar[str] = "UNKNOWN"
    http_status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, reason: str, message: str, /, **metadata: object) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.metadata = {key: str(value) for key, value in metadata.items()}

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.reason, self.message, self.metadata)


def _rebuild(kind: type[KinemeshError], reason: str, message: str, metadata: dict[str, str]) -> KinemeshError:
    return kind(reason, message, **metadata)


class InvalidArgument(KinemeshError):
    code = "INVALID_ARGUMENT"
    http_status = 400


class OutOfRange(KinemeshError):
    code = "OUT_OF_RANGE"
    http_status = 416


class Unauthenticated(KinemeshError):
    code = "UNAUTHENTICATED"
    http_status = 401


class PermissionDenied(KinemeshError):
    code = "PERMISSION_DENIED"
    http_status = 403


class NotFound(KinemeshError):
    code = "NOT_FOUND"
    http_status = 404


class AlreadyExists(KinemeshError):
    code = "ALREADY_EXISTS"
    http_status = 409


class FailedPrecondition(KinemeshError):
    code = "FAILED_PRECONDITION"
    http_status = 409


class Aborted(KinemeshError):
    code = "ABORTED"
    http_status = 409
    retryable = True


class TooLarge(InvalidArgument):
    http_status = 413


class UnsupportedMedia(InvalidArgument):
    http_status = 415


class ResourceExhausted(KinemeshError):
    code = "RESOURCE_EXHAUSTED"
    http_status = 429
    retryable = True


class Cancelled(KinemeshError):
    code = "CANCELLED"
    http_status = 499


class Internal(KinemeshError):
    code = "INTERNAL"
    http_status = 500
    retryable = True


class Unimplemented(KinemeshError):
    code = "UNIMPLEMENTED"
    http_status = 501


class Unavailable(KinemeshError):
    code = "UNAVAILABLE"
    http_status = 503
    retryable = True


class DeadlineExceeded(KinemeshError):
    code = "DEADLINE_EXCEEDED"
    http_status = 504
    retryable = True
