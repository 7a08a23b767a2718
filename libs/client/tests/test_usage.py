"""What commands say of wrong usage, before they ask or start anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from kinemesh_client.testing import Cli, one_object


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "pitstop", __file__),
        ("run", "pitstop", __file__, "--weights=missing.onnx"),
        ("run", "pitstop", __file__, "--model=m", "--threshold=1.5"),
        ("run", "pitstop", __file__, "--model=m", "--zone=0.1,0.1;0.2,0.2;0.3,0.1"),
        ("run", "pitstop", __file__, "--model=m", "--zone=box:0.1,0.1;0.2,0.2"),
        ("run", "pitstop", __file__, "--model=m", "--zone=box:0.1,0.1;0.2,0.2;0.3,nan"),
        ("run", "pitstop", __file__, "--model=m", *["--zone=box:0.1,0.1;0.2,0.2;0.3,0.1"] * 2),
        ("run", "instructor", __file__, "--at=1,2"),
        ("run", "route_match", __file__),
        ("pitstop", __file__, "out.mp4"),
        ("pitstop", __file__, "out.mp4", f"--weights={__file__}", "--model=m"),
        ("pitstop", __file__, "out.avi", "--model=m"),
        ("pitstop", __file__, "/nonexistent/out.mp4", "--model=m"),
        ("models", "import", "missing.onnx", "--name=own"),
        ("models", "import", __file__),
        ("models", "import", __file__, "--name=own", "--labels=missing.txt"),
        ("models", "import", __file__, "--name=own", "--label=car", f"--labels={__file__}"),
        ("models", "test", __file__, "--out=annotated.txt"),
    ],
)
def test_wrong_usage_is_told_before_anything_starts(bare_cli: Cli, arguments: tuple[str, ...]) -> None:
    done = bare_cli(*arguments, "--json")
    assert done.returncode == 2
    assert one_object(done.stdout)["error"]["reason"] == "USAGE"


def test_input_is_never_written_over(bare_cli: Cli, video: Path) -> None:
    before = video.read_bytes()
    done = bare_cli("pitstop", str(video), str(video), "--model=m", "--force")
    assert done.returncode == 2
    assert video.read_bytes() == before


@pytest.mark.parametrize("command", [("list",), ("add", "m"), ("remove", "m"), ("import", __file__, "--name=m")])
def test_without_a_mesh_models_exit_with_4(bare_cli: Cli, command: tuple[str, ...]) -> None:
    done = bare_cli("models", *command, "--data-dir=/nonexistent", "--json")
    assert done.returncode == 4
    assert one_object(done.stdout)["error"]["reason"] == "MESH_NOT_RUNNING"
