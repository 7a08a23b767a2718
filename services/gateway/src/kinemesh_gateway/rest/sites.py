"""JSON of environments, as OpenAPI describes it; names are those of the proto.

What a site must be to make sense is ingest's to say, so types alone are checked here. The same models describe what is
sent and what is answered: what was read can be changed and sent back. Fields that the server sets are then ignored.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from kinemesh_gateway.rest.parameters import NormalizedPoint
from kinemesh_gateway.rest.schemas import Body

Finite = Annotated[float, Field(allow_inf_nan=False)]


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


AxisOrder = Annotated[Literal["XY", "YX"], BeforeValidator(_upper)]
IMAGE_AXES = "order of image coordinates in a matrix or a file: XY (column, row) or YX (row, column); XY"
MAP_AXES = "order of map coordinates in a matrix or a file: XY or YX; XY"
MAP_TO_IMAGE = "whether a matrix maps the map to the image; the image to the map otherwise"
IMAGE_WIDTH = "of the pictures that the points were taken from, in pixels; the camera's own"
IMAGE_HEIGHT = IMAGE_WIDTH
VALIDATE_ONLY = "only checks and reports; nothing is kept"


class Point(Body):
    """A point: pixels of the upright frame, or the map's unit."""

    x: Finite
    y: Finite


class PointPair(Body):
    """The same point on the ground, in the image and on the map."""

    image: Point
    map: Point


class PointPairs(Body):
    """Corresponding points."""

    pairs: list[PointPair] = Field(max_length=10_000, description="at least four, no three of four on a line")


class Matrix(Body):
    """A 3×3 matrix."""

    values: list[Finite] = Field(max_length=100, description="nine, row by row")


class CalibrationFile(Body):
    """A small file; its type is recognised by content."""

    filename: str = Field(default="", max_length=255)
    data: str = Field(description="base64 of .npz, three rows of three numbers, or JSON; at most 1 MiB")


class HomographySource(Body):
    """A homography as a user has it: points, a matrix, or a file. A file is answered as what it held."""

    points: PointPairs | None = None
    matrix: Matrix | None = None
    file: CalibrationFile | None = None
    image_axes: AxisOrder | None = Field(default=None, description=IMAGE_AXES)
    map_axes: AxisOrder | None = Field(default=None, description=MAP_AXES)
    map_to_image: bool = Field(default=False, description=MAP_TO_IMAGE)
    image_width: int = Field(default=0, ge=0, lt=2**31, description=IMAGE_WIDTH)
    image_height: int = Field(default=0, ge=0, lt=2**31, description=IMAGE_HEIGHT)

    @model_validator(mode="after")
    def _one_source(self) -> HomographySource:
        if sum(given is not None for given in (self.points, self.matrix, self.file)) > 1:
            raise ValueError("give one of points, matrix and file")
        return self


class HomographyBody(HomographySource):
    """A homography for one camera."""

    validate_only: bool = Field(default=False, description=VALIDATE_ONLY)


class HomographyQuality(Body):
    """How well a homography agrees with its points; a bare matrix has none."""

    points: int
    rms_error_map: float = Field(description="root mean square of the distances, in the map's unit")
    max_error_map: float
    rms_error_px: float
    errors_map: list[float] = Field(description="distance of each point, in the order given")
    condition_number: float = Field(description="a large one means that the matrix nearly degenerates")
    warnings: list[str] = Field(description="what a person should look at")


class Homography(Body):
    """How a camera's image lies on the map."""

    source: HomographySource | None = None
    image_to_map: Matrix | None = Field(default=None, description="set by the server")
    quality: HomographyQuality | None = Field(default=None, description="set by the server")


class LensDistortion(Body):
    """How a lens bends lines."""

    model: Literal["BROWN_CONRADY", "FISHEYE"] | None = Field(default=None, description="BROWN_CONRADY")
    fx: Finite = Field(description="focal length in pixels")
    fy: Finite
    cx: Finite = Field(description="optical axis in pixels")
    cy: Finite
    coefficients: list[Finite] = Field(default=[], max_length=16, description="k1, k2, p1, p2[, k3[, k4, k5, k6]]")
    image_width: int = Field(default=0, ge=0, lt=2**31, description="that the values hold for; the camera's own")
    image_height: int = Field(default=0, ge=0, lt=2**31)


class SubVideo(Body):
    """One recording of a camera."""

    asset_id: str = Field(max_length=128)
    start_sec: Finite | None = Field(default=None, description="on the environment's clock; where the one before ends")


class Camera(Body):
    """One camera. It does not move."""

    camera: str = Field(max_length=64, examples=["c09"])
    display_name: str = Field(default="", max_length=200)
    sub_videos: list[SubVideo] = Field(default=[], max_length=1000, description="its recordings in order of time")
    homography: Homography | None = None
    distortion: LensDistortion | None = None


class Passage(Body):
    """A way between two cameras whose views do not overlap."""

    from_camera: str = Field(max_length=64)
    to_camera: str = Field(max_length=64)
    min_travel_sec: Finite = 0.0
    max_travel_sec: Finite = 0.0
    both_ways: bool = False


class MapPolygon(Body):
    """A polygon on the map."""

    corners: list[Point] = Field(max_length=1000)


class ImagePolygon(Body):
    """A polygon in one camera's image."""

    camera: str = Field(max_length=64)
    corners: list[NormalizedPoint] = Field(max_length=1000)


class SiteZone(Body):
    """An area in which presence is counted, on the map or in one camera's image."""

    zone: str = Field(max_length=64)
    map: MapPolygon | None = None
    image: ImagePolygon | None = None
    color: str = Field(default="", max_length=16, examples=["#2f6f4f"])

    @model_validator(mode="after")
    def _one_area(self) -> SiteZone:
        if self.map is not None and self.image is not None:
            raise ValueError("give either map or image")
        return self


class GroundPlane(Body):
    """The map that all cameras share."""

    unit: str = Field(default="", max_length=32, description="m")
    width: Finite = Field(default=0.0, description="in the map's unit; as far as people were seen")
    height: Finite = 0.0
    pixels_per_unit: Finite = Field(default=0.0, description="of the map's picture")
    image_asset_id: str = Field(default="", max_length=128, description="the map's picture")
    y_up: bool = Field(default=False, description="whether y grows upwards, as on a floor plan")


class Gallery(Body):
    """Whether persons keep their global ids from job to job."""

    enabled: bool = False
    retention_days: int = Field(default=0, ge=0, lt=2**31, description="until a person is forgotten; 30")


class Environment(Body):
    """A site with its cameras."""

    environment_id: str = Field(default="", max_length=128, description="made up when empty", examples=["factory"])
    owner: str = Field(default="", description="set by the server")
    display_name: str = Field(default="", max_length=200)
    description: str = Field(default="", max_length=10_000)
    cameras: list[Camera] = Field(default=[], max_length=1000)
    zones: list[SiteZone] = Field(default=[], max_length=1000)
    passages: list[Passage] = Field(default=[], max_length=10_000)
    ground_plane: GroundPlane | None = None
    clock_start_time: str | None = Field(default=None, description="time of day at second 0 of its clock, RFC 3339")
    gallery: Gallery | None = None
    create_time: str | None = Field(default=None, description="set by the server")
    update_time: str | None = Field(default=None, description="set by the server")


class EnvironmentList(BaseModel):
    """A page of sites, by name."""

    environments: list[Environment]
    total: int
    limit: int
    offset: int
    next_page_token: str | None


class HomographySet(BaseModel):
    """The checked homography."""

    camera: str
    homography: Homography


class Calibrated(BaseModel):
    """The calibrated site."""

    environment: Environment
    calibrated_cameras: list[str]
    unknown_cameras: list[str] = Field(description="of the document, that the site does not have")


class Identity(BaseModel):
    """A person whom the site's gallery knows."""

    global_id: str
    first_seen_time: str | None
    last_seen_time: str | None
    cameras: list[str]
    job_count: int
    expire_time: str | None = Field(description="when the person will be forgotten")


class IdentityList(BaseModel):
    """A page of persons, last seen first."""

    identities: list[Identity]
    total: int
    limit: int
    offset: int
    next_page_token: str | None


class Forgotten(BaseModel):
    """A person's data is deleted."""

    changed_jobs: int = Field(description="jobs whose results change")
