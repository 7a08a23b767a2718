"""API keys: made once, shown once, ended for good."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from kinemesh.access.tokens import Tokens
from kinemesh.access.v1 import access_pb2
from kinemesh.access.v1.access_pb2_grpc import AccessServiceStub, add_AccessServiceServicer_to_server
from kinemesh.errors import FailedPrecondition, InvalidArgument, NotFound, Unauthenticated
from kinemesh.serving.channel import call
from kinemesh.testing.serving import served
from kinemesh_ingest.access import AccessRpc
from kinemesh_ingest.catalogue.database import open_database
from kinemesh_ingest.settings import DatabaseSettings

TOKENS = Tokens("0123456789abcdef" * 2)


@dataclass(frozen=True)
class Access:
    stub: Any
    engine: AsyncEngine

    async def create(self, request_id: str = "", **values: Any) -> access_pb2.CreateKeyResponse:
        key = access_pb2.Key(**{"owner": "ada", "scopes": ["write", "read"], **values})
        answer: access_pb2.CreateKeyResponse = await call(
            self.stub.CreateKey, access_pb2.CreateKeyRequest(key=key, request_id=request_id), owner="root"
        )
        return answer

    async def exchange(self, api_key: str) -> access_pb2.ExchangeKeyResponse:
        answer: access_pb2.ExchangeKeyResponse = await call(
            self.stub.ExchangeKey, access_pb2.ExchangeKeyRequest(api_key=api_key)
        )
        return answer

    async def refused(self, api_key: str) -> bool:
        with pytest.raises(Unauthenticated) as refused:
            await self.exchange(api_key)
        return refused.value.reason == "KEY_INVALID" and refused.value.message == "The key is not valid."

    async def set(self, key_id: str, column: str, value: datetime) -> None:
        async with self.engine.begin() as connection:
            await connection.execute(
                text(f"UPDATE api_keys SET {column} = :value WHERE key_id = :key_id"),
                {"value": value, "key_id": key_id},
            )


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def access(postgres_url: str) -> AsyncIterator[Access]:
    async with open_database(DatabaseSettings(url=SecretStr(postgres_url))) as engine:
        rpc = AccessRpc(engine, TOKENS, 900)
        async with served(rpc, add_AccessServiceServicer_to_server) as channel:
            yield Access(AccessServiceStub(channel), engine)


def after(**span: float) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(datetime.now(UTC) + timedelta(**span))
    return stamp


async def test_a_key_is_exchanged_for_a_token_that_says_what_the_key_says(access: Access) -> None:
    limits = access_pb2.Limits(requests_per_minute=30, storage_bytes=2**40)
    made = await access.create(limits=limits, display_name="camera 1")
    assert re.fullmatch(rf"km_{made.key.key_id}_[A-Za-z0-9_-]{{43}}", made.api_key)
    answer = await access.exchange(made.api_key)
    assert (answer.expires_in_sec, list(answer.scopes)) == (900, ["read", "write"])
    identity = TOKENS.verify(answer.access_token)
    assert (identity.owner, identity.scopes, identity.key_id) == ("ada", frozenset(("read", "write")), made.key.key_id)
    assert (identity.limits.requests_per_minute, identity.limits.storage_bytes) == (30, 2**40)
    assert identity.limits.active_jobs is None
    known = (await call(access.stub.GetKey, access_pb2.GetKeyRequest(key_id=made.key.key_id))).key
    assert known.HasField("last_used_time")
    assert (known.display_name, known.limits) == ("camera 1", limits)


async def test_nothing_that_is_kept_is_the_key(access: Access) -> None:
    made = await access.create()
    async with access.engine.connect() as connection:
        rows = (await connection.execute(text("SELECT api_keys::text FROM api_keys"))).scalars().all()
    secret = made.api_key.rpartition(f"{made.key.key_id}_")[2]
    assert any(made.key.key_id in row for row in rows)
    assert not any(secret in row or secret.encode().hex() in row for row in rows)


async def test_a_repeated_call_makes_one_key_and_tells_no_secret_again(access: Access) -> None:
    first = await access.create("again")
    second = await access.create("again")
    assert (second.key, second.api_key) == (first.key, "")


async def test_what_is_no_good_key_is_refused_without_saying_why(access: Access) -> None:
    made = await access.create()
    unknown = made.api_key.replace(made.key.key_id, "0" * 16)
    assert await access.refused(unknown)
    assert await access.refused(made.api_key[:-1] + ("A" if made.api_key[-1] != "A" else "B"))
    for garbage in ("", "km_", "x" * 10_000, made.api_key + " ", f"km_{made.key.key_id}_"):
        assert await access.refused(garbage)
    await access.set(made.key.key_id, "expire_time", datetime.now(UTC) - timedelta(seconds=1))
    assert await access.refused(made.api_key)


async def test_a_revoked_key_stays_revoked(access: Access) -> None:
    made = await access.create()
    await access.exchange(made.api_key)
    request = access_pb2.RevokeKeyRequest(key_id=made.key.key_id)
    ended = (await call(access.stub.RevokeKey, request)).key
    assert ended.HasField("revoke_time")
    assert (await call(access.stub.RevokeKey, request)).key == ended
    assert await access.refused(made.api_key)


async def test_no_token_outlives_its_key(access: Access) -> None:
    made = await access.create(expire_time=after(seconds=120))
    answer = await access.exchange(made.api_key)
    assert 60 < answer.expires_in_sec <= 120
    assert TOKENS.verify(answer.access_token).expires <= time.time() + 121


async def test_keys_are_listed_newest_first_and_by_owner(access: Access) -> None:
    ids = [(await access.create(owner="listed")).key.key_id for _ in range(3)]
    first = await call(access.stub.ListKeys, access_pb2.ListKeysRequest(page_size=2, owner="listed"))
    token = first.next_page_token
    rest = await call(access.stub.ListKeys, access_pb2.ListKeysRequest(page_token=token, owner="listed"))
    assert [key.key_id for key in (*first.keys, *rest.keys)] == ids[::-1]
    assert first.total_size == 3
    assert (await call(access.stub.ListKeys, access_pb2.ListKeysRequest())).total_size > 3


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"owner": ""}, "key.owner"),
        ({"owner": "a b"}, "key.owner"),
        ({"scopes": []}, "key.scopes"),
        ({"scopes": ["read", "fly"]}, "key.scopes"),
        ({"display_name": "x" * 201}, "key.display_name"),
        ({"expire_time": Timestamp(seconds=1)}, "key.expire_time"),
        ({"expire_time": Timestamp(seconds=2**62)}, "key.expire_time"),
        ({"limits": access_pb2.Limits(active_jobs=0)}, "key.limits.active_jobs"),
    ],
)
async def test_keys_that_cannot_be(access: Access, values: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await access.create(**values)
    assert refused.value.metadata["field"] == field


async def test_unknown_keys_are_not_found(access: Access) -> None:
    with pytest.raises(NotFound, match="no such key"):
        await call(access.stub.GetKey, access_pb2.GetKeyRequest(key_id="nobody"))
    with pytest.raises(NotFound, match="no such key"):
        await call(access.stub.RevokeKey, access_pb2.RevokeKeyRequest(key_id="nobody"))


async def test_without_a_secret_there_are_no_tokens(access: Access) -> None:
    made = await access.create()
    rpc = AccessRpc(access.engine, None, 900)
    async with served(rpc, add_AccessServiceServicer_to_server) as channel:
        stub: Any = AccessServiceStub(channel)
        with pytest.raises(FailedPrecondition) as refused:
            await call(stub.ExchangeKey, access_pb2.ExchangeKeyRequest(api_key=made.api_key))
    assert refused.value.reason == "AUTH_OFF"
