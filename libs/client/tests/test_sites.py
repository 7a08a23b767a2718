"""Described sites on their way to a gateway that follows a script."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from kinemesh_client.testing import Cli, one_object

from .site_gateway import MATRIX, OUTPUTS, Gateway, environment_json


def run_site(cli: Cli, gateway: Gateway, site: Path | str, *more: str) -> Any:
    return cli("run", "multi_camera", f"--environment={site}", f"--url={gateway.url}", *more)


def test_a_described_site_is_made_calibrated_filled_and_run(
    bare_cli: Cli, gateway: Gateway, described: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = run_site(bare_cli, gateway, described, "--json", f"--out={out}", "--threshold=0.4", "--embedder=mine")
    assert done.returncode == 0, done.stderr
    printed = one_object(done.stdout)
    assert printed["environment_id"] == "factory"
    assert {Path(path).read_bytes() for path in printed["results"].values()} == set(OUTPUTS.values())
    created = gateway.bodies["POST /api/v1/environments"][0]
    assert created["zones"] == [
        {"zone": "door", "map": {"corners": [{"x": 0, "y": 0}, {"x": 1, "y": 0}, {"x": 1, "y": 1}]}}
    ]
    pairs = created["cameras"][1]["homography"]["source"]["points"]["pairs"]
    assert pairs[2] == {"image": {"x": 10, "y": 10}, "map": {"x": 10, "y": 10}}
    form = gateway.bodies["PUT /api/v1/environments/factory/cameras/c09/homography"][0]
    assert form == {"file": ("H.txt", MATRIX.encode()), "image_axes": "YX"}
    assert "far from where it should be" in done.stderr
    names = {asset_id: asset["filename"] for asset_id, asset in gateway.assets.items()}
    videos = {
        row["camera"]: [(names[v["asset_id"]], v.get("start_sec")) for v in row["sub_videos"]]
        for row in gateway.sites["factory"]["cameras"]
    }
    assert videos == {"c09": [("a.mp4", None), ("b.mp4", 61.5)], "c12": [("c.mp4", None)]}
    assert all(row["homography"] for row in gateway.sites["factory"]["cameras"]), "kept when the videos came"
    job = gateway.bodies["POST /api/v1/jobs"][0]
    wanted = {"environment_id": "factory", "embedder": "mine", "threshold": 0.4, "render": True}
    assert job == {"pipeline": "multi_camera", "parameters": wanted}
    order = [re.sub(r"\d", "", call) for call in gateway.order("PUT", "POST /api/v1/env", "PATCH", "POST /api/v1/jobs")]
    assert order[0] == "POST /api/v/environments"
    assert order[1].endswith("/homography"), "wrong calibration is told before anything is uploaded"
    assert order[2:] == ["PUT /put/asset"] * 3 + ["PATCH /api/v/environments/factory", "POST /api/v/jobs"]


def test_a_site_that_is_there_keeps_what_the_file_does_not_say(
    bare_cli: Cli, gateway: Gateway, described: Path
) -> None:
    lens: dict[str, Any] = {"model": None, "fx": 900.0, "fy": 900.0, "cx": 1.0, "cy": 2.0, "coefficients": []}
    there = {"camera": "c09", "distortion": lens, "sub_videos": [{"asset_id": "old", "start_sec": None}]}
    gateway.sites["factory"] = environment_json({"environment_id": "factory", "cameras": [there]})
    done = run_site(bare_cli, gateway, described, "--json", f"--out={described.parent / 'out'}")
    assert done.returncode == 0, done.stderr
    first, second = gateway.bodies["PATCH /api/v1/environments/factory"]
    assert "environment_id" not in first
    assert first["cameras"][0]["distortion"] == lens
    assert first["cameras"][0]["sub_videos"] == [{"asset_id": "old", "start_sec": None}]
    assert [len(row["sub_videos"]) for row in second["cameras"]] == [2, 1]


@pytest.mark.parametrize("there", [False, True])
def test_what_was_brought_goes_when_the_job_is_refused(
    bare_cli: Cli, gateway: Gateway, described: Path, there: bool
) -> None:
    if there:
        old = {"camera": "c09", "sub_videos": [{"asset_id": "old", "start_sec": None}]}
        gateway.sites["factory"] = environment_json({"environment_id": "factory", "cameras": [old]})
    gateway.refused["POST", "/api/v1/jobs"] = "MODEL_NOT_FOUND"
    done = run_site(bare_cli, gateway, described, "--json")
    assert done.returncode == 2
    assert one_object(done.stdout)["error"]["reason"] == "MODEL_NOT_FOUND"
    assert gateway.assets == {}
    if there:
        assert [row["sub_videos"][0]["asset_id"] for row in gateway.sites["factory"]["cameras"]] == ["old"]
    else:
        assert gateway.sites == {}


def test_refused_calibration_is_told_before_anything_is_uploaded(
    bare_cli: Cli, gateway: Gateway, described: Path
) -> None:
    gateway.refused["PUT", "/api/v1/environments/factory/cameras/c09/homography"] = "POINTS_DEGENERATE"
    done = run_site(bare_cli, gateway, described)
    assert done.returncode == 2
    assert "(POINTS_DEGENERATE)" in done.stderr
    assert gateway.sites == {}
    assert gateway.assets == {}
    assert not gateway.order("POST /api/v1/assets")


def test_a_site_by_its_id_is_run_as_it_is(bare_cli: Cli, gateway: Gateway, tmp_path: Path) -> None:
    done = run_site(bare_cli, gateway, "factory", "--no-render", f"--out={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert gateway.bodies["POST /api/v1/jobs"][0]["parameters"] == {
        "environment_id": "factory",
        "threshold": 0.5,
        "render": False,
    }
    assert not gateway.order("environments")
