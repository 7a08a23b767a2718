"""Settings that every service has; read once from the environment, frozen, and safe to print.

A service's ``settings.py`` declares one subclass of :class:`ServiceSettings`. Variables are named
``KINEMESH_<FIELD>`` and ``KINEMESH_<GROUP>__<FIELD>``. Secrets are ``SecretStr`` and print as stars. Where
``KINEMESH_SECRETS_DIR`` names a folder, its files count as variables of the files' names; the environment wins.
"""

from __future__ import annotations

import ipaddress
import os
import sys
from pathlib import Path
from typing import Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError
from pydantic_settings import (
    BaseSettings,
    NestedSecretsSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

SECRETS_DIR = "KINEMESH_SECRETS_DIR"
_SHORTEST_SECRET = 32


class Group(BaseModel):
    """A group of settings, frozen, that refuses names it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class AuthSettings(Group):
    """How callers show who they are. Without a secret nobody has to, and only this machine can call."""

    secret: SecretStr = Field(default=SecretStr(""), description="signs all tokens; the same in every service")
    previous_secret: SecretStr = Field(default=SecretStr(""), description="still believed, while it is replaced")
    token_s: int = Field(default=900, ge=60, le=86_400, description="how long a token is valid")

    @field_validator("secret", "previous_secret")
    @classmethod
    def _long(cls, secret: SecretStr) -> SecretStr:
        if 0 < len(secret.get_secret_value()) < _SHORTEST_SECRET:
            raise ValueError(f"must have {_SHORTEST_SECRET} characters or more")
        return secret

    @model_validator(mode="after")
    def _in_turn(self) -> Self:
        if self.previous_secret and not self.secret:
            raise refusal("previous_secret", "cannot be set without KINEMESH_AUTH__SECRET")
        return self


class TlsSettings(Group):
    """PEM files with which services show each other who they are: all three, or none for connections in the clear."""

    cert_file: str = ""
    key_file: str = ""
    ca_file: str = ""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        given = {name: bool(value) for name, value in self.model_dump().items()}
        if any(given.values()) and not all(given.values()):
            missing = next(name for name, value in given.items() if not value)
            raise refusal(missing, "must be set too: the three files of KINEMESH_TLS belong together")
        return self


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


class AuditSettings(Group):
    """Where the audit log goes besides the log."""

    file: Path | None = Field(default=None, description="lines are appended; it may be moved away at any time")


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
    credentials_file: str = Field(default="", description="with a user's JWT and seed, as nsc writes it")
    ca_file: str = Field(default="", description="PEM; the broker's certificate must be signed by it")
    cert_file: str = Field(default="", description="PEM, shown to a broker that asks for a certificate")
    key_file: str = ""
    timeout_s: float = Field(default=5.0, gt=0, le=60)
    replicas: int = Field(default=1, ge=1, le=5)

    @field_validator("url")
    @classmethod
    def _without_credentials(cls, url: str) -> str:
        if "@" in url:
            raise ValueError("must not hold credentials; they have settings of their own: user and password")
        return url

    @model_validator(mode="after")
    def _pairs(self) -> Self:
        if bool(self.cert_file) != bool(self.key_file):
            missing = "key_file" if self.cert_file else "cert_file"
            raise refusal(missing, "must be set too: a certificate and its key belong together")
        if self.credentials_file and self.user:
            raise refusal("user", "cannot be set beside KINEMESH_NATS__CREDENTIALS_FILE")
        return self


class ServiceSettings(BaseSettings):
    """What all services read."""

    model_config = SettingsConfigDict(
        env_prefix="KINEMESH_",
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
    )

    auth: AuthSettings = AuthSettings()
    tls: TlsSettings = TlsSettings()
    grpc: GrpcSettings = GrpcSettings()
    metrics: MetricsSettings = MetricsSettings()
    log: LogSettings = LogSettings()
    audit: AuditSettings = AuditSettings()
    tracing: TracingSettings = TracingSettings()
    nats: NatsSettings = NatsSettings()
    start_s: float = Field(default=60.0, gt=0, le=600, description="how long to wait for what the service needs")
    drain_s: float = Field(default=5.0, ge=0, le=300, description="grace for work in hand after SIGTERM")

    @field_validator("grpc")
    @classmethod
    def _shielded(cls, grpc: GrpcSettings, info: ValidationInfo) -> GrpcSettings:
        require_shield(grpc.host, info)
        return grpc

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is given in code, then the environment, then the files of secrets."""
        del settings_cls, dotenv_settings
        folder = os.environ.get(SECRETS_DIR)
        if not folder:
            return init_settings, env_settings
        files = NestedSecretsSettingsSource(file_secret_settings, secrets_dir=folder, secrets_dir_missing="error")
        return init_settings, env_settings, files


def require_shield(host: str, info: ValidationInfo) -> None:
    """Refuse to listen where other machines can call as long as nobody has to show who they are.

    For validators of a settings field with ``host`` that comes after ``auth``.
    """
    auth = info.data.get("auth")
    if isinstance(auth, AuthSettings) and not auth.secret and not is_loopback(host):
        raise refusal("host", "must be a loopback address, as 127.0.0.1, unless KINEMESH_AUTH__SECRET is set")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a listener there."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def refusal(field: str, sentence: str) -> PydanticCustomError:
    """What a validator of a whole group raises about one of its fields."""
    return PydanticCustomError("refused", "{sentence}", {"field": field, "sentence": sentence})


S = TypeVar("S", bound=ServiceSettings)


def load(kind: type[S]) -> S:
    """Read settings from the environment; exits with status 2 and one line a problem when they are wrong.

    The lines name variables and hold none of their values.
    """
    try:
        return kind()
    except ValidationError as error:
        for problem in error.errors(include_input=False, include_url=False):
            field = problem.get("ctx", {}).get("field")
            location = (*problem["loc"], field) if isinstance(field, str) else problem["loc"]
            sys.stderr.write(f"{_variable(location)}: {problem['msg']}\n")
    except SettingsError as error:
        if "secrets_dir" in str(error) or "directory" in str(error):
            sys.stderr.write(f"{SECRETS_DIR}: must name a folder of small files\n")
            sys.exit(2)
        # Raised for text that should be JSON; it tells the field only in its sentence.
        field = str(error).partition('"')[2].partition('"')[0]
        names = [name for name in os.environ if f"{name.upper()}__".startswith(f"{_variable((field,))}__")]
        sys.stderr.write(f"{' or '.join(sorted(names))}: must be JSON\n")
    sys.exit(2)


def _variable(location: tuple[int | str, ...]) -> str:
    return "KINEMESH_" + "__".join(str(part) for part in location).upper()
