"""Where everyone is, drawn in the terminal while a job runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from itertools import islice
from typing import Any, Final, Self

from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
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
_FRAME_COLUMNS: Final = 4
_OTHER_ROWS: Final = 4  # headline, frame, and how many more there are
_UNKNOWN: Final = "#"


class LiveMap:
    """To be used as a context manager; without a terminal only the last state is printed."""

    def __init__(self, client: KinemeshClient) -> None:
        self._client = client
        self._site: Mapping[str, Any] | None = None
        self._numbers: dict[str, int] = {}
        self._trails: dict[str, deque[Point]] = {}
        self._extent: Extent | None = None
        self._grows = True
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
            self._grows = self._extent is None
        self._update = message
        for person, position in positions(message).items():
            if person not in self._trails and len(self._trails) >= _MOST_PEOPLE:
                continue
            self._trails.setdefault(person, deque(maxlen=_TRAIL)).append(position)
            if self._grows:
                self._extent = (self._extent or Extent(*position, *position)).with_points([position])

    def picture(self) -> RenderableType:
        """What is shown now."""
        status, update = self._status, self._update
        headline = Text("" if status is None else f"{status.status}  {status.current_step}  ")
        if update is None or self._extent is None:
            return headline
        headline.append(f"frame {update.global_frame_index}")
        site = self._site or {}
        markers = {person: self._marker(person, position) for person, position in positions(update).items()}
        cells = draw_map(
            self._extent,
            out.width - _FRAME_COLUMNS,
            max(_LEAST_ROWS, out.height - _LEGEND - _OTHER_ROWS),
            list(markers.values()),
            map_zones(site),
            y_up=bool((site.get("ground_plane") or {}).get("y_up")),
        )
        lines = [Text.assemble(*((cell.char, cell.color) for cell in row), no_wrap=True) for row in cells]
        legend = [
            Text(f"{one.letter}  {person[:_SHORT_ID]:<8}  {one.position[0]:8.2f} {one.position[1]:8.2f}", one.color)
            for person, one in islice(markers.items(), _LEGEND)
        ]
        if len(markers) > _LEGEND:
            legend.append(Text(f"and {len(markers) - _LEGEND} more"))
        return Group(headline, Panel(Group(*lines), title=escape(update.scene_id), expand=False), *legend)

    def _marker(self, person: str, position: Point) -> Marker:
        """A person's letter stays the same; those whose global id is not known yet have none."""
        trail = tuple(self._trails.get(person, ()))
        if _UNKNOWN in person:
            return Marker("•", "white", position, trail)
        if person not in self._numbers and len(self._numbers) < _MOST_PEOPLE:
            self._numbers[person] = len(self._numbers)
        number = self._numbers.get(person, 0)
        return Marker(_LETTERS[number % len(_LETTERS)], _COLORS[number % len(_COLORS)], position, trail)


def positions(update: TrackingUpdate) -> dict[str, Point]:
    """Where everyone stands whose place on the map is known: the mean over the cameras."""
    found: dict[str, list[Point]] = {}
    for camera, tracks in update.cameras.items():
        for track in tracks:
            if track.position is not None:
                found.setdefault(track.global_id or f"{camera}{_UNKNOWN}{track.track_id}", []).append(track.position)
    return {
        person: (sum(x for x, _ in seen) / len(seen), sum(y for _, y in seen) / len(seen))
        for person, seen in found.items()
    }


def extent_of(site: Mapping[str, Any]) -> Extent | None:
    """The map as large as the site says that it is; None if it does not."""
    plane = site.get("ground_plane") or {}
    width, height = plane.get("width"), plane.get("height")
    return Extent(0.0, 0.0, width, height) if width and height else None


def map_zones(site: Mapping[str, Any]) -> dict[str, list[Point]]:
    """Corners of the zones that lie on the map, by name."""
    return {
        zone["zone"]: [(corner["x"], corner["y"]) for corner in zone["map"]["corners"]]
        for zone in site.get("zones") or ()
        if zone.get("map")
    }
