"""Models over REST, and the weights and pictures that they are made of and tried on."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from kinemesh.model.v1 import model_pb2

from .stand_in import PNG_HEAD

MODELS = "/api/v1/models"
JPEG = b"\xff\xd8" + bytes(1000)


async def weights(gateway: Any) -> str:
    data = b"weights"
    body = {"filename": "best.onnx", "content_type": "application/octet-stream", "size_bytes": 7, "kind": "WEIGHTS"}
    created = (await gateway.http.post("/api/v1/assets", json=body)).json()
    assert created["asset"]["kind"] == "WEIGHTS"
    asset_id: str = created["asset"]["asset_id"]
    async with httpx.AsyncClient() as plain:
        upload = created["upload"]
        (await plain.put(upload["url"], content=data, headers=upload["headers"])).raise_for_status()
    confirmed = await gateway.http.post(f"/api/v1/assets/{asset_id}/confirm")
    assert (confirmed.status_code, confirmed.json()["kind"]) == (200, "WEIGHTS")
    return asset_id


async def test_a_model_is_imported_listed_and_deleted(gateway: Any) -> None:
    body = {"asset_id": await weights(gateway), "model": "pit", "labels": ["car", "crew"], "license": "own"}
    begun = await gateway.http.post(f"{MODELS}/import", json=body)
    assert begun.status_code == 202, begun.text
    assert begun.headers["location"] == f"{MODELS}/pit"
    model = begun.json()
    assert (model["state"], model["task"], model["source"]) == ("IMPORTING", "DETECTOR", "IMPORTED")
    assert (model["labels"], model["license"]) == (["car", "crew"], "own")
    assert (await gateway.http.get(f"{MODELS}/pit")).json() == model
    found = (await gateway.http.get(f"{MODELS}?task=detector&state=importing")).json()
    assert [model["model"] for model in found["models"]] == ["pit"]
    again = await gateway.http.post(f"{MODELS}/import", json=body)
    assert (again.status_code, again.json()["error"]["reason"]) == (409, "MODEL_EXISTS")
    assert (await gateway.http.delete(f"{MODELS}/pit")).status_code == 204
    assert (await gateway.http.get(f"{MODELS}/pit")).status_code == 404


async def test_an_embedder_is_imported_with_its_colors_and_tried(gateway: Any) -> None:
    colors = {"color_order": "BGR", "mean": [123.675, -1, 0], "scale": [58.395, 57.12, 255]}
    body = {"asset_id": await weights(gateway), "model": "reid", "task": "EMBEDDER"}
    begun = await gateway.http.post(f"{MODELS}/import", json={**body, **colors})
    assert (begun.status_code, begun.json()["task"]) == (202, "EMBEDDER"), begun.text
    asked = gateway.catalogue.imports["reid"]
    assert asked.color_order == model_pb2.COLOR_ORDER_BGR
    assert (list(asked.mean), list(asked.scale)) == (colors["mean"], colors["scale"])

    gateway.catalogue.models["reid"].state = model_pb2.MODEL_STATE_READY
    tried = await gateway.http.post(f"{MODELS}/reid/test", files={"image": ("a.jpg", JPEG)})
    assert (tried.status_code, tried.json()["embedding"], tried.json()["detections"]) == (200, [0.5, -0.25], [])
    assert (await gateway.http.delete(f"{MODELS}/reid")).status_code == 204

    assert (await gateway.http.post(f"{MODELS}/import", json=body)).status_code == 202
    asked = gateway.catalogue.imports["reid"]
    assert (asked.color_order, list(asked.mean), list(asked.scale)) == (0, [], [])
    assert (await gateway.http.delete(f"{MODELS}/reid")).status_code == 204


async def test_a_model_of_the_manifest_is_added(gateway: Any) -> None:
    begun = await gateway.http.post(f"{MODELS}/add", json={"model": "yolox_nano"})
    assert (begun.status_code, begun.json()["source"]) == (202, "MANIFEST")
    assert begun.headers["location"] == f"{MODELS}/yolox_nano"
    again = await gateway.http.post(f"{MODELS}/add", json={"model": "yolox_nano"})
    assert (again.status_code, again.json()["error"]["reason"]) == (409, "MODEL_EXISTS")
    assert (await gateway.http.delete(f"{MODELS}/yolox_nano")).status_code == 204


async def test_imports_that_are_refused(gateway: Any) -> None:
    picture = await gateway.asset(PNG_HEAD, "image/png", "a.png", kind="IMAGE")
    for body, status, field in (
        ({"model": "a"}, 422, "asset_id"),
        ({"asset_id": "a"}, 422, "model"),
        ({"asset_id": "a", "model": "b", "task": "ORACLE"}, 422, "task"),
        ({"asset_id": "a", "model": "b", "labels": [""]}, 422, "labels[0]"),
        ({"asset_id": "a", "model": "b", "color_order": "GRB"}, 422, "color_order"),
        ({"asset_id": "a", "model": "b", "mean": [1, 2, 3, 4]}, 422, "mean"),
        ({"asset_id": "a", "model": "b", "scale": [1, "wide", 3]}, 422, "scale[1]"),
        ({"asset_id": picture, "model": "b"}, 400, "asset_id"),
    ):
        answer = await gateway.http.post(f"{MODELS}/import", json=body)
        assert (answer.status_code, answer.json()["error"]["metadata"]["field"]) == (status, field)
    unknown = await gateway.http.post(f"{MODELS}/import", json={"asset_id": "none", "model": "b"})
    assert (unknown.status_code, unknown.json()["error"]["reason"]) == (404, "ASSET_NOT_FOUND")
    wrong = await gateway.http.post("/api/v1/assets", json={
        "filename": "a", "content_type": "b", "size_bytes": 1, "kind": "PROSE",
    })  # fmt: skip
    assert (wrong.status_code, wrong.json()["error"]["metadata"]["field"]) == (422, "kind")


async def test_models_that_stay(gateway: Any) -> None:
    assert (await gateway.http.delete(f"{MODELS}/none")).status_code == 404
    embedded = await gateway.http.delete(f"{MODELS}/person_detector")
    assert (embedded.status_code, embedded.json()["error"]["reason"]) == (409, "MODEL_EMBEDDED")


async def test_a_model_is_tried_on_a_picture(gateway: Any) -> None:
    url = f"{MODELS}/person_detector/test"
    answer = await gateway.http.post(url, files={"image": ("a.jpg", JPEG)}, data={"threshold": "0.25"})
    assert answer.status_code == 200, answer.text
    box = {"x1": 1.0, "y1": 2.0, "x2": 3.0, "y2": 4.0}
    assert answer.json() == {
        "detections": [{"box": box, "score": 0.25, "class_id": 0, "label": "person"}],
        "poses": [],
        "embedding": [],
        "inference_ms": 1.5,
        "width": len(JPEG),  # the stand-in's way to say how much it got
        "height": 7,
    }
    large = JPEG + bytes(3 * 1024 * 1024)  # more than JSON may have
    answer = await gateway.http.post(url, files={"image": ("a.jpg", large)})
    assert (answer.status_code, answer.json()["width"]) == (200, len(large))
    assert answer.json()["detections"][0]["score"] == 0.5


@pytest.mark.parametrize(
    ("name", "files", "fields", "status", "reason"),
    [
        ("none", {"image": ("a.jpg", JPEG)}, {}, 404, "MODEL_NOT_FOUND"),
        ("lost", {"image": ("a.jpg", JPEG)}, {}, 409, "MODEL_NOT_READY"),
        ("person_detector", {"image": ("a.txt", b"text")}, {}, 415, "NOT_A_PICTURE"),
        ("person_detector", {"image": ("a.jpg", JPEG)}, {"threshold": "2"}, 400, "FIELD_INVALID"),
        ("person_detector", {"image": (None, b"")}, {}, 400, "FILE_MISSING"),
        ("person_detector", {"image": ("a.jpg", bytes(17 * 1024 * 1024))}, {}, 413, "FILE_TOO_LARGE"),
    ],
)
async def test_trials_that_are_refused(
    gateway: Any, name: str, files: Any, fields: dict[str, str], status: int, reason: str
) -> None:
    answer = await gateway.http.post(f"{MODELS}/{name}/test", files=files, data=fields)
    assert (answer.status_code, answer.json()["error"]["reason"]) == (status, reason)


@pytest.mark.parametrize(
    ("pipeline", "parameters", "status", "reason"),
    [
        ("pitstop", {}, 409, "MODEL_REQUIRED"),
        ("pitstop", {"model": "none"}, 404, "MODEL_NOT_FOUND"),
        ("pitstop", {"model": "lost"}, 409, "MODEL_NOT_READY"),
        ("instructor", {"model": "blazepose"}, 400, "WRONG_MODEL_TASK"),
        ("pitstop", {"model": "person_detector", "zones": [{"name": "a\n"}]}, 400, "FIELD_INVALID"),
        ("pitstop", {"model": "person_detector", "notes": "a\x1bb"}, 400, "FIELD_INVALID"),
        ("pitstop", {"model": "person_detector", "notes": "a\ud800b"}, 400, "FIELD_INVALID"),
    ],
)
async def test_jobs_of_models_that_will_not_do(
    gateway: Any, pipeline: str, parameters: dict[str, Any], status: int, reason: str
) -> None:
    body = {"pipeline": pipeline, "asset_id": await gateway.asset(b"\0\0\0\x18ftypisom\0\0\2\0isomiso2")}
    content = json.dumps({**body, "parameters": parameters})
    headers = {"Content-Type": "application/json"}
    answer = await gateway.http.post("/api/v1/jobs", content=content, headers=headers)
    assert (answer.status_code, answer.json()["error"]["reason"]) == (status, reason), answer.text
