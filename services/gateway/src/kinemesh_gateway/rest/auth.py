"""``/api/v1/auth``: tokens for keys, and the keys."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field

from kinemesh.access.gate import current
from kinemesh.access.identity import SCOPES
from kinemesh.access.v1 import access_pb2
from kinemesh.errors import Unauthenticated
from kinemesh.serving.channel import call as call_upstream
from kinemesh_gateway.messages import from_json, to_json
from kinemesh_gateway.rest.admission import Admission, Admitted
from kinemesh_gateway.rest.context import CallerDep, IdempotencyKey, PageDep
from kinemesh_gateway.rest.errors import documented, fields_named
from kinemesh_gateway.rest.listing import listed
from kinemesh_gateway.rest.schemas import Body

PATH = "/api/v1/auth"
router = APIRouter(prefix=PATH, tags=["auth"])

ScopeName = Literal["read", "write", "models", "admin"]
KeyId = Annotated[str, Path(max_length=64, pattern=r"^[A-Za-z0-9]+$")]


class TokenRequest(Body):
    """Shows a key."""

    api_key: str = Field(min_length=1, max_length=256)


class Token(BaseModel):
    """To be sent as `Authorization: Bearer ACCESS_TOKEN`."""

    access_token: str
    token_type: Literal["Bearer"]
    expires_in: int = Field(description="seconds")
    scopes: list[ScopeName]


class KeyLimits(BaseModel):
    """What the bearer may use at most; null for what the deployment allows."""

    requests_per_minute: int | None = Field(default=None, ge=1, lt=2**31)
    storage_bytes: int | None = Field(default=None, ge=1, lt=2**63)
    active_jobs: int | None = Field(default=None, ge=1, lt=2**31)


class Me(BaseModel):
    """Who you are."""

    owner: str
    scopes: list[ScopeName]
    key_id: str | None
    limits: KeyLimits
    expire_time: str | None = Field(description="of your token; null where none is needed")


class ApiKey(BaseModel):
    """What is known of a key."""

    key_id: str
    owner: str = Field(description="whose objects its bearer sees and makes")
    display_name: str
    scopes: list[ScopeName]
    limits: KeyLimits | None
    create_time: str | None
    expire_time: str | None
    revoke_time: str | None
    last_used_time: str | None = Field(description="to the minute")


class NewApiKey(ApiKey):
    """A key that was just made."""

    api_key: str = Field(description="the key itself, shown this once; empty when the call was repeated")


class ApiKeyList(BaseModel):
    """A page of keys, newest first."""

    keys: list[ApiKey]
    total: int
    limit: int
    offset: int
    next_page_token: str | None


class ApiKeyCreate(Body):
    """Asks for a key."""

    owner: str = Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9._@+-]+$", examples=["ada"])
    scopes: list[ScopeName] = Field(min_length=1, max_length=4, description="none holds another")
    display_name: str = Field(default="", max_length=200)
    limits: KeyLimits | None = None
    expire_time: str | None = Field(default=None, description="RFC 3339; never when null")


@router.post("/token", response_model=Token, responses=documented(401, 409))
async def exchange(body: TokenRequest, request: Request) -> Any:
    """Get a token for a key. Needs none; who tries keys that are none is soon refused for a while."""
    mesh = request.app.state.mesh
    admission: Admission = request.app.state.admission
    admitted: Admitted = request.scope["admitted"]
    admission.require_good_faith(admitted.address)
    wanted = access_pb2.ExchangeKeyRequest(api_key=body.api_key)
    try:
        answer = await call_upstream(
            mesh.upstreams.access.ExchangeKey, wanted, timeout_s=mesh.settings.upstreams.timeout_s
        )
    except Unauthenticated:
        admission.note_failure(admitted.address)
        raise
    return {
        "access_token": answer.access_token,
        "token_type": "Bearer",
        "expires_in": answer.expires_in_sec,
        "scopes": list(answer.scopes),
    }


@router.get("/me", response_model=Me, responses=documented())
async def me() -> Any:
    """Who you are, and what you may do."""
    identity = current()
    expires = datetime.fromtimestamp(identity.expires, UTC) if identity.expires else None
    return {
        "owner": identity.owner,
        "scopes": [scope for scope in SCOPES if scope in identity.scopes],
        "key_id": identity.key_id or None,
        "limits": {name: getattr(identity.limits, name) for name in KeyLimits.model_fields},
        "expire_time": expires and expires.isoformat().replace("+00:00", "Z"),
    }


@router.post("/keys", status_code=201, response_model=NewApiKey, responses=documented(400))
async def create_key(body: ApiKeyCreate, call: CallerDep, key: IdempotencyKey, response: Response) -> Any:
    """Make a key. It is shown this once and kept nowhere."""
    request = access_pb2.CreateKeyRequest(request_id=key)
    with fields_named({f"key.{name}": name for name in ApiKeyCreate.model_fields}):
        from_json(request.key, body.model_dump(exclude_none=True), "")
        made = await call(call.mesh.upstreams.access.CreateKey, request)
    response.headers["Location"] = f"{PATH}/keys/{made.key.key_id}"
    return {**to_json(made.key), "api_key": made.api_key}


@router.get("/keys", response_model=ApiKeyList, responses=documented(400))
async def list_keys(
    call: CallerDep,
    page: PageDep,
    owner: Annotated[str, Query(max_length=128, description="only keys of this owner")] = "",
) -> Any:
    """All keys, also those that have ended, newest first."""
    request = access_pb2.ListKeysRequest(page_size=page.limit, skip=page.offset, page_token=page.token, owner=owner)
    found = await call(call.mesh.upstreams.access.ListKeys, request)
    return listed("keys", map(to_json, found.keys), found, page)


@router.get("/keys/{key_id}", response_model=ApiKey, responses=documented(404))
async def get_key(key_id: KeyId, call: CallerDep) -> Any:
    """One key."""
    found = await call(call.mesh.upstreams.access.GetKey, access_pb2.GetKeyRequest(key_id=key_id))
    return to_json(found.key)


@router.post("/keys/{key_id}/revoke", response_model=ApiKey, responses=documented(404))
async def revoke_key(key_id: KeyId, call: CallerDep, key: IdempotencyKey) -> Any:
    """End a key for good. Tokens that were given for it stay valid until they expire."""
    request = access_pb2.RevokeKeyRequest(key_id=key_id, request_id=key)
    return to_json((await call(call.mesh.upstreams.access.RevokeKey, request)).key)
