"""AccessService: API keys, and tokens for them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import true
from sqlalchemy.ext.asyncio import AsyncEngine

from kinemesh import errors
from kinemesh.access.identity import OWNER_PATTERN, SCOPES, Identity, Limits
from kinemesh.access.tokens import Tokens
from kinemesh.access.v1 import access_pb2, access_pb2_grpc
from kinemesh.serving.interceptor import caller
from kinemesh_ingest.catalogue import api_keys, requests
from kinemesh_ingest.catalogue.owned import belongs_to
from kinemesh_ingest.catalogue.paging import newest_first, page_request
from kinemesh_ingest.catalogue.tables import AnyRow
from kinemesh_ingest.catalogue.tables import api_keys as api_keys_table
from kinemesh_ingest.domain.api_keys import digest_of, id_of, new_key
from kinemesh_ingest.domain.validation import check_text
from kinemesh_ingest.messages import to_timestamp

_LIMITS = ("requests_per_minute", "storage_bytes", "active_jobs")
_TIMES = ("create_time", "expire_time", "revoke_time", "last_used_time")


class AccessRpc(access_pb2_grpc.AccessServiceServicer):
    """Keeps keys.

    :param tokens: None where there is no secret, and so no tokens.
    :param token_s: how long tokens are valid.
    """

    def __init__(self, engine: AsyncEngine, tokens: Tokens | None, token_s: int) -> None:
        self._engine = engine
        self._tokens = tokens
        self._token_s = token_s

    async def CreateKey(  # noqa: N802
        self, request: access_pb2.CreateKeyRequest, context: Any
    ) -> access_pb2.CreateKeyResponse:
        values = _checked(request.key)
        api_key, key_id = new_key()
        async with self._engine.begin() as connection:
            first = await requests.claim(connection, caller(context), "CreateKey", request.request_id, key_id)
            if first is not None:
                return access_pb2.CreateKeyResponse(key=to_key(await api_keys.find(connection, first)))
            row = await api_keys.add(connection, key_id=key_id, secret_sha256=digest_of(api_key), **values)
        return access_pb2.CreateKeyResponse(key=to_key(row), api_key=api_key)

    async def GetKey(self, request: access_pb2.GetKeyRequest, _context: Any) -> access_pb2.GetKeyResponse:  # noqa: N802
        async with self._engine.connect() as connection:
            return access_pb2.GetKeyResponse(key=to_key(await api_keys.find(connection, request.key_id)))

    async def ListKeys(  # noqa: N802
        self, request: access_pb2.ListKeysRequest, _context: Any
    ) -> access_pb2.ListKeysResponse:
        wanted = page_request(request.page_size, request.page_token, request.skip)
        condition = belongs_to(api_keys_table, request.owner) if request.owner else true()
        async with self._engine.connect() as connection:
            page = await newest_first(connection, api_keys_table, "key_id", condition, wanted)
        return access_pb2.ListKeysResponse(
            keys=map(to_key, page.rows), next_page_token=page.next_token, total_size=page.total
        )

    async def RevokeKey(  # noqa: N802
        self, request: access_pb2.RevokeKeyRequest, _context: Any
    ) -> access_pb2.RevokeKeyResponse:
        async with self._engine.begin() as connection:
            return access_pb2.RevokeKeyResponse(key=to_key(await api_keys.revoke(connection, request.key_id)))

    async def ExchangeKey(  # noqa: N802
        self, request: access_pb2.ExchangeKeyRequest, _context: Any
    ) -> access_pb2.ExchangeKeyResponse:
        if self._tokens is None:
            raise errors.FailedPrecondition("AUTH_OFF", "Nobody has to show who they are here: no secret is set.")
        key_id = id_of(request.api_key)
        row = None
        if key_id:
            async with self._engine.begin() as connection:
                row = await api_keys.show(connection, key_id, digest_of(request.api_key))
        if row is None:
            raise errors.Unauthenticated("KEY_INVALID", "The key is not valid.", key_id=key_id)
        limits = Limits(**{name: getattr(row, name) for name in _LIMITS})
        left_s = _left_s(row.expire_time, self._token_s)
        token = self._tokens.issue(Identity(row.owner, frozenset(row.scopes), key_id, limits), left_s)
        return access_pb2.ExchangeKeyResponse(
            access_token=token, expires_in_sec=left_s, scopes=[scope for scope in SCOPES if scope in row.scopes]
        )


def _left_s(expire_time: datetime | None, most_s: int) -> int:
    """No token outlives its key."""
    if expire_time is None:
        return most_s
    return max(1, min(most_s, int((expire_time - datetime.now(UTC)).total_seconds())))


def to_key(row: AnyRow) -> access_pb2.Key:
    key = access_pb2.Key(key_id=row.key_id, owner=row.owner, display_name=row.display_name, scopes=row.scopes)
    for name in _LIMITS:
        if (value := getattr(row, name)) is not None:
            setattr(key.limits, name, value)
    for name in _TIMES:
        if (time := getattr(row, name)) is not None:
            getattr(key, name).CopyFrom(to_timestamp(time))
    return key


def _checked(key: access_pb2.Key) -> dict[str, Any]:
    if not OWNER_PATTERN.fullmatch(key.owner):
        said = "owner must be 1 to 128 letters, digits or any of . _ @ + -."
        raise errors.InvalidArgument("OWNER_INVALID", said, field="key.owner")
    check_text("key.display_name", key.display_name, 200)
    if not key.scopes or not set(key.scopes) <= set(SCOPES):
        said = f"scopes takes one or more of {', '.join(SCOPES)}."
        raise errors.InvalidArgument("SCOPE_UNKNOWN", said, field="key.scopes")
    given = {field.name: value for field, value in key.limits.ListFields()}
    limits = {name: given.get(name) for name in _LIMITS}
    for name, value in limits.items():
        if value is not None and value < 1:
            raise errors.InvalidArgument("OUT_OF_RANGE", f"{name} must be 1 or more.", field=f"key.limits.{name}")
    expire_time = None
    if key.HasField("expire_time"):
        expire_time = _moment(key)
        if expire_time <= datetime.now(UTC):
            said = "expire_time must lie in the future."
            raise errors.InvalidArgument("OUT_OF_RANGE", said, field="key.expire_time")
    return {
        "owner": key.owner,
        "display_name": key.display_name,
        "scopes": [scope for scope in SCOPES if scope in key.scopes],
        "expire_time": expire_time,
        **limits,
    }


def _moment(key: access_pb2.Key) -> datetime:
    try:
        return key.expire_time.ToDatetime(UTC)
    except (ValueError, OverflowError):
        said = "expire_time is no time of this calendar."
        raise errors.InvalidArgument("OUT_OF_RANGE", said, field="key.expire_time") from None
