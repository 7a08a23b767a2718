"""Trees of the route catalogue as they were sent last, so that what has not changed is not written again."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

_MOST_OWNERS: Final = 32


@dataclass(frozen=True, slots=True)
class SentTree:
    """A tree as JSON, and the tag of its state."""

    etag: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Trees:
    """One tree per owner, of the owners who asked last. Whether it is still right is for ingest to say."""

    _by_owner: OrderedDict[str, SentTree] = field(default_factory=OrderedDict)

    def of(self, owner: str) -> SentTree | None:
        """The tree that an owner was sent last, if it is kept."""
        if owner in self._by_owner:
            self._by_owner.move_to_end(owner)
        return self._by_owner.get(owner)

    def keep(self, owner: str, tree: SentTree) -> None:
        """Keep what an owner is sent."""
        self._by_owner[owner] = tree
        self._by_owner.move_to_end(owner)
        if len(self._by_owner) > _MOST_OWNERS:
            self._by_owner.popitem(last=False)
