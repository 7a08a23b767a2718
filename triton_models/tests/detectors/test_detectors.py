"""Detectors of ONNX files: what they are taken for, what they find, and how they are served."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import pytest_asyncio
from google.protobuf import text_format
from numpy.typing import NDArray
from tritonclient.grpc import model_config_pb2

from kinemesh.embedded import triton
from kinemesh.embedded.ports import free_ports
from kinemesh.embedded.supervisor import Supervisor
from kinemesh.errors import InvalidArgument
from kinemesh.inference import TritonClient, TritonSettings
from kinemesh.inference.detector import detector, find, letterbox, padded, scaled
from kinemesh.testing.fixtures import TritonServer, triton_python
from kinemesh.testing.real_data import real_data

HEIGHT, WIDTH = 64, 96
Probe = Callable[..., dict[str, Any]]
Write = Callable[..., None]


def picture(colour: int, height: int = HEIGHT) -> NDArray[np.uint8]:
    """Black, with a square of 32 pixels of one colour whose top left is at (32, 32)."""
    image = np.zeros((height, WIDTH, 3), np.uint8)
    image[32:64, 32:64, colour] = 255
    return image


def config(folder: Path) -> model_config_pb2.ModelConfig:
    return text_format.Parse((folder / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())


def parameters(folder: Path) -> dict[str, str]:
    return {key: value.string_value for key, value in config(folder).parameters.items()}


def test_yolox_sees_blue_as_its_first_channel(yolox: Path, probe: Probe) -> None:
    answer = probe(yolox, picture(2), picture(0), picture(2, height=96))
    head = answer["head"]
    assert (head["kind"], head["classes"], head["order"], head["dynamic"]) == ("yolox", 2, "BGR", False)
    assert (head["height"], head["width"], head["resizable"]) == (HEIGHT, WIDTH, True)
    blue, red, taller = answer["boxes"]
    assert blue == taller, "reshaped, the grid is that of the shape"
    assert red == []
    assert [16.0, 32.0, 80.0, 64.0, 1.0, 1.0] in blue  # the cell of stride 32
    assert len(blue) == 1 + 4 + 16


def test_classes_are_named_by_the_file(classes: Path, probe: Probe) -> None:
    answer = probe(classes, picture(0), picture(2))
    head = answer["head"]
    assert (head["kind"], head["classes"], head["order"]) == ("classes", 2, "RGB")
    assert head["labels"] == ["wheel", 'tyre, "soft"']
    assert not head["resizable"], "its grid is a constant"
    red, blue = answer["boxes"]
    assert [38.0, 43.0, 58.0, 53.0, 1.0, 1.0] in red
    assert blue == []


def test_objectness_with_three_anchors(objectness: Path, probe: Probe) -> None:
    answer = probe(objectness, picture(0))
    assert (answer["head"]["kind"], answer["head"]["classes"]) == ("objectness", 1)
    (red,) = answer["boxes"]
    assert red.count([38.0, 43.0, 58.0, 53.0, 1.0, 0.0]) == 1, "the three are one"


def test_networks_with_nms_inside(end2end: Path, nms: Path, probe: Probe) -> None:
    answer = probe(end2end, np.zeros((96, 64, 3), np.uint8))
    head = answer["head"]
    assert (head["kind"], head["outputs"], head["order"]) == ("end2end", ["dets", "labels"], "BGR")
    assert (head["dynamic"], head["resizable"], head["width"]) == (True, True, 640)
    assert np.round(answer["boxes"][0], 2).tolist() == [[50, 4, 90, 44, 0.9, 1], [8, 8, 40, 60, 0.3, 3]]
    answer = probe(nms, picture(0))
    assert (answer["head"]["kind"], answer["head"]["resizable"]) == ("nms", False)
    assert np.round(answer["boxes"][0], 2).tolist() == [[50, 4, 90, 44, 0.9, 0], [8, 8, 40, 60, 0.3, 2]]


def test_both_runtimes_find_the_same(yolox: Path, classes: Path, end2end: Path, probe: Probe) -> None:
    for network, colour in ((yolox, 2), (classes, 0), (end2end, 0)):
        shape = picture(colour)
        ours, theirs = (probe(network, shape, device=device) for device in ("CPU", "CPUExecutionProvider"))
        assert (ours["runtime"], theirs["runtime"]) == ("openvino", "onnxruntime")
        np.testing.assert_allclose(sorted(ours["boxes"][0]), sorted(theirs["boxes"][0]), atol=1e-4)


def test_onnxruntime_takes_what_openvino_cannot(unknown_to_openvino: Path, nms: Path, probe: Probe) -> None:
    answer = probe(unknown_to_openvino, picture(0))
    assert (answer["head"]["runtime"], answer["runtime"]) == ("onnxruntime", "onnxruntime")
    assert "runs on onnxruntime" in answer["log"]
    assert answer["boxes"] == probe(nms, picture(0))["boxes"]


def test_a_provider_that_is_not_here_is_said_to_be_missing(nms: Path, probe: Probe) -> None:
    answer = probe(nms, picture(0), device="CoreMLExecutionProvider")
    assert "has no CoreMLExecutionProvider here" in answer["log"]
    assert len(answer["boxes"][0]) == 2


def test_what_is_no_detector_is_refused(tmp_path: Path, classes: Path, probe: Probe) -> None:
    garbage = tmp_path / "garbage.onnx"
    garbage.write_bytes(b"PK\x03\x04 not a network")
    assert probe(garbage)["reason"] == "UNKNOWN_FORMAT"
    data = classes.read_bytes()
    changed = tmp_path / "changed.onnx"
    changed.write_bytes(data.replace(b"detect", b"segmnt"))
    assert probe(changed)["reason"] == "WRONG_HEAD"
    changed.write_bytes(data.replace(b"'tyre, \"soft\"'", b"'a', 2: 'bcde'"))
    assert probe(changed)["reason"] == "LABELS_MISMATCH"


@pytest.fixture(scope="session")
def everywhere(yolox: Path, end2end: Path, networks: Path, write_models: Write) -> Path:
    """A repository of one detector for every accelerator, and of ``whole``, which has NMS inside, for nvidia."""
    repository = networks / "everywhere"
    accelerators = ("cpu", "nvidia", "amd", "mac")
    write_models(repository, *((name, yolox, name) for name in accelerators), ("whole", end2end, "nvidia"))
    return repository


@pytest.mark.parametrize("accelerator", ["cpu", "nvidia", "amd", "mac"])
def test_config_of_every_accelerator(everywhere: Path, yolox: Path, accelerator: str) -> None:
    folder = everywhere / accelerator
    served, facts = config(folder), parameters(folder)
    assert (served.name, served.backend, served.max_batch_size) == (accelerator, "python", 16)
    assert (served.input[0].name, list(served.output[0].dims)) == ("image", [300, 6])
    assert facts["description"] == "Tiny thing"
    assert json.loads(facts["labels"]) == ["a", 'b "c", d', "e"]
    assert (facts["task"], facts["source"], facts["preference"], facts["size"]) == ("detector", "imported", "0", "96")
    assert facts["size_bytes"] == str(yolox.stat().st_size)
    resizable = accelerator == "cpu"
    assert (list(served.input[0].dims) == [-1, -1, 3], facts["resizable"] == "true") == (resizable, resizable)
    devices = {"cpu": "CPU", "amd": "MIGraphXExecutionProvider", "mac": "CoreMLExecutionProvider"}
    assert facts.get("device") == devices.get(accelerator)
    assert facts["runtime"] == {"cpu": "openvino", "nvidia": "tensorrt"}.get(accelerator, "onnxruntime")
    assert served.instance_group[0].kind == model_config_pb2.ModelInstanceGroup.KIND_CPU
    assert (accelerator == "nvidia") == (everywhere / f"{accelerator}.network").is_dir()


def test_nvidia_leaves_the_network_to_triton(everywhere: Path) -> None:
    assert not (everywhere / "nvidia" / "1" / "model.onnx").exists()
    assert parameters(everywhere / "nvidia")["network"] == "nvidia.network"
    network = config(everywhere / "nvidia.network")
    assert (network.platform, network.max_batch_size) == ("onnxruntime_onnx", 0)
    assert (network.input[0].name, list(network.input[0].dims)) == ("images", [1, 3, 64, 96])
    assert (network.output[0].name, list(network.output[0].dims)) == ("output", [1, 126, 7])
    (accelerator,) = network.optimization.execution_accelerators.gpu_execution_accelerator
    assert (accelerator.name, accelerator.parameters["precision_mode"]) == ("tensorrt", "FP32")
    assert network.instance_group[0].kind == model_config_pb2.ModelInstanceGroup.KIND_GPU
    assert list(network.model_warmup[0].inputs["images"].dims) == [1, 3, 64, 96]

    network = config(everywhere / "whole.network")
    assert not network.optimization.execution_accelerators.gpu_execution_accelerator, "it has NMS inside"
    assert list(network.input[0].dims) == [-1, 3, -1, -1]
    assert {o.name: o.data_type for o in network.output} == {
        "dets": model_config_pb2.TYPE_FP32,
        "labels": model_config_pb2.TYPE_INT64,
    }
    assert list(config(everywhere / "whole").input[0].dims) == [-1, -1, 3]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def tiny_server(
    supervisor: Supervisor,
    networks: Path,
    yolox: Path,
    classes: Path,
    end2end: Path,
    unknown_to_openvino: Path,
    write_models: Write,
    play_network: Callable[[Path], None],
) -> AsyncIterator[TritonClient]:
    """Serves a detector of each kind; ``graphics`` and ``whole`` as on a GPU, whose part something else plays."""
    folder = networks / "tiny_server"
    repository = folder / "models"
    folder.mkdir()
    write_models(
        repository,
        ("resizable", yolox, "cpu"),
        ("fixed", classes, "cpu"),
        ("fallback", unknown_to_openvino, "cpu"),
        ("graphics", yolox, "nvidia"),
        ("whole", end2end, "nvidia"),
    )
    for name in ("graphics.network", "whole.network"):
        play_network(repository / name)
    ports = free_ports(triton.PORTS)
    models = triton.TritonModels(triton_python(), repository)
    await supervisor.start([triton.triton_spec(models, folder / "run", folder / "log", ports, name="triton-tiny")])
    async with TritonClient(TritonSettings(endpoint=f"127.0.0.1:{ports[0]}")) as client:
        yield client


async def boxes(client: TritonClient, name: str, image: NDArray[np.uint8]) -> list[list[float]]:
    rows = (await client.infer(name, {"image": image[None]}, ["boxes"]))["boxes"][0]
    assert rows.shape == (300, 6)
    found: list[list[float]] = rows[rows[:, 4] > 0].tolist()
    assert found == rows[: len(found)].tolist(), "best first, padding last"
    return found


async def test_served(tiny_server: TritonClient) -> None:
    blue = await boxes(tiny_server, "resizable", picture(2))
    assert [16.0, 32.0, 80.0, 64.0, 1.0, 1.0] in blue
    assert await boxes(tiny_server, "resizable", picture(2, height=96)) == blue
    assert await boxes(tiny_server, "resizable", picture(0)) == []
    for height in (32, 64, 96, 128, 160, 192):  # more shapes than are kept
        assert await boxes(tiny_server, "resizable", np.zeros((height, WIDTH, 3), np.uint8)) == []
    assert [38.0, 43.0, 58.0, 53.0, 1.0, 1.0] in await boxes(tiny_server, "fixed", picture(0))
    assert len(await boxes(tiny_server, "fallback", picture(0))) == 2
    together = await tiny_server.infer("resizable", {"image": np.stack([picture(2), picture(0)])}, ["boxes"])
    assert [(rows[:, 4] > 0).sum() for rows in together["boxes"]] == [len(blue), 0]


async def test_network_in_another_backend(tiny_server: TritonClient) -> None:
    np.testing.assert_allclose(
        sorted(await boxes(tiny_server, "graphics", picture(2))),
        sorted(await boxes(tiny_server, "resizable", picture(2))),
        atol=1e-4,
    )
    assert [row[5] for row in await boxes(tiny_server, "whole", np.zeros((96, 64, 3), np.uint8))] == [1, 3]
    for name in ("whole", "whole.network"):
        await tiny_server.unload(name)
    await tiny_server.load("whole")
    answers = (boxes(tiny_server, "whole", np.zeros((64, 64, 3), np.uint8)) for _ in range(8))
    assert [len(found) for found in await asyncio.gather(*answers)] == [2] * 8, "it brings its part itself"


@pytest.mark.parametrize("shape", [(65, 96, 3), (64, 4096, 3), (64, 0, 3)])
async def test_pictures_that_do_not_fit_are_refused(tiny_server: TritonClient, shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await tiny_server.infer("resizable", {"image": np.zeros((1, *shape), np.uint8)}, ["boxes"])
    assert caught.value.reason == "MODEL_INPUT_INVALID"
    assert await boxes(tiny_server, "resizable", picture(0)) == []


@pytest.mark.parametrize("size", [(1, 1000), (1000, 1), (417, 235), (33, 31), (768, 432)])
async def test_synthetic_people_stand_in_the_picture(triton_server: TritonServer, size: tuple[int, int]) -> None:
    width, height = size
    image = np.random.default_rng(3).integers(0, 256, (height, width, 3), np.uint8)
    async with TritonClient(triton_server.settings) as client:
        served = await detector(client, "person_detector")
        box = letterbox(served, width, height)
        found = await find(client, served, box, padded(scaled(image, box), box))
    assert served.labels == ("person",)
    assert (found.corners[:, :2] >= 0).all()
    assert (found.corners[:, 2:] <= [width, height]).all()
    if min(size) > 30:
        np.testing.assert_allclose(found.scores, [0.9, 0.8], atol=1e-6)
        centre = (found.corners[:, :2] + found.corners[:, 2:]) / 2 / max(size)
        offset = np.array([[0.33 - 0.5, 0], [0.67 - 0.5, 0]]) + np.array(size) / max(size) / 2
        np.testing.assert_allclose(centre, offset, atol=0.03)


def add(name: str, repository: Path, mirror: Path) -> dict[str, Any]:
    command = [str(triton_python()), "-m", "kinemesh_models", "add", name, "--repository", str(repository), "--json"]
    environment = {**os.environ, "KINEMESH_MODELS_MIRROR": str(mirror), "https_proxy": "http://127.0.0.1:9"}
    cache = repository.parent / "cache"
    done = subprocess.run(
        [*command, f"--cache={cache}"], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == ("error" in answer)
    return answer


def test_what_cannot_be_added_leaves_nothing(tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    for name, reason in (
        ("no_such_model", "MODEL_NOT_FOUND"),
        ("../escape", "MODEL_NOT_FOUND"),
        ("yolox_tiny", "DOWNLOAD_FAILED"),
    ):
        assert add(name, tmp_path / "models", mirror)["error"]["reason"] == reason
    assert not (tmp_path / "models").exists()


@pytest.fixture
def data() -> Path:
    return real_data()


@pytest.mark.data
@pytest.mark.parametrize(("name", "size"), [("yolox_nano", 416), ("rtmdet_nano_person", 640)])
def test_real_detectors_find_the_person(name: str, size: int, data: Path, tmp_path: Path, probe: Probe) -> None:
    answer = add(name, tmp_path / "models", data / "models")
    assert (answer["model"], answer["labels"][0], answer["input_width"]) == (name, "person", size)
    before = (tmp_path / "models" / name / "config.pbtxt").stat().st_mtime_ns
    assert add(name, tmp_path / "models", data / "models") == answer
    assert (tmp_path / "models" / name / "config.pbtxt").stat().st_mtime_ns == before, "it is there already"

    (still,) = (file for file in sorted((data / "media" / "stills").iterdir()) if "person" in file.name)
    with av.open(str(still)) as container:
        frame = next(container.decode(video=0))
    scale = 416 / max(frame.width, frame.height)
    width, height = round(frame.width * scale), round(frame.height * scale)
    image = np.full((-(-height // 32) * 32, -(-width // 32) * 32, 3), 114, np.uint8)
    image[:height, :width] = frame.reformat(width, height, "rgb24").to_ndarray()
    network = tmp_path / "copy.onnx"
    shutil.copyfile(tmp_path / "models" / name / "1" / "model.onnx", network)
    found = [row for row in probe(network, image)["boxes"][0] if row[4] > 0.5 and row[5] == 0]
    assert len(found) == 1
