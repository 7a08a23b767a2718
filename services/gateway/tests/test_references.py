"""Reference images over REST: brought as assets or as forms, listed, shown, deleted."""

from __future__ import annotations

from typing import Any

import pytest

from kinemesh.storage import keys

from .routes_stand_in import BUILT_IN
from .stand_in import MP4_HEAD, PNG_HEAD

PATH = "/api/v1/routes/references"
OTHER = {"X-Kinemesh-Owner": "somebody-else"}
PICTURE = PNG_HEAD + bytes(range(256)) * 1024
FILE = {"file": ("wall.png", PICTURE, "image/png")}
ONE = {
    *("reference_id", "image_id", "owner", "display_name", "source", "asset_id", "route_id", "width", "height"),
    *("features", "create_time"),
}


async def uploaded(gateway: Any, **fields: str) -> dict[str, Any]:
    answer = await gateway.http.post(PATH, files=FILE, data=fields)
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def test_a_picture_comes_as_an_asset(gateway: Any) -> None:
    asset_id = await gateway.asset(PICTURE, "image/png", "wall.png", kind="IMAGE")
    route_id = await gateway.route()
    body = {"asset_id": asset_id, "display_name": "North face", "route_id": route_id}
    created = await gateway.http.post(PATH, json=body)
    assert created.status_code == 201, created.text
    image = created.json()
    assert set(image) == ONE
    assert {name: image[name] for name in body} == body
    assert (image["image_id"], image["source"], image["features"]) == (image["reference_id"], "UPLOADED", 0)
    assert (image["width"], image["height"], image["owner"]) == (640, 480, "local")
    url = created.headers["location"]
    assert url == f"{PATH}/{image['reference_id']}"
    assert (await gateway.http.get(url)).json() == image
    assert (await gateway.http.get(url, headers=OTHER)).status_code == 404


async def test_a_picture_comes_in_a_form(gateway: Any) -> None:
    route_id = await gateway.route()
    image = await uploaded(gateway, display_name="South face", route_id=route_id)
    assert (image["display_name"], image["route_id"]) == ("South face", route_id)
    asset = gateway.catalogue.assets[image["asset_id"]]
    assert (asset.filename, asset.size_bytes, asset.kind) == ("wall.png", len(PICTURE), 2)
    assert (await gateway.http.get(f"{PATH}/{image['reference_id']}/image")).content == PICTURE
    assert (await uploaded(gateway))["display_name"] == "wall.png"


async def test_a_repeated_form_makes_one_image_and_leaves_one_picture(gateway: Any) -> None:
    headers = {"Idempotency-Key": "picture-once"}
    first = await gateway.http.post(PATH, files=FILE, headers=headers)
    assets = set(gateway.catalogue.assets)
    again = await gateway.http.post(PATH, files=FILE, headers=headers)
    assert (again.status_code, again.json()) == (201, first.json())
    assert set(gateway.catalogue.assets) == assets


@pytest.mark.parametrize(
    ("sent", "status", "reason", "field"),
    [
        ({"files": {"file": ("a.png", b"GIF89a, no picture that is taken")}}, 415, "NOT_A_PICTURE", None),
        ({"files": {"file": ("a.png", MP4_HEAD, "image/png")}}, 415, "NOT_A_PICTURE", None),
        ({"files": {"file": ("a.png", b"")}}, 400, "EMPTY_FILE", "size_bytes"),
        ({"files": {"picture": ("a.png", PICTURE)}}, 400, "FORM_INVALID", "picture"),
        ({"files": FILE, "data": {"colour": "red"}}, 400, "FIELD_INVALID", "colour"),
        ({"files": FILE, "data": {"display_name": "x" * 201}}, 400, "FIELD_INVALID", "display_name"),
        ({"files": FILE, "data": {"display_name": "a\u0007"}}, 400, "FIELD_INVALID", "display_name"),
        ({"files": FILE, "data": {"route_id": "nowhere"}}, 404, "ROUTE_NOT_FOUND", None),
        ({"content": PICTURE, "headers": {"Content-Type": "image/png"}}, 415, "JSON_OR_FORM_EXPECTED", "Content-Type"),
        ({"content": b"", "headers": {"Content-Type": "multipart/form-data"}}, 400, "FORM_INVALID", "Content-Type"),
        ({"content": b"{", "headers": {"Content-Type": "application/json"}}, 400, "BODY_INVALID", "body"),
        ({"json": {}}, 400, "FIELD_INVALID", "asset_id"),
        ({"json": []}, 400, "FIELD_INVALID", "body"),
        ({"json": {"asset_id": "a", "colour": 1}}, 400, "FIELD_INVALID", "colour"),
        ({"json": {"asset_id": "nothing"}}, 404, "ASSET_NOT_FOUND", None),
        ({"json": {"asset_id": "a", "display_name": "x" * 70_000}}, 413, "BODY_TOO_LARGE", None),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_pictures_that_are_refused(
    gateway: Any, sent: dict[str, Any], status: int, reason: str, field: str | None
) -> None:
    assets, references = set(gateway.catalogue.assets), set(gateway.catalogue.references)
    answer = await gateway.http.post(PATH, **sent)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert (error["reason"], error["metadata"].get("field")) == (reason, field)
    assert set(gateway.catalogue.assets) == assets
    assert set(gateway.catalogue.references) == references


async def test_a_picture_that_is_too_large_is_refused_at_once(gateway: Any) -> None:
    answer = await gateway.http.post(PATH, files={"file": ("a.png", PNG_HEAD + bytes(67 * 2**20))})
    assert (answer.status_code, answer.json()["error"]["reason"]) == (413, "FILE_TOO_LARGE")
    assert answer.json()["error"]["metadata"]["limit_bytes"] == str(64 * 2**20)


async def test_assets_that_are_no_picture_are_refused(gateway: Any) -> None:
    video = await gateway.http.post(PATH, json={"asset_id": await gateway.asset(MP4_HEAD + b"video")})
    assert (video.status_code, video.json()["error"]["reason"]) == (400, "WRONG_ASSET_KIND")
    body = {"filename": "a.png", "content_type": "image/png", "size_bytes": 10, "kind": "IMAGE"}
    pending = (await gateway.http.post("/api/v1/assets", json=body)).json()["asset"]["asset_id"]
    early = await gateway.http.post(PATH, json={"asset_id": pending})
    assert (early.status_code, early.json()["error"]["reason"]) == (409, "ASSET_NOT_READY")


async def test_images_are_listed_by_source_and_route(gateway: Any) -> None:
    mine = {"X-Kinemesh-Owner": "photographer"}
    built_in = (await gateway.http.get(f"{PATH}?source=BUILT_IN", headers=mine)).json()
    assert [image["reference_id"] for image in built_in["references"]] == [BUILT_IN]
    assert (built_in["references"][0]["owner"], built_in["references"][0]["features"]) == ("", 4000)
    assert (built_in["references"][0]["create_time"], built_in["total"]) == (None, 1)
    ids = [(await gateway.http.post(PATH, files=FILE, headers=mine)).json()["reference_id"] for _ in range(2)]
    all_of_them = (await gateway.http.get(PATH, headers=mine)).json()
    assert [image["reference_id"] for image in all_of_them["references"]] == [BUILT_IN, *ids]
    page = (await gateway.http.get(f"{PATH}?source=uploaded&limit=1&offset=1", headers=mine)).json()
    assert [image["reference_id"] for image in page["references"]] == ids[1:]
    assert (page["total"], page["limit"], page["offset"], page["next_page_token"]) == (2, 1, 1, None)
    assert (await gateway.http.get(f"{PATH}?route_id=some", headers=mine)).json()["references"] == []
    wrong = await gateway.http.get(f"{PATH}?source=web")
    assert (wrong.status_code, wrong.json()["error"]["metadata"]["field"]) == (400, "source")


async def test_an_image_is_shown(gateway: Any) -> None:
    image = await uploaded(gateway)
    url = f"{PATH}/{image['reference_id']}/image"
    whole = await gateway.http.get(url)
    assert (whole.status_code, whole.content, whole.headers["content-type"]) == (200, PICTURE, "image/png")
    assert whole.headers["content-disposition"] == f'inline; filename="{image["reference_id"]}.png"'
    part = await gateway.http.get(url, headers={"Range": "bytes=-4"})
    assert (part.status_code, part.content) == (206, PICTURE[-4:])
    head = await gateway.http.head(url)
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(PICTURE)))
    known = await gateway.http.get(url, headers={"If-None-Match": head.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")
    outside = await gateway.http.get(url, headers={"Range": "bytes=999999999-"})
    assert (outside.status_code, outside.headers["content-range"]) == (416, f"bytes */{len(PICTURE)}")
    for method in ("GET", "HEAD"):
        assert (await gateway.http.request(method, url, headers=OTHER)).status_code == 404
        assert (await gateway.http.request(method, f"{PATH}/nothing/image")).status_code == 404


async def test_everybody_sees_what_is_built_in(gateway: Any) -> None:
    await gateway.catalogue.store.put_bytes(keys.asset_source(BUILT_IN), PICTURE, "image/png")
    for headers in ({}, OTHER):
        assert (await gateway.http.get(f"{PATH}/{BUILT_IN}", headers=headers)).json()["source"] == "BUILT_IN"
        assert (await gateway.http.get(f"{PATH}/{BUILT_IN}/image", headers=headers)).content == PICTURE
    refused = await gateway.http.delete(f"{PATH}/{BUILT_IN}")
    assert (refused.status_code, refused.json()["error"]["reason"]) == (403, "REFERENCE_BUILT_IN")


async def test_an_image_in_use_stays(gateway: Any) -> None:
    reference_id = (await uploaded(gateway))["reference_id"]
    route_id = await gateway.route(reference_id=reference_id)
    url = f"{PATH}/{reference_id}"
    assert (await gateway.http.delete(url, headers=OTHER)).status_code == 404
    used = await gateway.http.delete(url)
    assert (used.status_code, used.json()["error"]["reason"]) == (409, "REFERENCE_IN_USE")
    await gateway.http.patch(f"/api/v1/routes/{route_id}", json={"reference_id": None})
    assert (await gateway.http.delete(url)).status_code == 204
    gone = await gateway.http.get(url)
    assert (gone.status_code, gone.json()["error"]["reason"]) == (404, "REFERENCE_NOT_FOUND")
