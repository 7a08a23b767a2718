"""`kinemesh routes` and `kinemesh run route_match` on a mesh."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from kinemesh_client.clip import write_clip
from kinemesh_client.testing import Cli, one_object


def write_wall(path: Path, seed: int) -> Path:
    """A picture of a wall that looks different everywhere: holds of all sizes and shades, and the grain of the wall."""
    draw = np.random.default_rng(seed)
    wall = draw.integers(90, 130, (480, 640, 3), dtype=np.uint8)
    for _ in range(220):
        x, y = int(draw.integers(0, 640)), int(draw.integers(0, 480))
        corners = np.add(draw.integers(-24, 24, (5, 2)), (x, y)).astype(np.int32)
        cv2.fillPoly(wall, [corners], draw.integers(0, 255, 3).tolist())
    assert cv2.imwrite(str(path), wall)
    return path


@pytest.fixture(scope="module")
def wall(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The picture of the wall."""
    return write_wall(tmp_path_factory.mktemp("wall") / "wall.png", 1)


@pytest.fixture(scope="module")
def climb(wall: Path) -> Path:
    """Two seconds of a camera that moves over the wall."""
    path = wall.with_name("climb.mp4")
    write_clip(wall, path, seconds=2, size=(640, 360))
    return path


def line(cli: Cli, *arguments: str) -> str:
    """What a command prints, which is one line."""
    done = cli("routes", *arguments)
    assert done.returncode == 0, done.stderr
    (printed,) = done.stdout.splitlines()
    return str(printed)


def test_a_catalogue_is_built_read_and_taken_down(cli: Cli, wall: Path, climb: Path, tmp_path: Path) -> None:
    area = line(cli, "areas", "add", "Crag")
    route = line(cli, "add", "Arete", f"--area={area}", "--grade=6b+")
    reference = line(cli, "references", "add", str(wall), f"--route={route}")
    attempt = line(cli, "attempts", "add", str(climb), f"--route={route}", "--name=Flash", "--topped")
    tree = one_object(cli("routes", "tree", "--json").stdout)["areas"]
    (there,) = (row for row in tree if row["area_id"] == area)
    assert [(row["route_id"], row["attempt_count"]) for row in there["routes"]] == [(route, 1)]
    shown = one_object(cli("routes", "show", route, "--json").stdout)
    assert (shown["reference_id"], shown["attempts"][0]["display_name"]) == (reference, "Flash")
    assert attempt in cli("routes", "search", "flash").stdout
    assert attempt in cli("routes", "attempts", "recent").stdout
    video, picture = tmp_path / "climb.mp4", tmp_path / "wall.png"
    assert line(cli, "attempts", "get", attempt, f"--out={video}") == str(video)
    assert video.read_bytes() == climb.read_bytes()
    assert line(cli, "references", "get", reference, f"--out={picture}") == str(picture)
    assert picture.read_bytes() == wall.read_bytes()
    assert one_object(cli("routes", "clean", "--dry-run", "--json").stdout)["files"] >= 0
    assert cli("routes", "areas", "delete", area).returncode == 0
    gone = cli("routes", "attempts", "show", attempt)
    assert (gone.returncode, "(ATTEMPT_NOT_FOUND)" in gone.stderr) == (2, True)


def test_a_climber_is_drawn_on_the_picture_of_the_wall(cli: Cli, wall: Path, climb: Path, tmp_path: Path) -> None:
    done = cli("run", "route_match", str(climb), f"--image={wall}", "--mode=multi", "--json", f"--out={tmp_path}")
    assert done.returncode == 0, done.stderr
    printed = one_object(done.stdout)
    assert set(printed["results"]) >= {"annotated.mp4", "landmarks.parquet", "matches.parquet", "metrics.json"}
    (quality,) = printed["match"]["quality"]
    assert (quality["name"], quality["verdict"]) == ("climb.mp4", "MATCHED")
    with av.open(printed["results"]["annotated.mp4"]) as container:
        assert sum(1 for _ in container.decode(video=0)) > 0


def test_attempts_at_a_route_are_drawn_together_and_compared(cli: Cli, wall: Path, climb: Path, tmp_path: Path) -> None:
    route = line(cli, "add", "Slab", "--area=" + line(cli, "areas", "add", "Hall"))
    line(cli, "references", "add", str(wall), f"--route={route}")
    names = ("Monday", "Friday")
    attempts = [line(cli, "attempts", "add", str(climb), f"--route={route}", f"--name={name}") for name in names]
    chosen = [f"--attempt={attempt}" for attempt in attempts]
    done = cli("run", "route_match", *chosen, "--align=path", "--trail=1", f"--out={tmp_path / 'out'}")
    assert done.returncode == 0, done.stderr
    rows = [row.split() for row in done.stdout.splitlines()[-2:]]
    assert [row[:2] for row in rows] == [[name, "MATCHED"] for name in names]
    compared = one_object(cli("routes", "attempts", "compare", *attempts, "--json").stdout)
    figures = {row["metric"]: row["values"] for row in compared["rows"]}
    first, second = figures["path_length"]
    assert first == second > 0
    target = tmp_path / "poses.parquet"
    line(cli, "attempts", "get", attempts[0], f"--out={target}", "--data=poses")
    assert pq.read_table(target).num_rows > 0


def test_another_wall_is_not_matched(cli: Cli, climb: Path, tmp_path: Path) -> None:
    other = write_wall(tmp_path / "other.png", 2)
    done = cli("run", "route_match", str(climb), f"--image={other}", "--json", f"--out={tmp_path / 'out'}")
    assert done.returncode == 3, done.stderr
    failure = one_object(done.stdout)["job"]["failure"]
    assert failure["reason"] == "NOT_ENOUGH_MATCHES"
    assert int(failure["metadata"]["frames"]) == 60
    assert "best_inliers" in done.stderr
