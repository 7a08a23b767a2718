"""Models come and go while the mesh runs: a real model server, and a program that plays the importer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinemesh import errors
from kinemesh.asset.v1 import asset_pb2
from kinemesh.common.v1 import common_pb2
from kinemesh.environment.v1 import environment_pb2
from kinemesh.inference import TritonClient, TritonSettings
from kinemesh.job.v1 import job_pb2, parameters_pb2
from kinemesh.media.picture import encode_picture
from kinemesh.model.v1 import model_pb2
from kinemesh.serving.channel import call
from kinemesh.testing.fixtures import triton_python
from kinemesh.testing.onnx_networks import tiny_yolox
from kinemesh.testing.waiting import until
from kinemesh_ingest.importing import Imports
from kinemesh_ingest.program import Program
from kinemesh_ingest.settings import IngestSettings, inherited

PICTURE = encode_picture(np.full((90, 160, 3), 200, np.uint8), ".png", 90)


def weights(**told: Any) -> bytes:
    return b"\x08\x08\x12" + json.dumps(told).encode()


async def bring(ingest: Any, name: str, told: dict[str, Any], owner: str = "ada", **more: Any) -> model_pb2.Model:
    """Upload and import; the model as it is once it is no longer IMPORTING."""
    asset = await ingest.upload(weights(**told), kind="WEIGHTS", owner=owner)
    request = model_pb2.ImportModelRequest(asset_id=asset.asset_id, model=name, **more)
    answer = await call(ingest.models.ImportModel, request, owner=owner)
    assert answer.model.state == model_pb2.MODEL_STATE_IMPORTING
    return await settled(ingest, name, owner)


async def get(ingest: Any, name: str, owner: str = "ada") -> model_pb2.Model:
    request = model_pb2.GetModelRequest(model=name)
    model: model_pb2.Model = (await call(ingest.models.GetModel, request, owner=owner)).model
    return model


async def settled(ingest: Any, name: str, owner: str = "ada") -> model_pb2.Model:
    async def is_settled() -> bool:
        return (await get(ingest, name, owner)).state != model_pb2.MODEL_STATE_IMPORTING

    await until(is_settled, 60)
    return await get(ingest, name, owner)


async def delete(ingest: Any, name: str, owner: str = "ada", **more: Any) -> None:
    await call(ingest.models.DeleteModel, model_pb2.DeleteModelRequest(model=name, **more), owner=owner)


def pitstop(model: str) -> parameters_pb2.JobParameters:
    return parameters_pb2.JobParameters(pitstop=parameters_pb2.PitstopParameters(model=model))


async def test_the_embedded_detector_is_the_default(ingest: Any) -> None:
    model = await get(ingest, "person_detector")
    assert (model.state, model.source) == (model_pb2.MODEL_STATE_READY, model_pb2.MODEL_SOURCE_EMBEDDED)
    assert model.task == model_pb2.MODEL_TASK_DETECTOR
    assert (list(model.labels), model.input_width, model.input_height) == (["person", "chair"], 0, 0)
    assert model.is_default
    assert (model.license, model.runtime, model.size_bytes) == ("Apache-2.0", "numpy", 7)
    with pytest.raises(errors.FailedPrecondition) as refused:
        await delete(ingest, "person_detector")
    assert refused.value.reason == "MODEL_EMBEDDED"


async def test_an_embedder_is_imported_and_the_preferred_one_is_the_default(ingest: Any, clip: bytes) -> None:
    embedder = model_pb2.MODEL_TASK_EMBEDDER
    site = environment_pb2.Environment(environment_id="faces")
    site.cameras.add(camera="c1").sub_videos.add(asset_id=(await ingest.upload(clip)).asset_id)
    create = environment_pb2.CreateEnvironmentRequest(environment=site)
    await call(ingest.environments.CreateEnvironment, create, owner="ada")
    model = await bring(ingest, "reid", {"labels": [], "preferred": True}, task=embedder)
    assert (model.state, model.task, model.embedding_size) == (model_pb2.MODEL_STATE_READY, embedder, 4)
    assert model.is_default
    assert not (await bring(ingest, "other", {"labels": []}, task=embedder)).is_default
    assert (await get(ingest, "person_detector")).is_default
    asked = parameters_pb2.MultiCameraParameters(environment_id="faces")
    request = job_pb2.CreateJobRequest(parameters=parameters_pb2.JobParameters(multi_camera=asked))
    job = (await call(ingest.jobs.CreateJob, request, owner="ada")).job
    assert job.parameters.multi_camera.embedder == "reid"
    with pytest.raises(errors.FailedPrecondition) as refused:
        await delete(ingest, "reid")
    assert refused.value.reason == "MODEL_IN_USE"
    with pytest.raises(errors.InvalidArgument) as wrong:
        await ingest.start_job(site.cameras[0].sub_videos[0].asset_id, parameters=pitstop("reid"))
    assert wrong.value.reason == "WRONG_MODEL_TASK"
    await call(ingest.jobs.CancelJob, job_pb2.CancelJobRequest(job_id=job.job_id), owner="ada")
    for name in ("reid", "other"):
        await delete(ingest, name)


@pytest.mark.parametrize(
    ("task", "labels", "reason"),
    [(model_pb2.MODEL_TASK_POSE, [], "NOT_AVAILABLE_YET"), (model_pb2.MODEL_TASK_EMBEDDER, ["a"], "LABELS_NOT_TAKEN")],
)
async def test_models_of_other_tasks_are_not_imported(ingest: Any, task: Any, labels: list[str], reason: str) -> None:
    request = model_pb2.ImportModelRequest(asset_id="any", model="poses", task=task, labels=labels)
    with pytest.raises(errors.KinemeshError) as refused:
        await call(ingest.models.ImportModel, request, owner="ada")
    assert refused.value.reason == reason


async def test_how_an_embedder_sees_pixels_is_passed_on(ingest: Any) -> None:
    embedder = model_pb2.MODEL_TASK_EMBEDDER
    colors: dict[str, Any] = {"mean": (123.675, -1, 0), "scale": (58.395, 1e-3, 255)}
    order = model_pb2.COLOR_ORDER_BGR
    model = await bring(ingest, "seen", {"refuse": "DEAD_MODEL"}, task=embedder, color_order=order, **colors)
    assert model.failure.metadata["colors"] == "BGR 123.675,-1.0,0.0 58.395,0.001,255.0"
    model = await bring(ingest, "seen", {"refuse": "DEAD_MODEL"}, task=embedder, scale=(1, 2, 3))
    assert model.failure.metadata["colors"] == "  1.0,2.0,3.0"
    await delete(ingest, "seen")


@pytest.mark.parametrize(
    ("task", "colors", "field"),
    [
        (model_pb2.MODEL_TASK_DETECTOR, {"mean": (1, 2, 3)}, "mean"),
        (model_pb2.MODEL_TASK_UNSPECIFIED, {"color_order": model_pb2.COLOR_ORDER_RGB}, "color_order"),
        (model_pb2.MODEL_TASK_EMBEDDER, {"color_order": 7}, "color_order"),
        (model_pb2.MODEL_TASK_EMBEDDER, {"mean": (1, 2)}, "mean"),
        (model_pb2.MODEL_TASK_EMBEDDER, {"mean": (1, 2, float("nan"))}, "mean"),
        (model_pb2.MODEL_TASK_EMBEDDER, {"scale": (1, 2, float("inf"))}, "scale"),
        (model_pb2.MODEL_TASK_EMBEDDER, {"scale": (1, 0, 2)}, "scale"),
    ],
)
async def test_colors_that_are_refused(ingest: Any, task: Any, colors: dict[str, Any], field: str) -> None:
    request = model_pb2.ImportModelRequest(asset_id="any", model="seen", task=task, **colors)
    with pytest.raises(errors.InvalidArgument) as refused:
        await call(ingest.models.ImportModel, request, owner="ada")
    assert (refused.value.reason, refused.value.metadata["field"]) == ("INVALID_COLOURS", field)


async def test_an_imported_model_serves_its_owner_until_it_is_deleted(ingest: Any, clip: bytes) -> None:
    model = await bring(ingest, "cars", {"labels": ["car", "crew"]}, license="MIT", request_id="cars")
    assert model.state == model_pb2.MODEL_STATE_READY, model.failure
    assert (model.owner, model.source) == ("ada", model_pb2.MODEL_SOURCE_IMPORTED)
    assert list(model.labels) == ["car", "crew"]
    assert not model.is_default
    again = model_pb2.ImportModelRequest(asset_id="gone", model="cars", request_id="cars")
    assert (await call(ingest.models.ImportModel, again, owner="ada")).model.model == "cars"

    asset = await ingest.upload(clip)
    job = await ingest.start_job(asset.asset_id, parameters=pitstop("cars"))
    assert job.parameters.pitstop.threshold == 0.5
    with pytest.raises(errors.FailedPrecondition) as refused:
        await delete(ingest, "cars")
    assert (refused.value.reason, refused.value.metadata["job_id"]) == ("MODEL_IN_USE", job.job_id)
    await call(ingest.jobs.CancelJob, job_pb2.CancelJobRequest(job_id=job.job_id), owner="ada")
    for _ in range(2):
        await delete(ingest, "cars", request_id="away")
    assert not (ingest.repository / "cars").exists()
    with pytest.raises(errors.NotFound):
        await get(ingest, "cars")
    with pytest.raises(errors.NotFound) as unknown:
        await ingest.start_job(asset.asset_id, parameters=pitstop("cars"))
    assert unknown.value.reason == "MODEL_NOT_FOUND"
    assert (await bring(ingest, "cars", {"labels": ["car"]})).state == model_pb2.MODEL_STATE_READY
    await delete(ingest, "cars")


async def test_somebody_elses_model_is_unknown_and_its_name_is_taken(ingest: Any, clip: bytes) -> None:
    await bring(ingest, "secret", {"labels": ["car"]})
    for attempt in (get(ingest, "secret", "eve"), delete(ingest, "secret", "eve")):
        with pytest.raises(errors.NotFound):
            await attempt
    asset = await ingest.upload(clip, owner="eve")
    with pytest.raises(errors.NotFound):
        await ingest.start_job(asset.asset_id, owner="eve", parameters=pitstop("secret"))
    listed = await call(ingest.models.ListModels, model_pb2.ListModelsRequest(), owner="eve")
    assert "secret" not in [model.model for model in listed.models]
    for name in ("secret", "person_detector"):
        with pytest.raises(errors.AlreadyExists) as refused:
            await bring(ingest, name, {"labels": ["car"]}, owner="eve")
        assert refused.value.reason == "MODEL_EXISTS"
    await delete(ingest, "secret")


async def test_a_refused_model_says_why_and_makes_room(ingest: Any, clip: bytes) -> None:
    picture = await ingest.upload(PICTURE, kind="IMAGE")
    model = await bring(ingest, "dead", {"refuse": "DEAD_MODEL"}, license="MIT", check_image_asset_id=picture.asset_id)
    assert model.state == model_pb2.MODEL_STATE_REJECTED
    assert (model.failure.reason, model.failure.code) == ("DEAD_MODEL", "INVALID_ARGUMENT")
    told = model.failure.metadata
    assert (told["suffix"], told["licence"], told["picture"]) == (".onnx", "MIT", "True")
    # What handles users' files sees none of our credentials.
    assert "PATH" in told["environment"]
    assert "__" not in told["environment"]
    asset = await ingest.upload(clip)
    with pytest.raises(errors.FailedPrecondition) as refused:
        await ingest.start_job(asset.asset_id, parameters=pitstop("dead"))
    assert (refused.value.reason, refused.value.metadata["state"]) == ("MODEL_NOT_READY", "REJECTED")
    rejected = model_pb2.ListModelsRequest(states=[model_pb2.MODEL_STATE_REJECTED])
    assert [m.model for m in (await call(ingest.models.ListModels, rejected, owner="ada")).models] == ["dead"]
    assert (await call(ingest.models.ListModels, rejected, owner="eve")).total_size == 0
    assert (await bring(ingest, "dead", {"labels": ["car"]})).state == model_pb2.MODEL_STATE_READY
    await delete(ingest, "dead")


@pytest.mark.parametrize(
    ("told", "reason"), [({"labels": ["car"], "broken": True}, "MODEL_LOAD_FAILED"), ({"crash": True}, "IMPORT_FAILED")]
)
async def test_what_cannot_be_served_is_refused_and_leaves_nothing(
    ingest: Any, told: dict[str, Any], reason: str
) -> None:
    model = await bring(ingest, "ruin", told)
    assert (model.state, model.failure.reason) == (model_pb2.MODEL_STATE_REJECTED, reason)
    assert "detail" not in model.failure.message
    assert not (ingest.repository / "ruin").exists()
    await delete(ingest, "ruin")
    with pytest.raises(errors.NotFound):
        await get(ingest, "ruin")


async def test_killing_ingest_mid_import_loses_nothing(ingest: Any, tmp_path: Path) -> None:
    gate, begun = tmp_path / "gate", tmp_path / "gate.begun"
    asset = await ingest.upload(weights(labels=["car"], wait=str(gate)), kind="WEIGHTS")
    request = model_pb2.ImportModelRequest(asset_id=asset.asset_id, model="durable")
    await call(ingest.models.ImportModel, request, owner="ada")

    async def has_begun() -> bool:
        return begun.exists()

    await until(has_begun)
    for refused_call, message in (
        (ingest.assets.DeleteAsset, asset_pb2.DeleteAssetRequest(asset_id=asset.asset_id)),
        (ingest.models.DeleteModel, model_pb2.DeleteModelRequest(model="durable")),
    ):
        with pytest.raises(errors.FailedPrecondition) as refused:
            await call(refused_call, message, owner="ada")
        assert refused.value.reason in ("ASSET_IN_USE", "MODEL_IMPORTING")
    await ingest.process.kill()
    begun.unlink()
    await until(has_begun)
    gate.touch()

    async def ready() -> bool:
        try:
            return (await settled(ingest, "durable")).state == model_pb2.MODEL_STATE_READY
        except errors.Unavailable:
            return False

    await until(ready, 60)
    await delete(ingest, "durable")


async def test_a_model_of_the_manifest_is_for_everyone(ingest: Any) -> None:
    for _ in range(2):
        request = model_pb2.AddModelRequest(model="tiny", request_id="tiny")
        await call(ingest.models.AddModel, request, owner="ada")
    assert (await settled(ingest, "tiny")).state == model_pb2.MODEL_STATE_READY
    model = await get(ingest, "tiny", "eve")
    assert (model.source, model.owner) == (model_pb2.MODEL_SOURCE_MANIFEST, "")
    with pytest.raises(errors.PermissionDenied) as refused:
        await delete(ingest, "tiny", "eve")
    assert refused.value.reason == "MODEL_SHARED"
    await delete(ingest, "tiny")
    await call(ingest.models.AddModel, model_pb2.AddModelRequest(model="unknown1"), owner="ada")
    refusal = await settled(ingest, "unknown1")
    assert (refusal.state, refusal.failure.reason) == (model_pb2.MODEL_STATE_REJECTED, "UNKNOWN_MODEL")
    await delete(ingest, "unknown1")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"model": "Cars"}, "INVALID_NAME"),
        ({"model": "--json"}, "INVALID_NAME"),
        ({"model": "../cars"}, "INVALID_NAME"),
        ({"model": "ok", "labels": [""]}, "MISSING_FIELD"),
        ({"model": "ok", "labels": ["a\nb"]}, "INVALID_TEXT"),
        ({"model": "ok", "task": model_pb2.MODEL_TASK_POSE}, "NOT_AVAILABLE_YET"),
        ({"model": "ok", "asset_id": "nope"}, "ASSET_NOT_FOUND"),
    ],
)
async def test_wrong_imports_are_refused(ingest: Any, fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(errors.KinemeshError) as refused:
        await call(ingest.models.ImportModel, model_pb2.ImportModelRequest(**fields), owner="ada")
    assert refused.value.reason == reason


async def test_only_weights_are_imported(ingest: Any) -> None:
    asset = await ingest.upload(PICTURE, kind="IMAGE")
    request = model_pb2.ImportModelRequest(asset_id=asset.asset_id, model="ok")
    with pytest.raises(errors.InvalidArgument) as refused:
        await call(ingest.models.ImportModel, request, owner="ada")
    assert (refused.value.reason, refused.value.metadata["field"]) == ("WRONG_ASSET_KIND", "asset_id")


async def test_a_model_is_tried_on_a_picture(ingest: Any) -> None:
    frame = common_pb2.EncodedFrame(data=PICTURE)
    request = model_pb2.TestModelRequest(model="person_detector", frame=frame)
    answer = await call(ingest.models.TestModel, request, owner="ada")
    assert (answer.width, answer.height) == (160, 90)
    assert answer.inference_ms > 0
    # The picture is scaled to 64 × 36.
    [found] = answer.detections
    box = found.box
    assert (found.label, found.class_id, found.score) == ("person", 0, pytest.approx(0.9))
    assert (box.x1, box.y1, box.x2, box.y2) == (20, 40, 60, 90)
    every = model_pb2.TestModelRequest(model="person_detector", frame=frame, threshold=0.1)
    answer = await call(ingest.models.TestModel, every, owner="ada")
    assert [found.label for found in answer.detections] == ["person", "chair"]
    nothing = common_pb2.EncodedFrame(data=b"not a picture")
    for name, shown, reason in (("person_detector", nothing, "NOT_A_PICTURE"), ("nobody", frame, "MODEL_NOT_FOUND")):
        with pytest.raises(errors.KinemeshError) as refused:
            await call(ingest.models.TestModel, model_pb2.TestModelRequest(model=name, frame=shown), owner="ada")
        assert refused.value.reason == reason


async def test_an_embedder_is_tried_on_the_whole_picture(ingest: Any) -> None:
    await bring(ingest, "reid", {"labels": []}, task=model_pb2.MODEL_TASK_EMBEDDER)
    shown = np.zeros((90, 160, 3), np.uint8)
    shown[:45] = 40, 80, 0  # the upper half, and it is not turned blue first
    shown[45:] = 80, 0, 0
    frame = common_pb2.EncodedFrame(data=encode_picture(shown, ".png", 90))
    answer = await call(ingest.models.TestModel, model_pb2.TestModelRequest(model="reid", frame=frame), owner="ada")
    assert list(answer.embedding) == pytest.approx([1 / 3, 2 / 3, 0, 2 / 3], abs=0.01)
    assert (answer.width, answer.height, len(answer.detections)) == (160, 90, 0)
    assert answer.inference_ms > 0
    await delete(ingest, "reid")


async def test_the_importer_itself_is_told_of_colors(tmp_path: Path) -> None:
    file = tiny_yolox(tmp_path / "best.onnx")
    program = Program(triton_python(), tmp_path, "cpu", 120, inherited())
    for said, reason in (
        ({"order": "BGR", "mean": [-1.0, 1e-3, 2.0], "scale": [1.0, -2.0, 3.0]}, "WRONG_HEAD"),
        ({"order": "", "mean": [], "scale": [1.0, 0.0, 1.0]}, "INVALID_COLOURS"),
    ):
        with pytest.raises(errors.InvalidArgument) as refused:
            await program.import_weights(file, "seen", [], "", None, "embedder", said)
        assert refused.value.reason == reason


async def test_the_importer_itself(ingest: Any, model_server: tuple[TritonSettings, Path], tmp_path: Path) -> None:
    """The model project's own program, and a network that it is given."""
    settings, repository = model_server
    file = tiny_yolox(tmp_path / "best.onnx")
    program = Program(triton_python(), repository, "cpu", 120, inherited())
    with pytest.raises(errors.InvalidArgument) as refused:
        await program.import_weights(file, "nano", ["person"], "Apache-2.0", None)
    assert refused.value.reason == "LABELS_MISMATCH"
    labels = ["wheel", "jack"]
    facts = await program.import_weights(file, "nano", labels, "Apache-2.0", None)
    assert (facts.labels, facts.size_bytes) == (labels, file.stat().st_size)
    async with TritonClient(settings) as triton:
        await triton.load("nano")
        model = await get(ingest, "nano")
        assert (model.source, model.license) == (model_pb2.MODEL_SOURCE_IMPORTED, "Apache-2.0")
        frame = common_pb2.EncodedFrame(data=PICTURE)
        request = model_pb2.TestModelRequest(model="nano", frame=frame, threshold=0.99)
        assert not (await call(ingest.models.TestModel, request, owner="ada")).detections
        with pytest.raises(errors.PermissionDenied):
            await delete(ingest, "nano")  # the catalogue does not know it: it is the machine's own user's
        await triton.unload("nano")
    for _ in range(2):
        await program.remove("nano")


async def test_an_import_ends_in_time(models_python: Path, tmp_path: Path) -> None:
    program = Program(models_python, tmp_path, "cpu", 0.5, {"PATH": "/usr/bin:/bin"})
    file = tmp_path / "weights.onnx"
    file.write_bytes(weights(wait=str(tmp_path / "never"), labels=["car"]))
    with pytest.raises(errors.DeadlineExceeded) as late:
        await program.import_weights(file, "late", [], "", None)
    assert late.value.reason == "IMPORT_TIMEOUT"


async def test_a_program_that_cannot_be_run_has_a_reason(tmp_path: Path) -> None:
    program = Program(tmp_path / "nowhere", tmp_path, "cpu", 5, {})
    with pytest.raises(errors.Internal) as failed:
        await program.add("tiny")
    assert failed.value.reason == "IMPORT_FAILED"
    assert str(tmp_path) not in failed.value.message


def test_without_a_program_nothing_is_imported() -> None:
    nothing: Any = None
    with pytest.raises(errors.FailedPrecondition) as refused:
        Imports(nothing, nothing, nothing, None).require_program()
    assert refused.value.reason == "IMPORT_NOT_CONFIGURED"


def test_program_and_repository_belong_together() -> None:
    with pytest.raises(ValueError, match="set together"):
        IngestSettings.model_validate({"models": {"python": "/usr/bin/python3"}})
