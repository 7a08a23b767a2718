"""What Triton and gRPC raise, as errors with a reason."""

from __future__ import annotations

import structlog
from tritonclient.utils import InferenceServerException

from kinemesh.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    KinemeshError,
    NotFound,
    Unavailable,
)

_LOGGED = 500

_log = structlog.get_logger()


def from_triton(error: InferenceServerException, model: str) -> KinemeshError:
    """The domain error of a failed call. Triton's own text stays in the log: it may hold paths and tracebacks."""
    status = str(error.status() or "")
    said = str(error.message() or "")
    _log.warning("call of the model server failed", model=model, status=status, text=said[:_LOGGED])
    text = said.lower()
    if "DEADLINE_EXCEEDED" in status or "timeout expired" in text:
        return DeadlineExceeded("INFERENCE_TIMEOUT", "The model did not answer in time.", model=model)
    if "no available versions" in text or region_unknown(error):
        # A model of the repository that is being loaded or unloaded, as at the server's start and end, or a server that
        # was restarted more than once meanwhile.
        return Unavailable("MODEL_UNAVAILABLE", "The model server is not serving this model just now.", model=model)
    if "NOT_FOUND" in status or "unknown model" in text or "is not found" in text:
        return NotFound("MODEL_NOT_FOUND", "The model server does not serve this model.", model=model)
    if "UNAVAILABLE" in status or "CANCELLED" in status:
        return Unavailable("MODEL_UNAVAILABLE", "The model server cannot be reached or is still loading.", model=model)
    if "RESOURCE_EXHAUSTED" in status or "queue" in text:
        return Unavailable("MODEL_UNAVAILABLE", "The model server has too much to do.", model=model)
    if "INVALID_ARGUMENT" in status:
        return InvalidArgument("MODEL_INPUT_INVALID", "The model does not take these tensors.", model=model)
    return Internal("INFERENCE_FAILED", "The model failed on this input.", model=model)


def not_loaded(error: InferenceServerException, model: str) -> KinemeshError:
    """The domain error of a model that Triton was told to load and did not."""
    text = str(error.message() or "").lower()
    if "failed to poll from model repository" in text or "model not found" in text:
        return NotFound("MODEL_NOT_FOUND", "The model server's repository holds no such model.", model=model)
    if "failed to load" in text or "load failed" in text:
        return FailedPrecondition("MODEL_LOAD_FAILED", "The model server cannot load this model.", model=model)
    return from_triton(error, model)


def region_unknown(error: InferenceServerException) -> bool:
    """Whether Triton does not know a region any more, because it was restarted."""
    return "shared memory region" in str(error.message() or "").lower()


def connection_lost(error: InferenceServerException) -> bool:
    return "UNAVAILABLE" in str(error.status() or "")


def refused(error: InferenceServerException) -> bool:
    """Whether Triton answered, and said no."""
    status = str(error.status() or "")
    return any(code in status for code in ("INVALID_ARGUMENT", "INTERNAL", "UNIMPLEMENTED", "UNKNOWN"))
