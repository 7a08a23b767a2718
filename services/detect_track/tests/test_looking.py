"""When people are looked at, and what becomes of the looks."""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np
import pytest_asyncio

from kinemesh.inference import TritonClient
from kinemesh.inference.detector import Boxes
from kinemesh.results.columns_parquet import LOOK_SCHEMA, from_parquet, to_parquet, to_table
from kinemesh.results.looks import LookRows
from kinemesh.testing.fixtures import TritonServer
from kinemesh_detect_track.looking import Looks, embeddings, look_rows, looks_at, moments
from kinemesh_detect_track.models import Models
from kinemesh_detect_track.rows import tracked_looks

EMBEDDER = "person_colors"
PLACES = np.array([[20, 20, 100, 220], [200, 20, 280, 220], [40, 20, 60, 220]], np.float32)


@pytest_asyncio.fixture(loop_scope="session")
async def models(triton_server: TritonServer) -> AsyncIterator[Models]:
    async with TritonClient(triton_server.settings) as client:
        yield Models(client, known_s=60)


def boxes(*scores: float) -> Boxes:
    return Boxes(PLACES[: len(scores)], np.array(scores, np.float32), np.zeros(len(scores), np.int16))


def picture(left: tuple[int, int, int], right: tuple[int, int, int]) -> np.ndarray:
    """Two people in clothes of one colour each, with some noise."""
    image = np.random.default_rng(0).integers(90, 110, (240, 320, 3)).astype(np.int64)
    image[20:220, 20:100] = image[20:220, 20:100] - 100 + left
    image[20:220, 200:280] = image[20:220, 200:280] - 100 + right
    return np.clip(image, 0, 255).astype(np.uint8)


def look(row: list[int], first: float = 0.0) -> Looks:
    count = len(row)
    return Looks(
        np.array(row, np.int64),
        np.full(count, 0.5, np.float32),
        first + np.arange(3 * count, dtype=np.float32).reshape(count, 3),
    )


def test_moments_follow_from_the_times_alone() -> None:
    steady = np.arange(31) / 10
    assert np.flatnonzero(moments(steady, 0.5)).tolist() == [0, 5, 10, 15, 20, 25, 30]
    late = np.array([3.3, 3.4, 3.6, 9.0, 9.1])
    assert moments(late, 0.5).tolist() == [True, False, True, True, False]
    assert moments(late, 0.01).all()
    assert moments(late, 60).tolist() == [True, False, False, False, False]
    assert moments(late[:0], 0.5).tolist() == []


async def test_people_in_other_clothes_look_different(models: Models) -> None:
    embedder = await models.embedder(EMBEDDER)
    one = await looks_at(models, embedder, picture((200, 40, 40), (40, 40, 200)), boxes(0.9, 0.8), 0.25)
    other = await looks_at(models, embedder, picture((40, 40, 200), (200, 40, 40)), boxes(0.9, 0.8), 0.25)
    assert one.row.tolist() == [0, 1]
    assert one.embedding.shape == (2, embedder.dimension)
    cosine = one.embedding @ other.embedding.T
    assert cosine[0, 1] > cosine[0, 0]
    assert cosine[1, 0] > cosine[1, 1]


async def test_only_who_is_likely_enough_is_looked_at(models: Models) -> None:
    embedder, image = await models.embedder(EMBEDDER), picture((200, 40, 40), (40, 40, 200))
    few = await looks_at(models, embedder, image, boxes(0.9, 0.1, 0.25), 0.25)
    assert few.row.tolist() == [0, 2]
    none = await looks_at(models, embedder, image, boxes(0.1, 0.2), 0.25)
    assert none.embedding.shape == (0, embedder.dimension)
    assert len(none.row) == len(none.quality) == 0


async def test_a_tracker_gets_a_row_for_every_box(models: Models) -> None:
    embedder, image = await models.embedder(EMBEDDER), picture((200, 40, 40), (40, 40, 200))
    looks = await looks_at(models, embedder, image, boxes(0.9, 0.1, 0.25), 0.25)
    every = await embeddings(models, embedder, image, boxes(0.9, 0.1, 0.25), 0.25)
    np.testing.assert_array_equal(every[[0, 2]], looks.embedding)
    assert not every[1].any()
    assert (await embeddings(models, embedder, image, boxes(), 0.25)).shape == (0, embedder.dimension)


def test_rows_count_through_all_that_was_found() -> None:
    found = [boxes(0.9, 0.8, 0.7), boxes(), boxes(0.9, 0.8), boxes(0.9)]
    rows = look_rows(found, [look([0, 2]), look([]), None, look([0], 50)], first=70)
    assert rows.frame_index.tolist() == [70, 70, 73]
    assert rows.row.tolist() == [0, 2, 5]
    assert rows.track_id.tolist() == [0, 0, 0]
    assert rows.embedding[:, 0].tolist() == [0, 3, 50]


def test_looks_get_the_track_of_their_row() -> None:
    found = [boxes(0.9, 0.8, 0.7), boxes(0.9, 0.8)]
    rows = look_rows(found, [look([0, 1, 2]), look([0, 1])], first=0)
    kept = tracked_looks(rows, np.array([4, 0, 2, 0, 4], np.int32))
    assert kept.track_id.tolist() == [4, 2, 4]
    assert kept.row.tolist() == [0, 2, 4]
    assert kept.frame_index.tolist() == [0, 0, 1]


def test_no_looks_at_all_can_be_stored() -> None:
    for rows in (look_rows([], [], 0), look_rows([boxes(0.9)], [None], 5)):
        again = from_parquet(LookRows, to_parquet(to_table(rows, LOOK_SCHEMA)), LOOK_SCHEMA)
        assert len(again) == 0
        assert len(tracked_looks(again, np.ones(1, np.int32))) == 0
