"""Where everyone is, drawn in the terminal while a job runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from itertools import islice
from typing import Any, Final, Self

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from kinemesh.errors import KinemeshError
from kinemesh_client.cli.output import out
from kinemesh_client.client import KinemeshClient
from kinemesh_client.map_drawing import Extent, Marker, Point, draw_map
from kinemesh_client.tracking import TaskStatus, TrackingUpdate

_COLORS: Final = ("bright_cyan", "bright_yellow", "bright_magenta", "bright_green", "bright_red", "bright_blue")
_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_TRAIL: Final = 60  # positions
_MOST_PEOPLE: Final = 1000
_LEGEND: Final = 8
_PER_SECOND: Final = 12
_LEAST_ROWS: Final = 6
_SHORT_ID: Final = 8


class LiveMap:
    """To be used as a context manager; without a terminal only the last state is printed."""

    def __init__(self, client: KinemeshClient) -> None:
        self._client = client
        self._site: Mapping[str, Any] | None = None
        self._trails: dict[str, deque[Point]] = {}
        self._extent: Extent | None = None
        self._status: TaskStatus | None = None
        self._update: TrackingUpdate | None = None
        self._live = Live(console=out, refresh_per_second=_PER_SECOND, get_renderable=self.picture)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    async def show(self, message: TaskStatus | TrackingUpdate) -> None:
        """Take a message into account; it is drawn with the next picture."""
        if isinstance(message, TaskStatus):
            self._status = message
            return
        if self._site is None:
            self._site = {}
            with suppress(KinemeshError):  # then the map is as large as people walk
                self._site = (await self._client.environments.get(message.scene_id)).raw
            self._extent = extent_of(self._site)
        self._update = message
        for person, position in positions(message).items():
            if person not in self._trails and len(self._trails) >= _MOST_PEOPLE:
                continue
            self._trails.setdefault(person, deque(maxlen=_TRAIL)).append(position)
            at = [position]
            self._extent = self._extent.with_points(at) if self._extent else Extent(*position, *position)

    def picture(self) -> RenderableType:
        """What is shown now."""
        lines: list[RenderableType] = []
        status, update = self._status, self._update
        headline = Text()
        if status is not None:
            headline.append(f"{status.status}  {status.current_step}  ")
        if update is not None:
            headline.append(f"frame {update.global_frame_index}  {update.scene_id}")
        lines.append(headline)
        if update is not None and self._extent is not None:
            here = positions(update)
            numbers = {person: number for number, person in enumerate(self._trails)}
            markers = [
                Marker(
                    _LETTERS[numbers[person] % len(_LETTERS)],
                    _COLORS[numbers[person] % len(_COLORS)],
                    position,
                    tuple(self._trails[person]),
                )
                for person, position in here.items()
                if person in numbers
            ]
            site = self._site or {}
            rows = max(_LEAST_ROWS, out.height - _LEGEND - 3)
            y_up = bool((site.get("ground_plane") or {}).get("y_up"))
            cells = draw_map(self._extent, out.width - 2, rows, markers, map_zones(site), y_up=y_up)
            for row in cells:
                line = Text(no_wrap=True)
                for cell in row:
                    line.append(cell.char, cell.color)
                lines.append(line)
            for marker, (person, (x, y)) in islice(zip(markers, here.items(), strict=False), _LEGEND):
                lines.append(Text(f"{marker.letter}  {person[:_SHORT_ID]:<8}  {x:8.2f} {y:8.2f}", marker.color))
            if len(markers) > _LEGEND:
                lines.append(Text(f"and {len(markers) - _LEGEND} more"))
        return Group(*lines)


def positions(update: TrackingUpdate) -> dict[str, Point]:
    """Where everyone stands whose place on the map is known: the mean over the cameras."""
    found: dict[str, list[Point]] = {}
    for camera, tracks in update.cameras.items():
        for track in tracks:
            if track.position is not None:
                found.setdefault(track.global_id or f"{camera}#{track.track_id}", []).append(track.position)
    return {
        person: (sum(x for x, _ in seen) / len(seen), sum(y for _, y in seen) / len(seen))
        for person, seen in found.items()
    }


def extent_of(site: Mapping[str, Any]) -> Extent | None:
    """The map's own extent with its zones; None if the site does not say."""
    plane = site.get("ground_plane") or {}
    corners = [corner for polygon in map_zones(site).values() for corner in polygon]
    if plane.get("width") and plane.get("height"):
        corners += [(0.0, 0.0), (float(plane["width"]), float(plane["height"]))]
    return Extent(*corners[0], *corners[0]).with_points(corners) if corners else None


def map_zones(site: Mapping[str, Any]) -> dict[str, list[Point]]:
    """Corners of the zones that lie on the map, by name."""
    return {
        zone["zone"]: [(corner["x"], corner["y"]) for corner in zone["map"]["corners"]]
        for zone in site.get("zones") or ()
        if zone.get("map")
    }
