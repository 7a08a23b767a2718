"""ONNX networks of one's own: examined, tried, served."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinemesh.embedded import triton
from kinemesh.embedded.ports import free_ports
from kinemesh.embedded.supervisor import Supervisor
from kinemesh.inference import TritonClient, TritonSettings
from kinemesh.inference.detector import detector, find, letterbox, padded, scaled
from kinemesh.testing.fixtures import triton_python
from kinemesh.testing.real_data import real_data

Import = Callable[..., dict[str, Any]]


def models(folder: Path) -> list[Path]:
    """Whatever lies in or beside the repository that models are imported into."""
    return [path for path in (folder / "own").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("file", "options", "reason"),
    [
        ("nan", (), "NOT_FINITE"),
        ("constant", (), "DEAD_MODEL"),
        ("blind", (), "DEAD_MODEL"),
        ("silent", (), "DEAD_MODEL"),
        ("classifier", (), "WRONG_HEAD"),
        ("large", (), "MODEL_TOO_LARGE"),
        ("unnamed", (), "LABELS_NEEDED"),
        ("alive", ("--label=wheel", "--label=jack"), "LABELS_MISMATCH"),
        ("miscounted", (), "LABELS_MISMATCH"),
        ("unnamed", ("--label=wheel", "--label=", "--label=person"), "LABELS_MISMATCH"),
        ("own_operator", (), "UNKNOWN_FORMAT"),
        ("own_operator_within", (), "UNKNOWN_FORMAT"),
        ("elsewhere", (), "UNKNOWN_FORMAT"),
    ],
)
def test_networks_that_are_no_use(
    file: str, options: tuple[str, ...], reason: str, take_in: Import, weights: Path, tmp_path: Path
) -> None:
    error = take_in(weights / f"{file}.onnx", *options)["error"]
    assert error["reason"] == reason, error
    assert error["message"].endswith(".")
    assert not models(tmp_path)


@pytest.mark.parametrize(
    "data", [b"", b"dear model,\nplease find attached\n", b"\x08\x09:\x02\x0a\x00", b"\x80\x02cos\nsystem\n."]
)
def test_what_is_no_network(data: bytes, take_in: Import, tmp_path: Path) -> None:
    (tmp_path / "best.onnx").write_bytes(data)
    assert take_in(tmp_path / "best.onnx")["error"]["reason"] == "UNKNOWN_FORMAT"
    assert not models(tmp_path)


def test_truncated_network(take_in: Import, weights: Path, tmp_path: Path) -> None:
    data = (weights / "yolo11n.onnx").read_bytes()
    (tmp_path / "best.onnx").write_bytes(data[: len(data) // 2])
    assert take_in(tmp_path / "best.onnx")["error"]["reason"] == "UNKNOWN_FORMAT"


def test_file_that_is_too_large(take_in: Import, tmp_path: Path) -> None:
    with (tmp_path / "best.onnx").open("wb") as file:
        file.truncate((512 << 20) + 1)
    assert take_in(tmp_path / "best.onnx")["error"]["reason"] == "MODEL_TOO_LARGE"


@pytest.mark.parametrize("name", ["../../x", "/x", "", "a/b", ".", "Ünique", "x" * 65, "x.network"])
def test_names_that_are_none(name: str, take_in: Import, weights: Path, tmp_path: Path) -> None:
    assert take_in(weights / "alive.onnx", name=name)["error"]["reason"] == "INVALID_NAME"
    assert not models(tmp_path)


def test_other_files_are_refused(take_in: Import, tmp_path: Path) -> None:
    (tmp_path / "best.exe").write_bytes(b"MZ")
    assert take_in(tmp_path / "best.exe")["error"]["reason"] == "UNKNOWN_FORMAT"
    assert take_in(tmp_path / "missing.onnx")["error"]["reason"] == "UNKNOWN_FORMAT"


def test_picture_that_is_none(take_in: Import, weights: Path, tmp_path: Path) -> None:
    (tmp_path / "picture").write_text("no picture")
    error = take_in(weights / "alive.onnx", f"--picture={tmp_path / 'picture'}")["error"]
    assert error["reason"] == "INVALID_PICTURE"


def test_without_a_picture_at_hand(take_in: Import, weights: Path, tmp_path: Path) -> None:
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_INDEX_URL": "http://127.0.0.1:9/"}
    answer = take_in(weights / "alive.onnx", f"--cache={tmp_path / 'cache'}", **offline)
    assert answer["labels"] == ["wheel", "jack", "person"]


async def test_imported_models_are_served(take_in: Import, weights: Path, tmp_path: Path) -> None:
    files = {"pt": weights / "yolo11n.pt", "onnx": weights / "yolo11n.onnx"}
    for name, file in files.items():
        assert "error" not in await asyncio.to_thread(take_in, file, name=name)
    ports = free_ports(triton.PORTS)
    served = triton.TritonModels(triton_python(), tmp_path / "own" / "models")
    spec = triton.triton_spec(served, tmp_path / "server", tmp_path / "log", ports, name="triton-imported")
    picture = np.random.default_rng(5).integers(0, 256, (360, 640, 3), np.uint8)
    settings = TritonSettings(endpoint=f"127.0.0.1:{ports[0]}")
    async with Supervisor() as supervisor, TritonClient(settings) as client:
        await supervisor.start([spec])
        for name in files:
            found = await detector(client, name)
            assert found.labels == tuple(f"thing {number}" for number in range(80))
            box = letterbox(found, 640, 360)
            boxes = await find(client, found, box, padded(scaled(picture, box), box))
            assert np.isfinite(boxes.corners).all()


@pytest.mark.data
@pytest.mark.parametrize(
    ("file", "labels"),
    [
        ("yolox_nano_416x416.onnx", [f"class {number}" for number in range(80)]),
        ("rtmdet_nano_person_end2end.onnx", ["person"]),
    ],
)
def test_networks_of_others(file: str, labels: list[str], take_in: Import) -> None:
    network = real_data() / "models" / file
    assert take_in(network)["error"]["reason"] == "LABELS_NEEDED"
    answer = take_in(network, *(f"--label={label}" for label in labels))
    assert answer["labels"] == labels
