"""Every frame of any clip comes out once, at its own time, upright, with the original's sound."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from kinemesh.media import Image, build_index, decode
from kinemesh.media.synthetic import is_upright, read_number, write_clip
from kinemesh.testing.rest import Rest

FRAMES = 40
EVEN = [i * 3000 for i in range(FRAMES)]
UNEVEN = [sum((2000, 5000, 900, 12000)[j % 4] for j in range(i)) for i in range(FRAMES)]

KINDS: dict[str, dict[str, Any]] = {
    "even": {"pts": EVEN},
    "variable_rate": {"pts": UNEVEN},
    "b_frames_open_gop": {"pts": EVEN, "b_frames": 3, "open_gop": True},
    "late_start": {"pts": [p + 45_000 for p in EVEN]},
    "sound": {"pts": EVEN, "audio": "aac"},
    "late_sound": {"pts": EVEN, "audio": "aac", "audio_start_s": 0.2},
    "rotated_90": {"pts": EVEN, "rotation": 90},
    "rotated_180": {"pts": EVEN, "rotation": 180},
    "rotated_270": {"pts": EVEN, "rotation": 270},
    "odd_number_of_chroma_rows": {"pts": EVEN, "size": (190, 106)},
}


def times(path: Path) -> list[Fraction]:
    index = build_index(path)
    return [int(pts) * index.time_base for pts in index.pts]


def sound(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return []
        return [bytes(packet) for packet in container.demux(container.streams.audio[0]) if packet.size]


def edge_difference(one: Image, other: Image) -> float:
    """The largest mean difference of two pictures along any of their four edges, where nobody is drawn."""
    difference = np.abs(one.astype(int) - other).max(axis=2)
    edges = (difference[:2], difference[-2:], difference[:, :2], difference[:, -2:])
    return max(float(edge.mean()) for edge in edges)


@pytest.mark.parametrize("kind", KINDS)
async def test_the_output_has_the_frames_of_the_input(kind: str, rest: Rest, tmp_path: Path) -> None:
    source = tmp_path / "source.mp4"
    write_clip(source, **KINDS[kind])
    job = await rest.run(source.read_bytes())
    made = await rest.save(job["job_id"], "annotated.mp4", tmp_path)
    before, after = times(source), times(made)
    assert len(before) == len(after) == FRAMES == job["summary"]["frame_count"]
    assert max(abs(a - b) for a, b in zip(before, after, strict=True)) <= Fraction(1, 1000)
    assert sound(made) == sound(source)
    originals = decode(source, build_index(source))
    for frame, original in zip(decode(made, build_index(made)), originals, strict=True):
        assert read_number(frame.image) == frame.index
        assert is_upright(frame.image)
        assert edge_difference(frame.image, original.image) < 16


async def test_the_output_plays_in_browsers(rest: Rest, tmp_path: Path) -> None:
    source = tmp_path / "source.mp4"
    write_clip(source, pts=EVEN, audio="aac")
    job = await rest.run(source.read_bytes())
    data = await rest.output(job["job_id"], "annotated.mp4")
    assert data.index(b"moov") < data.index(b"mdat")
    with av.open(io.BytesIO(data)) as container:
        video = container.streams.video[0].codec_context
        assert (video.name, video.pix_fmt) == ("h264", "yuv420p")
    path = f"/api/v1/jobs/{job['job_id']}/outputs/annotated.mp4"
    part = await rest.call("GET", path, headers={"Range": "bytes=10-19"})
    assert part.status_code == 206
    assert part.content == data[10:20]
    assert part.headers["Content-Range"] == f"bytes 10-19/{len(data)}"


async def test_events_hold_every_frame_once_in_order(rest: Rest, tmp_path: Path) -> None:
    source = tmp_path / "source.mp4"
    write_clip(source, pts=UNEVEN)
    job_id = await rest.start(await rest.upload(source.read_bytes()))
    live = [message async for message in rest.watch(job_id)]
    late = [message async for message in rest.watch(job_id)]
    for messages in (live, late):
        seen = [frame for m in messages if m["type"] == "frames" for frame in m["payload"]["frames"]]
        assert [frame["frame_index"] for frame in seen] == list(range(FRAMES))
        assert [frame["time_sec"] for frame in seen] == pytest.approx([float(t) for t in times(source)], abs=1e-6)
        assert [m["payload"]["state"] for m in messages if m["type"] == "state"] == ["QUEUED", "RUNNING", "SUCCEEDED"]
    middle = live[len(live) // 2]["sequence"]
    resumed = [message["sequence"] async for message in rest.watch(job_id, since=middle)]
    assert resumed == [m["sequence"] for m in live if m["sequence"] > middle]
