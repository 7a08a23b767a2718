"""TLS between services, with certificates shown and checked on both sides (mTLS)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import grpc

from kinemesh.errors import FailedPrecondition
from kinemesh.settings import TlsSettings


@dataclass(frozen=True, slots=True)
class Tls:
    """What a service shows, and whom it believes; all PEM."""

    certificate: bytes
    key: bytes = field(repr=False)
    authority: bytes

    def server(self) -> grpc.ServerCredentials:
        """For a server that lets nobody in without a certificate of the same authority."""
        return grpc.ssl_server_credentials(
            [(self.key, self.certificate)], root_certificates=self.authority, require_client_auth=True
        )

    def channel(self) -> grpc.ChannelCredentials:
        """For a client that checks the server's certificate and name, and shows its own."""
        return grpc.ssl_channel_credentials(self.authority, self.key, self.certificate)


def read_tls(settings: TlsSettings) -> Tls | None:
    """The files that the settings name; None if they name none.

    :raises FailedPrecondition: TLS_FILE
    """
    if not settings.cert_file:
        return None
    read: dict[str, bytes] = {}
    for name in ("cert_file", "key_file", "ca_file"):
        try:
            read[name] = Path(getattr(settings, name)).read_bytes()
        except OSError as error:
            field = f"KINEMESH_TLS__{name.upper()}"
            said = f"The file that {field} names cannot be read: {error.strerror}."
            raise FailedPrecondition("TLS_FILE", said, field=field) from None
    return Tls(read["cert_file"], read["key_file"], read["ca_file"])
