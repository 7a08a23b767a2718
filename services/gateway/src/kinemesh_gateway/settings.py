"""What the gateway reads from the environment."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator

from kinemesh.settings import Group, ServiceSettings, require_shield
from kinemesh.storage.settings import S3Settings


class HttpSettings(Group):
    """Where REST and WebSocket are served, and whom a browser may bring along."""

    host: str = Field(default="127.0.0.1", description="a loopback address, unless KINEMESH_AUTH__SECRET is set")
    port: int = Field(default=8080, ge=0, le=65535, description="0 takes a free port")
    allowed_hosts: tuple[str, ...] = Field(
        default=("127.0.0.1", "localhost", "[::1]"),
        description="names that the Host header may hold, so that no foreign name can be pointed at this machine",
    )
    cors_origins: tuple[str, ...] = Field(default=(), description='such as ["http://localhost:5173"]')
    public_url: str = Field(default="", description="base of absolute URLs in answers; that of the request if empty")
    json_limit_kb: int = Field(default=1024, ge=1, le=64 * 1024)
    websocket_send_s: float = Field(default=10.0, gt=0, le=25, description="a client slower than this is let go")
    stalled_s: float = Field(
        default=60.0, ge=1, le=600, description="a client that takes nothing for so long loses its connection"
    )
    websocket_kept_mb: int = Field(
        default=64, ge=1, le=4096, description="of histories that those who watch the same tracking share"
    )

    trusted_proxies: tuple[str, ...] = Field(
        default=(), description="networks whose X-Forwarded-For is believed, such as 10.0.0.0/8"
    )

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for network in networks:
            ipaddress.ip_network(network)
        return networks

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            parts = urlsplit(origin)
            if (
                parts.scheme not in ("http", "https")
                or not parts.netloc
                or origin != f"{parts.scheme}://{parts.netloc}"
            ):
                raise ValueError("every origin is scheme://host[:port], without a path or a wildcard")
        return origins

    @field_validator("public_url")
    @classmethod
    def _base(cls, url: str) -> str:
        if url and urlsplit(url).scheme not in ("http", "https"):
            raise ValueError("must begin with http:// or https://")
        return url.rstrip("/")


class UpstreamSettings(Group):
    """Addresses of the services behind, host:port; one that is empty is not called, nor asked for its health."""

    ingest: str = Field(default="127.0.0.1:50051", min_length=1)
    detect_track: str = ""
    pose: str = ""
    matcher: str = ""
    render: str = ""
    timeout_s: float = Field(default=15.0, gt=0, le=300)
    confirm_timeout_s: float = Field(default=120.0, gt=0, le=600, description="checking a large upload takes a while")


class UploadSettings(Group):
    """Uploads through the API; direct ones are limited by ingest."""

    max_size_mb: int = Field(default=5120, ge=1)
    concurrent: int = Field(default=4, ge=1, le=64)
    idle_timeout_s: float = Field(default=60.0, gt=0, description="longest silence of a client that sends")


class RateSettings(Group):
    """How often callers may ask; keys may have limits of their own. Without a secret nobody is limited."""

    requests_per_minute: int = Field(default=6000, ge=1, le=10_000_000, description="by each key, or else address")
    failures_per_minute: int = Field(default=10, ge=1, le=10_000, description="keys from one address that are none")


class PitstopSettings(Group):
    """What pit-stop jobs get that do not say otherwise, and how large their videos may be."""

    model: str = Field(default="", max_length=64, description="detector; a job must name one if empty")
    threshold: float = Field(default=0.5, ge=0, le=1)
    max_file_size_mb: int = Field(default=5120, ge=1)


class GatewaySettings(ServiceSettings):
    """All settings of the gateway."""

    http: HttpSettings = HttpSettings()
    upstreams: UpstreamSettings = UpstreamSettings()
    s3: S3Settings = S3Settings()
    uploads: UploadSettings = UploadSettings()
    pitstop: PitstopSettings = PitstopSettings()
    rates: RateSettings = RateSettings()

    @field_validator("http")
    @classmethod
    def _http_shielded(cls, http: HttpSettings, info: ValidationInfo) -> HttpSettings:
        require_shield(http.host, info)
        return http
