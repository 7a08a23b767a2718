"""``kinemesh run``: one command per pipeline."""

from __future__ import annotations

import typer

from kinemesh_client.cli import run_instructor, run_multi_camera, run_pitstop, run_pose, run_route_match

app = typer.Typer(help="Run a pipeline on a video and fetch its results.", no_args_is_help=True)
app.command("pose")(run_pose.pose)
app.command("pitstop")(run_pitstop.pitstop)
app.command("instructor")(run_instructor.instructor)
app.command("multi_camera")(run_multi_camera.multi_camera)
app.command("route_match")(run_route_match.route_match)
