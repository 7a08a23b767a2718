"""Settings that every service has; read once from the environment, frozen, and safe to print.

A service's ``settings.py`` declares one subclass of :class:`ServiceSettings`. Variables are named
``KINEMESH_<FIELD>`` and ``KINEMESH_<GROUP>__<FIELD>``. Secrets are ``SecretStr`` and print as stars.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError


class Group(BaseModel):
    """A group of settings, frozen, that refuses names it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class GrpcSettings(Group):
    """Where the service listens."""

    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65535, description="0 takes a free port")
    max_message_mb: int = Field(default=32, ge=1, le=512)


class MetricsSettings(Group):
    """Where Prometheus finds the service; port 0 serves no metrics."""

    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65535)


class LogSettings(Group):
    """How much is logged, and whether for machines or for a terminal."""

    level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    json_lines: bool = True


class TracingSettings(Group):
    """Where spans go, as an OTLP/gRPC address with or without http:// or https://; empty keeps none."""

    otlp_endpoint: str = ""
    sample: float = Field(default=1.0, ge=0, le=1, description="share of the traces that begin here; others as begun")
    headers: SecretStr = Field(default=SecretStr(""), description="for the collector: name=value, separated by commas")
    ca_file: Path | None = Field(default=None, description="whom to believe with https://; the system's own if unset")

    @field_validator("headers")
    @classmethod
    def _pairs(cls, headers: SecretStr) -> SecretStr:
        if any("=" not in pair for pair in headers.get_secret_value().split(",") if pair.strip()):
            raise ValueError("must be name=value, separated by commas")
        return headers


class NatsSettings(Group):
    """The broker."""

    url: str = Field(default="nats://127.0.0.1:4222", description="without credentials, because it may be printed")
    user: str = ""
    password: SecretStr = SecretStr("")
    timeout_s: float = Field(default=5.0, gt=0, le=60)
    replicas: int = Field(default=1, ge=1, le=5)

    @field_validator("url")
    @classmethod
    def _without_credentials(cls, url: str) -> str:
        if "@" in url:
            raise ValueError("must not hold credentials; they have settings of their own: user and password")
        return url


class ServiceSettings(BaseSettings):
    """What all services read."""

    model_config = SettingsConfigDict(
        env_prefix="KINEMESH_",
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
    )

    grpc: GrpcSettings = GrpcSettings()
    metrics: MetricsSettings = MetricsSettings()
    log: LogSettings = LogSettings()
    tracing: TracingSettings = TracingSettings()
    nats: NatsSettings = NatsSettings()
    start_s: float = Field(default=60.0, gt=0, le=600, description="how long to wait for what the service needs")
    drain_s: float = Field(default=5.0, ge=0, le=300, description="grace for work in hand after SIGTERM")


S = TypeVar("S", bound=ServiceSettings)


def load(kind: type[S]) -> S:
    """Read settings from the environment; exits with status 2 and one line a problem when they are wrong.

    The lines name variables and hold none of their values.
    """
    try:
        return kind()
    except ValidationError as error:
        for problem in error.errors(include_input=False, include_url=False):
            sys.stderr.write(f"{_variable(problem['loc'])}: {problem['msg']}\n")
    except SettingsError as error:
        # Raised for text that should be JSON; it tells the field only in its sentence.
        field = str(error).partition('"')[2].partition('"')[0]
        names = [name for name in os.environ if f"{name.upper()}__".startswith(f"{_variable((field,))}__")]
        sys.stderr.write(f"{' or '.join(sorted(names))}: must be JSON\n")
    sys.exit(2)


def _variable(location: tuple[int | str, ...]) -> str:
    return "KINEMESH_" + "__".join(str(part) for part in location).upper()
