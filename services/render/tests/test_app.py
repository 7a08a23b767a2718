"""The service as it runs: a process of its own that is healthy, describes itself, and stops when told to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from kinemesh.embedded.grpc_checks import grpc_serving
from kinemesh.embedded.ports import free_ports
from kinemesh.embedded.service import service_spec
from kinemesh.embedded.supervisor import Supervisor
from kinemesh.media.picture import encode_picture
from kinemesh.render.v1 import render_pb2, render_pb2_grpc
from kinemesh.serving.channel import call, open_channel
from kinemesh.testing.fixtures import NatsServer, S3Server


async def test_the_process_serves(nats_server: NatsServer, s3_server: S3Server, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    env = {
        "KINEMESH_GRPC__PORT": str(port),
        "KINEMESH_NATS__URL": nats_server.url,
        "KINEMESH_S3__ENDPOINT": s3_server.settings.endpoint,
        "KINEMESH_S3__ACCESS_KEY": s3_server.settings.access_key,
        "KINEMESH_S3__SECRET_KEY": s3_server.settings.secret_key.get_secret_value(),
        "KINEMESH_S3__BUCKET": s3_server.settings.bucket,
    }
    # Of its own and not the session's supervisor: a service that stayed would take other tests' work.
    async with Supervisor() as supervisor:
        scratch = tmp_path / "scratch"
        (scratch / "left by one that was killed").mkdir(parents=True)
        spec = service_spec("render", env, tmp_path / "log", scratch, grpc_serving(address), address=address)
        await supervisor.start([spec])
        assert list(scratch.iterdir()) == []
        channel = open_channel(address)
        request = render_pb2.RenderFrameRequest()
        request.frame.data = encode_picture(np.zeros((20, 30, 3), np.uint8), ".png", 90)
        answer = await call(render_pb2_grpc.RenderServiceStub(channel).RenderFrame, request)
        await channel.close(None)
    assert (answer.width, answer.height) == (30, 20)


def test_settings_can_be_checked_without_starting() -> None:
    command = [sys.executable, "-m", "kinemesh_render", "--check-config"]
    shown = subprocess.run(command, env={"KINEMESH_S3__SECRET_KEY": "hush"}, capture_output=True, text=True, timeout=60)
    assert shown.returncode == 0
    assert "render_slots" in shown.stdout
    assert "hush" not in shown.stdout
    wrong = subprocess.run(command, env={"KINEMESH_ENCODER__CRF": "99"}, capture_output=True, text=True, timeout=60)
    assert wrong.returncode == 2
    assert "KINEMESH_ENCODER__CRF" in wrong.stderr
