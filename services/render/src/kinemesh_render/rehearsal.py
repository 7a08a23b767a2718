"""What the stages do, on two tiny frames."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import numpy as np

from kinemesh.media import H264Writer, build_index, concatenate, decode, plays_in_browsers, remux
from kinemesh.media.picture import decode_picture, encode_picture
from kinemesh.media.synthetic import write_clip
from kinemesh.results import poses, tracks, tracks_parquet
from kinemesh.results.columns_parquet import (
    COURSE_SCHEMA,
    HOLD_SCHEMA,
    SIGHTING_SCHEMA,
    from_parquet,
    to_parquet,
)
from kinemesh.results.retargeted import CourseRows, HoldRows
from kinemesh.results.sightings import SightingRows
from kinemesh_render.domain.canvas import on_nv12
from kinemesh_render.domain.drawing import draw_scene
from kinemesh_render.domain.floor import extent_of
from kinemesh_render.domain.grid import grid_of
from kinemesh_render.domain.mosaic import HEIGHT, WIDTH, Shot, backdrop, compose
from kinemesh_render.domain.paths import PathTable
from kinemesh_render.domain.poses import PoseTable
from kinemesh_render.domain.route import Route, Touches, marks_of
from kinemesh_render.domain.scene import Area, Body, Scene
from kinemesh_render.domain.sheet import cell_of
from kinemesh_render.domain.site import Floor, Site
from kinemesh_render.domain.skeleton import COUNT
from kinemesh_render.domain.style import resolve
from kinemesh_render.domain.tracks import thing_of
from kinemesh_render.domain.wall import Wall, ground_of
from kinemesh_render.domain.wall import compose as compose_route
from kinemesh_render.film import FINE

_SIZE = (64, 48)


def rehearse() -> None:
    """Read, draw, encode, join; raises whatever a job would fail with."""
    poses.rows_from_parquet(poses.rows_to_parquet(poses.empty_rows()))
    tracks_parquet.rows_from_parquet(tracks_parquet.rows_to_parquet(tracks.empty_rows()))
    for kind, schema in ((SightingRows, SIGHTING_SCHEMA), (CourseRows, COURSE_SCHEMA), (HoldRows, HOLD_SCHEMA)):
        from_parquet(kind, to_parquet(schema.empty_table()), schema)
    scene = Scene(
        bodies=[Body(1, np.full((COUNT, 2), 24, np.float32), np.ones(COUNT, np.float32))],
        things=[
            thing_of(1, np.array([8, 8, 40, 40], np.float32), "car", 0.5, guessed=guessed) for guessed in (False, True)
        ],
        areas=[Area("zone", np.array([[8, 8], [40, 8], [40, 40]], np.float32), "1 in")],
    )
    _mosaic(scene)
    _route()
    with tempfile.TemporaryDirectory(prefix="kinemesh-render-") as folder:
        clip = Path(folder) / "clip.mp4"
        write_clip(clip, pts=(0, 3000), size=_SIZE)
        index = build_index(clip)
        part = io.BytesIO()
        with H264Writer(part, width=_SIZE[0], height=_SIZE[1], time_base=index.time_base, layout="nv12") as writer:
            for frame in decode(clip, index, layout="nv12"):
                canvas = on_nv12(frame.image, index.color_matrix)
                draw_scene(canvas, scene, resolve())
                encode_picture(cell_of(canvas), ".jpg", 90)
                writer.write(frame.image, frame.pts)
        concatenate([part], Path(folder) / "joined.mp4", time_base=index.time_base, audio_source=clip)
        if plays_in_browsers(clip, index):
            remux(clip, index, Path(folder) / "copied.mp4")


def _mosaic(scene: Scene) -> None:
    """All of two cameras, one of which shows something, and somebody on the map."""
    zero = np.zeros(1)
    paths = PathTable(zero, np.ones(1, np.int32), zero, zero, np.ones(1, np.int32), 1.0)
    grid, style = grid_of(2, WIDTH, HEIGHT, 4 / 3), resolve()
    site = Site("site", {"a": "a", "b": "b"}, {}, [], Floor())
    behind = backdrop(site, grid, ("a", "b"), None, extent_of(site.floor, None, [], None), paths, style)
    x, y, _, _ = grid.cells[0]
    shot = Shot(0, (x, y, *_SIZE), np.zeros((_SIZE[1], _SIZE[0], 3), np.uint8), scene)
    with H264Writer(io.BytesIO(), width=WIDTH, height=HEIGHT, time_base=FINE) as writer:
        writer.write(compose(behind, [shot], 0.0), 0)


def _route() -> None:
    """A climber who is seen in one frame and filled in in the next, with a hand on a hold."""
    times, first, one = np.arange(2) / 10, np.zeros(1), np.ones(1, np.int32)
    person = np.ones(2, np.int32)
    course = PathTable(times, person, 9 * times, times, np.array([1, 0], np.int32), 0.05)
    touches = Touches(one, one, np.zeros((1, 2), np.float32), first, first + 9)
    route = Route(("Ann",), *_SIZE, 10.0, course, frozenset(), marks_of(touches), resolve())
    table = PoseTable(np.arange(2), times, person, np.full((2, COUNT, 5), 0.5, np.float32))
    picture = decode_picture(encode_picture(np.zeros((*_SIZE[::-1], 3), np.uint8), ".png", 90), _SIZE[0] * _SIZE[1])
    wall = Wall(ground_of(picture, _SIZE), route)
    for frame in range(2):
        compose_route(wall, route, table, frame)
