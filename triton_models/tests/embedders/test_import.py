"""Embedders of one's own: examined, described, refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from kinemesh.testing.onnx_networks import tiny_yolox
from kinemesh_models.importing.drawn_people import drawn_person

Import = Callable[..., dict[str, Any]]
OFFLINE = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_INDEX_URL": "http://127.0.0.1:9/"}


def facts_of(folder: Path) -> dict[str, str]:
    config = text_format.Parse((folder / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())
    return {key: value.string_value for key, value in config.parameters.items()}


def written(folder: Path) -> list[Path]:
    return [path for path in (folder / "own").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("constant", "DEAD_MODEL"),
        ("zero", "DEAD_MODEL"),
        ("direction", "DEAD_MODEL"),
        ("nan", "NOT_FINITE"),
        ("dark --mean=0", "NOT_FINITE"),
        ("restless", "NOT_DETERMINISTIC"),
        ("two", "WRONG_HEAD"),
        ("pair", "WRONG_HEAD"),
        ("number", "WRONG_HEAD"),
        ("counted", "WRONG_HEAD"),
        ("grid", "WRONG_HEAD"),
        ("grey", "WRONG_HEAD"),
        ("large", "MODEL_TOO_LARGE"),
        ("many", "MODEL_TOO_LARGE"),
    ],
)
def test_networks_that_are_no_use(file: str, reason: str, take_in: Import, networks: Any, tmp_path: Path) -> None:
    name, *options = file.split()
    error = take_in(networks[name], "--task=embedder", *options, **OFFLINE)["error"]
    assert error["reason"] == reason, error
    assert error["message"].endswith(".")
    assert not written(tmp_path)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--task=embedder", "--label=person"), "LABELS_MISMATCH"),
        (("--task=embedder", "--mean=red"), "INVALID_COLOURS"),
        (("--task=embedder", "--mean=1,2"), "INVALID_COLOURS"),
        (("--task=embedder", "--mean=nan"), "INVALID_COLOURS"),
        (("--task=embedder", "--scale=1,0,1"), "INVALID_COLOURS"),
        (("--task=embedder", "--order=GRB"), "INVALID_COLOURS"),
        (("--order=BGR",), "INVALID_COLOURS"),
        ((), "WRONG_HEAD"),
    ],
)
def test_what_is_said_wrongly(
    options: tuple[str, ...], reason: str, take_in: Import, networks: Any, tmp_path: Path
) -> None:
    assert take_in(networks["first"], *options, **OFFLINE)["error"]["reason"] == reason
    assert not written(tmp_path)


def test_other_files_are_refused(take_in: Import, networks: Any, tmp_path: Path) -> None:
    assert take_in(tiny_yolox(tmp_path / "yolox.onnx"), "--task=embedder")["error"]["reason"] == "WRONG_HEAD"
    data = networks["first"].read_bytes()
    for name, content in (("half.onnx", data[: len(data) // 2]), ("text.onnx", b"dear model"), ("net.pt", data)):
        (tmp_path / name).write_bytes(content)
        assert take_in(tmp_path / name, "--task=embedder")["error"]["reason"] == "UNKNOWN_FORMAT"
    picture = tmp_path / "picture"
    picture.write_text("no picture")
    error = take_in(networks["first"], "--task=embedder", f"--picture={picture}")["error"]
    assert error["reason"] == "INVALID_PICTURE"
    assert not written(tmp_path)


def test_what_is_taken_in_is_described(take_in: Import, networks: Any, tmp_path: Path) -> None:
    answer = take_in(networks["first"], "--task=embedder", "--licence=MIT", name="own", **OFFLINE)
    facts = facts_of(tmp_path / "own" / "models" / "own")
    assert (answer["dimension"], answer["input_width"], answer["input_height"], answer["labels"]) == (32, 32, 64, [])
    assert answer["alike"]["same"] > answer["alike"]["different"]
    assert (facts["task"], facts["source"], facts["preference"], facts["dimension"]) == (
        "embedder",
        "imported",
        "0",
        "32",
    )
    assert (facts["licence"], facts["runtime"], facts["sha256"]) == ("MIT", "openvino", answer["sha256"])
    again = take_in(networks["first"], "--task=embedder", name="own", **OFFLINE)
    assert again["error"]["reason"] == "MODEL_EXISTS"
    assert take_in(networks["first"], "--task=embedder", name="person_colors")["error"]["reason"] == "MODEL_EXISTS"


@pytest.mark.parametrize(
    ("options", "order", "mean", "scale"),
    [
        (("first",), "RGB", "[123.675, 116.28, 103.53]", "[58.395, 57.12, 57.375]"),
        (("first", "--order=BGR"), "BGR", "[103.53, 116.28, 123.675]", "[57.375, 57.12, 58.395]"),
        (("first", "--scale=255"), "RGB", "[0.0, 0.0, 0.0]", "[255.0, 255.0, 255.0]"),
        (("first", "--order=BGR", "--mean=1,2,3", "--scale=4,5,6"), "BGR", "[1.0, 2.0, 3.0]", "[4.0, 5.0, 6.0]"),
        (("last",), "BGR", "[0.0, 0.0, 0.0]", "[1.0, 1.0, 1.0]"),
        (("bytes",), "RGB", "[0.0, 0.0, 0.0]", "[1.0, 1.0, 1.0]"),
    ],
)
def test_how_pixels_are_seen(
    options: tuple[str, ...], order: str, mean: str, scale: str, take_in: Import, networks: Any, tmp_path: Path
) -> None:
    file, *said = options
    take_in(networks[file], "--task=embedder", *said, **OFFLINE)
    facts = facts_of(tmp_path / "own" / "models" / "mine")
    assert (facts["order"], facts["mean"], facts["scale"]) == (order, mean, scale)


def test_half_floats_and_open_sizes(take_in: Import, networks: Any, tmp_path: Path) -> None:
    assert take_in(networks["half"], "--task=embedder", name="half", **OFFLINE)["dimension"] == 32
    assert facts_of(tmp_path / "own" / "models" / "half")["type"] == "FP16"
    answer = take_in(networks["free"], "--task=embedder", name="free", **OFFLINE)
    assert (answer["input_height"], answer["input_width"], answer["dimension"]) == (256, 128, 512)


def test_drawn_people_are_of_one_kind_and_differ() -> None:
    people = [drawn_person(number).astype(np.float64) for number in range(4)]
    moved = [drawn_person(number, moved=True) for number in range(4)]
    assert {person.shape for person in people} == {(256, 128, 3)}
    for number, person in enumerate(moved):
        gaps = [np.abs(person - other).mean() for other in people]
        assert int(np.argmin(gaps)) == number
