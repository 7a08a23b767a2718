"""Damaged weights: the importer takes a network or says why not, whatever it is given."""

from __future__ import annotations

import io
import json
import random
import shutil
import subprocess
import time
import zipfile
from itertools import count
from pathlib import Path

import pytest

from kinemesh.testing.fixtures import triton_python
from kinemesh.testing.onnx_networks import tiny_yolox

from .conftest import Effort
from .mutations import mutated

_TENSOR = (
    b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x04tQ"
    b"K\0K\x04\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR"
)
_CHECKPOINT = (
    b"\x80\x02}(X\x05\0\0\0modelcultralytics.nn.tasks\nDetectionModel\n)\x81}("
    b"X\x05\0\0\0names}K\0X\x05\0\0\0wheelsX\x04\0\0\0yaml}(X\x02\0\0\0ncK\x01X\x08\0\0\0backbone]u"
    b"X\x08\0\0\0_modules}X\x01\0\0\x000ctorch.nn.modules.conv\nConv2d\n)\x81}X\x0b\0\0\0_parameters}X\x06\0\0\0weight"
    + _TENSOR
    + b"ssbsubX\x05\0\0\0epochJ\xff\xff\xff\xffu."
)
_FILES, _IMPORTS = 3000, 8


@pytest.fixture
def seeds(tmp_path: Path) -> list[tuple[str, bytes]]:
    """A network, and a checkpoint as Ultralytics saves it."""
    with zipfile.ZipFile(saved := io.BytesIO(), "w") as archive:
        archive.writestr("best/data.pkl", _CHECKPOINT)
        archive.writestr("best/byteorder", "little")
        archive.writestr("best/data/0", bytes(16))
        archive.writestr("best/version", "3\n")
    return [(".onnx", tiny_yolox(tmp_path / "tiny.onnx").read_bytes()), (".pt", saved.getvalue())]


def test_weights(effort: Effort, seeds: list[tuple[str, bytes]], tmp_path: Path) -> None:
    rng = random.Random(effort.seed)
    deadline = time.monotonic() + effort.seconds
    script = str(Path(__file__).with_name("weights.py"))
    for batch in count():
        folder = tmp_path / str(batch)
        folder.mkdir()
        for number in range(_FILES):
            suffix, data = rng.choice(seeds)
            (folder / f"{number}{suffix}").write_bytes(mutated(data, rng))
        command = [str(triton_python()), script, str(folder), str(_IMPORTS)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stderr[-4000:]
        told = json.loads(done.stdout.splitlines()[-1])
        for name, failure in told["failures"].items():
            pytest.fail(f"{failure}; {name}: {(folder / name).read_bytes().hex()}")
        assert told["imported"] == _IMPORTS
        assert told["refused"] > _FILES // 20
        shutil.rmtree(folder)
        if effort.bounded or time.monotonic() > deadline:
            break
