"""Sites over REST: kept, changed, calibrated, and who their galleries know; and queries over their jobs."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import numpy as np
import pytest

from kinemesh.environment.v1 import calibration_pb2, environment_pb2

PAIRS: list[dict[str, dict[str, float]]] = [
    {"image": {"x": x, "y": y}, "map": {"x": x / 10, "y": y / 10}} for x, y in ((0, 0), (9, 0), (9, 9), (0, 9))
]
POINTS = {"points": {"pairs": PAIRS}}
PATH = "/api/v1/environments"


def described(name: str) -> dict[str, Any]:
    """A site with everything."""
    square = [{"x": 0, "y": 0}, {"x": 4, "y": 0}, {"x": 4, "y": 4}]
    return {
        "environment_id": name,
        "display_name": "Factory",
        "description": "First line.\nSecond line.",
        "cameras": [
            {
                "camera": "c09",
                "sub_videos": [{"asset_id": "a1"}, {"asset_id": "a2", "start_sec": 60.5}],
                "homography": {"source": {**POINTS, "image_axes": "YX", "image_width": 640}},
                "distortion": {"model": "FISHEYE", "fx": 500, "fy": 500, "cx": 320, "cy": 240, "coefficients": [0.1]},
            },
            {"camera": "c12", "homography": {"source": {"matrix": {"values": [1, 0, 0, 0, 1, 0, 0, 0, 1]}}}},
        ],
        "zones": [
            {"zone": "door", "map": {"corners": square}, "color": "#2f6f4f"},
            {"zone": "desk", "image": {"camera": "c12", "corners": [{"x": 0, "y": 0}, {"x": 1, "y": 0}]}},
        ],
        "passages": [{"from_camera": "c09", "to_camera": "c12", "max_travel_sec": 30, "both_ways": True}],
        "ground_plane": {"width": 20, "height": 10, "y_up": True},
        "clock_start_time": "2026-03-01T08:00:00Z",
        "gallery": {"enabled": True, "retention_days": 7},
    }


async def made(gateway: Any, name: str) -> dict[str, Any]:
    answer = await gateway.http.post(PATH, json=described(name))
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


def homography_file(**arrays: Any) -> bytes:
    data = io.BytesIO()
    np.savez(data, **arrays)
    return data.getvalue()


async def test_a_site_is_kept_as_it_was_described(gateway: Any) -> None:
    answer = await gateway.http.post(PATH, json=described("factory-1"))
    assert answer.status_code == 201
    assert answer.headers["location"] == f"{PATH}/factory-1"
    site = answer.json()
    kept = gateway.catalogue.environments["factory-1"]
    assert kept.cameras[0].homography.source.image_axes == calibration_pb2.AXIS_ORDER_YX
    assert not kept.cameras[0].sub_videos[0].HasField("start_sec")
    assert kept.cameras[0].distortion.model == calibration_pb2.LENS_MODEL_FISHEYE
    assert kept.clock_start_time.ToJsonString() == "2026-03-01T08:00:00Z"
    assert site["cameras"][0]["sub_videos"] == [
        {"asset_id": "a1", "start_sec": None},
        {"asset_id": "a2", "start_sec": 60.5},
    ]
    assert site["cameras"][0]["homography"]["source"]["points"]["pairs"] == [
        {part: {axis: float(value) for axis, value in point.items()} for part, point in pair.items()} for pair in PAIRS
    ]
    assert site["zones"][1]["map"] is None
    assert site["clock_start_time"] == "2026-03-01T08:00:00Z"
    assert (await gateway.http.get(f"{PATH}/factory-1")).json() == site


async def test_what_was_read_can_be_sent_back(gateway: Any) -> None:
    site = await made(gateway, "factory-2")
    answer = await gateway.http.patch(f"{PATH}/factory-2", json=site)
    assert (answer.status_code, answer.json()) == (200, site)


async def test_a_change_touches_only_what_it_names(gateway: Any) -> None:
    await made(gateway, "factory-3")
    url = f"{PATH}/factory-3"
    changed = (await gateway.http.patch(url, json={"display_name": "Hall", "clock_start_time": None})).json()
    assert (changed["display_name"], changed["clock_start_time"]) == ("Hall", None)
    assert len(changed["cameras"]) == 2
    masked = {"display_name": "Not this", "cameras": [{"camera": "c13"}]}
    changed = (await gateway.http.patch(url, params={"update_mask": "cameras, zones"}, json=masked)).json()
    assert ([camera["camera"] for camera in changed["cameras"]], changed["zones"]) == (["c13"], [])
    assert changed["display_name"] == "Hall"


@pytest.mark.parametrize(
    ("body", "query", "status", "reason", "field"),
    [
        ({}, "", 400, "NOTHING_TO_CHANGE", "body"),
        ({"owner": "me"}, "", 400, "NOTHING_TO_CHANGE", "body"),
        ({"environment_id": "other", "display_name": "x"}, "", 400, "FIELD_INVALID", "environment_id"),
        ({"display_name": "x"}, "?update_mask=colour", 400, "FIELD_UNKNOWN", "update_mask"),
        ({"colour": 1}, "", 422, "VALIDATION_FAILED", "colour"),
        ({"clock_start_time": "soon"}, "", 400, "FIELD_INVALID", "clock_start_time"),
        ({"clock_start_time": 7}, "", 422, "VALIDATION_FAILED", "clock_start_time"),
        ({"cameras": [{"camera": "c1", "sub_videos": [{}]}]}, "", 422, "VALIDATION_FAILED",
         "cameras[0].sub_videos[0].asset_id"),
        ({"cameras": [{"camera": "c\u0007"}]}, "", 400, "FIELD_INVALID", "cameras[0].camera"),
        ({"zones": [{"zone": "z", "map": {"corners": []}, "image": {"camera": "c", "corners": []}}]}, "", 422,
         "VALIDATION_FAILED", "zones[0]"),
        ({"cameras": [{"camera": "c", "homography": {"source": {**POINTS, "matrix": {"values": [1]}}}}]}, "", 422,
         "VALIDATION_FAILED", "cameras[0].homography.source"),
        ({"cameras": [{"camera": "c", "homography": {"source": {"file": {"data": "?"}}}}]}, "", 400,
         "FIELD_INVALID", "cameras[0].homography.source.file.data"),
    ],
)  # fmt: skip
async def test_wrong_changes_name_the_field(
    gateway: Any, body: dict[str, Any], query: str, status: int, reason: str, field: str
) -> None:
    site = await gateway.site()
    answer = await gateway.http.patch(f"{PATH}/{site}{query}", json=body)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert (error["reason"], error["metadata"]["field"]) == (reason, field)


async def test_numbers_that_are_none_are_refused(gateway: Any) -> None:
    body = '{"ground_plane": {"width": NaN}}'
    headers = {"Content-Type": "application/json"}
    answer = await gateway.http.post(PATH, content=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]["metadata"]["field"]) == (422, "ground_plane.width")


async def test_sites_are_listed_in_pages_and_deleted(gateway: Any) -> None:
    mine = {"X-Kinemesh-Owner": "operator"}
    names = [(await gateway.http.post(PATH, json={}, headers=mine)).json()["environment_id"] for _ in range(3)]
    first = (await gateway.http.get(f"{PATH}?limit=2", headers=mine)).json()
    assert [site["environment_id"] for site in first["environments"]] == names[:2]
    assert (first["total"], first["limit"], first["offset"], first["next_page_token"]) == (3, 2, 0, "2")
    assert (await gateway.http.get(f"{PATH}/{names[0]}")).status_code == 404
    assert (await gateway.http.delete(f"{PATH}/{names[0]}", headers=mine)).status_code == 204
    gone = await gateway.http.get(f"{PATH}/{names[0]}", headers=mine)
    assert (gone.status_code, gone.json()["error"]["reason"]) == (404, "ENVIRONMENT_NOT_FOUND")


async def test_a_site_at_work_stays(gateway: Any) -> None:
    site = await gateway.site()
    await gateway.http.post("/api/v1/processing-tasks/start", json={"environment_id": site})
    answer = await gateway.http.delete(f"{PATH}/{site}")
    assert (answer.status_code, answer.json()["error"]["reason"]) == (409, "ENVIRONMENT_IN_USE")


async def test_the_same_id_conflicts_and_the_same_key_does_not(gateway: Any) -> None:
    await made(gateway, "factory-4")
    answer = await gateway.http.post(PATH, json={"environment_id": "factory-4"})
    assert (answer.status_code, answer.json()["error"]["reason"]) == (409, "ENVIRONMENT_EXISTS")
    headers = {"Idempotency-Key": "site-once"}
    answers = [await gateway.http.post(PATH, json={}, headers=headers) for _ in range(2)]
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["environment_id"] for answer in answers}) == 1


async def test_a_homography_of_points_or_a_matrix(gateway: Any) -> None:
    site = await gateway.site()
    url = f"{PATH}/{site}/cameras/c01/homography"
    checked = await gateway.http.put(url, json={**POINTS, "validate_only": True})
    assert (checked.status_code, checked.json()["camera"]) == (200, "c01")
    assert checked.json()["homography"]["quality"]["points"] == 4
    camera = gateway.catalogue.environments[site].cameras[1]
    assert not camera.HasField("homography")
    assert (await gateway.http.put(f"{url}?validate_only=true", json=POINTS)).status_code == 200
    assert not camera.HasField("homography")
    matrix = {"matrix": {"values": list(range(9))}, "image_axes": "yx", "map_to_image": True}
    assert (await gateway.http.put(url, json=matrix)).status_code == 200
    source = camera.homography.source
    assert (list(source.matrix.values), source.map_to_image) == (list(range(9)), True)
    assert source.image_axes == calibration_pb2.AXIS_ORDER_YX
    assert (await gateway.http.delete(url)).status_code == 204
    assert not camera.HasField("homography")


async def test_a_homography_of_a_file(gateway: Any) -> None:
    site = await gateway.site()
    data = homography_file(image_points=np.zeros((4, 2)), map_points=np.zeros((4, 2)))
    answer = await gateway.http.put(
        f"{PATH}/{site}/cameras/c00/homography",
        files={"file": ("points.npz", data)},
        data={"image_axes": "YX", "map_axes": "XY", "image_width": "640", "map_to_image": "true"},
    )
    assert answer.status_code == 200, answer.text
    source = gateway.catalogue.environments[site].cameras[0].homography.source
    assert (source.file.filename, source.file.data) == ("points.npz", data)
    assert source.image_axes == calibration_pb2.AXIS_ORDER_YX
    assert source.map_axes == calibration_pb2.AXIS_ORDER_XY
    assert (source.image_width, source.map_to_image) == (640, True)
    told = answer.json()["homography"]["source"]["file"]
    assert base64.b64decode(told["data"]) == data


async def test_the_name_of_a_file_implies_the_camera(gateway: Any) -> None:
    site = await gateway.site()
    url = f"{PATH}/{site}/homographies"
    named = {"file": ("homography_points_c01_scene_s10.npz", b"PK")}
    answer = await gateway.http.post(url, files=named, data={"validate_only": "true"})
    assert (answer.status_code, answer.json()["camera"]) == (200, "c01")
    assert not gateway.catalogue.environments[site].cameras[1].HasField("homography")
    assert (await gateway.http.post(url, files=named)).status_code == 200
    assert gateway.catalogue.environments[site].cameras[1].HasField("homography")
    nameless = await gateway.http.post(url, files={"file": ("a.npz", b"PK")})
    assert (nameless.status_code, nameless.json()["error"]["reason"]) == (400, "CAMERA_NOT_NAMED")


@pytest.mark.parametrize(
    ("sent", "status", "reason", "field"),
    [
        ({"json": {"points": {"pairs": PAIRS[:3]}}}, 400, "TOO_FEW_POINTS", "points"),
        ({"json": {"points": {"pairs": [{"image": {"x": 1}}]}}}, 400, "FIELD_INVALID", "points.pairs[0].image.y"),
        ({"json": {"pints": []}}, 400, "FIELD_INVALID", "pints"),
        ({"json": {**POINTS, "image_axes": "ZX"}}, 400, "FIELD_INVALID", "image_axes"),
        ({"json": {**POINTS, "matrix": {"values": []}}}, 400, "FIELD_INVALID", "body"),
        ({"json": []}, 400, "FIELD_INVALID", "body"),
        ({"content": b"{", "headers": {"Content-Type": "application/json"}}, 400, "BODY_INVALID", "body"),
        ({"content": b"PK"}, 415, "JSON_OR_FORM_EXPECTED", "Content-Type"),
        ({"files": {"file": ("a.npz", b"PK")}, "data": {"image_axes": "up"}}, 400, "FIELD_INVALID", "image_axes"),
        ({"files": {"file": ("a.npz", b"PK")}, "data": {"colour": "x"}}, 400, "FIELD_INVALID", "colour"),
        ({"files": {"picture": ("a.npz", b"PK")}}, 400, "FORM_INVALID", "picture"),
        ({"files": {"file": ("a.npz", bytes(70 * 1024))}}, 413, "BODY_TOO_LARGE", None),
    ],
)
async def test_homographies_that_are_refused(
    gateway: Any, sent: dict[str, Any], status: int, reason: str, field: str | None
) -> None:
    site = await gateway.site()
    answer = await gateway.http.put(f"{PATH}/{site}/cameras/c00/homography", **sent)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert (error["reason"], error["metadata"].get("field")) == (reason, field)
    assert not gateway.catalogue.environments[site].cameras[0].HasField("homography")


async def test_cameras_that_are_not_there(gateway: Any) -> None:
    site = await gateway.site()
    for method, how in (("PUT", {"json": POINTS}), ("DELETE", {})):
        answer = await gateway.http.request(method, f"{PATH}/{site}/cameras/c77/homography", **how)
        assert (answer.status_code, answer.json()["error"]["reason"]) == (404, "UNKNOWN_CAMERA")
        answer = await gateway.http.request(method, f"{PATH}/nowhere/cameras/c77/homography", **how)
        assert (answer.status_code, answer.json()["error"]["reason"]) == (404, "ENVIRONMENT_NOT_FOUND")


async def test_a_calibration_is_a_document_or_a_file(gateway: Any) -> None:
    site = await gateway.site()
    url = f"{PATH}/{site}/calibration"
    document = {"ground_plane": {"width": 10}, "cameras": [{"id": "c00"}]}
    as_json = await gateway.http.post(f"{url}?image_axes=yx&validate_only=1", json=document)
    assert as_json.status_code == 200, as_json.text
    name, axes, only, text = as_json.json()["calibrated_cameras"]
    assert (name, axes, only, json.loads(text)) == ("calibration.json", "AXIS_ORDER_YX", "True", document)
    assert as_json.json()["unknown_cameras"] == ["c99"]
    assert as_json.json()["environment"]["environment_id"] == site
    files = {"file": ("site.json", json.dumps(document).encode())}
    as_file = await gateway.http.post(url, files=files, data={"image_axes": "XY"})
    name, axes, only, text = as_file.json()["calibrated_cameras"]
    assert (name, axes, only, json.loads(text)) == ("site.json", "AXIS_ORDER_XY", "False", document)
    refused = await gateway.http.post(url, files={"file": ("site.json", b"PK")})
    assert (refused.status_code, refused.json()["error"]["reason"]) == (400, "UNKNOWN_FORMAT")
    assert (await gateway.http.post(url, content=b"x")).status_code == 415


async def test_people_are_listed_and_forgotten(gateway: Any) -> None:
    site = await gateway.site()
    people = [environment_pb2.Identity(global_id=f"p{n}", cameras=["c00"], job_count=n) for n in range(3)]
    gateway.catalogue.identities.update({person.global_id: person for person in people})
    listed = (await gateway.http.get(f"{PATH}/{site}/identities?limit=2&offset=1")).json()
    assert [person["global_id"] for person in listed["identities"]] == ["p1", "p2"]
    assert (listed["total"], listed["offset"], listed["next_page_token"]) == (3, 1, None)
    assert listed["identities"][0]["expire_time"] is None
    forgotten = await gateway.http.delete(f"{PATH}/{site}/identities/p1")
    assert (forgotten.status_code, forgotten.json()) == (200, {"changed_jobs": 3})
    again = await gateway.http.delete(f"{PATH}/{site}/identities/p1")
    assert (again.status_code, again.json()["error"]["reason"]) == (404, "IDENTITY_NOT_FOUND")
    other = {"X-Kinemesh-Owner": "somebody-else"}
    assert (await gateway.http.get(f"{PATH}/{site}/identities", headers=other)).status_code == 404


async def test_who_was_where_when(gateway: Any) -> None:
    body = {
        "environment_id": "factory",
        "global_ids": ["p7"],
        "cameras": ["c12"],
        "zones": ["door"],
        "within": [{"x": 1, "y": 2}, {"x": 3, "y": 2}, {"x": 3, "y": 4}],
        "time": {"start_time": "2026-03-01T08:00:00Z"},
        "max_gap_sec": 0,
        "path_step_sec": 0.5,
        "limit": 2,
        "offset": 1,
    }
    found = (await gateway.http.post("/api/v1/tracks/query", json=body)).json()
    assert (found["total"], found["limit"], found["offset"], found["next_page_token"]) == (9, 2, 1, "3")
    assert len(found["presences"]) == 2
    assert found["presences"][0] == {
        "global_id": "p7",
        "job_id": "job-1",
        "camera": "c12",
        "zone": "",
        "start_sec": 0.0,
        "end_sec": 2.5,
        "start_time": "2026-03-01T08:00:00Z",
        "end_time": None,
        "start_frame": 0,
        "stop_frame": 25,
        "first_position": {"x": 1.0, "y": 2.0},
        "last_position": None,
        "distance": 0.0,
        "score": 0.5,
        "path": {"time_sec": [0.0, 0.5], "x": [], "y": []},
    }


@pytest.mark.parametrize(
    ("body", "status", "reason", "field"),
    [
        ({}, 400, "ENVIRONMENT_NEEDED", "environment_id"),
        ({"environment_id": "e", "who": 1}, 422, "VALIDATION_FAILED", "who"),
        ({"environment_id": "e", "limit": 101}, 422, "VALIDATION_FAILED", "limit"),
        ({"environment_id": "e", "offset": 1, "page_token": "x"}, 400, "PAGE_AMBIGUOUS", "page_token"),
        ({"environment_id": "e", "time": {}, "clock": {}}, 422, "VALIDATION_FAILED", "body"),
        ({"environment_id": "e", "time": {"end_time": "late"}}, 400, "FIELD_INVALID", "time.end_time"),
        ({"environment_id": "e", "within": [{"x": 1}]}, 422, "VALIDATION_FAILED", "within[0].y"),
        ({"environment_id": "e", "min_duration_sec": -1}, 422, "VALIDATION_FAILED", "min_duration_sec"),
        ({"environment_id": "e", "cameras": [""]}, 422, "VALIDATION_FAILED", "cameras[0]"),
    ],
)
async def test_queries_that_are_refused(
    gateway: Any, body: dict[str, Any], status: int, reason: str, field: str
) -> None:
    answer = await gateway.http.post("/api/v1/tracks/query", json=body)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert (error["reason"], error["metadata"]["field"]) == (reason, field)
