"""The client."""

from __future__ import annotations

import asyncio
import mimetypes
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from kinemesh.errors import DeadlineExceeded, InvalidArgument
from kinemesh_client import transfer, uploading
from kinemesh_client.answers import answer, unreachable
from kinemesh_client.attempts import Attempts
from kinemesh_client.credentials import Bearer, Fetch, exchanging, of_environment
from kinemesh_client.detections import ModelTest
from kinemesh_client.environments import Environments
from kinemesh_client.keys import Keys
from kinemesh_client.matching import Matching
from kinemesh_client.paths import page_params, path_id
from kinemesh_client.references import References
from kinemesh_client.resources import Asset, Job, JobEvent, LogLine, Model, Output, Page, Pipeline, Session
from kinemesh_client.routes import Areas, Routes
from kinemesh_client.tracking import Tracking
from kinemesh_client.transfer import Progress

_SESSIONS = "/api/v1/sessions"
_TEST_S = 60.0
_POLL_S = 0.3


class KinemeshClient:
    """Calls a mesh over REST and WebSocket; to be used as an async context manager.

    Every method raises :class:`kinemesh.errors.KinemeshError` with the reason that the API gave,
    ``Unavailable`` (``MESH_UNREACHABLE``) when nothing answers, and ``DeadlineExceeded`` when that takes too long.

    :param url: of the gateway, such as ``http://127.0.0.1:8080``.
    :param api_key: shows who calls, where the mesh asks; that of the variable KINEMESH_API_KEY if None, none if empty.
    :param tokens: gets the tokens in another way than for a key.
    :param timeout_s: longest silence of the gateway within a call.
    :ivar keys: API keys, for administrators.
    :ivar environments: sites with several cameras.
    :ivar tracking: people across the cameras of a site.
    :ivar areas: crags and halls of the route catalogue.
    :ivar routes: their routes, the tree over all, and search.
    :ivar attempts: goes at routes.
    :ivar references: pictures of walls, on which attempts are compared.
    :ivar matching: climbers on such a picture.
    """

    def __init__(
        self, url: str, *, api_key: str | None = None, tokens: Fetch | None = None, timeout_s: float = 20.0
    ) -> None:
        self.url = url.rstrip("/")
        if tokens is None:
            tokens = of_environment(self.url) if api_key is None else None
        if api_key:
            tokens = exchanging(self.url, api_key)
        self._bearer = Bearer(tokens)
        # The mesh is on this machine or named outright: a proxy for the internet has no part in it.
        self._http = httpx.AsyncClient(
            base_url=self.url,
            timeout=httpx.Timeout(timeout_s, connect=min(5.0, timeout_s)),
            trust_env=False,
            auth=self._bearer,
        )
        self.keys = Keys(self._call)
        self.environments = Environments(self._call)
        self.tracking = Tracking(self.url, self._call, self._bearer.headers)
        self.areas = Areas(self._call)
        self.routes = Routes(self._call, self._send)
        self.attempts = Attempts(self._call, self._fetch)
        self.references = References(self._call, self._fetch)
        self.matching = Matching(self._call)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def health(self) -> Mapping[str, Any]:
        """Health of every part; also when some are down."""
        response = await self._send("GET", "/api/v1/health")
        if response.status_code == 503 and "services" in response.text:
            return dict(response.json())
        return dict(answer(response))

    async def upload(
        self,
        path: Path,
        *,
        kind: str = "VIDEO",
        content_type: str = "",
        keep_refused: bool = True,
        resume: bool = False,
        checksum: bool = True,
        progress: Progress = transfer.nothing,
    ) -> Asset:
        """Send a file straight to storage, large ones in parts, and have it checked.

        Parts that fail are tried again, and URLs that expire meanwhile are renewed.

        :param kind: VIDEO, IMAGE or WEIGHTS.
        :param keep_refused: whether the asset of a file that was refused stays, REJECTED, to be looked at.
        :param resume: go on with the newest unconfirmed upload of this very file, if there is one: the same name, kind,
            size and checksum.
        :param checksum: have the mesh check the SHA-256, for which the file is read once more here and there.
        :raises KinemeshError: also for what is wrong with the file, such as ``NOT_A_VIDEO``.
        """
        return await uploading.upload(
            self._call,
            path,
            kind=kind,
            content_type=content_type,
            keep_refused=keep_refused,
            resume=resume,
            checksum=checksum,
            progress=progress,
        )

    async def list_assets(self, limit: int = 20, page_token: str = "", states: Sequence[str] = ()) -> Page[Asset]:
        """A page of your assets, newest first; only those in one of ``states``, if any are given."""
        params = {**page_params(limit, page_token), "state": list(states)}
        found = await self._call("GET", "/api/v1/assets", params=params)
        return Page([Asset.of(row) for row in found["assets"]], found["total"], found["next_page_token"] or "")

    async def asset_content(self, asset_id: str, target: Path, *, progress: Progress = transfer.nothing) -> Path:
        """Write an asset, as it was uploaded, to a file, whole or not at all, and return its absolute path."""
        return await self._fetch(f"/api/v1/assets/{path_id(asset_id)}/content", target, progress)

    async def delete_asset(self, asset_id: str) -> None:
        """Delete an asset and its bytes."""
        await self._call("DELETE", f"/api/v1/assets/{path_id(asset_id)}")

    async def create_job(self, pipeline: str, asset_id: str | Sequence[str], parameters: Mapping[str, Any]) -> Job:
        """Queue a job over one asset; over those that its parameters name, if ``asset_id`` is empty.

        :param asset_id: several for ``route_match``; their cameras are ``attempt1``, ``attempt2``, …
        """
        named: dict[str, Any] = {}
        if isinstance(asset_id, str):
            named = {"asset_id": asset_id} if asset_id else {}
        elif asset_id:
            named = {"inputs": [{"camera": f"attempt{n}", "asset_id": one} for n, one in enumerate(asset_id, 1)]}
        body = {"pipeline": pipeline, **named, "parameters": dict(parameters)}
        return Job.of(await self._call("POST", "/api/v1/jobs", json=body))

    async def usage(self) -> Mapping[str, Any]:
        """What counts against quotas: ``stored_bytes``, ``pending_uploads``, ``active_jobs``; each has ``used`` and
        ``limit``, None without one."""
        return dict(await self._call("GET", "/api/v1/usage"))

    async def get_job(self, job_id: str) -> Job:
        """One job."""
        return Job.of(await self._call("GET", f"/api/v1/jobs/{path_id(job_id)}"))

    async def list_jobs(self, limit: int = 20, page_token: str = "", states: Sequence[str] = ()) -> Page[Job]:
        """A page of your jobs, newest first; only those in one of ``states``, if any are given."""
        params = {**page_params(limit, page_token), "state": list(states)}
        found = await self._call("GET", "/api/v1/jobs", params=params)
        return Page([Job.of(row) for row in found["jobs"]], found["total"], found["next_page_token"] or "")

    async def cancel_job(self, job_id: str) -> Job:
        """Stop a job."""
        return Job.of(await self._call("POST", f"/api/v1/jobs/{path_id(job_id)}/cancel"))

    async def delete_job(self, job_id: str) -> None:
        """Delete a job with all its results."""
        await self._call("DELETE", f"/api/v1/jobs/{path_id(job_id)}")

    async def job_logs(self, job_id: str, limit: int = 1000, page_token: str = "") -> Page[LogLine]:
        """A page of a job's log, oldest line first."""
        found = await self._call("GET", f"/api/v1/jobs/{path_id(job_id)}/logs", params=page_params(limit, page_token))
        return Page([LogLine.of(row) for row in found["logs"]], found["total"], found["next_page_token"] or "")

    def watch(self, job_id: str, since: int = 0) -> AsyncIterator[JobEvent]:
        """A job's events, from the first or after sequence ``since``, up to its last state; see :mod:`watching`."""
        from kinemesh_client import watching

        return watching.watch(self.url, path_id(job_id), since, self.get_job, self._bearer.headers)

    async def download(
        self, job_id: str, output: Output, target: Path, *, progress: Progress = transfer.nothing
    ) -> Path:
        """Write an output of a job to a file, whole or not at all, and return its absolute path."""
        url = f"/api/v1/jobs/{path_id(job_id)}/outputs/{path_id(output.name)}"
        return await transfer.receive(self._http, url, output.size_bytes, target, progress)

    async def list_pipelines(self) -> Page[Pipeline]:
        """What the mesh can run."""
        found = await self._call("GET", "/api/v1/pipelines", params=page_params(100, ""))
        return Page([Pipeline.of(row) for row in found["pipelines"]], found["total"], found["next_page_token"] or "")

    async def list_models(
        self, limit: int = 100, page_token: str = "", *, task: str = "", states: Sequence[str] = ()
    ) -> Page[Model]:
        """A page of what the mesh detects and estimates with, by name; of one task or in ``states`` only, if given."""
        params = {**page_params(limit, page_token), **({"task": task} if task else {}), "state": list(states)}
        found = await self._call("GET", "/api/v1/models", params=params)
        return Page([Model.of(row) for row in found["models"]], found["total"], found["next_page_token"] or "")

    async def get_model(self, name: str) -> Model:
        """One model."""
        return Model.of(await self._call("GET", f"/api/v1/models/{path_id(name)}"))

    async def import_model(
        self,
        asset_id: str,
        name: str,
        *,
        task: str = "",
        labels: Sequence[str] = (),
        licence: str = "",
        check_image: str = "",
        color_order: str = "",
        mean: Sequence[float] = (),
        scale: Sequence[float] = (),
    ) -> Model:
        """Start to convert, check and serve a model; :meth:`wait_for_model` tells how that ends.

        :param asset_id: of the weights, uploaded as WEIGHTS.
        :param task: DETECTOR, also when empty, or EMBEDDER.
        :param labels: names of its classes, by class id; needed when the weights do not hold them.
        :param check_image: asset with a picture on which it must find something; a built-in one when empty.
        :param color_order: RGB or BGR, of the channels of an embedder; what such networks usually take when empty.
        :param mean: an embedder sees (pixel - mean) / scale: three numbers in the order of its channels, or none.
        :param scale: as ``mean``, none of them 0.
        """
        body: dict[str, Any] = {"asset_id": asset_id, "model": name, "labels": list(labels), "license": licence}
        if task:
            body["task"] = task
        if check_image:
            body["check_image_asset_id"] = check_image
        colors = {"color_order": color_order, "mean": list(mean), "scale": list(scale)}
        body |= {key: value for key, value in colors.items() if value}
        return Model.of(await self._call("POST", "/api/v1/models/import", json=body))

    async def add_model(self, name: str) -> Model:
        """Start to fetch and serve a model of the manifest; :meth:`wait_for_model` tells how that ends."""
        return Model.of(await self._call("POST", "/api/v1/models/add", json={"model": name}))

    async def wait_for_model(self, name: str, timeout_s: float = 2000.0) -> Model:
        """A model once it is no longer IMPORTING.

        :raises DeadlineExceeded: ``IMPORT_NOT_OVER``.
        """
        deadline = time.monotonic() + timeout_s
        while (model := await self.get_model(name)).state == "IMPORTING":
            if time.monotonic() > deadline:
                raise DeadlineExceeded("IMPORT_NOT_OVER", f"{name} is still being imported after {timeout_s:.0f} s.")
            await asyncio.sleep(_POLL_S)
        return model

    async def delete_model(self, name: str) -> None:
        """Stop serving an imported or added model and delete it; refused while a job that is not over uses it."""
        await self._call("DELETE", f"/api/v1/models/{path_id(name)}")

    async def test_model(self, name: str, picture: Path, *, threshold: float = 0.5) -> ModelTest:
        """Run a model on one picture.

        :param threshold: least score, 0 to 1.
        """
        transfer.size_of(picture)
        media_type = mimetypes.guess_type(picture.name)[0] or "application/octet-stream"
        image = (picture.name, await asyncio.to_thread(picture.read_bytes), media_type)
        path, fields = f"/api/v1/models/{path_id(name)}/test", {"threshold": str(threshold)}
        return ModelTest.of(
            await self._call("POST", path, files={"image": image}, data=fields, timeout=httpx.Timeout(_TEST_S))
        )

    async def create_session(
        self, asset_id: str, name: str = "", parameters: Mapping[str, Any] | None = None
    ) -> Session:
        """Make a session of an uploaded video, and queue the job that follows its instructor.

        :param name: that of the file when empty.
        :param parameters: ``subject_point``, ``model``, ``threshold``, as for the pipeline ``instructor``.
        """
        body = {"asset_id": asset_id, "display_name": name, "parameters": dict(parameters or {})}
        return Session.of(await self._call("POST", _SESSIONS, json=body))

    async def get_session(self, session_id: str) -> Session:
        """One session."""
        return Session.of(await self._call("GET", f"{_SESSIONS}/{path_id(session_id)}"))

    async def list_sessions(self, limit: int = 20, page_token: str = "") -> Page[Session]:
        """A page of your sessions, newest first."""
        found = await self._call("GET", _SESSIONS, params=page_params(limit, page_token))
        return Page([Session.of(row) for row in found["sessions"]], found["total"], found["next_page_token"] or "")

    async def process_session(self, session_id: str, parameters: Mapping[str, Any] | None = None) -> Session:
        """Follow the instructor again, as the last time if ``parameters`` is None; the result stays until the next."""
        body = {} if parameters is None else {"parameters": dict(parameters)}
        return Session.of(await self._call("POST", f"{_SESSIONS}/{path_id(session_id)}/process", json=body))

    async def delete_session(self, session_id: str) -> None:
        """Delete a session with its video, jobs and results, cancelling what runs."""
        await self._call("DELETE", f"{_SESSIONS}/{path_id(session_id)}")

    async def instructor_tracking(self, session_id: str) -> Mapping[str, Any]:
        """The instructor's track and its figures, in camelCase as the product's own surface has it."""
        return dict(await self._call("GET", f"/sessions/{path_id(session_id)}/results/instructor-tracking"))

    async def _call(self, method: str, path: str, **request: Any) -> Any:
        return answer(await self._send(method, path, **request))

    async def _fetch(self, path: str, target: Path, progress: Progress) -> Path:
        return await transfer.receive(self._http, path, None, target, progress)

    async def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        headers = {**({} if method == "GET" else {"Idempotency-Key": uuid.uuid4().hex}), **request.pop("headers", {})}
        try:
            return await self._http.request(method, path, headers=headers, **request)
        except httpx.TransportError as error:
            raise unreachable(error, self.url) from None
        except httpx.InvalidURL as error:
            raise InvalidArgument("URL_INVALID", f"{self.url} is not a URL: {error}.") from None
