"""The picture of the pipelines: stages from left to right, each after those that it reads."""

from __future__ import annotations

from collections.abc import Mapping

from diagram_svg import HUES, Box, Picture, Point
from kinemesh_ingest.domain.pipelines import Pipeline, Stage, Unit

_STAGE = (132.0, 52.0)
_GAP, _ROW = 46.0, 70.0
_LEFT, _TOP, _HEAD = 28.0, 70.0, 44.0
_BETWEEN = 22.0
_ARROW = "#8b949e"
_UNITS = {Unit.ASSET: "per recording", Unit.SEGMENT: "per segment", Unit.WINDOW: "per window", Unit.JOB: "once per job"}

Place = tuple[int, int]
"""Column and row."""


def draw_pipelines(pipelines: Mapping[str, Pipeline]) -> Picture:
    """All pipelines, one below the other."""
    placed = {name: place(pipeline) for name, pipeline in pipelines.items()}
    columns = 1 + max(column for stages, _ in placed.values() for column, _ in stages.values())
    heights = {name: _HEAD + _ROW * (1 + max(_rows(*places))) for name, places in placed.items()}
    width = 2 * _LEFT + columns * (_STAGE[0] + _GAP) - _GAP + 24
    height = _TOP + sum(heights.values()) + _BETWEEN * len(heights)
    picture = Picture("Pipelines: the stages of a job", width, height)
    _legend(picture, pipelines)
    top = _TOP
    for name, pipeline in pipelines.items():
        _draw(picture, pipeline, *placed[name], top)
        top += heights[name] + _BETWEEN
    return picture


def place(pipeline: Pipeline) -> tuple[dict[str, Place], dict[tuple[str, str], list[Place]]]:
    """Where each stage stands, and the free places that arrows over several columns go through.

    A stage stands one column after the last that it reads. The longest way is in the first row.
    """
    columns: dict[str, int] = {}
    for stage in pipeline.stages:
        columns[stage.name] = 1 + max((columns[name] for name in stage.after), default=-1)
    taken: set[Place] = set()
    rows: dict[str, int] = {}
    for name in _longest(pipeline, columns):
        rows[name] = 0
        taken.add((columns[name], 0))
    for stage in pipeline.stages:
        if stage.name not in rows:
            least = 1 if len(stage.after) < 2 else 0
            rows[stage.name] = next(row for row in range(least, 99) if (columns[stage.name], row) not in taken)
            taken.add((columns[stage.name], rows[stage.name]))
    ways: dict[tuple[str, str], list[Place]] = {}
    for stage in pipeline.stages:
        for before in stage.after:
            between = range(columns[before] + 1, columns[stage.name])
            way = []
            for column in between:
                nearest = max(rows[before], rows[stage.name])
                row = next(row for row in range(nearest, 99) if (column, row) not in taken)
                taken.add((column, row))
                way.append((column, row))
            ways[before, stage.name] = way
    return {name: (columns[name], rows[name]) for name in columns}, ways


def _longest(pipeline: Pipeline, columns: Mapping[str, int]) -> list[str]:
    """The stages of a longest way, those named first where several are as long."""
    last = max(pipeline.stages, key=lambda stage: columns[stage.name])
    way = [last]
    while way[-1].after:
        before = max(way[-1].after, key=lambda name: columns[name])
        way.append(pipeline.stage(before))
    return [stage.name for stage in way]


def _rows(stages: dict[str, Place], ways: dict[tuple[str, str], list[Place]]) -> list[int]:
    return [row for _, row in stages.values()] + [row for way in ways.values() for _, row in way]


def _draw(
    picture: Picture,
    pipeline: Pipeline,
    stages: dict[str, Place],
    ways: dict[tuple[str, str], list[Place]],
    top: float,
) -> None:
    height = _HEAD + _ROW * (1 + max(_rows(stages, ways)))
    picture.box(Box(_LEFT - 12, top, picture.width - 2 * (_LEFT - 12), height), radius=10)
    picture.text((_LEFT + 2, top + 25), pipeline.name, kind="title")
    beside = _LEFT + 16 + len(pipeline.name) * 9.2
    picture.text((beside, top + 25), pipeline.description, kind="small", within=picture.width - beside - 30)
    boxes = {name: _box(at, top) for name, at in stages.items()}
    for (before, after), way in ways.items():
        dashed = bool(pipeline.stage(before).when or pipeline.stage(after).when)
        points = [_right(boxes[before])]
        for through in way:
            over = _box(through, top)
            points += [(over.x, over.middle[1]), (over.x + over.width, over.middle[1])]
        points.append(_left(boxes[after]))
        picture.curve(points, _ARROW, dashed=dashed)
    for stage in pipeline.stages:
        _stage(picture, stage, boxes[stage.name])


def _stage(picture: Picture, stage: Stage, box: Box) -> None:
    picture.solid(box, hue=HUES.get(stage.service, _ARROW), dashed=bool(stage.when))
    x, y = box.middle
    picture.text((x, y - 3), stage.name, kind="name", anchor="middle")
    how = _UNITS[stage.unit] + (", in order" if stage.ordered else "")
    picture.text((x, y + 14), how, kind="small", anchor="middle", within=box.width - 10)


def _legend(picture: Picture, pipelines: Mapping[str, Pipeline]) -> None:
    picture.text((_LEFT, 32), "Pipelines", kind="title")
    x = _LEFT
    used = dict.fromkeys(stage.service for pipeline in pipelines.values() for stage in pipeline.stages)
    for service in used:
        picture.box(Box(x, 44, 12, 12), hue=HUES.get(service, _ARROW), radius=3)
        picture.text((x + 18, 54), service, kind="small")
        x += 36 + len(service) * 6.4
    picture.box(Box(x + 8, 44, 20, 12), hue=_ARROW, dashed=True, radius=3)
    picture.text((x + 36, 54), "only in jobs whose parameters ask for it", kind="small")


def _box(at: Place, top: float) -> Box:
    column, row = at
    return Box(_LEFT + 4 + column * (_STAGE[0] + _GAP), top + _HEAD + row * _ROW, *_STAGE)


def _right(box: Box) -> Point:
    return box.x + box.width, box.middle[1]


def _left(box: Box) -> Point:
    return box.x - 2, box.middle[1]


def crossings(stages: dict[str, Place], ways: dict[tuple[str, str], list[Place]]) -> list[tuple[str, str]]:
    """Arrows that go through a stage; none in a good picture."""
    standing = set(stages.values())
    return [ends for ends, way in ways.items() if standing & set(way)]
