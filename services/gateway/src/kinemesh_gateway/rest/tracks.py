"""``/api/v1/tracks/query``: who was where when, over finished jobs."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, Field, model_validator

from kinemesh.detect_track.v1 import detect_track_pb2
from kinemesh.errors import Unavailable
from kinemesh_gateway.domain.paging import DEFAULT_LIMIT, MAX_LIMIT, page
from kinemesh_gateway.messages import from_json, to_json
from kinemesh_gateway.rest.context import CallerDep
from kinemesh_gateway.rest.errors import documented
from kinemesh_gateway.rest.schemas import Body
from kinemesh_gateway.rest.sites import Finite, Point

router = APIRouter(prefix="/api/v1/tracks", tags=["tracks"])

_PAGING = {"limit", "offset", "page_token"}
_Names = Annotated[list[Annotated[str, Field(min_length=1, max_length=128)]], Field(max_length=1000)]


class TimeSpan(Body):
    """By time of day; either end may be left out. The site must have a `clock_start_time`."""

    start_time: str | None = Field(default=None, description="RFC 3339")
    end_time: str | None = Field(default=None, description="moment after the last")


class ClockSpan(Body):
    """By the environment's clock, in seconds; either end may be left out."""

    start_sec: Finite | None = None
    end_sec: Finite | None = Field(default=None, description="moment after the last")


class TracksQuery(Body):
    """Every filter that is given must hold; of the values of one filter, any."""

    environment_id: str = Field(default="", max_length=128, description="needed unless jobs are named")
    job_ids: _Names = Field(default=[], description="all finished jobs of the site when empty")
    global_ids: _Names = Field(default=[], description="only these persons")
    cameras: _Names = Field(default=[], description="only these cameras")
    zones: _Names = Field(default=[], description="only inside these zones of the site")
    within: list[Point] = Field(default=[], max_length=1000, description="only inside this polygon on the map")
    time: TimeSpan | None = None
    clock: ClockSpan | None = None
    min_duration_sec: Finite = Field(default=0.0, ge=0, description="leaves out shorter presences")
    max_gap_sec: Finite | None = Field(default=None, ge=0, description="presences with a smaller gap are one; 1")
    path_step_sec: Finite = Field(default=0.0, ge=0, description="adds paths, one position every so many seconds")
    limit: int = Field(default=DEFAULT_LIMIT, ge=1, le=MAX_LIMIT)
    offset: int = Field(default=0, ge=0, lt=2**31)
    page_token: str = Field(default="", max_length=1000)

    @model_validator(mode="after")
    def _one_clock(self) -> TracksQuery:
        if self.time is not None and self.clock is not None:
            raise ValueError("give either time or clock")
        return self


class TrackPath(BaseModel):
    """A path, column by column."""

    time_sec: list[float] = Field(description="on the environment's clock")
    x: list[float]
    y: list[float]


class Presence(BaseModel):
    """A person in one camera, or in one zone of the map, without a break."""

    global_id: str
    job_id: str
    camera: str = Field(description="that saw the person best")
    zone: str = Field(description="when zones were asked for")
    start_sec: float = Field(description="on the environment's clock")
    end_sec: float
    start_time: str | None = Field(description="when the site has a `clock_start_time`")
    end_time: str | None
    start_frame: int = Field(description="first step of the job, as `global_frame_index`")
    stop_frame: int = Field(description="step after the last")
    first_position: Point | None = Field(description="null without homography")
    last_position: Point | None
    distance: float = Field(description="length of the path in the map's unit")
    score: float
    path: TrackPath | None = Field(description="when asked for")


class PresenceList(BaseModel):
    """A page of presences, earliest first."""

    presences: list[Presence]
    total: int
    limit: int
    offset: int
    next_page_token: str | None


@router.post("/query", response_model=PresenceList, responses=documented(400, 404, 409))
async def query_tracks(body: TracksQuery, call: CallerDep) -> Any:
    """Who was where when, over your finished jobs: by person, camera, zone, area and time."""
    service = call.mesh.upstreams.detect_track
    if service is None:
        raise Unavailable("SERVICE_NOT_CONNECTED", "Queries need the service detect_track, whose address is not set.")
    wanted = page(body.limit, body.offset, body.page_token)
    request = detect_track_pb2.QueryTracksRequest(page_size=wanted.limit, skip=wanted.offset, page_token=wanted.token)
    from_json(request, body.model_dump(exclude_unset=True, exclude=_PAGING), "")
    found = await call(service.QueryTracks, request)
    return {
        "presences": [to_json(presence) for presence in found.presences],
        "total": found.total_size,
        "limit": wanted.limit,
        "offset": wanted.offset,
        "next_page_token": found.next_page_token or None,
    }
