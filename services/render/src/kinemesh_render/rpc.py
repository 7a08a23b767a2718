"""RenderService: protobuf ↔ domain."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import grpc
import numpy as np
from numpy.typing import NDArray

from kinemesh.common.v1 import common_pb2
from kinemesh.detect_track.v1 import tracking_pb2
from kinemesh.errors import InvalidArgument, TooLarge
from kinemesh.media.confined import Decoder
from kinemesh.media.picture import encode_picture
from kinemesh.nv12 import Image
from kinemesh.pose.v1 import pose_pb2
from kinemesh.render.v1 import render_pb2, render_pb2_grpc
from kinemesh_render.domain.canvas import on_rgb
from kinemesh_render.domain.drawing import beside, draw_scene
from kinemesh_render.domain.faces import heads, hide
from kinemesh_render.domain.scene import Area, Body, Scene, Thing, Trail
from kinemesh_render.domain.skeleton import COUNT
from kinemesh_render.domain.style import Style
from kinemesh_render.domain.tracks import MOST_LABEL, thing_of
from kinemesh_render.faces import FaceFinder
from kinemesh_render.messages import to_style
from kinemesh_render.settings import PictureSettings

_FORMATS = {
    render_pb2.IMAGE_FORMAT_UNSPECIFIED: (".jpg", "image/jpeg"),
    render_pb2.IMAGE_FORMAT_JPEG: (".jpg", "image/jpeg"),
    render_pb2.IMAGE_FORMAT_PNG: (".png", "image/png"),
    render_pb2.IMAGE_FORMAT_WEBP: (".webp", "image/webp"),
}
_DEFAULT_QUALITY = 90
_MOST_ITEMS = 1000
_MOST_POINTS = 100_000


class RenderServicer(render_pb2_grpc.RenderServiceServicer):
    """Draws on single pictures exactly as a job draws on its video."""

    def __init__(self, faces: FaceFinder, decoder: Decoder, limits: PictureSettings) -> None:
        self._decoder = decoder
        self._faces = faces
        self._limits = limits

    async def RenderFrame(  # noqa: N802 - the name in the proto
        self,
        request: render_pb2.RenderFrameRequest,
        context: grpc.aio.ServicerContext[render_pb2.RenderFrameRequest, render_pb2.RenderFrameResponse],
    ) -> render_pb2.RenderFrameResponse:
        del context
        style = to_style(request.style)
        extension, content_type = _format(request)
        if len(request.frame.data) > self._limits.max_bytes:
            raise TooLarge("PICTURE_TOO_LARGE", "The picture has too many bytes.", limit_bytes=self._limits.max_bytes)
        image = await asyncio.to_thread(self._decoder.decode_picture, request.frame.data, self._limits.max_pixels)
        scene = _scene(request, image.shape[1], image.shape[0])
        if request.blur_faces:
            picture = on_rgb(image)
            (found,) = await self._faces.find([picture])
            hide(picture, np.concatenate([found, heads(scene.bodies)]))
        data, width, height = await asyncio.to_thread(
            _draw, image, scene, style, extension, request.quality or _DEFAULT_QUALITY
        )
        frame = common_pb2.EncodedFrame(
            data=data, frame_index=request.frame.frame_index, time_sec=request.frame.time_sec
        )
        return render_pb2.RenderFrameResponse(frame=frame, content_type=content_type, width=width, height=height)


def _format(request: render_pb2.RenderFrameRequest) -> tuple[str, str]:
    if request.format not in _FORMATS:
        raise InvalidArgument("INVALID_FORMAT", "The format of the answer is unknown.", field="format")
    if not 0 <= request.quality <= 100:
        raise InvalidArgument("INVALID_QUALITY", "The quality must lie between 1 and 100.", field="quality")
    return _FORMATS[request.format]


def _draw(image: Image, scene: Scene, style: Style, extension: str, quality: int) -> tuple[bytes, int, int]:
    width = image.shape[1]
    picture = beside(image, image) if style.side_by_side else image
    draw_scene(on_rgb(picture[:, -width:]), scene, style)
    return encode_picture(picture, extension, quality), picture.shape[1], picture.shape[0]


def _scene(request: render_pb2.RenderFrameRequest, width: int, height: int) -> Scene:
    for field in ("poses", "objects", "trails", "zones"):
        if len(getattr(request, field)) > _MOST_ITEMS:
            raise InvalidArgument("TOO_MANY_ITEMS", f"There may be at most {_MOST_ITEMS} {field}.", field=field)
    given = sum(len(trail.points) for trail in request.trails) + sum(len(zone.polygon) for zone in request.zones)
    if given > _MOST_POINTS:
        raise InvalidArgument("TOO_MANY_ITEMS", f"There may be at most {_MOST_POINTS} points.", field="trails")
    scale = np.array([width, height], np.float32)
    return Scene(
        bodies=[_body(pose, number, scale) for number, pose in enumerate(request.poses)],
        trails=[_trail(trail, scale) for trail in request.trails],
        things=[_thing(thing) for thing in request.objects if thing.track_id],
        areas=[Area(zone.name[:MOST_LABEL], _points(zone.polygon, "zones") * scale) for zone in request.zones],
    )


def _body(pose: pose_pb2.Pose, number: int, scale: NDArray[np.float32]) -> Body:
    if len(pose.landmarks) != COUNT:
        raise InvalidArgument(
            "WRONG_LANDMARK_COUNT", f"A pose has {COUNT} landmarks.", field=f"poses[{number}].landmarks"
        )
    values = np.array([(mark.x, mark.y, mark.visibility) for mark in pose.landmarks], np.float32)
    _check_finite(values, f"poses[{number}].landmarks")
    return Body(pose.person_id, values[:, :2] * scale, values[:, 2])


def _trail(trail: render_pb2.Trail, scale: NDArray[np.float32]) -> Trail:
    points = _points(trail.points, "trails") * scale
    return Trail(trail.id, points, np.linspace(1, 0, len(points), dtype=np.float32))


def _thing(given: tracking_pb2.TrackedObject) -> Thing:
    box = np.array([given.box.x1, given.box.y1, given.box.x2, given.box.y2], np.float32)
    _check_finite(box, "objects.box")
    return thing_of(given.track_id, box, given.label, given.score, guessed=given.interpolated)


def _points(points: Sequence[common_pb2.NormalizedPoint], field: str) -> NDArray[np.float32]:
    values = np.array([(point.x, point.y) for point in points], np.float32).reshape(-1, 2)
    _check_finite(values, field)
    return values


def _check_finite(values: NDArray[np.float32], field: str) -> None:
    if not np.isfinite(values).all():
        raise InvalidArgument("NOT_A_NUMBER", "Coordinates must be finite numbers.", field=field)
