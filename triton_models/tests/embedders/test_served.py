"""Embedders as they are served: the embedded one, those of the manifest, and users' own of every shape."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray

from kinemesh.embedded import triton
from kinemesh.embedded.ports import free_ports
from kinemesh.embedded.supervisor import Supervisor
from kinemesh.errors import FailedPrecondition, InvalidArgument
from kinemesh.inference import TritonClient, TritonSettings
from kinemesh.inference.embedder import crops, embed, embedder
from kinemesh.inference.served import default_model
from kinemesh.testing.fixtures import TritonServer, triton_python
from kinemesh.testing.real_data import real_data
from kinemesh_models.importing.drawn_people import drawn_person
from kinemesh_models.part_colors import DIMENSION, describe

Import = Callable[..., dict[str, Any]]
Expected = Callable[[NDArray[np.float32]], NDArray[np.float64]]
OWN = {
    **dict.fromkeys(("first", "last", "open", "eight", "several", "mapped", "foreign", "bytes"), "cpu"),
    "graphics": "nvidia",
    "graphics8": "nvidia",
    "bridge": "amd",
    "bridge8": "amd",
}
FILES = {"graphics": "last", "graphics8": "several", "bridge": "open", "bridge8": "several"}
MEAN, SCALE = np.array([10, 20, 30], np.float32), np.array([50, 60, 70], np.float32)
PIXELS = ("--order=BGR", "--mean=10,20,30", "--scale=50,60,70")


@pytest_asyncio.fixture(params=["mock", "default"], loop_scope="session")
async def client(
    request: pytest.FixtureRequest, triton_server: TritonServer, default_triton_server: TritonServer
) -> AsyncIterator[TritonClient]:
    server = {"mock": triton_server, "default": default_triton_server}[request.param]
    async with TritonClient(server.settings) as running:
        yield running


def people(count: int) -> NDArray[np.uint8]:
    return np.stack([drawn_person(number) for number in range(count)])


async def test_embedded_embedder_is_the_default(client: TritonClient) -> None:
    assert await default_model(client, "embedder") == "person_colors"
    found = await embedder(client, "person_colors")
    assert (found.dimension, found.most) == (DIMENSION, 64)
    vectors = await embed(client, found, people(70))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert (await embed(client, found, people(1)[:0])).shape == (0, DIMENSION)
    with pytest.raises(InvalidArgument, match="no embedder"):
        await embedder(client, "person_detector")


async def test_embedded_embedder_knows_drawn_people_again(client: TritonClient) -> None:
    found = await embedder(client, "person_colors")
    moved = np.stack([drawn_person(number, moved=True) for number in range(12)])
    mirrored = np.ascontiguousarray(moved[:, :, ::-1])
    dim = (moved * 0.7).astype(np.uint8)
    small = np.stack([cv2.resize(cv2.resize(one, (24, 48)), (128, 256)) for one in moved])
    known = await embed(client, found, people(12))
    for changed in (moved, mirrored, dim, small):
        alike = await embed(client, found, changed) @ known.T
        assert alike.argmax(axis=1).tolist() == list(range(12))


def test_mirror_images_and_pictures_of_nothing() -> None:
    for person in people(4):
        np.testing.assert_allclose(describe(person), describe(person[:, ::-1]), atol=1e-3)
    for level in (0, 255):
        vector = describe(np.full((256, 128, 3), level, np.uint8))
        assert np.isfinite(vector).all()
        assert abs(np.linalg.norm(vector) - 1) < 1e-6


@pytest.fixture(scope="session")
def imported(networks: Any, tmp_path_factory: pytest.TempPathFactory, play_network: Callable[[Path], None]) -> Path:
    """A folder with a repository of every good network of the tests, imported by the program."""
    folder = tmp_path_factory.mktemp("own")
    for name, accelerator in OWN.items():
        file = networks[FILES.get(name, name)]
        command = [str(triton_python()), "-m", "kinemesh_models", "import", str(file), f"--name={name}"]
        command += [f"--accelerator={accelerator}"]
        command += [f"--repository={folder / 'models'}", "--task=embedder", "--json"]
        pixels = () if name == "bytes" else PIXELS
        done = subprocess.run([*command, *pixels], capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout
        assert json.loads(done.stdout.splitlines()[-1])["dimension"] == 32
        if accelerator == "nvidia":
            config = (folder / "models" / f"{name}.network" / "config.pbtxt").read_text()
            assert 'platform: "onnxruntime_onnx"' in config
            assert f"dims: [ {8 if name.endswith('8') else 1}, " in config, "it warms up with the graph's own batch"
            assert not (folder / "models" / name / "1" / "model.onnx").exists()
            play_network(folder / "models" / f"{name}.network")
    return folder


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def own(supervisor: Supervisor, imported: Path) -> AsyncIterator[TritonClient]:
    ports = free_ports(triton.PORTS)
    models = triton.TritonModels(triton_python(), imported / "models")
    spec = triton.triton_spec(models, imported / "run", imported / "log", ports, name="triton-own")
    await supervisor.start([spec])
    async with TritonClient(TritonSettings(endpoint=f"127.0.0.1:{ports[0]}")) as running:
        yield running


@pytest.mark.parametrize("name", OWN)
async def test_every_shape_of_network_embeds_alike(name: str, own: TritonClient, expected: Expected) -> None:
    found = await embedder(own, name)
    shown = people(9)
    vectors = await embed(own, found, shown)
    for picture, vector in zip(shown, vectors, strict=True):
        seen = cv2.resize(picture, (32, 64), interpolation=cv2.INTER_AREA)
        values = seen if name == "bytes" else (seen[:, :, ::-1] - MEAN) / SCALE
        np.testing.assert_allclose(vector, expected(values.astype(np.float32).transpose(2, 0, 1)), atol=1e-4)
    alone = await asyncio.gather(*(embed(own, found, one[None]) for one in shown))
    np.testing.assert_array_equal(vectors, np.concatenate(alone))


async def test_imported_embedders_are_nobodys_default(own: TritonClient) -> None:
    assert (await own.config("first"))["parameters"]["runtime"]["string_value"] == "openvino"
    assert (await own.config("foreign"))["parameters"]["runtime"]["string_value"] == "onnxruntime"
    for name, alone in (("eight", "false"), ("several", "true")):
        facts = (await own.config(name))["parameters"]
        assert (facts["batch"]["string_value"], facts["alone"]["string_value"]) == ("8", alone)
    with pytest.raises(FailedPrecondition, match="embedder"):
        await default_model(own, "embedder")


async def test_pictures_of_another_size_are_refused(own: TritonClient) -> None:
    with pytest.raises(InvalidArgument):
        await own.infer("first", {"image": np.zeros((1, 64, 32, 3), np.uint8)}, ["embedding"])


def add(name: str, repository: Path, mirror: Path) -> dict[str, Any]:
    command = [str(triton_python()), "-m", "kinemesh_models", "add", name, "--repository", str(repository), "--json"]
    environment = {**os.environ, "KINEMESH_MODELS_MIRROR": str(mirror), "https_proxy": "http://127.0.0.1:9"}
    cache = repository.parent / "cache"
    done = subprocess.run(
        [*command, f"--cache={cache}"], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == ("error" in answer), done.stderr
    return answer


def test_what_cannot_be_added_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "mirror").mkdir()
    assert add("person_reid_0287", tmp_path / "models", tmp_path / "mirror")["error"]["reason"] == "DOWNLOAD_FAILED"
    assert not (tmp_path / "models").exists()


# What the networks of the manifest answer to pictures on a runtime of its own, without any code of ours.
PLAIN = """
import sys
import numpy as np, onnxruntime
network = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
pictures = np.load(sys.argv[2])[:, :, :, ::-1].astype(np.float32)
np.save(sys.argv[3], np.concatenate([network.run(None, {"inputs:0": one[None]})[0] for one in pictures]))
"""


# A network in OpenVINO's two files, as Open Model Zoo publishes them, from a mirror into a repository.
TWO_FILES = """
import sys
from pathlib import Path
import numpy as np, openvino
from kinemesh_models.embedder import Embedder, from_parameters
from kinemesh_models.embedder_folder import summary, write_embedder
from kinemesh_models.fetch import FetchError, fetch_network, sha256_of
from kinemesh_models.importing.drawn_people import drawn_person
from kinemesh_models.manifest import Download
from kinemesh_models.model_folder import added_network
from kinemesh_models.onnx_embedder import Colours, describe_embedder, describe_openvino
onnx, folder = Path(sys.argv[1]), Path(sys.argv[2])
mirror, scratch = folder / "mirror", folder / "scratch"
for new in (mirror, scratch):
    new.mkdir()
openvino.save_model(openvino.Core().read_model(onnx), mirror / "a.xml", compress_to_fp16=False)
graph, weights = (
    Download("tiny", sha256_of(file), file.stat().st_size, "MIT", url=f"https://127.0.0.1:9/{file.name}")
    for file in (mirror / "a.xml", mirror / "a.bin")
)
wanted = Download(**{**{key: getattr(graph, key) for key in Download.__slots__}, "beside": weights})
network = fetch_network(wanted, folder / "cache", scratch, mirror)
colours = Colours("BGR", (10.0,), (50.0,))
feed = describe_openvino(network, colours)
facts = {"licence": "MIT", "description": "Tiny", "source": "manifest", "preference": 0, "out": folder / "models"}
write_embedder("tiny", network, feed, accelerator="amd", **facts)
told = summary("tiny", network, feed)
assert told["sha256"] == weights.sha256 and told["size_bytes"] == graph.bytes + weights.bytes, told
served = added_network("tiny", folder / "models")
whole = Embedder(onnx, describe_embedder(onnx, colours))
person = drawn_person(1)
np.testing.assert_allclose(Embedder(served, feed).embedding(person), whole.embedding(person), atol=1e-5)
(mirror / "a.bin").unlink()
try:
    fetch_network(wanted, folder / "cache", scratch, mirror)
except FetchError as error:
    assert "a.bin" in str(error), error
else:
    raise SystemExit("the graph alone is no network")
"""


def test_network_in_two_files(networks: Any, tmp_path: Path) -> None:
    command = [str(triton_python()), "-c", TWO_FILES, str(networks["first"]), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    config = (tmp_path / "models" / "tiny" / "config.pbtxt").read_text()
    assert '"runtime" value { string_value: "openvino" }' in config, "onnxruntime does not read this format"
    assert {file.name for file in (tmp_path / "models" / "tiny" / "1").iterdir()} == {
        "model.py",
        "model.xml",
        "model.bin",
    }


@pytest.mark.data
async def test_manifest_answers_as_the_network_itself(supervisor: Supervisor, tmp_path: Path) -> None:
    data = real_data()
    names = {"person_reid_0287": "0287", "person_reid_0248": "0248"}
    for name in names:
        answer = await asyncio.to_thread(add, name, tmp_path / "own" / "models", data / "models")
        assert (answer["model"], answer["dimension"], answer["labels"]) == (name, 256, [])
        assert await asyncio.to_thread(add, name, tmp_path / "own" / "models", data / "models") == answer
    shown = await asyncio.to_thread(_cut, data / "media" / "stills" / "crowd.jpg")
    np.save(tmp_path / "pictures.npy", shown)
    ports = free_ports(triton.PORTS)
    served = triton.TritonModels(triton_python(), tmp_path / "own" / "models")
    await supervisor.start([triton.triton_spec(served, tmp_path / "run", tmp_path / "log", ports, name="triton-reid")])
    async with TritonClient(TritonSettings(endpoint=f"127.0.0.1:{ports[0]}")) as client:
        assert await default_model(client, "embedder") == "person_reid_0287"
        for name, number in names.items():
            vectors = await embed(client, await embedder(client, name), shown)
            file = data / "models" / f"person-reidentification-retail-{number}.onnx"
            arguments = [str(file), str(tmp_path / "pictures.npy"), str(tmp_path / "theirs.npy")]
            await asyncio.to_thread(
                subprocess.run, [str(triton_python()), "-c", PLAIN, *arguments], check=True, timeout=120
            )
            theirs = np.load(tmp_path / "theirs.npy")
            theirs /= np.linalg.norm(theirs, axis=1, keepdims=True)
            np.testing.assert_allclose(vectors, theirs, atol=1e-3)


def _cut(still: Path) -> NDArray[np.uint8]:
    image = np.asarray(cv2.imread(str(still)), np.uint8)
    height, width = image.shape[:2]
    corners = np.array([[x * width / 6, 0, (x + 1) * width / 6, height] for x in range(6)])
    return crops(np.ascontiguousarray(image[:, :, ::-1]), corners)
