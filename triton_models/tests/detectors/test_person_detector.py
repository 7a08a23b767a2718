"""The detector that the project ships: its files, where they are served, what they find, how it is measured."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from google.protobuf import text_format
from numpy.typing import NDArray
from tritonclient.grpc import model_config_pb2

from kinemesh.inference import TritonClient
from kinemesh.inference.detector import detector, find, letterbox, padded, resized, scaled
from kinemesh.testing.fixtures import TritonServer, triton_python
from kinemesh.testing.real_data import real_data
from kinemesh_models import heads, manifest
from kinemesh_models.fetch import FetchError, fetch, sha256_of

ROOT = Path(__file__).parents[3]
WEIGHTS = ROOT / "triton_models" / "src" / "kinemesh_models" / "weights"
NAME = "person_detector"
# Of RTMDet-nano's average precision at 416: what the shipped weights have reached, there and at the size that jobs use,
# with room for another processor's INT8.
REACHED = {
    "": {"val_coco": 0.72, "val_lobby": 0.88},
    " 480": {"val_coco": 0.72, "val_lobby": 0.85},
}
Probe = Callable[..., dict[str, Any]]


@pytest.fixture
def onnx(tmp_path: Path) -> Path:
    """A copy: whoever looks at a network leaves pictures beside it."""
    return Path(shutil.copy(WEIGHTS / f"{NAME}.onnx", tmp_path))


def parameters(folder: Path) -> dict[str, str]:
    config = text_format.Parse((folder / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())
    return {key: value.string_value for key, value in config.parameters.items()}


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.uint8]:
    """A photo of one person, from head to waist: [512, 512, 3] RGB."""
    file = tmp_path_factory.mktemp("photo") / "astronaut.png"
    sample = [str(triton_python()), "-m", "kinemesh_models", "sample", "astronaut", "--out", str(file)]
    subprocess.run(sample, check=True, capture_output=True, timeout=300)
    return np.asarray(cv2.imread(str(file), cv2.IMREAD_COLOR_RGB), np.uint8)


def test_files_are_those_of_the_manifest_and_small() -> None:
    told = manifest.load().weights
    named = [told[NAME], told[f"{NAME}_int8"], told[f"{NAME}_int8"].beside]
    assert {file.name for file in WEIGHTS.iterdir()} == {wanted.filename for wanted in named if wanted}
    for wanted in named:
        assert wanted is not None
        file = WEIGHTS / wanted.filename
        assert (sha256_of(file), file.stat().st_size) == (wanted.sha256, wanted.bytes)
        assert file.stat().st_size < 4 << 20
        assert wanted.licence == "Apache-2.0"


def test_files_tell_nothing_of_the_machine_that_made_them() -> None:
    for file in WEIGHTS.iterdir():
        assert not re.search(rb"/(home|root|tmp|work|usr|opt)/|\.py\b", file.read_bytes()), file.name


def test_a_damaged_file_is_not_served(tmp_path: Path) -> None:
    right = manifest.load().weights[NAME]
    wrong = manifest.Download(NAME, "0" * 64, right.bytes, right.licence, packaged=right.packaged)
    with pytest.raises(FetchError, match="missing or damaged"):
        fetch(wrong, tmp_path)


def test_the_manifest_feeds_it_as_the_importer_would(onnx: Path, probe: Probe) -> None:
    (model,) = (model for model in manifest.load().sets["default"] if model.name == NAME)
    found: dict[str, Any] = probe(onnx)["head"]
    frozen: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in found.items()}
    assert heads.Head(**frozen).parameters() == model.parameters
    assert tuple(found["labels"]) == model.labels


@pytest.mark.parametrize(
    ("accelerator", "files", "device", "runtime"),
    [
        ("cpu", {f"{NAME}_int8.xml", f"{NAME}_int8.bin"}, "CPU", "openvino"),
        ("amd", {f"{NAME}.onnx"}, "MIGraphXExecutionProvider", "onnxruntime"),
        ("mac", {f"{NAME}.onnx"}, "CoreMLExecutionProvider", "onnxruntime"),
        ("nvidia", set(), None, "onnxruntime"),
    ],
)
def test_every_accelerator_gets_its_weights(
    accelerator: str, files: set[str], device: str | None, runtime: str, tmp_path: Path
) -> None:
    def build(chosen: str) -> str:
        command = [str(triton_python()), "-m", "kinemesh_models", "build", "--accelerator", chosen]
        built = subprocess.run(
            [*command, "--out", str(tmp_path)], capture_output=True, text=True, timeout=300, check=True
        )
        return built.stdout

    build(accelerator)
    told = parameters(tmp_path / NAME)
    assert {file.name for file in (tmp_path / NAME / "1").iterdir()} == {"model.py", *files}
    assert (told.get("device"), told["runtime"], told["source"]) == (device, runtime, "embedded")
    network = tmp_path / f"{NAME}.network"
    assert network.is_dir() == (accelerator == "nvidia") == ("network" in told)
    if network.is_dir():
        config = text_format.Parse((network / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())
        assert (config.name, config.platform) == (network.name, "onnxruntime_onnx")
        assert config.instance_group[0].kind == model_config_pb2.ModelInstanceGroup.KIND_GPU
        assert sha256_of(network / "1" / "model.onnx") == told["sha256"]
    assert "up to date" in build(accelerator)
    build("cpu")
    assert not network.exists()


@pytest.mark.parametrize("size", [0, 416, 640])
async def test_served_in_int8_it_finds_who_is_in_the_photo(
    size: int, photo: NDArray[np.uint8], onnx: Path, probe: Probe, default_triton_server: TritonServer, tmp_path: Path
) -> None:
    """At its own size, a smaller and a larger one, and as the ONNX file does."""
    # Somebody small on the right of a wide picture.
    wide = np.full((720, 1280, 3), 90, np.uint8)
    wide[150:662, 700:1212] = photo
    async with TritonClient(default_triton_server.settings) as client:
        served = await detector(client, NAME)
        assert (served.labels, served.width, served.resizable) == (("person",), 480, True)
        box = letterbox(resized(served, size, "input_size"), 1280, 720)
        shown = padded(scaled(wide, box), box)
        found = await find(client, served, box, shown)
    sure = found.scores > 0.4
    assert sure.sum() == 1
    left, top, right, bottom = found.corners[sure][0]
    assert 700 <= left < 860
    assert 150 <= top < 250
    assert 1050 < right <= 1212
    assert 600 < bottom <= 670
    np.save(tmp_path / "shown.npy", shown)
    (single,) = probe(onnx, np.load(tmp_path / "shown.npy"))["boxes"]
    assert single[0][4] == pytest.approx(found.scores[sure][0], abs=0.1)


def run_bench(data: Path, out: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": "triton_models/training",
        "OMP_NUM_THREADS": "1",
        "https_proxy": "http://127.0.0.1:9",
    }
    command = [str(triton_python()), "bench/bench_detector.py", f"--data={data}", f"--out={out}", "--rounds=1"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900, check=False)


def test_the_bench_takes_pictures_never_seen(photo: NDArray[np.uint8], tmp_path: Path) -> None:
    webp = cv2.imencode(".webp", cv2.cvtColor(photo, cv2.COLOR_RGB2BGR))[1].tobytes()
    nobody = cv2.imencode(".webp", np.full((120, 300, 3), 80, np.uint8))[1].tobytes()
    data = tmp_path / "pictures.zip"
    with zipfile.ZipFile(data, "w") as files:
        for name, picture in (("labelled/1", webp), ("labelled/2", nobody), ("other/3", webp)):
            files.writestr(f"val/{name}.webp", picture)
        labels = {"val/labelled/1.webp": [[0.45, 0.5, 0.66, 0.98]], "val/labelled/2.webp": []}
        files.writestr("labels.json", json.dumps(labels))
    done = run_bench(data, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out" / "detections.json").read_text())
    assert set(found) == {"val/labelled/1.webp", "val/labelled/2.webp", "val/other/3.webp"}
    (left, top, right, bottom, score), *_ = found["val/other/3.webp"]
    assert 0 <= left < right <= 512
    assert 0 <= top < bottom <= 512
    assert 0.3 < score <= 1
    assert all(row[4] >= 0.01 for rows in found.values() for row in rows)
    measured = json.loads((tmp_path / "out" / "detector.json").read_text())
    assert measured["pictures"] == 3
    ours = measured["precision"][NAME]["labelled"]
    assert (ours["pictures"], ours["people"]) == (2, 1)
    assert ours["ap50"] > 90
    assert measured["speed"][NAME]["1 thread"]["frames_per_second"] > 0


def test_the_bench_says_what_is_wrong_with_its_pictures(tmp_path: Path) -> None:
    data = tmp_path / "pictures.zip"
    data.write_bytes(b"no archive")
    assert "not a zip file" in run_bench(data, tmp_path / "out").stderr
    with zipfile.ZipFile(data, "w") as files:
        files.writestr("labels.json", "{}")
    done = run_bench(data, tmp_path / "out")
    assert (done.returncode, done.stderr) == (1, "bench-detector: pictures.zip holds nothing under val/\n")


@pytest.mark.data
def test_it_is_as_precise_as_its_card_says(tmp_path: Path) -> None:
    done = run_bench(real_data() / "detector" / "person_train.zip", tmp_path)
    assert done.returncode == 0, done.stderr
    measured = json.loads((tmp_path / "detector.json").read_text())["precision"]
    for size, shares in REACHED.items():
        for source, share in shares.items():
            ours, single = (measured[f"{name}{size}"][source]["ap50"] for name in (NAME, f"{NAME}.onnx"))
            assert ours >= share * measured["rtmdet_nano_person"][source]["ap50"]
            assert abs(ours - single) < 1, "what INT8 costs"
