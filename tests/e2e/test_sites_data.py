"""Several cameras on data that others made: calibrations, tracks on the ground, and how well people are told apart."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinemesh.geometry.homography import apply, inverse
from kinemesh.testing.rest import Rest

Bench = Callable[..., dict[str, Any]]

pytestmark = pytest.mark.data


def test_two_cameras_count_and_place_people_as_promised(media_data: Path, tmp_path: Path, bench: Bench) -> None:
    data = str(media_data.parent / "geometry" / "synth2cam")
    figures = bench("bench_association", "association.json", "--data", data)
    for scores in (figures["live"], figures["results"]):
        assert scores["count_error"] <= 0.334
        assert scores["identity_changes"] <= 0.007
        assert scores["mean_error"] <= 0.3
        assert scores["people"] == 2
    steps = [json.loads(line) for line in (tmp_path / "positions.jsonl").read_text().splitlines()]
    assert len({one["global_id"] for step in steps for one in step["objects"]}) == 2
    assert sum(len(one["cameras"]) == 2 for step in steps for one in step["objects"]) > 100


@pytest.mark.usefixtures("media_data")  # and the models beside it
def test_people_are_told_apart(bench: Bench) -> None:
    figures = bench("bench_reid", "reid.json")
    assert figures["people"] > 30
    assert figures["rank1"]["person_reid_0287"]["crop"] >= 0.9
    assert figures["rank1"]["person_colors"]["crop"] >= 0.7  # it needs no weights, and is no match for a network


async def test_a_matrix_of_rows_and_columns_puts_walkers_on_the_ground(rest: Rest, media_data: Path) -> None:
    folder = media_data.parent / "geometry" / "ETH_seq_eth"
    answer = await rest.call("POST", "/api/v1/environments", json={"cameras": [{"camera": "eth"}]})
    assert answer.is_success, answer.text
    environment = answer.json()["environment_id"]
    files = {"file": ("H.txt", await asyncio.to_thread((folder / "H.txt").read_bytes))}
    stated = {"image_axes": "YX", "image_width": "640", "image_height": "480"}
    path = f"/api/v1/environments/{environment}/cameras/eth/homography"
    answer = await rest.call("PUT", path, files=files, data=stated)
    assert answer.is_success, answer.text
    matrix = np.array(answer.json()["homography"]["image_to_map"]["values"]).reshape(3, 3)
    walkers = np.loadtxt(folder / "obsmat.txt")[:, [2, 4]]
    seen = apply(inverse(matrix), walkers)
    assert np.abs(apply(matrix, seen) - walkers).max() < 1e-6
    # The reference frame: nobody walks outside of it, nor on the snow at its left and right edges.
    assert (seen >= 0).all()
    assert (seen < (640, 480)).all()
    given = np.loadtxt(folder / "H.txt") @ np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1.0]])
    np.testing.assert_allclose(apply(matrix, seen), apply(given, seen), atol=1e-6)
