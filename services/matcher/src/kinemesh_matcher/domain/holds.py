"""Holds: places of the wall where limbs rested."""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.cluster import hierarchy
from scipy.sparse import coo_matrix, csgraph
from scipy.spatial import KDTree

from kinemesh.bodies.skeleton import Floats, Ints

_MOST: Final = 4000
"""Places that are compared each with each at most, which bounds memory."""


def holds_of(places: Floats, diameter: float) -> tuple[Ints, Floats]:
    """Put places together that are no farther apart than a hold is wide.

    By complete linkage: any two places of one hold are within ``diameter``. The order of the places does not matter.

    :param places: float64 [T, 2], in heights of the reference, y downwards.
    :param diameter: in the same unit.
    :returns: int64 [T], the hold of every place, numbered from 1 from the lowest up, then from left to right; and
        float64 [H, 2], the holds' middles.
    """
    if not len(places):
        return np.empty(0, np.int64), np.empty((0, 2))
    unique, back = np.unique(places, axis=0, return_inverse=True)  # sorted, so that ties do not follow the order
    label = np.zeros(len(unique), np.int64)
    for members in _neighbourhoods(unique, diameter):
        label[members] = label.max() + 1 + _linked(unique[members], diameter)
    label = label[back.ravel()] - 1
    count = np.bincount(label)
    middle = np.stack([np.bincount(label, axis) for axis in places.T], axis=1)[count > 0] / count[count > 0, None]
    label = np.unique(label, return_inverse=True)[1].ravel()
    rank = np.lexsort((middle[:, 0], -middle[:, 1]))
    number = np.empty(len(rank), np.int64)
    number[rank] = np.arange(1, len(rank) + 1)
    return number[label], middle[rank]


def _neighbourhoods(unique: Floats, diameter: float) -> list[Ints]:
    """Places that chains of short steps connect: only these can share a hold."""
    pairs = KDTree(unique).query_pairs(diameter, output_type="ndarray")
    links = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(unique), len(unique)))
    component = csgraph.connected_components(links, directed=False)[1]
    order = np.argsort(component, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(component[order])) + 1)
    return [piece for part in parts for piece in np.array_split(part, -(-len(part) // _MOST))]


def _linked(unique: Floats, diameter: float) -> Ints:
    if len(unique) == 1:
        return np.zeros(1, np.int64)
    tree = hierarchy.linkage(unique, method="complete")
    return np.asarray(hierarchy.fcluster(tree, diameter, criterion="distance") - 1, np.int64)
