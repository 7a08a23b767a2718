"""Environments kept for real: what may be kept, what may not, and their calibration."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest

from kinemesh import errors
from kinemesh.asset.v1 import asset_pb2
from kinemesh.common.v1 import common_pb2
from kinemesh.environment.v1 import calibration_pb2, environment_pb2
from kinemesh.media.picture import encode_picture
from kinemesh.serving.channel import call
from kinemesh.session.v1 import session_pb2

SQUARE = ((10.0, 10.0), (90.0, 10.0), (90.0, 60.0), (10.0, 60.0), (50.0, 30.0))
PICTURE = encode_picture(np.full((90, 160, 3), 200, np.uint8), ".png", 90)
TENTH = calibration_pb2.HomographySource(matrix=common_pb2.Matrix3(values=[0.1, 0, 0, 0, 0.1, 0, 0, 0, 1]))

Environment = environment_pb2.Environment


def points(*places: tuple[float, float]) -> calibration_pb2.HomographySource:
    """Image points that lie on the map at a tenth of their pixels."""
    source = calibration_pb2.HomographySource()
    for x, y in places:
        source.points.pairs.add(image=calibration_pb2.PixelPoint(x=x, y=y), map=common_pb2.MapPoint(x=x / 10, y=y / 10))
    return source


def in_file(data: bytes, name: str = "points.npz", **more: Any) -> calibration_pb2.HomographySource:
    return calibration_pb2.HomographySource(file=calibration_pb2.CalibrationFile(filename=name, data=data), **more)


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def site(environment_id: str, cameras: dict[str, list[str]] | None = None, **more: Any) -> Environment:
    """An environment whose cameras have the recordings given."""
    environment = Environment(environment_id=environment_id, **more)
    for name, assets in (cameras or {}).items():
        camera = environment.cameras.add(camera=name)
        for asset_id in assets:
            camera.sub_videos.add(asset_id=asset_id)
    return environment


async def create(ingest: Any, environment: Environment, owner: str = "ada", **more: Any) -> Environment:
    request = environment_pb2.CreateEnvironmentRequest(environment=environment, **more)
    answer: Environment = (await call(ingest.environments.CreateEnvironment, request, owner=owner)).environment
    return answer


async def get(ingest: Any, environment_id: str, owner: str = "ada") -> Environment:
    request = environment_pb2.GetEnvironmentRequest(environment_id=environment_id)
    answer: Environment = (await call(ingest.environments.GetEnvironment, request, owner=owner)).environment
    return answer


async def update(ingest: Any, environment: Environment, *paths: str, owner: str = "ada", **more: Any) -> Environment:
    request = environment_pb2.UpdateEnvironmentRequest(environment=environment, **more)
    request.update_mask.paths.extend(paths)
    answer: Environment = (await call(ingest.environments.UpdateEnvironment, request, owner=owner)).environment
    return answer


async def delete(ingest: Any, environment_id: str, owner: str = "ada", **more: Any) -> None:
    request = environment_pb2.DeleteEnvironmentRequest(environment_id=environment_id, **more)
    await call(ingest.environments.DeleteEnvironment, request, owner=owner)


async def set_homography(
    ingest: Any, environment_id: str, camera: str, source: calibration_pb2.HomographySource, **more: Any
) -> environment_pb2.SetHomographyResponse:
    request = environment_pb2.SetHomographyRequest(environment_id=environment_id, camera=camera, source=source, **more)
    answer: environment_pb2.SetHomographyResponse = await call(ingest.environments.SetHomography, request, owner="ada")
    return answer


async def test_environments_are_kept_changed_and_deleted(ingest: Any, clip: bytes) -> None:
    asset_id = (await ingest.upload(clip)).asset_id
    given = site("yard", {"c09": [asset_id]}, display_name=" The yard ", owner="eve")
    given.zones.add(zone="door", color="#1f77b4").map.corners.extend(
        common_pb2.MapPoint(x=x, y=y) for x, y in ((0, 0), (2, 0), (2, 2))
    )
    given.cameras[0].homography.source.CopyFrom(points(*SQUARE))
    given.clock_start_time.FromJsonString("2026-05-04T08:00:00Z")
    for _ in range(2):
        kept = await create(ingest, given, request_id="yard")
    assert (kept.environment_id, kept.owner, kept.display_name) == ("yard", "ada", "The yard")
    assert kept.cameras[0].homography.quality.points == 5
    assert kept.cameras[0].homography.quality.rms_error_px < 1e-6
    assert await get(ingest, "yard") == kept
    # What is answered may be given again.
    assert (await update(ingest, kept)).cameras == kept.cameras
    changed = await update(ingest, Environment(environment_id="yard", description="wide"), request_id="u")
    assert (changed.description, changed.zones, changed.clock_start_time) == (
        "wide", kept.zones, kept.clock_start_time
    )  # fmt: skip
    bare = Environment(environment_id="yard")
    assert not (await update(ingest, bare, "zones", "clock_start_time")).HasField("clock_start_time")
    assert (await update(ingest, Environment(environment_id="yard", description="x"), request_id="u")).zones == []
    assert (await update(ingest, bare)).description == "wide"
    with pytest.raises(errors.FailedPrecondition) as refused:
        await call(ingest.assets.DeleteAsset, asset_pb2.DeleteAssetRequest(asset_id=asset_id), owner="ada")
    assert (refused.value.reason, refused.value.metadata["environment_id"]) == ("ASSET_IN_USE", "yard")
    for _ in range(2):
        await delete(ingest, "yard", request_id="bye")
    with pytest.raises(errors.NotFound) as gone:
        await get(ingest, "yard")
    assert gone.value.reason == "ENVIRONMENT_NOT_FOUND"
    await call(ingest.assets.DeleteAsset, asset_pb2.DeleteAssetRequest(asset_id=asset_id), owner="ada")


async def test_environments_are_their_owners_alone_and_listed_by_name(ingest: Any) -> None:
    for number in (2, 0, 1):
        await create(ingest, Environment(environment_id=f"e{number}", display_name=f"n{number}"), owner="carol")
    await create(ingest, Environment(environment_id="e0"), owner="dan")
    with pytest.raises(errors.AlreadyExists):
        await create(ingest, Environment(environment_id="e0"), owner="carol")
    named = await create(ingest, Environment(), owner="dan")
    assert named.environment_id == named.display_name
    listed, token = [], ""
    while True:
        request = environment_pb2.ListEnvironmentsRequest(page_size=2, page_token=token)
        page = await call(ingest.environments.ListEnvironments, request, owner="carol")
        assert page.total_size == 3
        listed += [one.environment_id for one in page.environments]
        if not (token := page.next_page_token):
            break
    assert listed == ["e0", "e1", "e2"]
    request = environment_pb2.ListEnvironmentsRequest(skip=2)
    page = await call(ingest.environments.ListEnvironments, request, owner="carol")
    assert [one.environment_id for one in page.environments] == ["e2"]
    for refused in (get(ingest, "e2", "dan"), delete(ingest, "e2", "dan")):
        with pytest.raises(errors.NotFound):
            await refused
    request = environment_pb2.ListEnvironmentsRequest(page_token="?")
    with pytest.raises(errors.InvalidArgument) as wrong:
        await call(ingest.environments.ListEnvironments, request, owner="carol")
    assert wrong.value.reason == "INVALID_PAGE_TOKEN"


async def test_the_video_of_a_site_outlives_a_session_of_it(ingest: Any, clip: bytes) -> None:
    asset_id = (await ingest.upload(clip)).asset_id
    request = session_pb2.CreateSessionRequest(asset_id=asset_id, display_name="lesson")
    session = (await call(ingest.sessions.CreateSession, request, owner="ada")).session
    await create(ingest, site("school", {"c1": [asset_id]}))
    gone = session_pb2.DeleteSessionRequest(session_id=session.session_id)
    await call(ingest.sessions.DeleteSession, gone, owner="ada")
    found = await call(ingest.assets.GetAsset, asset_pb2.GetAssetRequest(asset_id=asset_id), owner="ada")
    assert found.asset.state == asset_pb2.ASSET_STATE_READY


CORNERS = [common_pb2.MapPoint(x=x, y=y) for x, y in ((0, 0), (2, 0), (2, 2), (0, 2))]
BOW_TIE = [CORNERS[0], CORNERS[2], CORNERS[1], CORNERS[3]]


def area(*corners: common_pb2.MapPoint, **more: Any) -> environment_pb2.Zone:
    return environment_pb2.Zone(zone="z", map=environment_pb2.MapPolygon(corners=corners), **more)


def way(start: str, end: str, **more: Any) -> environment_pb2.Passage:
    return environment_pb2.Passage(from_camera=start, to_camera=end, **more)


@pytest.mark.parametrize(
    ("part", "reason", "field"),
    [
        ({"environment_id": "a b"}, "INVALID_ID", "environment_id"),
        ({"display_name": "a\nb"}, "INVALID_TEXT", "display_name"),
        ({"cameras": [{"camera": "a.b"}]}, "INVALID_ID", "cameras[0].camera"),
        ({"cameras": [{"camera": "mosaic"}]}, "INVALID_ID", "cameras[0].camera"),
        ({"cameras": [{"camera": "c1"}, {"camera": "c1"}]}, "DUPLICATE_CAMERA", "cameras[1].camera"),
        ({"cameras": [{"camera": f"c{i}"} for i in range(65)]}, "OUT_OF_RANGE", "cameras"),
        ({"cameras": [{"camera": "c1", "homography": {}}]}, "MISSING_FIELD", "source"),
        (
            {"cameras": [{"camera": "c1", "distortion": {"fx": 9, "fy": 9, "coefficients": [1, 2]}}]},
            "WRONG_COEFFICIENTS",
            "cameras[0].distortion.coefficients",
        ),
        (
            {"cameras": [{"camera": "c1", "distortion": {"fx": 0}}]},
            "OUT_OF_RANGE",
            "cameras[0].distortion.fx",
        ),
        (
            {"cameras": [{"camera": "c1", "distortion": {"model": 2, "fx": 9, "fy": 9, "coefficients": [0] * 5}}]},
            "WRONG_COEFFICIENTS",
            "cameras[0].distortion.coefficients",
        ),
        ({"zones": [area(*CORNERS), area(*CORNERS)]}, "DUPLICATE_ZONE", "zones[1].zone"),
        ({"zones": [area(*BOW_TIE)]}, "POLYGON_NOT_SIMPLE", "zones[0].map.corners"),
        ({"zones": [area(*CORNERS[:2])]}, "OUT_OF_RANGE", "zones[0].map.corners"),
        ({"zones": [area(*CORNERS, color="red")]}, "INVALID_COLOR", "zones[0].color"),
        ({"zones": [{"zone": "z"}]}, "MISSING_FIELD", "zones[0]"),
        ({"zones": [{"zone": "z", "image": {"camera": "c1"}}]}, "UNKNOWN_CAMERA", "zones[0].image.camera"),
        ({"passages": [way("c1", "c2")]}, "UNKNOWN_CAMERA", "passages[0].from_camera"),
        ({"cameras": [{"camera": "c1"}], "passages": [way("c1", "c1")]}, "SAME_CAMERA", "passages[0]"),
        (
            {"cameras": [{"camera": "c1"}, {"camera": "c2"}], "passages": [way("c1", "c2", min_travel_sec=3)]},
            "OUT_OF_RANGE",
            "passages[0].max_travel_sec",
        ),
        (
            {
                "cameras": [{"camera": "c1"}, {"camera": "c2"}],
                "passages": [way("c1", "c2", both_ways=True), way("c2", "c1")],
            },
            "DUPLICATE_PASSAGE",
            "passages[1]",
        ),
        ({"gallery": {"retention_days": 366}}, "OUT_OF_RANGE", "gallery.retention_days"),
        ({"ground_plane": {"width": -1}}, "OUT_OF_RANGE", "ground_plane.width"),
        ({"ground_plane": {"width": float("nan")}}, "OUT_OF_RANGE", "ground_plane.width"),
        ({"clock_start_time": {"seconds": 2**60}}, "OUT_OF_RANGE", "clock_start_time"),
        ({"clock_start_time": {"seconds": 253402300799}}, "OUT_OF_RANGE", "clock_start_time"),
        ({"clock_start_time": {"seconds": -62135596800}}, "OUT_OF_RANGE", "clock_start_time"),
    ],
)
async def test_what_no_environment_may_be(ingest: Any, part: dict[str, Any], reason: str, field: str) -> None:
    with pytest.raises(errors.KinemeshError) as refused:
        await create(ingest, Environment(**part))
    assert (refused.value.reason, refused.value.metadata["field"]) == (reason, field)


async def test_recordings_must_be_there_and_follow_one_another(ingest: Any, clip: bytes) -> None:
    video = (await ingest.upload(clip)).asset_id
    picture = (await ingest.upload(PICTURE, kind="IMAGE")).asset_id
    upload = asset_pb2.CreateUploadRequest(filename="a.mp4", size_bytes=9)
    pending = (await call(ingest.assets.CreateUpload, upload, owner="ada")).asset.asset_id
    others = (await ingest.upload(clip, owner="eve")).asset_id
    overlapping = site("s", {"c1": [video, video]})
    overlapping.cameras[0].sub_videos[1].start_sec = 1.5
    plane = environment_pb2.GroundPlane(image_asset_id=picture)
    for given, reason in (
        (site("s", {"c1": ["nope"]}), "ASSET_NOT_FOUND"),
        (site("s", {"c1": [others]}), "ASSET_NOT_FOUND"),
        (site("s", {"c1": [pending]}), "ASSET_NOT_READY"),
        (site("s", {"c1": [picture]}), "WRONG_ASSET_KIND"),
        (site("s", ground_plane=environment_pb2.GroundPlane(image_asset_id=video)), "WRONG_ASSET_KIND"),
        (site("s", ground_plane=plane), "MISSING_FIELD"),
        (overlapping, "SUB_VIDEOS_OVERLAP"),
    ):
        with pytest.raises(errors.KinemeshError) as refused:
            await create(ingest, given)
        assert refused.value.reason == reason
    plane.pixels_per_unit = 20
    assert (await create(ingest, site("mapped", ground_plane=plane))).ground_plane == plane
    with pytest.raises(errors.FailedPrecondition):
        await call(ingest.assets.DeleteAsset, asset_pb2.DeleteAssetRequest(asset_id=picture), owner="ada")


async def test_only_fields_of_the_owner_are_changed(ingest: Any) -> None:
    await create(ingest, site("fixed"))
    for path in ("owner", "gallery.enabled", "create_time"):
        with pytest.raises(errors.InvalidArgument) as refused:
            await update(ingest, site("fixed"), path)
        assert refused.value.reason == "INVALID_MASK"
    with pytest.raises(errors.NotFound):
        await update(ingest, site("fixed"), owner="eve")


async def test_a_camera_gets_its_homography_in_whatever_form(ingest: Any, clip: bytes) -> None:
    await create(ingest, site("hall", {"c09": [(await ingest.upload(clip)).asset_id], "c12": []}))
    image, target = np.array(SQUARE), np.array(SQUARE) / 10
    named = "homography_points_c09_scene_s10.npz"
    data = npz(image_points=image[:, ::-1], map_points=target)
    yx = calibration_pb2.AXIS_ORDER_YX
    answer = await set_homography(ingest, "hall", "", in_file(data, named, image_axes=yx), request_id="h")
    assert answer.camera == "c09"
    assert answer.homography.quality.max_error_map < 1e-9
    kept = (await get(ingest, "hall")).cameras[0].homography
    assert kept == answer.homography
    # The file is answered as the points that it held, in the usual order.
    assert (kept.source.points.pairs[1].image.x, kept.source.points.pairs[1].image.y) == (90, 10)
    again = await set_homography(ingest, "hall", "c09", TENTH, request_id="h")
    assert again.homography == kept
    checked = await set_homography(ingest, "hall", "c09", TENTH, validate_only=True)
    assert (checked.homography.quality.points, bool(checked.homography.quality.warnings)) == (0, True)
    assert (await get(ingest, "hall")).cameras[0].homography == kept
    rows = "\n".join(" ".join(map(str, row)) for row in (np.eye(3) * (10, 10, 1)).tolist())
    text = in_file(rows.encode(), "H.txt", image_axes=yx, map_axes=yx, map_to_image=True)
    matrix = (await set_homography(ingest, "hall", "c12", text)).homography
    np.testing.assert_allclose(
        np.array(matrix.image_to_map.values) / matrix.image_to_map.values[8], TENTH.matrix.values
    )
    request = environment_pb2.DeleteHomographyRequest(environment_id="hall", camera="c09")
    await call(ingest.environments.DeleteHomography, request, owner="ada")
    assert not (await get(ingest, "hall")).cameras[0].HasField("homography")
    assert (await update(ingest, await get(ingest, "hall"))).cameras[1].homography == matrix


@pytest.mark.parametrize(
    ("camera", "source", "reason"),
    [
        ("c09", points(*SQUARE[:3]), "TOO_FEW_POINTS"),
        ("c09", points(*((x, x) for x, _ in SQUARE), (5, 5)), "POINTS_DEGENERATE"),
        ("c09", points(*SQUARE[:2] * 3), "POINTS_DEGENERATE"),
        ("c09", in_file(npz(a=np.zeros(3))), "WRONG_KEYS"),
        ("c09", in_file(npz(image_points=np.array([{}], object), map_points=np.zeros((4, 2)))), "PICKLED"),
        ("c09", in_file(bytes(1024**2 + 1)), "FILE_TOO_LARGE"),
        ("c09", in_file(b"\xff\xd8\xff"), "UNKNOWN_FORMAT"),
        ("c09", calibration_pb2.HomographySource(matrix=common_pb2.Matrix3(values=[0] * 9)), "MATRIX_SINGULAR"),
        ("c09", calibration_pb2.HomographySource(matrix=common_pb2.Matrix3(values=[1] * 8)), "WRONG_SHAPE"),
        ("c09", calibration_pb2.HomographySource(), "MISSING_FIELD"),
        ("c09", calibration_pb2.HomographySource(points=points(*SQUARE).points, image_width=9), "MISSING_FIELD"),
        ("c99", points(*SQUARE), "UNKNOWN_CAMERA"),
        ("", points(*SQUARE), "MISSING_FIELD"),
        ("", in_file(b"", "homography_points_c99_scene_s10.npz"), "UNKNOWN_CAMERA"),
    ],
)
async def test_what_is_no_homography_is_refused(
    ingest: Any, camera: str, source: calibration_pb2.HomographySource, reason: str
) -> None:
    environment_id = (await create(ingest, site("", {"c09": []}))).environment_id
    with pytest.raises(errors.KinemeshError) as refused:
        await set_homography(ingest, environment_id, camera, source)
    assert refused.value.reason == reason
    assert not (await get(ingest, environment_id)).cameras[0].HasField("homography")


async def test_a_document_calibrates_several_cameras_or_none(ingest: Any) -> None:
    pairs = {"source_points": SQUARE, "destination_points": [(x / 10, y / 10) for x, y in SQUARE]}
    told = {
        "ground_plane": {"width": 12, "height": 8, "pixels_per_meter": 40},
        "cameras": [{"id": "c09", **pairs}, {"id": "c77", **pairs}, {"id": "c12", "homography": np.eye(3).tolist()}],
    }
    await create(ingest, site("many", {"c09": [], "c12": [], "c13": []}))

    async def bring(told: Any, **more: Any) -> environment_pb2.ImportCalibrationResponse:
        file = calibration_pb2.CalibrationFile(filename="site.json", data=json.dumps(told).encode())
        request = environment_pb2.ImportCalibrationRequest(environment_id="many", file=file, **more)
        answer: environment_pb2.ImportCalibrationResponse = await call(
            ingest.environments.ImportCalibration, request, owner="ada"
        )
        return answer

    checked = await bring(told, validate_only=True)
    assert checked.environment.cameras[0].homography.quality.points == 5
    assert not (await get(ingest, "many")).cameras[0].HasField("homography")
    broken = {"cameras": [*told["cameras"][:1], {"id": "c12", "homography": np.zeros((3, 3)).tolist()}]}  # type: ignore[index]
    for wrong, reason in ((broken, "MATRIX_SINGULAR"), ({"cameras": told["cameras"][1:2]}, "UNKNOWN_CAMERA")):  # type: ignore[index]
        with pytest.raises(errors.InvalidArgument) as refused:
            await bring(wrong)
        assert refused.value.reason == reason
    assert not (await get(ingest, "many")).cameras[0].HasField("homography")
    for _ in range(2):
        answer = await bring(told, request_id="all")
    assert (list(answer.calibrated_cameras), list(answer.unknown_cameras)) == (["c09", "c12"], ["c77"])
    kept = await get(ingest, "many")
    assert kept == answer.environment
    assert [camera.HasField("homography") for camera in kept.cameras] == [True, True, False]
    assert (kept.ground_plane.width, kept.ground_plane.height, kept.ground_plane.pixels_per_unit) == (12, 8, 40)
