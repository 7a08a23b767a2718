"""Train the person detector: ``python -m kinemesh_training.train --data person_train.zip --teacher rtmdet.onnx``."""

import argparse
import copy
import json
import logging
import math
import os
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from kinemesh_training import pictures
from kinemesh_training.augment import sample
from kinemesh_training.boxes import flatten, places
from kinemesh_training.finding import cells_of, find, normalised
from kinemesh_training.losses import label_loss, likeness_loss, teacher_loss
from kinemesh_training.network import STRIDES, Detector
from kinemesh_training.pictures import Picture
from kinemesh_training.taught import CHANNELS, Taught

if TYPE_CHECKING:
    from kinemesh_training import evaluate

_log = logging.getLogger("train")

# The teacher knows more people than labels do, and is wrong less often.
WEIGHTS = {
    "score": 0.7,
    "box": 2.0,
    "side": 0.5,
    "taught score": 3.0,
    "taught box": 2.0,
    "taught side": 0.5,
    "likeness": 2.0,
}
# Small sources that show what no other does count more than once in an epoch; pictures without people half.
REPEATS = {"bh_meeting": 3.0, "bh_drone": 3.0, "neg_crops": 0.5}


@dataclass(frozen=True)
class Recipe:
    """What a run is; the same recipe, data and machine give the same weights.

    Attributes:
        epochs: times that all pictures are seen.
        last: of these the last ones, at the larger size and without joined pictures.
        size, last_size: pixels of a side.
        batch: pictures a step.
        rate: AdamW's greatest learning rate.
        seed: of everything random.
    """

    epochs: int = 100
    last: int = 12
    size: int = 320
    last_size: int = 416
    batch: int = 32
    rate: float = 1.5e-3
    decay: float = 0.03
    warmup: int = 500
    mosaic: float = 0.5
    average: float = 0.999
    seed: int = 20261128


class Samples(Dataset[tuple[np.ndarray, np.ndarray, np.ndarray]]):
    """One epoch's samples: which and how is a matter of seed, epoch and index alone."""

    def __init__(self, shown: Sequence[Picture], recipe: Recipe, epoch: int) -> None:
        self._shown, self._recipe, self._epoch = shown, recipe, epoch
        random = np.random.default_rng([recipe.seed, epoch])
        repeats = np.array([REPEATS.get(picture.name.split("/")[1], 1.0) for picture in shown])
        counts = np.floor(repeats + random.random(len(repeats))).astype(int)
        self._order = random.permutation(np.repeat(np.arange(len(shown)), counts))

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        recipe = self._recipe
        random = np.random.default_rng([recipe.seed, self._epoch, index])
        ending = self._epoch >= recipe.epochs - recipe.last
        made = sample(
            self._shown,
            int(self._order[index]),
            recipe.last_size if ending else recipe.size,
            random,
            mosaic=0.0 if ending else recipe.mosaic,
        )
        return made.clean, made.seen, made.boxes


def _batch(samples: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> tuple[np.ndarray, Tensor, list[Tensor]]:
    clean, seen, boxes = zip(*samples, strict=True)
    return np.stack(clean), torch.from_numpy(np.stack(seen)), [torch.from_numpy(some) for some in boxes]


class Average:
    """The exponential moving average of a network's state."""

    def __init__(self, network: nn.Module, share: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(requires_grad=False)
        self._share, self.steps = share, 0

    @torch.no_grad()
    def take(self, network: nn.Module) -> None:
        self.steps += 1
        share = self._share * (1 - math.exp(-self.steps / 1000))
        for mine, theirs in zip(self.network.state_dict().values(), network.state_dict().values(), strict=True):
            if mine.dtype.is_floating_point:
                mine.lerp_(theirs.detach(), 1 - share)
            else:
                mine.copy_(theirs)


class Student(nn.Module):
    """The network, and what compares its features with the teacher's while it learns."""

    def __init__(self) -> None:
        super().__init__()
        self.network = Detector()
        self.likened = nn.ModuleList(
            nn.Conv2d(lateral[0].out_channels, CHANNELS, 1) for lateral in self.network.lateral
        )

    def forward(self, seen: Tensor) -> tuple[Tensor, list[Tensor]]:
        features = self.network.features(seen)
        return flatten(self.network.heads(features)), [
            liken(level) for liken, level in zip(self.likened, features, strict=True)
        ]


def losses(student: Student, seen: Tensor, people: list[Tensor], taught: Taught | None) -> dict[str, Tensor]:
    """All losses of a batch of normalised pictures [B, 3, S, S]."""
    with torch.autocast(seen.device.type, dtype=torch.bfloat16, enabled=_halves(seen.device.type)):
        answers, features = student(seen)
    answers = answers.float()
    logits, sides = answers[..., 0], answers[..., 1:]
    points, strides = places([(seen.shape[2] // stride, seen.shape[3] // stride) for stride in STRIDES], seen.device)
    found = label_loss(logits, sides, points, strides, people)
    if taught is not None:
        found |= teacher_loss(logits, sides, points, strides, taught.scores, taught.lengths)
        found["likeness"] = sum(
            (likeness_loss(mine.float(), theirs) for mine, theirs in zip(features, taught.features, strict=True)),
            start=torch.zeros((), device=seen.device),
        )
    return found


def _halves(device: str) -> bool:
    """Whether half precision is faster: processors that have to imitate it take several times as long."""
    return device != "cpu" or bool(torch.cpu.get_capabilities().get("avx512_bf16"))


def rate_at(step: int, steps: int, recipe: Recipe) -> float:
    """A linear start, then half a cosine down to a fiftieth."""
    if step < recipe.warmup:
        return recipe.rate * (step + 1) / recipe.warmup
    part = (step - recipe.warmup) / max(1, steps - recipe.warmup)
    return recipe.rate * (0.02 + 0.98 * (1 + math.cos(math.pi * part)) / 2)


@dataclass(frozen=True)
class Host:
    """What a recipe runs on.

    Attributes:
        device: of the network, ``cpu`` or ``cuda``; pictures are made and the teacher runs on the CPU.
        threads: of the network on a CPU and of the teacher.
        workers: processes that make pictures.
        measured_every: epochs between two measurements on the pictures held back; 0: none.
    """

    device: str = "cpu"
    threads: int = 2
    workers: int = 1
    measured_every: int = 5


def train(
    archive: Path, weights: Path | None, out: Path, recipe: Recipe, host: Host, start: Path | None = None
) -> None:
    """Run a recipe, or go on where an earlier run ended; ``out`` gets ``checkpoint.pt`` and ``log.jsonl``, every epoch.

    Args:
        archive: pictures and labels, see :mod:`kinemesh_training.pictures`.
        weights: the teacher's ONNX file; None: labels alone teach.
        start: weights of the network to begin with, as :mod:`kinemesh_training.ship` writes them.

    Raises:
        ValueError: the archive is not what it should be, or the checkpoint is of another recipe.
    """
    torch.set_num_threads(host.threads)
    cv2.setNumThreads(0)
    torch.manual_seed(recipe.seed)
    shown = [picture for picture in pictures.read(archive, "train") if picture.labelled]
    held_back = pictures.read(archive, "val") if host.measured_every else []
    _log.info("%d pictures to learn from, %d to measure with", len(shown), len(held_back))
    student = Student()
    if start is not None:
        student.network.load_state_dict(torch.load(start, map_location="cpu", weights_only=True))
    student = student.to(host.device, memory_format=torch.channels_last)
    average = Average(student.network, recipe.average)
    optimiser = torch.optim.AdamW(_groups(student, recipe.decay), lr=recipe.rate, betas=(0.9, 0.99))
    teacher = _teacher(weights, host.threads) if weights else None
    out.mkdir(parents=True, exist_ok=True)
    checkpoint, begun = out / "checkpoint.pt", 0
    if checkpoint.exists():
        begun = _restore(checkpoint, student, average, optimiser, recipe)
    steps = recipe.epochs * (len(Samples(shown, recipe, 0)) // recipe.batch)
    for epoch in range(begun, recipe.epochs):
        batches = DataLoader(
            Samples(shown, recipe, epoch), recipe.batch, num_workers=host.workers, collate_fn=_batch, drop_last=True
        )
        started, sums, seen_count = time.monotonic(), dict.fromkeys(WEIGHTS, 0.0), 0
        student.train()
        for clean, seen, people in batches:
            rate = rate_at(average.steps, steps, recipe)
            for group in optimiser.param_groups:
                group["lr"] = rate
            taught = teacher(clean).to(host.device) if teacher else None
            fed = normalised(seen.to(host.device)).contiguous(memory_format=torch.channels_last)
            parts = losses(student, fed, [some.to(host.device) for some in people], taught)
            total = sum(
                (WEIGHTS[name] * part for name, part in parts.items()), start=torch.zeros((), device=host.device)
            )
            optimiser.zero_grad(set_to_none=True)
            total.backward()
            nn.utils.clip_grad_norm_(student.parameters(), 10.0)
            optimiser.step()
            average.take(student.network)
            seen_count += len(seen)
            for name, part in parts.items():
                sums[name] += float(part.detach()) * len(seen)
        line: dict[str, object] = {
            "epoch": epoch + 1,
            "pictures_per_second": round(seen_count / (time.monotonic() - started), 1),
            "losses": {name: round(value / seen_count, 4) for name, value in sums.items()},
        }
        if held_back and ((epoch + 1) % host.measured_every == 0 or epoch + 1 == recipe.epochs):
            line["precision"] = {
                source: asdict(measured) for source, measured in measure(average.network, held_back, 416).items()
            }
        _save(checkpoint, student, average, optimiser, recipe, epoch + 1)
        _log.info("%s", json.dumps(line))
        with (out / "log.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")


def _teacher(weights: Path, threads: int) -> Callable[[NDArray[np.uint8]], Taught]:
    # Without a teacher, OpenVINO need not be there.
    from kinemesh_training.teacher import Teacher

    return Teacher(weights, threads)


def measure(network: Detector, held_back: Sequence[Picture], size: int) -> dict[str, "evaluate.Precision"]:
    """Precision on pictures that were not learned from, by their source."""
    # Without pictures to measure with, pycocotools need not be there.
    from kinemesh_training import evaluate

    cells = cells_of(network)
    return evaluate.by_source(held_back, {picture.name: find(cells, picture.pixels, size) for picture in held_back})


def _groups(student: Student, decay: float) -> Iterator[dict[str, object]]:
    """Convolutions' weights decay; biases and normalisation do not."""
    parameters = list(student.parameters())
    yield {"params": [some for some in parameters if some.ndim > 1], "weight_decay": decay}
    yield {"params": [some for some in parameters if some.ndim <= 1], "weight_decay": 0.0}


def _save(
    path: Path, student: Student, average: Average, optimiser: torch.optim.Optimizer, recipe: Recipe, epoch: int
) -> None:
    part = path.with_suffix(".part")
    torch.save(
        {
            "recipe": asdict(recipe),
            "epoch": epoch,
            "steps": average.steps,
            "student": student.state_dict(),
            "average": average.network.state_dict(),
            "optimiser": optimiser.state_dict(),
        },
        part,
    )
    part.replace(path)


def _restore(path: Path, student: Student, average: Average, optimiser: torch.optim.Optimizer, recipe: Recipe) -> int:
    """Take up a checkpoint, and say how many epochs it has behind it."""
    kept = torch.load(path, map_location="cpu", weights_only=True)
    if kept["recipe"] != asdict(recipe):
        raise ValueError(f"{path} is of another recipe: {kept['recipe']}")
    student.load_state_dict(kept["student"])
    average.network.load_state_dict(kept["average"])
    average.steps = kept["steps"]
    optimiser.load_state_dict(kept["optimiser"])
    _log.info("goes on after epoch %d", kept["epoch"])
    return int(kept["epoch"])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="an archive of pictures and labels.json")
    parser.add_argument("--teacher", type=Path, help="RTMDet-nano's ONNX file; without it, labels alone teach")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoint.pt and log.jsonl")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else Host.device)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or Host.threads)
    parser.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 2) // 2))
    parser.add_argument("--measured-every", type=int, default=Host.measured_every)
    parser.add_argument("--start", type=Path, help="weights to go on from, such as those that are shipped")
    parser.add_argument("--rate", type=float, default=Recipe.rate, help="the greatest; less where --start is given")
    parser.add_argument("--epochs", type=int, default=Recipe.epochs)
    chosen = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    recipe = Recipe(epochs=chosen.epochs, last=max(1, chosen.epochs // 8), rate=chosen.rate)
    host = Host(chosen.device, chosen.threads, chosen.workers, chosen.measured_every)
    try:
        train(chosen.data, chosen.teacher, chosen.out, recipe, host, chosen.start)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise SystemExit(f"train: {error}") from error


if __name__ == "__main__":
    main()
