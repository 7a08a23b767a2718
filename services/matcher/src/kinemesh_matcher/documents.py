"""The files that a job of route comparison leaves for its user."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from kinemesh.bodies.skeleton import LANDMARKS
from kinemesh.results.climbs import UNITS
from kinemesh.results.columns_parquet import to_parquet
from kinemesh.results.matches import Verdict
from kinemesh.results.poses import landmark_table
from kinemesh_matcher.attempts import Ascent, Holds, metrics_of
from kinemesh_matcher.domain.alignment import Clock
from kinemesh_matcher.domain.climbing import pauses_of
from kinemesh_matcher.domain.motion import LIMBS, runs
from kinemesh_matcher.domain.smoothing import Source
from kinemesh_matcher.lying import Wanted
from kinemesh_matcher.showing import Shown

VERSION: Final = "v1"
JSON: Final = "application/json"
PARQUET: Final = "application/vnd.apache.parquet"

MATCHES_SCHEMA = pa.schema(
    [
        ("attempt", pa.int32()),
        ("camera", pa.string()),
        ("frame_index", pa.int64()),
        ("time_sec", pa.float64()),
        ("verdict", pa.string()),
        ("reason", pa.string()),
        ("source", pa.string()),
        ("image_features", pa.int32()),
        ("matches", pa.int32()),
        ("inliers", pa.int32()),
        ("coverage", pa.float64()),
        ("rms_error_px", pa.float64()),
        ("condition_number", pa.float64()),
        *((f"h{row}{column}", pa.float64()) for row in range(3) for column in range(3)),
    ]
)
"""One row per frame of every recording. ``h00`` to ``h22`` are the transform in use, from pixels of the upright frame
to pixels of the reference; null where there is none."""


def files_of(
    ascents: Sequence[Ascent], holds: Holds, shown: Shown, wanted: Wanted, features: int
) -> list[tuple[str, str, bytes]]:
    """All files, as (name, media type, content). A ``person_id`` is an attempt's number.

    :param features: number of features of the reference.
    """
    return [
        ("landmarks.parquet", PARQUET, landmark_table(shown.poses, LANDMARKS, interpolated=shown.interpolated)),
        ("landmarks.json", JSON, landmarks_json(shown)),
        ("matches.parquet", PARQUET, matches_parquet(ascents)),
        ("match.json", JSON, match_json(ascents, wanted, features)),
        ("metrics.json", JSON, metrics_json(ascents, holds, shown)),
    ]


def landmarks_json(shown: Shown) -> bytes:
    """One object: facts of the output, and every frame with the attempts that are seen in it.

    An attempt's ``landmarks`` are 33 × [x, y, z, visibility, presence], x and y as fractions of the reference.
    """
    showing, poses = shown.showing, shown.poses
    rate = float(showing.frame_rate)
    count = showing.frame_count
    starts = np.searchsorted(poses.frame_index, np.arange(count + 1)).tolist()
    image, persons = np.ascontiguousarray(poses.image), poses.person_id.tolist()
    score, interpolated = poses.score.tolist(), shown.interpolated.tolist()
    document = {
        "version": VERSION,
        "width": showing.width,
        "height": showing.height,
        "frame_count": count,
        "fps": round(rate, 6),
        "duration_sec": round(count / rate, 6),
        "names": list(showing.names),
        "landmark_names": list(LANDMARKS),
        "frames": [
            {
                "frame_index": frame,
                "time_sec": frame / rate,
                "persons": [
                    {
                        "person_id": persons[row],
                        "interpolated": interpolated[row],
                        "score": round(score[row], 6),
                        "landmarks": image[row],
                    }
                    for row in range(starts[frame], starts[frame + 1])
                ],
            }
            for frame in range(count)
        ],
    }
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def matches_parquet(ascents: Sequence[Ascent]) -> bytes:
    """How every frame was matched, and what transform is in use for it: :data:`MATCHES_SCHEMA`."""
    return to_parquet(pa.concat_tables([_matches(ascent) for ascent in ascents]))


def _matches(ascent: Ascent) -> pa.Table:
    rows, transforms = ascent.recording.matches, ascent.lying.transforms
    count = len(rows)
    sources = np.array([source.name.lower() for source in Source])
    verdicts = np.array(["", *(verdict.name for verdict in Verdict)])
    matrix = transforms.matrix.reshape(count, 9)
    columns: list[Any] = [
        np.full(count, ascent.number, np.int32),
        [ascent.recording.attempt.camera] * count,
        rows.frame_index,
        rows.time_sec,
        verdicts[rows.verdict].astype(object),
        pa.array(rows.reason.astype(object), pa.string(), mask=rows.reason == ""),
        sources[transforms.source].astype(object),
        rows.image_features,
        rows.matches,
        rows.inliers,
        rows.coverage,
        *(pa.array(values, mask=np.isnan(values)) for values in (rows.rms_error_px, rows.condition_number)),
        *(pa.array(column, mask=np.isnan(column)) for column in matrix.T),
    ]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, MATCHES_SCHEMA, strict=True)]
    return pa.table(arrays, schema=MATCHES_SCHEMA)


def match_json(ascents: Sequence[Ascent], wanted: Wanted, features: int) -> bytes:
    """How the recordings were matched as a whole. Ranges of frames are [first, last]."""
    width, height = wanted.reference
    attempts = []
    for ascent in ascents:
        lying, source = ascent.lying, ascent.lying.transforms.source
        attempts.append(
            {
                **who(ascent),
                "verdict": lying.verdict.name,
                "reason": lying.reason or None,
                "hint": lying.hint or None,
                "frames": len(source),
                "sampled_frames": lying.sampled,
                **counts(ascent),
                "interpolated": _ranges(lying.transforms.filled),
                "unmatched": _ranges(source == Source.NONE),
                "reasons": lying.reasons,
            }
        )
    document = {
        "version": VERSION,
        "reference": {"width": width, "height": height, "features": features},
        "mode": "single" if wanted.single else "multi",
        "model": "affine" if wanted.affine else "homography",
        "attempts": attempts,
    }
    return orjson.dumps(document)


def who(ascent: Ascent) -> dict[str, Any]:
    """Which attempt it is."""
    attempt = ascent.recording.attempt
    return {
        "attempt": ascent.number,
        "camera": attempt.camera,
        "attempt_id": attempt.attempt_id,
        "name": attempt.display_name,
    }


def counts(ascent: Ascent) -> dict[str, int]:
    """Frames with a say in the transforms, with a transform from others, and without any."""
    transforms = ascent.lying.transforms
    return {
        "matched_frames": ascent.lying.matched,
        "interpolated_frames": int(transforms.filled.sum()),
        "unmatched_frames": int((transforms.source == Source.NONE).sum()),
    }


def _ranges(flags: NDArray[np.bool_]) -> list[list[int]]:
    return [[first, stop - 1] for first, stop in runs(flags).tolist()]


def figures(ascent: Ascent, holds: Holds) -> dict[str, float]:
    """The figures of a climb by the names of ``kinemesh.route.v1.ClimbMetrics``."""
    found = asdict(metrics_of(ascent, holds))
    return {name: round(found[name], 6) for name in UNITS}


def metrics_json(ascents: Sequence[Ascent], holds: Holds, shown: Shown) -> bytes:
    """Figures, moves, pauses and holds of all attempts, and a table that compares them.

    Times are of the output, but for ``recording_sec``, which counts from the recording's first frame.
    """
    aspect = shown.showing.width / shown.showing.height
    measured = [figures(ascent, holds) for ascent in ascents]
    touched: list[set[int]] = [set(own[own > 0].tolist()) for own in holds.of_rest]
    document = {
        "version": VERSION,
        "units": UNITS,
        "attempts": [
            {**who(ascent), "metrics": values, **_story(ascent, holds.of_rest[ascent.number - 1], clock)}
            for ascent, values, clock in zip(ascents, measured, shown.clocks, strict=True)
        ],
        "holds": [
            {
                "hold": number,
                "x": round(x / aspect, 6),
                "y": round(y, 6),
                "attempts": [who for who, own in enumerate(touched, 1) if number in own],
            }
            for number, (x, y) in enumerate(holds.middle.tolist(), 1)
        ],
        "comparison": [
            {
                "metric": name,
                "unit": unit,
                "values": [values[name] for values in measured],
                "differences": [round(values[name] - measured[0][name], 6) for values in measured],
            }
            for name, unit in UNITS.items()
        ],
    }
    return orjson.dumps(document)


def _story(ascent: Ascent, hold: NDArray[np.int64], clock: Clock) -> dict[str, Any]:
    climb, rests = ascent.climb, ascent.rests

    def at(recording_sec: float) -> float:
        return round(float(clock.output_at(np.array([recording_sec]))[0]), 6)

    return {
        "leaves_ground": climb.leaves_ground,
        "start_sec": at(climb.start_sec),
        "end_sec": at(ascent.end_sec),
        "moves": [
            {
                "time_sec": at(rests[move.target].start_sec),
                "recording_sec": round(rests[move.target].start_sec, 6),
                "limb": LIMBS[rests[move.target].limb],
                "from_hold": int(hold[move.origin]) or None,
                "to_hold": int(hold[move.target]) or None,
            }
            for move in ascent.moves
        ],
        "pauses": [
            {"start_sec": at(start), "end_sec": at(stop)}
            for start, stop in pauses_of(ascent.motion, climb.start_sec, ascent.end_sec)
        ],
    }
