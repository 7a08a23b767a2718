"""Pages of lists, and changes of what is listed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from kinemesh.errors import InvalidArgument
from kinemesh_gateway.domain.paging import Page
from kinemesh_gateway.rest.schemas import Body


def listed(name: str, items: Iterable[dict[str, Any]], found: Any, page: Page) -> dict[str, Any]:
    """A page as it is answered.

    :param name: of the field with the items.
    :param found: a List response of gRPC.
    """
    return {
        name: list(items),
        "total": found.total_size,
        "limit": page.limit,
        "offset": page.offset,
        "next_page_token": found.next_page_token or None,
    }


def mask_of(body: Body) -> FieldMask:
    """The fields that a change names; those with null are to be taken away.

    :raises InvalidArgument: ``NOTHING_TO_CHANGE``.
    """
    if not body.model_fields_set:
        raise InvalidArgument("NOTHING_TO_CHANGE", "The body has no field to change.", field="body")
    return FieldMask(paths=sorted(body.model_fields_set))
