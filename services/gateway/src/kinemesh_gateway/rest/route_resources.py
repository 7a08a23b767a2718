"""JSON of the route catalogue, as OpenAPI describes it; names are those of the proto."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from kinemesh_gateway.rest.schemas import Body

Title = Annotated[str, Field(max_length=200)]
Prose = Annotated[str, Field(max_length=10_000)]
Grade = Annotated[str, Field(max_length=32, examples=["6b+"])]
SomeId = Annotated[str, Field(min_length=1, max_length=128)]
Moment = Annotated[str, Field(max_length=64, description="RFC 3339", examples=["2026-03-01T08:00:00Z"])]


class Paged(BaseModel):
    """Where a page is in its list."""

    total: int
    limit: int
    offset: int
    next_page_token: str | None


class AreaCreate(Body):
    """Adds a crag or a hall."""

    display_name: str = Field(min_length=1, max_length=200, description="unique among your areas")
    description: Prose = ""


class AreaChange(Body):
    """New values; what is not given stays."""

    display_name: str = Field(default="", min_length=1, max_length=200)
    description: Prose | None = None


class Area(BaseModel):
    """A crag or a hall."""

    area_id: str
    owner: str
    display_name: str
    description: str
    route_count: int
    create_time: str | None = Field(description="RFC 3339, UTC")
    update_time: str | None


class AreaList(Paged):
    """A page of areas, by name."""

    areas: list[Area]


class RouteCreate(Body):
    """Adds a route or a boulder problem to an area."""

    area_id: SomeId
    display_name: str = Field(min_length=1, max_length=200, description="unique in the area")
    description: Prose = ""
    grade: Grade = ""
    reference_id: str = Field(default="", max_length=128, description="reference image that attempts are compared on")


class RouteChange(Body):
    """New values; what is not given stays, null takes a value away."""

    display_name: str = Field(default="", min_length=1, max_length=200)
    description: Prose | None = None
    grade: Grade | None = None
    reference_id: str | None = Field(default=None, max_length=128)


class Route(BaseModel):
    """A route or a boulder problem."""

    route_id: str
    area_id: str
    owner: str
    display_name: str
    description: str
    grade: str
    reference_id: str = Field(description="reference image that attempts are compared on; empty when none is chosen")
    attempt_count: int
    create_time: str | None = Field(description="RFC 3339, UTC")
    update_time: str | None


class RouteList(Paged):
    """A page of routes, by name."""

    routes: list[Route]


class ClimbMetrics(BaseModel):
    """What a climber wants to know. Distances are in heights of the reference image, along both axes."""

    time_on_route_sec: float = Field(description="from leaving the ground to the last move")
    moves: int = Field(description="times that a hand or a foot came to rest at another place")
    pauses: int = Field(description="times that the centre of mass rested for more than a second")
    pause_sec: float = Field(description="seconds in pauses")
    path_length: float = Field(description="of the centre of mass")
    straightness: float = Field(description="straight distance of the path's ends, divided by its length, 0 to 1")
    holds_touched: int


class AttemptCreate(Body):
    """Adds a go at a route."""

    asset_id: str = Field(min_length=1, max_length=128, description="its uploaded video")
    display_name: str = Field(default="", max_length=200, description="the time of the attempt when empty")
    notes: Prose = ""
    attempt_time: Moment | None = Field(default=None, description="when it was climbed; now when not given")
    topped: bool = Field(default=False, description="whether the top was reached")


class AttemptChange(Body):
    """New values; what is not given stays, null takes a value away."""

    display_name: Title | None = None
    notes: Prose | None = None
    attempt_time: Moment = ""
    topped: bool = False


class Attempt(BaseModel):
    """One go at a route."""

    attempt_id: str
    route_id: str
    area_id: str
    owner: str
    display_name: str
    notes: str
    asset_id: str
    attempt_time: str | None = Field(description="when it was climbed")
    topped: bool
    has_poses: bool = Field(description="whether `…/poses` has something to answer with")
    has_features: bool = Field(description="whether `…/features` has something to answer with")
    job_id: str = Field(description="the latest job that read it")
    metrics: ClimbMetrics | None = Field(description="null before the first job has succeeded")
    create_time: str | None = Field(description="RFC 3339, UTC")
    update_time: str | None


class AttemptList(Paged):
    """A page of attempts, last climbed first."""

    attempts: list[Attempt]


class RecentAttempt(Attempt):
    """An attempt with the names of where it was."""

    route_name: str
    area_name: str


class RecentAttemptList(Paged):
    """A page of attempts, last added first."""

    attempts: list[RecentAttempt]


class ComparisonRow(BaseModel):
    """One figure of every attempt."""

    metric: str = Field(examples=["path_length"])
    unit: str
    values: list[float | None] = Field(description="in the order of `attempts`; null where there is none")


class Comparison(BaseModel):
    """The figures of several attempts side by side."""

    attempts: list[Attempt] = Field(description="in the order of the question")
    rows: list[ComparisonRow]


class TreeRoute(BaseModel):
    """A route in the tree."""

    route_id: str
    display_name: str
    grade: str
    attempt_count: int


class TreeArea(BaseModel):
    """An area in the tree."""

    area_id: str
    display_name: str
    routes: list[TreeRoute] = Field(description="by name")


class Tree(BaseModel):
    """All areas with their routes, by name."""

    areas: list[TreeArea]


class SearchHit(BaseModel):
    """Something that was found; of `area`, `route` and `attempt` the one that `type` names."""

    type: Literal["area", "route", "attempt"]
    path: str = Field(description="where it is", examples=["Frankenjura / Action Directe"])
    area: Area | None
    route: Route | None
    attempt: Attempt | None


class SearchHitList(Paged):
    """A page of what was found, best first."""

    hits: list[SearchHit]


class ReferenceCreate(Body):
    """Makes a reference image of an uploaded picture."""

    asset_id: str = Field(min_length=1, max_length=128, description="asset of the kind IMAGE: JPEG, PNG or WebP")
    display_name: str = Field(default="", max_length=200, description="that of the file when empty")
    route_id: str = Field(default="", max_length=128, description="route that it shows and that uses it from then on")


class ReferenceForm(Body):
    """What a form may hold beside the picture."""

    display_name: Title = ""
    route_id: str = Field(default="", max_length=128)


class ReferenceImage(BaseModel):
    """A picture of a wall, on which poses are drawn."""

    reference_id: str
    image_id: str = Field(description="the same as `reference_id`")
    owner: str = Field(description="empty for built-in ones")
    display_name: str
    source: Literal["BUILT_IN", "UPLOADED"] | None
    asset_id: str
    route_id: str = Field(description="empty when it belongs to no route")
    width: int = Field(description="pixels")
    height: int = Field(description="pixels")
    features: int = Field(description="number of features to match by; 0 until they are computed")
    create_time: str | None = Field(description="RFC 3339, UTC")


class ReferenceList(Paged):
    """A page of reference images, built-in ones first."""

    references: list[ReferenceImage]


class TemporaryFiles(BaseModel):
    """What was deleted, or would be."""

    files: int
    bytes: int
