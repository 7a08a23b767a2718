"""API keys: making, listing and ending them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from kinemesh_client.detections import Json
from kinemesh_client.environments import Call
from kinemesh_client.paths import page_params, path_id
from kinemesh_client.resources import Page

_KEYS: Final = "/api/v1/auth/keys"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is known of a key; times as RFC 3339, empty when there is none.

    :ivar api_key: the key itself, only right after it was made.
    :ivar raw: the whole answer.
    """

    key_id: str
    owner: str
    name: str
    scopes: Sequence[str]
    limits: Mapping[str, int]
    create_time: str
    expire_time: str
    revoke_time: str
    last_used_time: str
    api_key: str = field(repr=False)
    raw: Json = field(repr=False)

    @classmethod
    def of(cls, json: Json) -> ApiKey:
        return cls(
            key_id=json["key_id"],
            owner=json["owner"],
            name=json["display_name"],
            scopes=tuple(json["scopes"]),
            limits={name: value for name, value in (json["limits"] or {}).items() if value is not None},
            create_time=json["create_time"] or "",
            expire_time=json["expire_time"] or "",
            revoke_time=json["revoke_time"] or "",
            last_used_time=json["last_used_time"] or "",
            api_key=json.get("api_key", ""),
            raw=json,
        )


class Keys:
    """``client.keys``; needs the scope ``admin``."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def create(
        self,
        owner: str,
        scopes: Sequence[str],
        *,
        name: str = "",
        expire_time: str = "",
        limits: Mapping[str, int] | None = None,
    ) -> ApiKey:
        """Make a key; its answer alone holds the key itself.

        :param owner: whose objects its bearer sees and makes.
        :param scopes: of ``read``, ``write``, ``models``, ``admin``; none holds another.
        :param expire_time: RFC 3339; never when empty.
        :param limits: ``requests_per_minute``, ``storage_bytes``, ``active_jobs``.
        """
        body: dict[str, Any] = {"owner": owner, "scopes": list(scopes), "display_name": name}
        if expire_time:
            body["expire_time"] = expire_time
        if limits:
            body["limits"] = dict(limits)
        return ApiKey.of(await self._call("POST", _KEYS, json=body))

    async def list(self, limit: int = 20, page_token: str = "", *, owner: str = "") -> Page[ApiKey]:
        """A page of all keys, newest first; only those of one owner, if given."""
        params = {**page_params(limit, page_token), **({"owner": owner} if owner else {})}
        found = await self._call("GET", _KEYS, params=params)
        return Page([ApiKey.of(row) for row in found["keys"]], found["total"], found["next_page_token"] or "")

    async def revoke(self, key_id: str) -> ApiKey:
        """End a key for good."""
        return ApiKey.of(await self._call("POST", f"{_KEYS}/{path_id(key_id)}/revoke"))
