"""`kinemesh run route_match` against a gateway that follows a script."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kinemesh_client.testing import Cli, one_object

from .route_gateway import OUTPUTS, RESULT, RouteGateway


@pytest.fixture
def match(bare_cli: Cli, catalogue: RouteGateway) -> Cli:
    """Matches on the gateway, which has one reference image."""
    catalogue.add("reference", reference_id="wall", asset_id="image", source="BUILT_IN")

    def run(*arguments: str) -> Any:
        return bare_cli("run", "route_match", *arguments, f"--url={catalogue.url}")

    return run


@pytest.fixture
def clips(tmp_path: Path) -> tuple[str, str]:
    """Two recordings; a stand-in does not look into them."""
    paths = tmp_path / "first.mp4", tmp_path / "second.mp4"
    for path in paths:
        path.write_bytes(path.name.encode())
    return str(paths[0]), str(paths[1])


def test_clips_are_drawn_together_and_their_figures_are_a_table(
    match: Cli, catalogue: RouteGateway, clips: tuple[str, str], tmp_path: Path
) -> None:
    looks = ("--color=#ff0000", "--color=#00ff00", "--trail=1.5", "--joint-radius=-1", "--hide-labels")
    how = ("--mode=multi", "--model=affine", "--align=path", "--fps=50", f"--out={tmp_path / 'out'}")
    done = match(*clips, "--reference=wall", *how, *looks)
    assert done.returncode == 0, done.stderr
    assert catalogue.last("POST", "jobs").body == {
        "pipeline": "route_match",
        "inputs": [{"camera": "attempt1", "asset_id": "asset0"}, {"camera": "attempt2", "asset_id": "asset1"}],
        "parameters": {
            "reference": "wall",
            "mode": "MULTI",
            "transform_model": "AFFINE",
            "alignment": "PATH",
            "output_frame_rate": 50,
            "style": {
                "colors": ["#ff0000", "#00ff00"],
                "joint_radius": -1,
                "trail_sec": 1.5,
                "hide_labels": True,
            },
        },
    }
    lines = [line.split() for line in done.stdout.splitlines()]
    assert {Path(path).read_bytes() for _, path in lines[: len(OUTPUTS)]} == set(OUTPUTS.values())
    first, second = lines[-2:]
    assert first == ["first.mp4", "MATCHED", "50", "8", "2", "42.2", "12", "2", "1.62", "0.50", "9"]
    assert second == ["second.mp4", "WEAK", "20", "0", "40"], "without figures"


def test_a_picture_is_uploaded_and_the_climber_pointed_at(
    match: Cli, catalogue: RouteGateway, clips: tuple[str, str], tmp_path: Path
) -> None:
    picture = tmp_path / "wall.jpg"
    picture.write_bytes(b"picture")
    done = match(clips[0], f"--image={picture}", "--at=2.5,0.4,0.6", f"--out={tmp_path / 'out'}", "--json")
    assert done.returncode == 0, done.stderr
    printed = one_object(done.stdout)
    assert printed["match"] == RESULT
    assert set(printed["results"]) == set(OUTPUTS)
    assert {key: asset["kind"] for key, asset in catalogue.assets.items()} == {"asset0": "IMAGE", "asset1": "VIDEO"}
    job = catalogue.last("POST", "jobs").body
    assert job["asset_id"] == "asset1"
    assert job["parameters"] == {
        "image_asset_id": "asset0",
        "mode": "SINGLE",
        "alignment": "MOVEMENT_START",
        "subject_point": {"time_sec": 2.5, "point": {"x": 0.4, "y": 0.6}},
    }


def test_attempts_of_the_catalogue_need_no_upload(match: Cli, catalogue: RouteGateway, tmp_path: Path) -> None:
    done = match("--attempt=one", "--attempt=two", "--align=none", f"--out={tmp_path}")
    assert done.returncode == 0, done.stderr
    parameters = {"attempt_id": "one", "attempt_ids": ["two"], "mode": "SINGLE", "alignment": "NONE"}
    assert catalogue.last("POST", "jobs").body == {"pipeline": "route_match", "parameters": parameters}
    assert catalogue.assets == {}


def test_what_cannot_be_matched_exits_as_a_failed_job_with_its_counts(
    match: Cli, catalogue: RouteGateway, clips: tuple[str, str], tmp_path: Path
) -> None:
    catalogue.matches = False
    done = match(clips[0], "--reference=wall", f"--out={tmp_path / 'out'}")
    assert done.returncode == 3
    assert "No frame of main shows the reference image. (NOT_ENOUGH_MATCHES)" in done.stderr
    assert ["best_inliers", "5"] in [line.split() for line in done.stderr.splitlines()]
    assert done.stdout == ""
    assert not (tmp_path / "out").exists()
    again = match(clips[0], "--reference=wall", "--json")
    assert again.returncode == 3
    assert one_object(again.stdout)["job"]["failure"]["metadata"]["matched_frames"] == "0"


def test_a_refused_job_leaves_no_clips(match: Cli, catalogue: RouteGateway, clips: tuple[str, str]) -> None:
    unknown = match(*clips, "--reference=nowhere", "--json")
    assert unknown.returncode == 2
    assert one_object(unknown.stdout)["error"]["reason"] == "REFERENCE_NOT_FOUND"
    assert not [call for call in catalogue.calls() if "assets" in call], "told before anything is uploaded"
    catalogue.refused["POST", "/api/v1/jobs"] = "ASSET_NOT_READY"
    refused = match(*clips, "--reference=wall")
    assert (refused.returncode, "(ASSET_NOT_READY)" in refused.stderr) == (2, True)
    assert catalogue.assets == {}


@pytest.mark.parametrize(
    "arguments",
    [
        ("--reference=wall",),
        (__file__,),
        (__file__, "--reference=wall", "--attempt=one"),
        (__file__, "--reference=wall", f"--image={__file__}"),
        (__file__, "--image=missing.jpg"),
        ("missing.mp4", "--reference=wall"),
        (*[__file__] * 9, "--reference=wall"),
        (__file__, __file__, "--reference=wall", "--at=1,0.5,0.5"),
        (__file__, "--reference=wall", "--at=1,2"),
        (__file__, "--reference=wall", "--fps=0"),
        (__file__, "--reference=wall", "--mode=some"),
    ],
)
def test_wrong_usage_exits_with_2_before_anything_is_asked(
    match: Cli, catalogue: RouteGateway, arguments: tuple[str, ...]
) -> None:
    done = match(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert catalogue.asked == []
