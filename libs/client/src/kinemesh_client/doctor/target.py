"""Which mesh is looked at, and how its parts are reached."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError
from pydantic_settings import SettingsConfigDict, SettingsError

from kinemesh.embedded.credentials import NATS_USER, load_secrets
from kinemesh.embedded.layout import Layout
from kinemesh.embedded.postgres import postgres_url
from kinemesh.embedded.running import running_mesh
from kinemesh.inference import TritonSettings
from kinemesh.settings import NatsSettings, ServiceSettings
from kinemesh.storage import S3Settings
from kinemesh_client.doctor.findings import Finding, problem


class _Part(BaseModel):
    """What of a group of some service's settings matters here."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class _Database(_Part):
    url: SecretStr = SecretStr("")


class _Models(_Part):
    accelerator: str = "cpu"


class _Http(_Part):
    host: str = "127.0.0.1"


class _Settings(ServiceSettings):
    """What the services of a cluster would read, from the environment of this command."""

    model_config = SettingsConfigDict(extra="ignore")

    s3: S3Settings = S3Settings()
    triton: TritonSettings = TritonSettings()
    database: _Database = _Database()
    models: _Models = _Models()
    http: _Http = _Http()


@dataclass(frozen=True, slots=True)
class Target:
    """A mesh, as far as it is known; what is None or empty cannot be asked.

    :ivar name: how to call it.
    :ivar described: what a mesh on this machine says of itself.
    :ivar hosts: what its services listen on, by the variable that says so.
    :ivar secret: whether its tokens are signed.
    :ivar trouble: what is wrong with its settings.
    """

    name: str
    described: dict[str, Any] | None = None
    url: str = ""
    nats: NatsSettings | None = None
    s3: S3Settings | None = None
    triton: TritonSettings | None = None
    database: str = field(default="", repr=False)
    accelerator: str = "cpu"
    hosts: Mapping[str, str] = field(default_factory=dict)
    secret: bool = False
    trouble: tuple[Finding, ...] = ()

    @property
    def is_far(self) -> bool:
        """Whether only its gateway is known, so that this machine is nothing to it."""
        return bool(self.url) and self.described is None and not self.hosts


def find_target(url: str, data_dir: Path) -> Target:
    """The mesh of the environment's settings; or else that at a URL, of which only the gateway can be asked; or else
    the one that runs in the data folder, or could."""
    if any(name.upper().startswith(_NAMED) for name in os.environ):
        return _of_environment(url)
    if url:
        return Target(f"the mesh at {url}", url=url)
    described = running_mesh(data_dir)
    return Target(f"no mesh: none runs in {data_dir}") if described is None else _of_description(described)


_NAMED = ("KINEMESH_NATS__URL", "KINEMESH_S3__ENDPOINT", "KINEMESH_DATABASE__URL", "KINEMESH_TRITON__ENDPOINT")


def _of_description(described: dict[str, Any]) -> Target:
    layout = Layout(Path(described["data_dir"]))
    servers = described["servers"]
    secrets = load_secrets(layout.secrets)
    return Target(
        f"the mesh in {described['data_dir']}",
        described=described,
        url=described["http"],
        nats=NatsSettings(url=servers["nats"]["address"], user=NATS_USER, password=SecretStr(secrets.nats_password)),
        s3=S3Settings(
            endpoint=servers["s3"]["address"].removeprefix("http://"),
            access_key=secrets.s3.access_key,
            secret_key=SecretStr(secrets.s3.secret_key),
        ),
        triton=TritonSettings(endpoint=servers["triton"]["address"]) if "triton" in servers else None,
        database=postgres_url(layout.data("postgres")) if "postgres" in servers else "",
    )


def _of_environment(url: str) -> Target:
    name = "the mesh that the environment's settings name"
    try:
        settings = _Settings()
    except (ValidationError, SettingsError) as error:
        return Target(name, url=url, trouble=judge_settings(error))
    given = settings.model_fields_set
    hosts = {"KINEMESH_GRPC__HOST": settings.grpc.host, "KINEMESH_HTTP__HOST": settings.http.host}
    return Target(
        name,
        url=url,
        nats=settings.nats if "nats" in given else None,
        s3=settings.s3 if "s3" in given else None,
        triton=settings.triton if "triton" in given else None,
        database=settings.database.url.get_secret_value(),
        accelerator=settings.models.accelerator,
        hosts=hosts,
        secret=bool(settings.auth.secret.get_secret_value()),
    )


def judge_settings(error: ValidationError | SettingsError) -> tuple[Finding, ...]:
    """Settings that no service would start with."""
    why = "No service starts with it."
    if isinstance(error, SettingsError):
        return (problem("settings", f"A variable must be JSON: {error}", why, "Correct it."),)
    return tuple(
        problem(
            "settings",
            f"KINEMESH_{'__'.join(str(part) for part in one['loc']).upper()}: {one['msg']}",
            why,
            "Correct the variable; `python -m kinemesh_<service> --check-config` checks all of a service's.",
        )
        for one in error.errors(include_input=False, include_url=False)
    )
