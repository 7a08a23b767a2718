"""What the route catalogue holds, as frozen dataclasses; ``raw`` keeps what they leave out. Times are RFC 3339."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from kinemesh_client.detections import Json


@dataclass(frozen=True, slots=True)
class Area:
    """A crag or a hall.

    :ivar routes: number of its routes.
    :ivar raw: the whole answer.
    """

    area_id: str
    name: str
    description: str
    routes: int
    create_time: str
    raw: Json = field(repr=False)

    @classmethod
    def of(cls, json: Json) -> Area:
        return cls(
            area_id=json["area_id"],
            name=json["display_name"],
            description=json["description"],
            routes=json["route_count"],
            create_time=json["create_time"] or "",
            raw=json,
        )


@dataclass(frozen=True, slots=True)
class Route:
    """A route or a boulder problem.

    :ivar grade: as climbers write it, such as "6b+" or "V4".
    :ivar reference_id: the picture on which its attempts are compared; empty when none is chosen.
    :ivar attempts: number of attempts.
    :ivar raw: the whole answer.
    """

    route_id: str
    area_id: str
    name: str
    grade: str
    description: str
    reference_id: str
    attempts: int
    create_time: str
    raw: Json = field(repr=False)

    @classmethod
    def of(cls, json: Json) -> Route:
        return cls(
            route_id=json["route_id"],
            area_id=json["area_id"],
            name=json["display_name"],
            grade=json["grade"],
            description=json["description"],
            reference_id=json["reference_id"],
            attempts=json["attempt_count"],
            create_time=json["create_time"] or "",
            raw=json,
        )


@dataclass(frozen=True, slots=True)
class ClimbMetrics:
    """What a climber wants to know. Distances are in heights of the reference image, along both axes.

    :ivar time_on_route_sec: from leaving the ground to the last move.
    :ivar moves: how often a hand or a foot comes to rest at another place.
    :ivar pauses: how often the centre of mass rests for more than a second.
    :ivar pause_sec: seconds in pauses.
    :ivar path_length: of the centre of mass.
    :ivar straightness: from the path's beginning to its end, divided by its length, 0 to 1.
    :ivar holds_touched: number of holds that a hand or a foot touched.
    """

    time_on_route_sec: float
    moves: int
    pauses: int
    pause_sec: float
    path_length: float
    straightness: float
    holds_touched: int

    @classmethod
    def of(cls, json: Json | None) -> ClimbMetrics | None:
        if json is None:
            return None
        return cls(
            time_on_route_sec=json["time_on_route_sec"],
            moves=json["moves"],
            pauses=json["pauses"],
            pause_sec=json["pause_sec"],
            path_length=json["path_length"],
            straightness=json["straightness"],
            holds_touched=json["holds_touched"],
        )


@dataclass(frozen=True, slots=True)
class Attempt:
    """One go at a route.

    :ivar name: may be empty; then the time of the attempt stands for it.
    :ivar topped: whether the top was reached, as the climber says.
    :ivar job_id: the latest job that read it; empty before the first.
    :ivar metrics: None before a job has measured them.
    :ivar raw: the whole answer.
    """

    attempt_id: str
    route_id: str
    area_id: str
    name: str
    notes: str
    asset_id: str
    attempt_time: str
    topped: bool
    has_poses: bool
    has_features: bool
    job_id: str
    metrics: ClimbMetrics | None
    raw: Json = field(repr=False)

    @classmethod
    def of(cls, json: Json) -> Attempt:
        return cls(
            attempt_id=json["attempt_id"],
            route_id=json["route_id"],
            area_id=json["area_id"],
            name=json["display_name"],
            notes=json["notes"],
            asset_id=json["asset_id"],
            attempt_time=json["attempt_time"] or "",
            topped=json["topped"],
            has_poses=json["has_poses"],
            has_features=json["has_features"],
            job_id=json["job_id"],
            metrics=ClimbMetrics.of(json["metrics"]),
            raw=json,
        )


@dataclass(frozen=True, slots=True)
class RecentAttempt:
    """An attempt with the names of where it was."""

    attempt: Attempt
    route: str
    area: str
    raw: Json = field(repr=False)

    @classmethod
    def of(cls, json: Json) -> RecentAttempt:
        return cls(Attempt.of(json), json["route_name"], json["area_name"], json)


@dataclass(frozen=True, slots=True)
class ComparedMetric:
    """One figure of several attempts.

    :ivar values: one per attempt, in their order; None of one that was not measured.
    """

    metric: str
    unit: str
    values: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Attempts at one route side by side."""

    attempts: Sequence[Attempt]
    rows: Sequence[ComparedMetric]
    raw: Json = field(repr=False)

    @classmethod
    def of(cls, json: Json) -> Comparison:
        rows = tuple(ComparedMetric(row["metric"], row["unit"], tuple(row["values"])) for row in json["rows"])
        return cls(tuple(Attempt.of(row) for row in json["attempts"]), rows, json)


@dataclass(frozen=True, slots=True)
class ReferenceImage:
    """A picture of a wall, on which attempts are compared.

    :ivar source: BUILT_IN or UPLOADED.
    :ivar route_id: the route that it shows; empty when it belongs to none.
    :ivar width: in pixels, as ``height``.
    :ivar features: number of features to match by; 0 until they are computed.
    :ivar raw: the whole answer.
    """

    reference_id: str
    name: str
    source: str
    asset_id: str
    route_id: str
    width: int
    height: int
    features: int
    raw: Json = field(repr=False)

    @classmethod
    def of(cls, json: Json) -> ReferenceImage:
        return cls(
            reference_id=json["reference_id"],
            name=json["display_name"],
            source=json["source"] or "",
            asset_id=json["asset_id"],
            route_id=json["route_id"],
            width=json["width"],
            height=json["height"],
            features=json["features"],
            raw=json,
        )


@dataclass(frozen=True, slots=True)
class TreeRoute:
    """A route in the tree; ``attempts`` is their number."""

    route_id: str
    name: str
    grade: str
    attempts: int


@dataclass(frozen=True, slots=True)
class TreeArea:
    """An area in the tree, with its routes by name."""

    area_id: str
    name: str
    routes: Sequence[TreeRoute]

    @classmethod
    def of(cls, json: Json) -> TreeArea:
        routes = tuple(
            TreeRoute(row["route_id"], row["display_name"], row["grade"], row["attempt_count"])
            for row in json["routes"]
        )
        return cls(json["area_id"], json["display_name"], routes)


@dataclass(frozen=True, slots=True)
class Tree:
    """All areas and routes, by name.

    :ivar etag: changes whenever the tree does.
    """

    areas: Sequence[TreeArea]
    etag: str
    raw: Json = field(repr=False)


@dataclass(frozen=True, slots=True)
class SearchHit:
    """Something that was found.

    :ivar kind: area, route or attempt.
    :ivar path: where it is, as people read it, such as "Area / Route".
    """

    kind: str
    item: Area | Route | Attempt
    path: str
    raw: Json = field(repr=False)

    @classmethod
    def of(cls, json: Json) -> SearchHit:
        kind = json["type"]
        return cls(kind, _FOUND[kind](json[kind]), json["path"], json)


_FOUND: Final[Mapping[str, Callable[[Json], Area | Route | Attempt]]] = {
    "area": Area.of,
    "route": Route.of,
    "attempt": Attempt.of,
}


@dataclass(frozen=True, slots=True)
class Cleared:
    """Temporary files that went, or would go: how many, and their bytes."""

    files: int
    bytes: int
    raw: Json = field(repr=False)

    @classmethod
    def of(cls, json: Json) -> Cleared:
        return cls(json["files"], json["bytes"], json)
