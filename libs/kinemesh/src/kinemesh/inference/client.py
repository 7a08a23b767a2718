"""The Triton client of all services."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Sequence as SequenceOf
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tritonclient.grpc.aio as triton
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from kinemesh.errors import DeadlineExceeded, InvalidArgument
from kinemesh.inference.errors import connection_lost, from_triton, not_loaded, refused, region_unknown
from kinemesh.inference.measuring import measured
from kinemesh.inference.settings import TritonSettings
from kinemesh.inference.shared_memory import Region, needed_bytes, sweep_stale_regions

Tensors = dict[str, npt.NDArray[Any]]
Headers = Callable[[], Mapping[str, str]]

# Below this the two copies of a gRPC message cost less than another round trip to grow a region.
_SHARED_FROM_BYTES = 16 * 1024
_PROBE_S = 5.0
_LOAD_S = 120.0
_POLL_S = 0.05
# A restart takes some seconds; whoever asks for a job waits for that long, rather than being told to come back.
_RESTART_S = 10.0
_AGAIN_S = 0.3
_CHANNEL = [
    ("grpc.max_send_message_length", 512 << 20),
    ("grpc.max_receive_message_length", 512 << 20),
    # gRPC would wait up to two minutes before it tries a restarted server again.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.keepalive_time_ms", 30_000),
]


@dataclass(frozen=True, slots=True)
class Sequence:
    """The place of a request in a sequence, for models that keep state between requests."""

    id: int
    start: bool = False
    end: bool = False


class TritonClient:
    """Sends tensors to one Triton server, a bounded number of requests at a time.

    On the same host input tensors travel through shared memory: each of ``max_in_flight`` slots owns a region, which
    is registered once and reused. Results are small by the tensor contracts and come by gRPC.

    :param headers: called per request; its W3C trace headers (``traceparent`` …) go along with it.
    """

    def __init__(self, settings: TritonSettings, *, headers: Headers | None = None) -> None:
        self.settings = settings
        self._headers = headers or dict
        self._client = triton.InferenceServerClient(settings.endpoint, ssl=settings.secure, channel_args=_CHANNEL)
        self._free = [Region() for _ in range(settings.max_in_flight)]
        self._retired: list[str] = []
        self._slots = asyncio.Semaphore(settings.max_in_flight)
        self._regions = tuple(self._free)
        self._shared = settings.shared_memory == "on" or (
            settings.shared_memory == "auto" and _is_local(settings.endpoint)
        )
        if self._shared:
            sweep_stale_regions()

    async def __aenter__(self) -> TritonClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Unregister and remove the regions, and hang up."""
        for region in self._regions:
            self._retire(region)
        await self._unregister_retired()
        await self._client.close()

    @property
    def shared_memory(self) -> bool:
        """Whether tensors travel through shared memory."""
        return self._shared

    async def infer(
        self,
        model: str,
        inputs: Mapping[str, npt.NDArray[Any]],
        outputs: SequenceOf[str],
        *,
        sequence: Sequence | None = None,
        timeout_s: float | None = None,
    ) -> Tensors:
        """Run ``model``; the arrays returned belong to the caller.

        :param inputs: any numpy arrays, contiguous or not, in the shapes and types of the model's contract.
        :param timeout_s: deadline, waiting for a free slot included; that of the settings if None.
        :raises NotFound: ``MODEL_NOT_FOUND``.
        :raises InvalidArgument: ``MODEL_INPUT_INVALID``.
        :raises Unavailable: ``MODEL_UNAVAILABLE``; doing it again may succeed.
        :raises DeadlineExceeded: ``INFERENCE_TIMEOUT``.
        """
        deadline = timeout_s or self.settings.timeout_s
        with measured(model) as begun:
            try:
                async with asyncio.timeout(deadline), self._slots:
                    begun()
                    return await self._infer(model, inputs, outputs, sequence, deadline)
            except TimeoutError:
                raise DeadlineExceeded("INFERENCE_TIMEOUT", "The model did not answer in time.", model=model) from None

    async def _infer(
        self,
        model: str,
        inputs: Mapping[str, npt.NDArray[Any]],
        outputs: SequenceOf[str],
        sequence: Sequence | None,
        deadline: float,
    ) -> Tensors:
        region = self._free.pop()
        settled = False
        try:
            try:
                result = await self._request(model, inputs, outputs, sequence, deadline, region)
            except InferenceServerException as error:
                if not region_unknown(error):
                    raise
                # Triton was restarted: it never ran the request, so that sending it again is safe. Another request may
                # have noticed before, and have marked this region as unregistered already.
                self._forget_registrations()
                result = await self._request(model, inputs, outputs, sequence, deadline, region)
            settled = True
            return {name: np.array(_required(result, name, model)) for name in outputs}
        except InferenceServerException as error:
            if connection_lost(error):
                self._forget_registrations()
            failure = from_triton(error, model)
            # Triton has answered, so that it no longer reads the region; after a timeout it may.
            settled = not isinstance(failure, DeadlineExceeded)
            raise failure from None
        finally:
            if not settled:
                self._retire(region)
            self._free.append(region)

    async def _request(
        self,
        model: str,
        inputs: Mapping[str, npt.NDArray[Any]],
        outputs: SequenceOf[str],
        sequence: Sequence | None,
        deadline: float,
        region: Region,
    ) -> triton.InferResult:
        shared = {
            name: tensor
            for name, tensor in inputs.items()
            if self._shared and tensor.nbytes >= _SHARED_FROM_BYTES and not tensor.dtype.hasobject
        }
        if shared and not await self._prepare(region, needed_bytes(shared)):
            shared = {}
        offsets = region.write(shared) if shared else {}
        step = sequence or Sequence(0)
        return await self._client.infer(
            model,
            [_input(name, tensor, region, offsets.get(name)) for name, tensor in inputs.items()],
            outputs=[triton.InferRequestedOutput(name) for name in outputs],
            sequence_id=step.id,
            sequence_start=step.start,
            sequence_end=step.end,
            client_timeout=deadline,
            headers=dict(self._headers()) or None,
        )

    async def _prepare(self, region: Region, size: int) -> bool:
        """Make the region large enough and known to Triton; False if that cannot be done on this host."""
        if size > region.size:
            self._retire(region)
            region.allocate(size)
        await self._unregister_retired()
        if region.registered:
            return True
        try:
            await self._client.register_system_shared_memory(
                region.name, region.key, region.size, client_timeout=_PROBE_S
            )
        except InferenceServerException as error:
            if "already in manager" in str(error.message()):  # we lost the connection, but Triton was not restarted
                region.registered = True
                return True
            region.close()
            if not refused(error) or self.settings.shared_memory == "on":
                raise
            self._shared = False  # another machine, or a container without our /dev/shm
            return False
        region.registered = True
        return True

    def _retire(self, region: Region) -> None:
        """Remove a region; Triton is told at the next opportunity, so that it lets go of the memory too."""
        if region.registered:
            self._retired.append(region.name)
        region.close()

    async def _unregister_retired(self) -> None:
        while self._retired:
            # A server that is gone holds no region.
            with suppress(InferenceServerException):
                await self._client.unregister_system_shared_memory(self._retired.pop(), client_timeout=_PROBE_S)

    def _forget_registrations(self) -> None:
        for region in self._regions:
            region.registered = False
        self._retired.clear()

    async def ready(self, models: Iterable[str] = ()) -> bool:
        """Whether the server is ready, and each of ``models`` loaded."""
        try:
            if not await self._client.is_server_ready(client_timeout=_PROBE_S):
                return False
            for model in models:
                if not await self._client.is_model_ready(model, client_timeout=_PROBE_S):
                    return False
        except InferenceServerException:
            return False
        return True

    async def metadata(self, model: str) -> dict[str, Any]:
        """Triton's description of a model: ``name``, ``versions``, ``inputs``, ``outputs`` (name, datatype, shape)."""
        try:
            described = await self._client.get_model_metadata(model, as_json=True, client_timeout=_PROBE_S)
        except InferenceServerException as error:
            raise from_triton(error, model) from None
        return dict(described)

    async def loaded(self) -> dict[str, bool]:
        """The names of all models in the repository, and whether each is ready; waits while Triton restarts.

        :raises Unavailable: ``MODEL_UNAVAILABLE``.
        """
        deadline = time.monotonic() + _RESTART_S
        while True:
            try:
                index = await self._client.get_model_repository_index(as_json=True, client_timeout=_PROBE_S)
            except InferenceServerException as error:
                if not connection_lost(error) or time.monotonic() > deadline:
                    raise from_triton(error, "") from None
            else:
                return {entry["name"]: entry.get("state") == "READY" for entry in index.get("models", ())}
            await asyncio.sleep(_AGAIN_S)

    async def config(self, model: str) -> dict[str, Any]:
        """A model's ``config.pbtxt`` as Triton completed it.

        :raises NotFound: ``MODEL_NOT_FOUND``.
        """
        try:
            described = await self._client.get_model_config(model, as_json=True, client_timeout=_PROBE_S)
        except InferenceServerException as error:
            raise from_triton(error, model) from None
        return dict(described["config"])

    async def load(self, model: str, *, timeout_s: float = _LOAD_S) -> None:
        """Have Triton serve a model of its repository, read anew if it does so already.

        :raises NotFound: ``MODEL_NOT_FOUND``, if the repository has none of this name.
        :raises FailedPrecondition: ``MODEL_LOAD_FAILED``.
        :raises Unavailable: ``MODEL_UNAVAILABLE``.
        :raises DeadlineExceeded: ``INFERENCE_TIMEOUT``.
        """
        try:
            await self._client.load_model(model, client_timeout=timeout_s)
        except InferenceServerException as error:
            raise not_loaded(error, model) from None

    async def unload(self, model: str, *, timeout_s: float = _LOAD_S) -> None:
        """Have Triton let go of a model and wait until it has; one that it does not serve is no error.

        :raises Unavailable: ``MODEL_UNAVAILABLE``.
        :raises DeadlineExceeded: ``INFERENCE_TIMEOUT``.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._client.unload_model(model, client_timeout=timeout_s)
                # Triton answers at once, and lets requests that it has taken end first.
                while (await self.loaded()).get(model, False):  # noqa: ASYNC110 - nothing announces it
                    await asyncio.sleep(_POLL_S)
        except InferenceServerException as error:
            raise from_triton(error, model) from None
        except TimeoutError:
            raise DeadlineExceeded("INFERENCE_TIMEOUT", "The model was not let go of in time.", model=model) from None


def _input(name: str, tensor: npt.NDArray[Any], region: Region, offset: int | None) -> triton.InferInput:
    datatype = np_to_triton_dtype(tensor.dtype)
    if datatype is None:
        raise InvalidArgument("MODEL_INPUT_INVALID", "The type of the tensor is not known to Triton.", input=name)
    entry = triton.InferInput(name, list(tensor.shape), datatype)
    if offset is None:
        entry.set_data_from_numpy(np.ascontiguousarray(tensor))
    else:
        entry.set_shared_memory(region.name, tensor.nbytes, offset)
    return entry


def _required(result: triton.InferResult, name: str, model: str) -> npt.NDArray[Any]:
    tensor = result.as_numpy(name)
    if tensor is None:
        raise InferenceServerException(f"output {name} of {model} is missing", status="StatusCode.INTERNAL")
    return np.asarray(tensor)


def _is_local(endpoint: str) -> bool:
    host = endpoint.rpartition(":")[0].strip("[]")
    if host == "localhost" or endpoint.startswith("unix:"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
