"""What tests ask of the training code, where PyTorch is: ``lessons.py NAME FOLDER`` answers in JSON."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from kinemesh_training import calibrate, losses, train
from kinemesh_training.boxes import decode, overlaps, places
from kinemesh_training.network import STRIDES, Detector

_RECIPE = train.Recipe(epochs=3, last=1, size=64, last_size=96, batch=2, warmup=2, seed=5)
_HOST = train.Host(threads=1, workers=1, measured_every=0)
_BINS = 12


def geometry(_: Path) -> dict[str, Any]:
    points, strides = places([(4, 6), (2, 3), (1, 2)])
    sides = torch.full((1, 4 * _BINS), -40.0)
    sides[0, [1, _BINS + 2, 2 * _BINS + 3, 3 * _BINS + 4]] = 40.0
    square = torch.tensor([0.0, 0, 10, 10])
    others = torch.tensor([[0.0, 0, 10, 10], [5, 0, 15, 10], [20, 0, 30, 10]])
    return {
        "last of each": [[*points[last].tolist(), strides[last].item()] for last in (23, 29, 31)],
        "box": decode(sides, torch.tensor([[64.0, 64.0]]), torch.tensor([16.0]))[0].tolist(),
        "overlaps": overlaps(square, others).tolist(),
        "generalised": overlaps(square, others, generalised=True).tolist(),
    }


def assignment(_: Path) -> dict[str, Any]:
    """Two people, of whom one is smaller than a cell; one picture without anybody."""
    points, strides = places([(12, 12), (6, 6), (3, 3)])
    torch.manual_seed(1)
    boxes = torch.cat([points - strides[:, None], points + strides[:, None]], 1).expand(2, -1, 4)
    scores = torch.full(boxes.shape[:2], 0.1)
    people = [torch.tensor([[24.0, 8, 72, 88], [3, 3, 7, 8]]), torch.zeros(0, 4)]
    found = losses.assign(scores, boxes, points, strides, people)
    owners = [(found.boxes[0] == person).all(1) & (found.scores[0] > 0) for person in people[0]]
    inside = points[owners[0]]
    return {
        "cells": [int(owner.sum()) for owner in owners],
        "inside": bool(((inside > torch.tensor([24, 8])) & (inside < torch.tensor([72, 88]))).all()),
        "most": [float(found.scores[0][owner].max()) for owner in owners],
        "nobody": float(found.scores[1].sum()),
    }


def values(_: Path) -> dict[str, Any]:
    torch.manual_seed(1)
    features = torch.randn(2, 3, 5, 5)
    points, strides = torch.tensor([[64.0, 64.0]]), torch.tensor([16.0])
    wanted, sure = torch.tensor([[40.0, 40, 100, 100]]), torch.ones(1)
    right = torch.full((4, _BINS), -40.0)
    right[:2, [1, 2]] = right[2:, [2, 3]] = torch.tensor([0.0, 0.0])
    right[2:, 3] -= 1.0986  # 2.25 strides: three quarters of the second bin
    return {
        "alike": losses.likeness_loss(features, 3 * features + 1).item(),
        "opposite": losses.likeness_loss(features, -features).item(),
        "right box": losses.box_loss(wanted, wanted, sure).item(),
        "right score": losses.score_loss(torch.tensor([[-90.0, 90.0]]), torch.tensor([[0.0, 1.0]])).item(),
        "right side": losses.side_loss(right.reshape(1, -1), points, strides, wanted, sure).item(),
        "wrong side": losses.side_loss(-right.reshape(1, -1), points, strides, wanted, sure).item(),
    }


def answers(_: Path) -> dict[str, Any]:
    network = Detector().eval()
    levels = network(torch.zeros(1, 3, 96, 64))
    return {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "shapes": [list(level.shape) for level in levels],
        "wanted": [[1, 1 + 4 * network.bins, 96 // stride, 64 // stride] for stride in STRIDES],
    }


def calibration(_: Path) -> dict[str, Any]:
    """A student who is less sure than its teacher, and finds more."""
    theirs = np.array([0.9, 0.7, 0.5, 0.3], np.float32)
    mine = np.array([0.2, 0.6, 0.05, 0.35, 0.4], np.float32)
    found = calibrate.lift(mine, theirs)
    refused = []
    for few, sure in ((mine[:1], theirs), (mine, theirs[3:])):
        try:
            calibrate.lift(few, sure)
        except ValueError as error:
            refused.append(str(error))
    lifted = 1 / (1 + np.exp(-(np.log(mine / (1 - mine)) + found)))
    return {"kept": int((lifted > 0.4999).sum()), "alike": calibrate.lift(theirs, theirs), "refused": len(refused)}


def training(folder: Path) -> dict[str, Any]:
    """A recipe that runs whole, that is broken off after its first epoch and goes on, and then another recipe."""
    archive = folder / "pictures.zip"
    train.train(archive, None, folder / "whole", _RECIPE, _HOST)
    save = train._save

    def save_and_break_off(*arguments: Any) -> None:
        save(*arguments)
        raise KeyboardInterrupt

    with patch.object(train, "_save", save_and_break_off), suppress(KeyboardInterrupt):
        train.train(archive, None, folder / "broken", _RECIPE, _HOST)
    after = torch.load(folder / "broken" / "checkpoint.pt", weights_only=True)["epoch"]
    train.train(archive, None, folder / "broken", _RECIPE, _HOST)
    other = ""
    try:
        train.train(archive, None, folder / "broken", train.Recipe(), _HOST)
    except ValueError as error:
        other = str(error)
    log = [json.loads(line) for line in (folder / "whole" / "log.jsonl").read_text().splitlines()]
    return {
        "broken off after": after,
        "whole": _digest(folder / "whole"),
        "broken": _digest(folder / "broken"),
        "losses": [line["losses"] for line in log],
        "other recipe": other,
    }


def _digest(folder: Path) -> str:
    kept = torch.load(folder / "checkpoint.pt", weights_only=True)
    digest = hashlib.sha256()
    for name, tensor in sorted(kept["average"].items()):
        digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()


_LESSONS: dict[str, Callable[[Path], dict[str, Any]]] = {
    lesson.__name__: lesson for lesson in (geometry, assignment, values, answers, calibration, training)
}

if __name__ == "__main__":
    print(json.dumps(_LESSONS[sys.argv[1]](Path(sys.argv[2]))))
