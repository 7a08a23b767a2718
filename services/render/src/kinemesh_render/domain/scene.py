"""What there is to draw on one frame, in pixels of the upright picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinemesh_render.domain.style import Color

LEAST_VISIBILITY = 0.3
"""Below this a landmark is a guess, and not drawn."""

LONGEST_GAP_SEC = 0.25
"""A trail does not bridge a longer absence."""


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """One person in one frame.

    :ivar identity: id, which chooses the colour and is the label where these are not given.
    :ivar points: float32 [33, 2], x and y in pixels.
    :ivar visibility: float32 [33], 0 to 1.
    :ivar color: its own; that of its identity if None.
    :ivar caption: instead of its identity; empty for none.
    :ivar guessed: nobody saw it here; it is drawn dashed.
    """

    identity: int
    points: NDArray[np.float32]
    visibility: NDArray[np.float32]
    color: Color | None = None
    caption: str | None = None
    guessed: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Trail:
    """Where something has been.

    :ivar identity: whose colour it has.
    :ivar points: float32 [P, 2] in pixels, oldest first.
    :ivar age: float32 [P], 0 now to 1 where the trail ends.
    :ivar color: its own; that of its identity if None.
    :ivar outlined: it is drawn on something as colourful as itself.
    """

    identity: int
    points: NDArray[np.float32]
    age: NDArray[np.float32]
    color: Color | None = None
    outlined: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Thing:
    """A box with a caption.

    :ivar identity: chooses the colour.
    :ivar box: float32 [4]: x1, y1, x2, y2 in pixels.
    :ivar caption: what it is.
    :ivar detail: what is known of it now, beside the caption.
    :ivar guessed: nobody saw it here; it is drawn dashed.
    :ivar color: its own; that of its identity if None.
    :ivar feet_hidden: where it stands was not seen; its box is open below.
    """

    identity: int
    box: NDArray[np.float32]
    caption: str
    detail: str = ""
    guessed: bool = False
    color: Color | None = None
    feet_hidden: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Area:
    """A named polygon.

    :ivar corners: float32 [P, 2] in pixels.
    :ivar detail: what is known of it now, beside the name.
    :ivar occupied: somebody is in it; it is drawn in another colour, or denser if it has its own.
    :ivar color: its own, if any.
    """

    name: str
    corners: NDArray[np.float32]
    detail: str = ""
    occupied: bool = False
    color: Color | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Spot:
    """Where somebody is on a map.

    :ivar point: float32 [2] in pixels.
    :ivar guessed: nobody saw it; it is drawn hollow.
    """

    point: NDArray[np.float32]
    color: Color
    caption: str
    guessed: bool = False


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything on one frame."""

    bodies: Sequence[Body] = ()
    trails: Sequence[Trail] = ()
    things: Sequence[Thing] = ()
    areas: Sequence[Area] = ()
    spots: Sequence[Spot] = ()
