"""The layout of the bucket. Every key is built here, so that no id can reach outside its own folder."""

from __future__ import annotations

import hashlib
import re
from datetime import datetime

from kinemesh.errors import InvalidArgument

# One path component: no slash, no leading dot (so neither "." nor ".."), nothing that a URL or a shell would quote.
_COMPONENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\Z")


def component(value: str, what: str = "id") -> str:
    """``value`` itself if it may be one component of a key.

    :raises InvalidArgument: ``INVALID_ID``.
    """
    if not _COMPONENT.match(value):
        raise InvalidArgument("INVALID_ID", f"The {what} holds characters that are not allowed.", field=what)
    return value


def asset_prefix(asset_id: str) -> str:
    """Everything that an asset owns."""
    return f"assets/{component(asset_id, 'asset_id')}/"


def asset_source(asset_id: str) -> str:
    """The uploaded file, as it came."""
    return asset_prefix(asset_id) + "source"


def asset_index(asset_id: str) -> str:
    """The frame index of the asset."""
    return asset_prefix(asset_id) + "index"


def asset_features(asset_id: str) -> str:
    """The features that a reference image is matched by."""
    return asset_prefix(asset_id) + "features"


def attempt_prefix(owner: str, area_id: str, route_id: str, time: datetime, attempt_id: str) -> str:
    """Everything that is kept with an attempt besides its video.

    :param time: when it was climbed, in UTC.
    """
    user = owner if _COMPONENT.match(owner) else hashlib.sha256(owner.encode()).hexdigest()
    moment = f"{time:%Y%m%dT%H%M%SZ}-{component(attempt_id, 'attempt_id')}"
    return f"routes/{user}/{component(area_id, 'area_id')}/{component(route_id, 'route_id')}/{component(moment)}/"


def attempt_poses(prefix: str) -> str:
    """The climber's poses in the attempt's video, under its prefix."""
    return prefix + "poses.parquet"


def attempt_features(prefix: str) -> str:
    """The SIFT features of the attempt's video, under its prefix."""
    return prefix + "features.parquet"


def job_prefix(job_id: str) -> str:
    """Everything that a job owns."""
    return f"jobs/{component(job_id, 'job_id')}/"


def stage_prefix(job_id: str, stage: str, camera: str | None = None) -> str:
    """All results of one stage, or those of one of its cameras."""
    prefix = f"{job_prefix(job_id)}{component(stage, 'stage')}/"
    return prefix if camera is None else f"{prefix}{component(camera, 'camera')}/"


def stage_result(job_id: str, stage: str, camera: str, segment: int | str, suffix: str = "parquet") -> str:
    """The result of one stage on one segment. Numbers are padded, so that listing order is segment order."""
    name = f"{segment:06d}" if isinstance(segment, int) else component(segment, "segment")
    return f"{stage_prefix(job_id, stage, camera)}{component(name, 'segment')}.{component(suffix, 'suffix')}"


def output_prefix(job_id: str) -> str:
    """What the user of a job receives."""
    return job_prefix(job_id) + "output/"


def output(job_id: str, name: str) -> str:
    """One file that the user of a job receives."""
    return output_prefix(job_id) + component(name, "name")
