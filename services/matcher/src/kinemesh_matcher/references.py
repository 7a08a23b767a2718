"""Reference images: their features are computed once, stored beside the picture, and kept in memory for a while."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final
from weakref import WeakValueDictionary

from kinemesh.errors import NotFound
from kinemesh.media.confined import Decoder
from kinemesh.pipelining import in_thread
from kinemesh.storage import keys
from kinemesh.storage.store import ObjectStore
from kinemesh_matcher import features_parquet
from kinemesh_matcher.domain.features import DEFAULT_FEATURES, Features, detect, grey_of
from kinemesh_matcher.domain.matching import Side, side_of

_MOST_BYTES: Final = 64 * 1024 * 1024


class References:
    """Reference images, ready to be matched with.

    :param kept: how many are kept in memory.
    """

    def __init__(self, store: ObjectStore, decoder: Decoder, max_pixels: int, kept: int) -> None:
        self._store = store
        self._decoder = decoder
        self._max_pixels = max_pixels
        self._kept = kept
        self._sides: OrderedDict[str, Side] = OrderedDict()
        self._making: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def stored(self, asset_id: str) -> Side:
        """That of an asset.

        :raises NotFound: OBJECT_NOT_FOUND
        :raises UnsupportedMedia: NOT_A_PICTURE, CORRUPT_PICTURE
        :raises TooLarge: TOO_MANY_PIXELS
        """

        async def make() -> Side:
            picture = await self._store.get_bytes(keys.asset_source(asset_id), limit=_MOST_BYTES)
            try:
                known = await self._store.get_bytes(keys.asset_features(asset_id), limit=_MOST_BYTES)
            except NotFound:
                known = b""
            features, side = await in_thread(self._side_of, picture, known)
            if not known:
                await self._store.put_bytes(
                    keys.asset_features(asset_id), await in_thread(features_parquet.to_bytes, features)
                )
            return side

        return await self._once(f"asset {asset_id}", make)

    async def given(self, picture: bytes, most: int) -> Side:
        """That of a picture itself; errors as of :meth:`stored`, and InvalidArgument: EMPTY_PICTURE."""

        async def make() -> Side:
            return (await in_thread(self._side_of, picture, b"", most))[1]

        return await self._once(f"{most} of {hashlib.sha256(picture).hexdigest()}", make)

    async def _once(self, name: str, make: Callable[[], Awaitable[Side]]) -> Side:
        """What is kept, or made now; who else asks for it meanwhile waits."""
        async with self._making.setdefault(name, asyncio.Lock()):
            side = self._sides.get(name) or await make()
            self._sides[name] = side
            self._sides.move_to_end(name)
            while len(self._sides) > self._kept:
                self._sides.popitem(last=False)
        return side

    def _side_of(self, picture: bytes, known: bytes, most: int = DEFAULT_FEATURES) -> tuple[Features, Side]:
        grey = grey_of(self._decoder.decode_picture(picture, self._max_pixels))
        features = features_parquet.from_bytes(known) if known else detect(grey, most)
        return features, side_of(features, grey.shape[1], grey.shape[0])
