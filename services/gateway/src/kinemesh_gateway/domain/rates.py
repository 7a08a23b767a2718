"""Token buckets: how often somebody may do something. Pure: the clock is handed in."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

_MINUTE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Standing:
    """Where somebody stands after they asked.

    :ivar limit: how often a minute.
    :ivar remaining: how often they may at once now.
    :ivar reset_s: seconds until they may as often as the limit says.
    :ivar retry_s: seconds until they may once more; 0 if they may now.
    """

    limit: int
    remaining: int
    reset_s: int
    retry_s: int


class Buckets:
    """A bucket for each who asks; it holds a minute's worth and fills evenly.

    :param most: buckets that are kept. Those not asked for longest go first, so memory is bounded whoever asks.
    """

    def __init__(self, most: int = 10_000) -> None:
        self._most = most
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str, limit: int, now_s: float) -> Standing:
        """Take one out of a bucket, if there is one."""
        return self._take(name, limit, now_s, 1.0)

    def look(self, name: str, limit: int, now_s: float) -> Standing:
        """Whether one could be taken."""
        return self._take(name, limit, now_s, 0.0)

    def _take(self, name: str, limit: int, now_s: float, amount: float) -> Standing:
        level, then = self._levels.pop(name, (float(limit), now_s))
        per_s = limit / _MINUTE_S
        level = min(float(limit), level + max(0.0, now_s - then) * per_s)
        missing = 1.0 - level
        if missing <= 0:
            level -= amount
        self._levels[name] = level, now_s
        while len(self._levels) > self._most:
            self._levels.popitem(last=False)
        reset_s = math.ceil((limit - level) / per_s)
        # Rounding must not let anybody wait for nothing.
        retry_s = max(1, math.ceil(missing / per_s)) if missing > 1e-9 else 0
        return Standing(limit, max(0, int(level)), reset_s, retry_s)
