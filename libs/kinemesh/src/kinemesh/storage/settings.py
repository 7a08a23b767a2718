"""How to reach the object store."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from kinemesh.settings import refusal


class S3Settings(BaseModel):
    """Any S3: MinIO, SeaweedFS, Ceph, AWS.

    ``public_endpoint`` is the address that clients outside the mesh reach the store at: presigned URLs are signed for
    it, because the host is part of the signature.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    endpoint: str = Field(default="127.0.0.1:8333", description="host:port, without a scheme")
    access_key: str = ""
    secret_key: SecretStr = SecretStr("")
    iam: bool = Field(default=False, description="take the keys of the role that AWS gives this machine or container")
    bucket: str = Field(default="kinemesh", min_length=3, max_length=63)
    secure: bool = Field(default=False, description="speak TLS to `endpoint`")
    # Naming the region spares a request and lets URLs be signed without reaching the store.
    region: str = "us-east-1"
    public_endpoint: str | None = Field(default=None, description="host:port in presigned URLs; `endpoint` if unset")
    public_secure: bool | None = Field(default=None, description="https in presigned URLs; `secure` if unset")
    connect_timeout_s: float = Field(default=3.0, gt=0)
    read_timeout_s: float = Field(default=30.0, gt=0, description="longest silence of the store within one request")
    retries: int = Field(default=3, ge=0, le=10)
    threads: int = Field(default=8, ge=1, le=64, description="requests in flight per process")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.iam and (self.access_key or self.secret_key):
            raise refusal("iam", "cannot be set beside KINEMESH_S3__ACCESS_KEY and __SECRET_KEY")
        return self
