"""Weights of PyTorch: those of Ultralytics become models, and what is code is not run."""

from __future__ import annotations

import io
import os
import pickle
import socket
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Import = Callable[..., dict[str, Any]]
CallOf = Callable[..., object]


def archive(program: bytes, compression: int = zipfile.ZIP_STORED) -> bytes:
    """What ``torch.save`` writes around a pickle."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", compression) as writer:
        writer.writestr("best/data.pkl", program)
        writer.writestr("best/byteorder", "little")
        writer.writestr("best/version", "3\n")
    return data.getvalue()


def models(folder: Path) -> list[Path]:
    """Whatever lies in or beside the repository that models are imported into."""
    return [path for path in (folder / "own").rglob("*") if path.is_file()]


def refused(take_in: Import, tmp_path: Path, data: bytes, *options: object, suffix: str = ".pt") -> dict[str, Any]:
    (tmp_path / f"best{suffix}").write_bytes(data)
    error: dict[str, Any] = take_in(tmp_path / f"best{suffix}", *options)["error"]
    assert not models(tmp_path)
    return error


def test_yolo11n_with_random_weights(take_in: Import, weights: Path, tmp_path: Path) -> None:
    answer = take_in(weights / "yolo11n.pt", "--licence=AGPL-3.0")
    assert answer["labels"] == [f"thing {number}" for number in range(80)]
    assert (answer["input_width"], answer["input_height"]) == (640, 640)
    assert answer["walls"]["network"]
    config = (tmp_path / "own" / "models" / "mine" / "config.pbtxt").read_text()
    assert "AGPL-3.0" in config
    assert answer["sha256"] in config
    again = take_in(weights / "yolo11n.pt", name="again")
    assert again["sha256"] == answer["sha256"]
    assert take_in(weights / "yolo11n.pt")["error"]["reason"] == "MODEL_EXISTS"


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("zero", "DEAD_MODEL"),
        ("evaluated", "UNSAFE_WEIGHTS"),
        ("large", "MODEL_TOO_LARGE"),
        ("legacy", "UNKNOWN_FORMAT"),
        ("bare", "UNKNOWN_FORMAT"),
        ("one_name", "LABELS_MISMATCH"),
        ("segments", "WRONG_HEAD"),
    ],
)
def test_weights_that_are_no_use(file: str, reason: str, take_in: Import, weights: Path, tmp_path: Path) -> None:
    error = take_in(weights / f"{file}.pt")["error"]
    assert error["reason"] == reason, error
    assert error["message"].endswith(".")
    assert not models(tmp_path)


@pytest.mark.parametrize("wrapped", [archive, bytes], ids=["archive", "bare"])
@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("payload", ["connects", "writes", "runs a program", "evaluates"])
def test_hostile_pickle(
    payload: str,
    protocol: int,
    wrapped: Callable[[bytes], bytes],
    take_in: Import,
    listener: socket.socket,
    call_of: CallOf,
    tmp_path: Path,
) -> None:
    target = tmp_path / "target"
    call = {
        "connects": call_of(socket.create_connection, ("127.0.0.1", listener.getsockname()[1]), 5),
        "writes": call_of(open, str(target), "w"),
        "runs a program": call_of(os.system, f"touch {target}"),
        "evaluates": call_of(eval, f"open({str(target)!r}, 'w')"),
    }[payload]
    error = refused(take_in, tmp_path, wrapped(pickle.dumps({"model": call}, protocol)))
    assert error["reason"] == "UNSAFE_WEIGHTS", error
    assert not target.exists()
    with pytest.raises(BlockingIOError):
        listener.accept()


@pytest.mark.parametrize(
    "program",
    [
        # A layer that would fetch and load what its argument names.
        b"\x80\x02cultralytics.nn.tasks\nDetectionModel\nX\x15\x00\x00\x00http://127.0.0.1/x.pt\x85R.",
        b"\x80\x02cultralytics.nn.modules.conv\nConv\nX\x01\x00\x00\x00x\x85\x81.",
        # A function beside the layers.
        b"\x80\x02cultralytics.nn.tasks\nattempt_load_one_weight\nX\x01\x00\x00\x00x\x85R.",
        # What lies behind a layer's module.
        b"\x80\x02ctorch.nn.modules.module\nos.system\nX\x02\x00\x00\x00id\x85R.",
        b"\x80\x04\x8c\x17torch.nn.modules.module\x8c\x0fModule.__call__\x93.",
        # Names made up on the stack.
        b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x02id\x85R.",
        b"\x80\x02(X\x02\x00\x00\x00idios\nsystem\n.",
        # Names by number.
        b"\x80\x02\x82\x01.",
        # Harmless names, called with what is not theirs.
        b"\x80\x02ccollections\nOrderedDict\n}X\x09\x00\x00\x00__class__cbuiltins\neval\nsb.",
    ],
)
def test_code_behind_allowed_names(program: bytes, take_in: Import, tmp_path: Path) -> None:
    assert refused(take_in, tmp_path, archive(program))["reason"] == "UNSAFE_WEIGHTS"


def test_archive_that_unfolds_is_refused(take_in: Import, tmp_path: Path) -> None:
    bomb = archive(b"\x80\x02X\x00\x00\x00\x10" + bytes(256 << 20) + b".", zipfile.ZIP_DEFLATED)
    assert len(bomb) < 1 << 20
    assert refused(take_in, tmp_path, bomb)["reason"] == "UNSAFE_WEIGHTS"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"dear model,\nplease find attached\n",
        b"PK\x03\x04" + bytes(100),
        archive(b"\x80\x02}q\x00"),
        archive(b"\x80\x02N."),
        archive(b"\x80\x02N.")[:-6] + b"\xff\xff\xff\x7f\0\0",
    ],
    ids=["empty", "text", "half an archive", "half a pickle", "nothing", "begins before itself"],
)
def test_what_is_no_weights(data: bytes, take_in: Import, tmp_path: Path) -> None:
    assert refused(take_in, tmp_path, data)["reason"] == "UNKNOWN_FORMAT"


def test_truncated_weights(take_in: Import, weights: Path, tmp_path: Path) -> None:
    data = (weights / "yolo11n.pt").read_bytes()
    assert refused(take_in, tmp_path, data[: len(data) // 2])["reason"] == "UNKNOWN_FORMAT"


def test_without_the_converter(take_in: Import, tmp_path: Path) -> None:
    (tmp_path / "best.pt").write_bytes(archive(b"\x80\x02}."))
    error = take_in(tmp_path / "best.pt", KINEMESH_CONVERTER=str(tmp_path / "missing"))["error"]
    assert error["reason"] == "CONVERTER_MISSING"
    assert "make converter" in error["message"]
