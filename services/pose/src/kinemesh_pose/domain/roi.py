"""Regions of interest: the rotated squares of a frame that the landmark network looks at.

An ROI is a row ``(centre x, centre y, side, rotation)`` of a float64 array [T,4], in pixels of the upright frame
(x right, y down) and radians (clockwise as seen; 0 where the person stands upright). Geometry as in BlazePose
(arXiv:2006.10204): centre and rotation come from the mid-hip point and a second point above it, whose distance is the
radius of the circle around the whole person.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Rois = NDArray[np.float64]
Image = NDArray[np.uint8]

NO_ROIS: Rois = np.empty((0, 4))

DETECTOR_SIZE = 224
CROP_SIZE = 256

_MARGIN = 1.25
_FRACTION_BITS = 5
_FRACTION_MASK = 31  # OpenCV's sub-pixel positions per pixel
_ELONGATED = 1.25  # long side per short side from which closer views are worth their time
_SHARED = 0.2  # of a side, at least, by neighbouring closer views
_FAR = 32_000  # keeps positions in int16; no frame is that large
_CENTRE_COLUMNS = slice(4, 6)
_SCALE_COLUMNS = slice(6, 8)


def from_alignment_points(centre: NDArray[np.floating], above: NDArray[np.floating]) -> Rois:
    """ROIs [T,4] from mid-hip points and full-body scale points, both [T,2] in frame pixels."""
    offset = np.asarray(above, np.float64) - centre
    side = 2 * _MARGIN * np.hypot(offset[:, 0], offset[:, 1])
    rotation = np.pi / 2 - np.arctan2(-offset[:, 1], offset[:, 0])
    rotation -= 2 * np.pi * np.floor((rotation + np.pi) / (2 * np.pi))
    return np.column_stack([centre, side, rotation]).astype(np.float64)


def views(width: int, height: int) -> Rois:
    """What the detector may be shown of a frame: upright squares [V,4].

    The first is the whole frame on black. The others, closer, have the frame's short side and stand along its long one.
    In them people are larger by the frame's aspect ratio, so that smaller ones are found and all are placed more
    precisely. Neighbours overlap, for somebody on a border to be whole in one. A frame that is nearly square has none.
    """
    long, short = max(width, height), min(width, height)
    whole = np.array([[width / 2, height / 2, long, 0.0]])
    if long < _ELONGATED * short:
        return whole
    count = int(np.ceil((long / short - _SHARED) / (1 - _SHARED)))
    along = np.linspace(short / 2, long - short / 2, count)
    across, side, upright = np.full(count, short / 2), np.full(count, short), np.zeros(count)
    x, y = (along, across) if width > height else (across, along)
    return np.concatenate([whole, np.column_stack([x, y, side, upright])])


def from_detections(detections: NDArray[np.float32], view: NDArray[np.float64]) -> tuple[Rois, NDArray[np.float64]]:
    """ROIs [D,4] and scores [D] of the detector's answer [K,13] for a view [4] of the frame.

    Rows with score 0 are padding and left out.
    """
    found = detections[detections[:, 12] > 0].astype(np.float64)
    scale = view[2] / DETECTOR_SIZE
    corner = view[:2] - view[2] / 2
    centre, above = found[:, _CENTRE_COLUMNS] * scale + corner, found[:, _SCALE_COLUMNS] * scale + corner
    return from_alignment_points(centre, above), found[:, 12]


def fits(rois: Rois, view: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether each of the people whose ROIs [T,4] these are is small enough to be whole in a view [4]."""
    return np.asarray(rois[:, 2] <= _MARGIN * view[2], np.bool_)


def overlap(roi: NDArray[np.float64], rois: Rois) -> NDArray[np.float64]:
    """Intersection over union [T] of one ROI [4] with others [T,4], all taken as if they were not rotated."""
    common = _common(roi, rois)
    union = roi[2] ** 2 + rois[:, 2] ** 2 - common
    ratio: NDArray[np.float64] = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    return ratio


def containment(roi: NDArray[np.float64], rois: Rois) -> NDArray[np.float64]:
    """Intersection over the smaller one's area [T], otherwise as :func:`overlap`."""
    common = _common(roi, rois)
    smaller = np.minimum(roi[2], rois[:, 2]) ** 2
    ratio: NDArray[np.float64] = np.divide(common, smaller, out=np.zeros_like(common), where=smaller > 0)
    return ratio


def _common(roi: NDArray[np.float64], rois: Rois) -> NDArray[np.float64]:
    reach = (roi[2] + rois[:, 2]) / 2 - np.abs(rois[:, :2] - roi[:2]).T
    area: NDArray[np.float64] = np.clip(np.minimum(reach, np.minimum(roi[2], rois[:, 2])), 0, None).prod(axis=0)
    return area


def difference(rois: Rois, reference: Rois) -> Rois:
    """What takes ``reference`` to ``rois``, both [T,4]; :func:`displace` applies it.

    :returns: [T,4] shift along and across the reference's axes in sides, log of the ratio of the sides, turn.
    """
    cos, sin = np.cos(reference[:, 3]), np.sin(reference[:, 3])
    x, y = (rois[:, :2] - reference[:, :2]).T / reference[:, 2]
    turn = np.remainder(rois[:, 3] - reference[:, 3] + np.pi, 2 * np.pi) - np.pi
    return np.column_stack([cos * x + sin * y, cos * y - sin * x, np.log(rois[:, 2] / reference[:, 2]), turn])


def displace(rois: Rois, by: Rois) -> Rois:
    """Each ROI [T,4] changed by a :func:`difference` [T,4]."""
    cos, sin = np.cos(rois[:, 3]), np.sin(rois[:, 3])
    x = rois[:, 0] + rois[:, 2] * (cos * by[:, 0] - sin * by[:, 1])
    y = rois[:, 1] + rois[:, 2] * (sin * by[:, 0] + cos * by[:, 1])
    return np.column_stack([x, y, rois[:, 2] * np.exp(by[:, 2]), rois[:, 3] + by[:, 3]])


def look(frame: Image, view: NDArray[np.float64]) -> Image:
    """The detector's input [224,224,3]: a view [4] of the frame, black beyond its edges.

    Bilinear without a low-pass before it, as in MediaPipe.
    """
    return _warp(frame, view, DETECTOR_SIZE, cv2.BORDER_CONSTANT)


def crop(frame: Image, rois: Rois) -> Image:
    """The landmark network's inputs [T,256,256,3]: each ROI upright; beyond the frame its edge is repeated."""
    crops = np.empty((len(rois), CROP_SIZE, CROP_SIZE, 3), np.uint8)
    for row, roi in enumerate(rois):
        crops[row] = _warp(frame, roi, CROP_SIZE, cv2.BORDER_REPLICATE)
    return crops


def _warp(frame: Image, roi: NDArray[np.float64], size: int, border: int) -> Image:
    """Sample the region bilinearly at positions rounded to 1/32 pixel.

    That is what ``warpPerspective`` of OpenCV up to 4 does, and with it MediaPipe; OpenCV 5 samples more finely, which
    in hard pictures moves landmarks visibly. Spelling the positions out gives the same crop under every version.
    """
    x, y, side, rotation = roi
    scale = side / size
    cos, sin = scale * np.cos(rotation), scale * np.sin(rotation)
    step = np.arange(size) - size / 2
    columns = _fixed_point(cos * step, x - sin * step)
    rows = _fixed_point(sin * step, y + cos * step)
    positions = np.empty((size, size, 2), np.int16)
    np.clip(columns >> _FRACTION_BITS, -_FAR, _FAR, out=positions[..., 0], casting="unsafe")
    np.clip(rows >> _FRACTION_BITS, -_FAR, _FAR, out=positions[..., 1], casting="unsafe")
    part = (rows & _FRACTION_MASK) << _FRACTION_BITS | columns & _FRACTION_MASK
    return np.asarray(
        cv2.remap(frame, positions, part.astype(np.uint16), cv2.INTER_LINEAR, borderMode=border), np.uint8
    )


def _fixed_point(along: NDArray[np.float64], across: NDArray[np.float64]) -> NDArray[np.int32]:
    """Sums of every element of ``across`` (rows) and ``along`` (columns), in 1/32 pixel."""
    sums = np.add.outer(across * (_FRACTION_MASK + 1), along * (_FRACTION_MASK + 1))
    return np.rint(sums, out=sums).astype(np.int32)


def project(landmarks: NDArray[np.float32], rois: Rois, width: int, height: int) -> NDArray[np.float32]:
    """Take landmarks [T,L,≥3] from crop pixels to the frame.

    :returns: a copy whose x and y are fractions of the frame's width and height, and whose z (towards the camera
        negative, 0 at the hips) is a fraction of the width as well. Further columns stay.
    """
    side, rotation = rois[:, 2, None], rois[:, 3, None]
    cos, sin = np.cos(rotation), np.sin(rotation)
    x = (landmarks[:, :, 0] / CROP_SIZE - 0.5) * side
    y = (landmarks[:, :, 1] / CROP_SIZE - 0.5) * side
    projected = landmarks.copy()
    projected[:, :, 0] = (cos * x - sin * y + rois[:, 0, None]) / width
    projected[:, :, 1] = (sin * x + cos * y + rois[:, 1, None]) / height
    projected[:, :, 2] = landmarks[:, :, 2] / CROP_SIZE * side / width
    return projected


def rotate_world(world: NDArray[np.float32], rois: Rois) -> NDArray[np.float32]:
    """Turn metric landmarks [T,L,3] from the axes of the crop to those of the frame (x right, y down, z away)."""
    rotation = rois[:, 3, None]
    cos, sin = np.cos(rotation), np.sin(rotation)
    rotated = world.copy()
    rotated[:, :, 0] = cos * world[:, :, 0] - sin * world[:, :, 1]
    rotated[:, :, 1] = sin * world[:, :, 0] + cos * world[:, :, 1]
    return rotated
