"""Homographies and lenses as messages: from what users have to what the mesh uses."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from kinemesh import errors
from kinemesh.common.v1 import common_pb2
from kinemesh.environment.v1 import calibration_pb2
from kinemesh.geometry.lens import Lens
from kinemesh.geometry.messages import LENS_MODELS, lens_of
from kinemesh_ingest.domain.calibration import MOST_POINTS, Calibration, Matrix, Points, read_calibration
from kinemesh_ingest.domain.fitting import Conventions, View, fitted
from kinemesh_ingest.domain.validation import check_range

_LARGEST_SIDE: Final = 65_536


def homography_of(source: calibration_pb2.HomographySource, view: View) -> calibration_pb2.Homography:
    """Check a homography and measure it.

    :raises TooLarge: FILE_TOO_LARGE.
    :raises InvalidArgument: MISSING_FIELD, OUT_OF_RANGE, and the reasons of ``domain.calibration`` and
        ``domain.fitting``.
    """
    given, conventions = _given(source)
    found = fitted(given, conventions, view)
    quality = calibration_pb2.HomographyQuality(condition_number=found.condition, warnings=found.warnings)
    if found.fit is not None:
        quality.points = len(found.fit.errors)
        quality.rms_error_map = float(np.sqrt(np.mean(found.fit.errors**2)))
        quality.max_error_map = float(found.fit.errors.max())
        quality.rms_error_px = float(np.sqrt(np.mean(found.fit.errors_px**2)))
        quality.errors_map.extend(found.fit.errors.tolist())
    return calibration_pb2.Homography(
        source=_kept(given, conventions),
        image_to_map=common_pb2.Matrix3(values=found.image_to_map.ravel().tolist()),
        quality=quality,
    )


def source_of(given: Calibration, image_axes: int, map_axes: int) -> calibration_pb2.HomographySource:
    """The source that a calibration of a document is."""
    conventions = Conventions(
        image_yx=image_axes == calibration_pb2.AXIS_ORDER_YX, map_yx=map_axes == calibration_pb2.AXIS_ORDER_YX
    )
    return _kept(given, conventions)


def checked_lens(distortion: calibration_pb2.LensDistortion, size: tuple[int, int] | None, field: str) -> Lens:
    """A lens, for pictures of the camera's size.

    :raises InvalidArgument: OUT_OF_RANGE, WRONG_COEFFICIENTS, UNKNOWN_LENS_MODEL.
    """
    model = LENS_MODELS.get(distortion.model)
    if model is None:
        raise errors.InvalidArgument("UNKNOWN_LENS_MODEL", "There is no such lens model.", field=f"{field}.model")
    for name in ("fx", "fy"):
        check_range(f"{field}.{name}", getattr(distortion, name), 1, 1e6)
    for name in ("cx", "cy"):
        check_range(f"{field}.{name}", getattr(distortion, name), -1e6, 1e6)
    if len(distortion.coefficients) not in model.value:
        counts = " or ".join(str(count) for count in model.value)
        raise errors.InvalidArgument(
            "WRONG_COEFFICIENTS",
            f"{field}.coefficients takes {counts} numbers for this lens model.",
            field=f"{field}.coefficients",
            count=len(distortion.coefficients),
        )
    for coefficient in distortion.coefficients:
        check_range(f"{field}.coefficients", coefficient, -1e3, 1e3)
    _size(distortion.image_width, distortion.image_height, field)
    return lens_of(distortion, size)


def _given(source: calibration_pb2.HomographySource) -> tuple[Calibration, Conventions]:
    kind = source.WhichOneof("source")
    conventions = Conventions(
        image_yx=source.image_axes == calibration_pb2.AXIS_ORDER_YX,
        map_yx=source.map_axes == calibration_pb2.AXIS_ORDER_YX,
        map_to_image=source.map_to_image,
        taken_from=_size(source.image_width, source.image_height, "source"),
    )
    if kind == "points":
        pairs = source.points.pairs
        if len(pairs) > MOST_POINTS:
            raise errors.InvalidArgument(
                "OUT_OF_RANGE", f"source.points takes at most {MOST_POINTS} pairs.", field="source.points"
            )
        image = np.array([(pair.image.x, pair.image.y) for pair in pairs], np.float64).reshape(-1, 2)
        target = np.array([(pair.map.x, pair.map.y) for pair in pairs], np.float64).reshape(-1, 2)
        return Points(image, target), replace(conventions, image_yx=False, map_yx=False)
    if kind == "matrix":
        if len(source.matrix.values) != 9:
            raise errors.InvalidArgument(
                "WRONG_SHAPE", "source.matrix takes nine values, row by row.", field="source.matrix"
            )
        return Matrix(np.array(source.matrix.values, np.float64).reshape(3, 3)), conventions
    if kind == "file":
        return read_calibration(source.file.data), conventions
    raise errors.InvalidArgument("MISSING_FIELD", "source is needed: points, a matrix or a file.", field="source")


def _kept(given: Calibration, conventions: Conventions) -> calibration_pb2.HomographySource:
    """What is stored: a matrix as it came with how it is meant; points as x, y."""
    source = calibration_pb2.HomographySource()
    source.image_width, source.image_height = conventions.taken_from or (0, 0)
    if isinstance(given, Matrix):
        source.matrix.values.extend(given.values.ravel().tolist())
        orders = {False: calibration_pb2.AXIS_ORDER_XY, True: calibration_pb2.AXIS_ORDER_YX}
        source.image_axes, source.map_axes = orders[conventions.image_yx], orders[conventions.map_yx]
        source.map_to_image = conventions.map_to_image
        return source
    image = given.image[:, ::-1] if conventions.image_yx else given.image
    target = given.map[:, ::-1] if conventions.map_yx else given.map
    for (x, y), (map_x, map_y) in zip(image.tolist(), target.tolist(), strict=True):
        source.points.pairs.add(image=calibration_pb2.PixelPoint(x=x, y=y), map=common_pb2.MapPoint(x=map_x, y=map_y))
    return source


def _size(width: int, height: int, field: str) -> tuple[int, int] | None:
    check_range(f"{field}.image_width", width, 0, _LARGEST_SIDE)
    check_range(f"{field}.image_height", height, 0, _LARGEST_SIDE)
    if (width > 0) != (height > 0):
        raise errors.InvalidArgument(
            "MISSING_FIELD", f"{field}.image_width and image_height belong together.", field=f"{field}.image_width"
        )
    return (width, height) if width else None
