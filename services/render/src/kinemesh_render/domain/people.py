"""What there is to draw of people whom several cameras see: each in a colour and by a name of their own everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kinemesh.results.columns import select
from kinemesh.results.sightings import SightingRows
from kinemesh.results.tracks import TrackRows
from kinemesh_render.domain.paths import PathTable
from kinemesh_render.domain.scene import Area, Scene, Thing
from kinemesh_render.domain.site import Floats, View, Zone, area_of, occupants, seen_in
from kinemesh_render.domain.style import Color, Style, mix
from kinemesh_render.domain.tracks import TrackTable, table_of

UNKNOWN: Final[Color] = (150, 156, 166)
_SHADES: Final[tuple[tuple[Color, float], ...]] = (((0, 0, 0), 0.0), ((255, 255, 255), 0.5), ((0, 0, 0), 0.45))
"""What is mixed into the palette when it is used up, in turn."""
_ID_LETTERS: Final = 4


def color_of(person: int, style: Style) -> Color:
    """The colour of a person, from 1, in all cameras and on the map; grey for nobody, 0."""
    if person < 1:
        return UNKNOWN
    turn, place = divmod(person - 1, len(style.colors))
    other, share = _SHADES[turn % len(_SHADES)]
    return mix(style.colors[place], other, share)


def name_of(person: int) -> str:
    """The short name of a person; empty for nobody, 0."""
    return f"#{person}" if person > 0 else ""


@dataclass(frozen=True, slots=True, eq=False)
class PeopleTable:
    """Boxes of many frames of a recording, ordered by frame, with the paths of their tracks.

    :ivar rows: as many as the tracks have.
    """

    tracks: TrackTable
    rows: SightingRows


def people_table(rows: SightingRows) -> PeopleTable:
    """Prepare rows of one recording, which are ordered by frame. Those of no track are left out."""
    rows = select(rows, rows.track_id > 0)
    box = np.stack([rows.x1, rows.y1, rows.x2, rows.y2], axis=1)
    tracks = table_of(
        TrackRows(
            rows.camera_frame_index, rows.time_sec, rows.track_id, box, rows.score, rows.class_id, rows.interpolated
        )
    )
    return PeopleTable(tracks, rows)


@dataclass(frozen=True, slots=True, eq=False)
class SeenZone:
    """A zone in a camera's picture.

    :ivar corners: float32 [P, 2] in pixels of the shown picture.
    """

    zone: Zone
    corners: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Camera:
    """A recording as it is shown.

    :ivar scale: float32 [2], pixels of the shown picture per pixel of the recording, along x and y.
    :ivar size: of the recording.
    """

    scale: NDArray[np.float32]
    size: tuple[int, int]
    zones: Sequence[SeenZone]


def camera_of_view(
    name: str, view: View, zones: Sequence[Zone], size: tuple[int, int], own: tuple[int, int], shown: tuple[int, int]
) -> Camera:
    """How a camera's recording is shown, with the zones that lie in it.

    :param size: of the camera's first recording, which its calibration holds for.
    :param own: of this recording.
    :param shown: of the picture that is drawn on.
    """
    seen = []
    for zone in zones:
        corners = zone.corners * size if zone.camera == name else np.empty((0, 2))
        if not zone.camera:
            corners = seen_in(view, zone.corners, size)
        if len(corners) >= 3:
            seen.append(SeenZone(zone, (corners * np.array(shown) / size).astype(np.float32)))
    return Camera((np.array(shown) / own).astype(np.float32), own, seen)


def scene_of_people(
    table: PeopleTable, camera: Camera, paths: PathTable, frame: int, moment: float, style: Style
) -> Scene:
    """Everyone in a frame of a recording that is shown at a moment of the site's clock, and the zones.

    In zones of the map stand those whom any camera sees there, in zones of the picture those whose boxes stand there.
    """
    rows, here = table.rows, table.tracks.of_frame(frame)
    scale = np.tile(camera.scale, 2)
    things, trails = [], []
    for row in range(here.start, here.stop):
        person = int(rows.person[row])
        color = color_of(person, style)
        box = table.tracks.rows.box[row] * scale
        guessed, hidden = bool(rows.interpolated[row]), bool(rows.feet_hidden[row])
        detail = str(rows.global_id[row])[:_ID_LETTERS]
        things.append(Thing(person, box, name_of(person), detail, guessed, color, hidden))
        if style.trail_sec:
            trail = table.tracks.trail(row, style.trail_sec)
            trails.append(replace(trail, points=trail.points * camera.scale, color=color))
    return Scene(trails=trails, things=things, areas=_areas(camera, table, here, paths, moment))


def _areas(camera: Camera, table: PeopleTable, here: slice, paths: PathTable, moment: float) -> list[Area]:
    box = table.tracks.rows.box[here].astype(np.float64)
    feet: Floats = np.stack([(box[:, 0] + box[:, 2]) / 2, box[:, 3]], axis=1) / camera.size
    on_map = paths.points(paths.at(moment))
    return [
        area_of(seen.zone, seen.corners, occupants(seen.zone, feet if seen.zone.camera else on_map))
        for seen in camera.zones
    ]
