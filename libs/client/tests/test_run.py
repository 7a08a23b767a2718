"""``kinemesh run``: results, exit codes, and what goes where."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from pathlib import Path

import av
import pyarrow.parquet as pq
import pytest

from kinemesh.media.synthetic import write_clip
from kinemesh.testing.waiting import until
from kinemesh_client import KinemeshClient
from kinemesh_client.local import running_url
from kinemesh_client.testing import PROGRAM, Cli, environment, one_object

OUTPUTS = {
    "annotated.mp4",
    "contact_sheet.jpg",
    "landmarks.json",
    "landmarks.parquet",
    "metrics.json",
    "movement.parquet",
}


def test_json_is_one_object_with_absolute_paths_of_all_results(cli: Cli, video: Path, tmp_path: Path) -> None:
    done = cli("run", "pose", str(video), "--json", "--smooth", f"--out={tmp_path / 'results'}")
    assert done.returncode == 0, done.stderr
    printed = one_object(done.stdout)
    results = printed["results"]
    assert isinstance(results, dict)
    assert set(results) == OUTPUTS
    assert all(Path(path).is_absolute() and Path(path).stat().st_size > 0 for path in results.values())
    assert printed["job"]["state"] == "SUCCEEDED"
    assert "render" in printed["stages"]
    with av.open(results["annotated.mp4"]) as container:
        assert sum(1 for _ in container.decode(video=0)) == 60
    with av.open(results["annotated.mp4"]) as container:
        assert len(container.streams.audio) == 1
    assert pq.read_table(results["landmarks.parquet"]).num_rows > 0
    assert "smooth_x" in pq.read_schema(results["landmarks.parquet"]).names


def test_for_people_it_prints_a_path_per_line_and_a_bar_per_stage(cli: Cli, video: Path, tmp_path: Path) -> None:
    done = cli("run", "pose", str(video), f"--out={tmp_path}", "--subject=main", "--trail=1", "--side-by-side")
    assert done.returncode == 0, done.stderr
    assert {Path(line.split()[-1]).name for line in done.stdout.splitlines()} == OUTPUTS
    for stage in ("upload", "split", "pose", "stitch", "movement", "render", "finalize", "download"):
        assert stage in done.stderr


def test_a_file_that_is_no_video_is_refused_with_the_reason(cli: Cli, tmp_path: Path) -> None:
    fake = tmp_path / "fake.mp4"
    fake.write_text("this is text\n" * 1000)
    done = cli("run", "pose", str(fake))
    assert done.returncode == 2
    assert "(NOT_A_VIDEO)" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    again = cli("run", "pose", str(fake), "--json")
    assert again.returncode == 2
    assert one_object(again.stdout)["error"]["reason"] == "NOT_A_VIDEO"


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "pose", "missing.mp4"),
        ("run", "pose"),
        ("run", "dance", "missing.mp4"),
        ("run", "pose", __file__, "--subject=at-point"),
        ("run", "pose", __file__, "--at=1,2"),
        ("run", "pose", __file__, "--subject=at-point", "--at=1,2,x"),
        ("run", "pose", __file__, "--subject=at-point", "--at=1,2,0.5"),
        ("run", "pose", __file__, "--max-persons=99"),
        ("frobnicate",),
        ("run", "pose", __file__, "--models=nothing-of-that-name", "--data-dir=/nonexistent"),
        ("jobs", "list", "--url=not a url"),
    ],
)
def test_wrong_usage_exits_with_2_and_says_why(bare_cli: Cli, arguments: tuple[str, ...]) -> None:
    done = bare_cli(*arguments)
    assert done.returncode == 2
    assert len(done.stderr) > 20
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("where", ["--url=http://127.0.0.1:9", "--data-dir=/nonexistent"])
def test_no_mesh_exits_with_4(bare_cli: Cli, where: str) -> None:
    done = bare_cli("jobs", "list", where, "--json")
    assert done.returncode == 4
    assert one_object(done.stdout)["error"]["reason"] in ("MESH_UNREACHABLE", "MESH_NOT_RUNNING")


def test_a_failed_job_exits_with_3_and_the_reason(cli: Cli, video: Path, tmp_path: Path) -> None:
    nowhere = ("--subject=at-point", "--at=0.5,0,0")
    done = cli("run", "pose", str(video), *nowhere, "--json", f"--out={tmp_path / 'out'}")
    assert done.returncode == 3
    assert one_object(done.stdout)["job"]["failure"]["reason"] == "NO_PERSON_AT_POINT"
    assert "NO_PERSON_AT_POINT" in done.stderr
    assert not (tmp_path / "out").exists()


async def test_ctrl_c_cancels_the_job(data_dir: Path, tmp_path: Path) -> None:
    long = tmp_path / "long.mp4"
    write_clip(long, pts=[3000 * number for number in range(3000)], size=(320, 180))
    url = running_url(data_dir)
    assert url is not None
    async with KinemeshClient(url) as client:
        before = {job.job_id for job in (await client.list_jobs(100)).items}
        command = [*PROGRAM, "run", "pose", str(long), "--json", f"--url={url}", f"--out={tmp_path / 'out'}"]
        process = await asyncio.create_subprocess_exec(
            *command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
        )

        async def works() -> bool:
            jobs = [job for job in (await client.list_jobs(100)).items if job.job_id not in before]
            return any(job.state == "RUNNING" for job in jobs)

        await until(works, 60)
        process.send_signal(signal.SIGINT)
        out, error = await asyncio.wait_for(process.communicate(), 30)
        assert process.returncode == 130, error
        assert one_object(out.decode())["error"]["reason"] == "CANCELLED"
        jobs = [job for job in (await client.list_jobs(100)).items if job.job_id not in before]
        assert [job.state for job in jobs] == ["CANCELLED"]
    assert not (tmp_path / "out").exists()
