"""Videos that are joined and copied in confined processes are those of the plain functions, and so are refusals."""

from __future__ import annotations

import io
import signal
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from kinemesh import media
from kinemesh.confined.settings import DecodingSettings
from kinemesh.errors import Cancelled, KinemeshError, UnsupportedMedia
from kinemesh.media.confined import Decoder
from kinemesh.testing.decoding import IN_PROCESS, confined_processes

STEP = Fraction(1, 30)


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    made = Decoder(DecodingSettings(memory_mb=256))
    yield made
    made.close()


def _part(stamps: Sequence[int], size: tuple[int, int] = (64, 48)) -> io.BytesIO:
    part = io.BytesIO()
    with media.H264Writer(part, width=size[0], height=size[1], time_base=STEP, preset="ultrafast") as writer:
        for stamp in stamps:
            writer.write(np.full((size[1], size[0], 3), 40 + stamp, np.uint8), stamp)
    return part


@pytest.fixture(scope="module")
def parts() -> list[io.BytesIO]:
    return [_part(range(start, start + 20)) for start in (0, 20, 40, 60)]


@pytest.mark.parametrize(
    "name", ["audio.mp4", "open_gop.mkv", "pcm.mov", "late_sound.mov", "b_frames.avi", "", "vp8.webm"]
)
def test_joined_parts_are_the_same_to_the_byte(
    decoder: Decoder, clips: Path, parts: list[io.BytesIO], tmp_path: Path, name: str
) -> None:
    original = clips / name if name else None
    for out, joined in (("plain.mp4", media.concatenate), ("confined.mp4", decoder.concatenate)):
        assert joined(parts, tmp_path / out, time_base=STEP, audio_source=original, end_pts=81) == 80
    data = (tmp_path / "confined.mp4").read_bytes()
    assert data == (tmp_path / "plain.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_an_index_that_is_longer_than_the_pictures_stands_at_the_front_too(decoder: Decoder, tmp_path: Path) -> None:
    paths = [tmp_path / "part.nut"]
    paths[0].write_bytes(_part([0], (2, 2)).getvalue())
    media.concatenate(paths, tmp_path / "plain.mp4", time_base=STEP)
    assert decoder.concatenate(paths, tmp_path / "confined.mp4", time_base=STEP) == 1
    data = (tmp_path / "confined.mp4").read_bytes()
    assert data == (tmp_path / "plain.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat") < 2 * (len(data) - data.index(b"mdat"))


@pytest.mark.parametrize(
    "name", ["audio.mp4", "constant.mp4", "pcm.mov", "fragmented.mp4", "rotated_270.mov", "late_start.mp4"]
)
def test_a_copy_is_the_same_to_the_byte(decoder: Decoder, clips: Path, tmp_path: Path, name: str) -> None:
    index = media.build_index(clips / name)
    assert decoder.plays_in_browsers(clips / name, index)
    count = media.remux(clips / name, index, tmp_path / "plain.mp4")
    with (clips / name).open("rb") as file:
        assert decoder.remux(file, index, tmp_path / "confined.mp4") == count == index.frame_count
    assert (tmp_path / "confined.mp4").read_bytes() == (tmp_path / "plain.mp4").read_bytes()


@pytest.mark.parametrize("name", ["open_gop.mkv", "trimmed.mp4", "hevc.mp4", "b_frames.avi"])
def test_what_browsers_do_not_play_is_told_apart(decoder: Decoder, clips: Path, name: str) -> None:
    assert not decoder.plays_in_browsers(clips / name, media.build_index(clips / name))


def test_what_cannot_be_joined_or_copied_is_refused_alike(
    decoder: Decoder, clips: Path, parts: list[io.BytesIO], tmp_path: Path
) -> None:
    out = tmp_path / "out.mp4"
    data = (clips / "constant.mp4").read_bytes()
    index = media.build_index(clips / "constant.mp4")

    def join(*given: media.Source, sound: media.Source | None = None) -> Callable[[Decoder], int]:
        return lambda one: one.concatenate(given, out, time_base=STEP, audio_source=sound)

    def copy(given: bytes) -> Callable[[Decoder], int]:
        return lambda one: one.remux(io.BytesIO(given), index, out)

    cases = {
        "NO_PARTS": join(),
        "PARTS_DIFFER": join(parts[0], _part(range(20, 25), (32, 32))),
        "PARTS_OUT_OF_ORDER": join(parts[1], parts[0]),
        "CORRUPT_PART": join(parts[0], io.BytesIO(b"no part")),
        "NOT_A_VIDEO": join(parts[0], sound=io.BytesIO(b"no video")),
        "EMPTY_FILE": copy(b""),
        "CORRUPT_MEDIA": copy(data[: data.index(b"moov") + 4]),
    }
    for reason, work in cases.items():
        refusals = []
        for one in (decoder, IN_PROCESS):
            with pytest.raises(KinemeshError) as caught:
                work(one)
            refusals.append((type(caught.value), caught.value.reason, caught.value.message, caught.value.metadata))
            assert not out.exists()
        assert refusals[0] == refusals[1]
        assert refusals[0][1] == reason
    with pytest.raises(FileNotFoundError):
        join(parts[0], tmp_path / "none.nut")(decoder)
    assert not out.exists()


class _Watched(io.BytesIO):
    """A file of which a little is read at a time, and at the third time something happens."""

    def __init__(self, data: bytes, happens: Callable[[], None]) -> None:
        super().__init__(data)
        self._happens = happens
        self._reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self._reads += 1
        if self._reads == 3:
            self._happens()
        return super().read(min(4096, size or 0))


def test_a_crash_while_copying_leaves_nothing(decoder: Decoder, clips: Path, tmp_path: Path) -> None:
    clip, out = clips / "audio.mp4", tmp_path / "out.mp4"
    index = media.build_index(clip)
    ending = confined_processes()

    def crash() -> None:
        assert out.exists()
        (child,) = confined_processes() - ending
        child.send_signal(signal.SIGSEGV)

    with pytest.raises(UnsupportedMedia) as caught:
        decoder.remux(_Watched(clip.read_bytes(), crash), index, out)
    assert caught.value.reason == "DECODER_CRASHED"
    assert not out.exists()
    assert decoder.remux(clip, index, out) == index.frame_count


def test_joining_stops_when_a_source_says_so(
    decoder: Decoder, clips: Path, parts: list[io.BytesIO], tmp_path: Path
) -> None:
    def stop() -> None:
        raise Cancelled("CANCELLED", "The work was cancelled.")

    original = _Watched((clips / "audio.mp4").read_bytes(), stop)
    with pytest.raises(Cancelled):
        decoder.concatenate(parts, tmp_path / "out.mp4", time_base=STEP, audio_source=original)
    assert not (tmp_path / "out.mp4").exists()
