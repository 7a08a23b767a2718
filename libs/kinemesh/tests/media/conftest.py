"""Clips of every kind that must work, made once per run."""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import pytest

from kinemesh.media.synthetic import write_clip
from kinemesh.testing.real_data import real_data

FRAMES = 80
CONSTANT = [3000 * number for number in range(FRAMES)]
TICKS = Fraction(1, 30)
COUNTED = list(range(FRAMES))


def _variable() -> list[int]:
    rng = random.Random(7)
    stamps = [0]
    while len(stamps) < FRAMES:
        stamps.append(stamps[-1] + rng.choice([1500, 3000, 3003, 4500, 12_000]))
    return stamps


X265 = "keyint=12:min-keyint=12:scenecut=0:bframes=3:open-gop=1:log-level=none:pools=none:frame-threads=1"
KINDS: Mapping[str, Mapping[str, object]] = {
    "constant.mp4": {"pts": CONSTANT},
    "variable.mp4": {"pts": _variable(), "b_frames": 2},
    "open_gop.mp4": {"pts": CONSTANT, "b_frames": 3, "open_gop": True},
    "open_gop.mkv": {"pts": _variable(), "b_frames": 3, "open_gop": True, "audio": "libopus"},
    "late_start.mp4": {"pts": [50_000 + stamp for stamp in CONSTANT], "b_frames": 2, "audio": "aac"},
    "late_sound.mov": {"pts": CONSTANT, "audio": "aac", "audio_start_s": 0.5},
    "trimmed.mp4": {"pts": CONSTANT, "b_frames": 2, "audio": "aac"},
    "audio.mp4": {"pts": CONSTANT, "audio": "aac"},
    "pcm.mov": {"pts": CONSTANT, "audio": "pcm_s16le"},
    "fragmented.mp4": {
        "pts": CONSTANT,
        "b_frames": 2,
        "audio": "aac",
        "container_options": {"movflags": "frag_keyframe+empty_moov"},
    },
    "one_keyframe.mp4": {"pts": CONSTANT, "gop": 1000},
    "all_keyframes.mp4": {"pts": CONSTANT, "gop": 1},
    "hevc.mp4": {"pts": CONSTANT, "codec": "libx265", "codec_options": {"x265-params": X265}},
    "vp8.webm": {
        "pts": CONSTANT,
        "codec": "libvpx",
        "codec_options": {"deadline": "good", "cpu-used": "8", "auto-alt-ref": "1", "lag-in-frames": "16"},
    },
    "vp9.webm": {
        "pts": CONSTANT,
        "codec": "libvpx-vp9",
        "codec_options": {"deadline": "good", "cpu-used": "8", "auto-alt-ref": "1", "lag-in-frames": "16"},
    },
    "mpeg4.avi": {"pts": COUNTED, "time_base": TICKS, "codec": "mpeg4"},
    "b_frames.avi": {"pts": COUNTED, "time_base": TICKS, "b_frames": 2, "audio": "pcm_s16le"},
    "mjpeg.avi": {"pts": COUNTED, "time_base": TICKS, "codec": "mjpeg"},
    "rotated_90.mp4": {"pts": CONSTANT[:20], "rotation": 90},
    "rotated_180.mp4": {"pts": CONSTANT[:20], "rotation": 180},
    "rotated_270.mov": {"pts": CONSTANT[:20], "rotation": 270},
}
HIDDEN = 17  # frames that the edit list of trimmed.mp4 hides: more than one group of pictures, ending within another


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for name, options in KINDS.items():
        write_clip(folder / name, **options)  # type: ignore[arg-type]
    trim_start(folder / "trimmed.mp4", HIDDEN * 3000)
    return folder


@pytest.fixture(params=list(KINDS))
def clip(request: pytest.FixtureRequest, clips: Path) -> Path:
    return clips / str(request.param)


def trim_start(path: Path, ticks: int) -> None:
    """Hide the first ticks of the first track by its edit list, as an editor on a phone does."""
    data = bytearray(path.read_bytes())
    at = data.index(b"elst")
    version, entries = data[at + 4], struct.unpack_from(">I", data, at + 8)[0]
    assert (version, entries) == (0, 1)
    duration, media_time = struct.unpack_from(">Ii", data, at + 12)
    struct.pack_into(">Ii", data, at + 12, duration - ticks * 1000 // 90_000, media_time + ticks)
    path.write_bytes(bytes(data))


def real_clips() -> list[Path]:
    folder = os.environ.get("KINEMESH_TEST_DATA")
    return sorted(Path(folder, "media").glob("*.mp4")) if folder else []


REAL: list[Path | None] = [*real_clips()] or [None]


@pytest.fixture(params=REAL, ids=lambda path: path.stem if path else "unset")
def real_clip(request: pytest.FixtureRequest) -> Path:
    return Path(request.param or real_data())
