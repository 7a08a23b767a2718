"""What users bring as files, damaged in every way: a reader gives an answer or a reason, and nothing else happens."""

from __future__ import annotations

import io
import json
import random
import time
import zipfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from kinemesh import media
from kinemesh.confined.settings import DecodingSettings
from kinemesh.errors import InvalidArgument
from kinemesh.media.confined import Decoder
from kinemesh.media.picture import encode_picture
from kinemesh.media.synthetic import write_clip
from kinemesh_ingest.contents import weights_suffix
from kinemesh_ingest.domain.calibration import read_calibration, read_document

from .conftest import Effort
from .mutations import mutated

DEFECTS = ("DECODER_CRASHED", "DECODER_TIMEOUT")
CASES = Path(__file__).parent / "cases"
LIMITS = media.Limits(max_pixels=1 << 22, max_frames=10_000)
TIME_BASE = Fraction(1, 90_000)
CLIPS = {
    "a.mp4": {"audio": "aac", "b_frames": 2},
    "b.mkv": {"audio": "libopus"},
    "c.webm": {"codec": "libvpx", "codec_options": {"deadline": "realtime", "cpu-used": "8"}},
    "d.avi": {"codec": "mpeg4"},
    "e.mp4": {"container_options": {"movflags": "frag_keyframe+empty_moov"}},
}


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    made = Decoder(DecodingSettings(memory_mb=512, look_s=20, index_s=20, silent_s=20))
    yield made
    made.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("fuzz")
    for name, options in CLIPS.items():
        step = 1 if name.endswith("avi") else 3000
        rate = {"time_base": Fraction(1, 30)} if name.endswith("avi") else {}
        write_clip(folder / name, pts=range(0, 20 * step, step), size=(64, 48), **options, **rate)  # type: ignore[arg-type]
    return [(folder / name).read_bytes() for name in CLIPS]


def fuzzed(effort: Effort, seeds: list[bytes], read: Callable[[bytes], object], cases: int) -> None:
    """Read mutations of ``seeds`` until the effort is spent; a refusal must be the input's fault and say why."""
    rng = random.Random(effort.seed)
    deadline = time.monotonic() + effort.seconds
    done = refused = 0
    while time.monotonic() < deadline and (not effort.bounded or done < cases):
        data = mutated(rng.choice(seeds), rng) if rng.random() < 0.9 else rng.randbytes(rng.randrange(300))
        done += 1
        try:
            read(data)
        except InvalidArgument as error:
            refused += 1
            if error.reason in DEFECTS:
                pytest.fail(kept(data, error))
        except Exception as error:  # noqa: BLE001 - whatever it is, the case is wanted
            pytest.fail(kept(data, error))
    assert refused > done // 20


def kept(data: bytes, error: Exception) -> str:
    """How to keep a case: its bytes as hexadecimal digits, in a file of ``cases``."""
    return f"{type(error).__name__}: {error}; keep as cases/NAME.hex: {data.hex()[:200_000]}"


def test_media(effort: Effort, files: list[bytes], decoder: Decoder, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    drawn = io.BytesIO()
    with media.H264Writer(drawn, width=64, height=48, time_base=TIME_BASE) as writer:
        writer.write(np.zeros((48, 64, 3), np.uint8), 0)

    def read(data: bytes) -> None:
        decoder.probe(io.BytesIO(data), LIMITS)
        index = decoder.build_index(io.BytesIO(data), LIMITS)
        last = min(index.frame_count, 3)
        for frame in decoder.decode(io.BytesIO(data), index, 0, last, size=(32, 24), limits=LIMITS):
            assert frame.image.shape == (24, 32, 3)
        if decoder.plays_in_browsers(io.BytesIO(data), index, LIMITS):
            decoder.remux(io.BytesIO(data), index, out, LIMITS)
        else:
            decoder.concatenate([drawn], out, time_base=TIME_BASE, audio_source=io.BytesIO(data), limits=LIMITS)

    fuzzed(effort, files, read, 150)


def test_pictures(effort: Effort, decoder: Decoder) -> None:
    image = np.random.default_rng(1).integers(0, 255, (40, 60, 3), np.uint8)
    seeds = [encode_picture(image, extension, 80) for extension in (".jpg", ".png", ".webp")]
    with decoder.pictures() as decode_one:
        fuzzed(effort, seeds, lambda data: decode_one(data, 1 << 22), 300)


def calibrations() -> list[bytes]:
    matrix = np.eye(3)
    points = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    made = []
    for arrays in ({"homography": matrix}, {"image_points": points, "map_points": points}):
        for save in (np.savez, np.savez_compressed):
            buffer = io.BytesIO()
            save(buffer, **arrays)
            made.append(buffer.getvalue())
    buffer = io.BytesIO()
    np.save(buffer, matrix)
    with zipfile.ZipFile(stray := io.BytesIO(), "w") as archive:
        archive.writestr(zipfile.ZipInfo("homography.npy"), buffer.getvalue())
        archive.writestr(zipfile.ZipInfo("../x"), b"x")
    plain = {"homography": matrix.tolist()}
    document = {
        "cameras": [{"id": "a", "source_points": points.tolist(), "destination_points": points.tolist()}],
        "ground_plane": {"width": 10, "height": 5},
    }
    texts = [json.dumps(one).encode() for one in (plain, document, matrix.tolist())]
    return [*made, buffer.getvalue(), stray.getvalue(), b"1 0 0\n0 1 0\n0 0 1\n", *texts]


@pytest.mark.parametrize("read", [read_calibration, read_document])
def test_calibrations(effort: Effort, read: Callable[[bytes], object]) -> None:
    fuzzed(effort, calibrations(), read, 3000)


def test_heads_of_weights(effort: Effort) -> None:
    rng = random.Random(effort.seed)
    for _ in range(5000):
        head = rng.choice((b"PK\3\4", b"\x80\2", b"\x08\x07\x12", b"")) + rng.randbytes(rng.randrange(64))
        assert weights_suffix(head) in ("", ".pt", ".onnx")


READERS: dict[str, Callable[[bytes], object]] = {"calibration": read_calibration, "document": read_document}


@pytest.mark.parametrize("case", sorted(CASES.glob("*.hex")), ids=lambda path: path.stem)
def test_what_was_found_once(case: Path, decoder: Decoder) -> None:
    """Cases are named after their reader: ``media-…``, ``picture-…``, ``calibration-…``, ``document-…``."""
    data = bytes.fromhex(case.read_text())
    kind = case.stem.partition("-")[0]
    readers: dict[str, Callable[[bytes], object]] = {
        **READERS,
        "media": lambda given: decoder.build_index(io.BytesIO(given), LIMITS),
        "picture": lambda given: decoder.decode_picture(given, 1 << 22),
    }
    try:
        readers[kind](data)
    except InvalidArgument as error:
        if error.reason in DEFECTS:
            pytest.fail(error.reason)
