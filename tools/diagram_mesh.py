"""The picture of the mesh: services side by side, above them who asks whom, below them what they share."""

from __future__ import annotations

from diagram_facts import STORES, Facts, Service
from diagram_svg import HUES, OTHER_HUES, Box, Picture

_CARD, _GAP, _MARGIN = 196.0, 18.0, 28.0
_LINE, _CHIP = 17.0, 21.0
_RAIL = 22.0
_CLIENTS = Box(_MARGIN, 52, _CARD, 62)
_RAILS_TOP = 150.0


def draw_mesh(facts: Facts) -> Picture:
    """Everything in one picture."""
    askers = [service for service in facts.services if service.asks]
    cards_top = _RAILS_TOP + _RAIL * (len(askers) + 1)
    cards_height = max(_height(service) for service in facts.services)
    rails_top = cards_top + cards_height + 26
    stores_top = rails_top + _RAIL * len(STORES) + 18
    stores_height = 40 + _LINE * max(len(facts.streams), 3)
    width = 2 * _MARGIN + len(facts.services) * (_CARD + _GAP) - _GAP
    picture = Picture("Kinemesh: services, calls, and what they share", width, stores_top + stores_height + _MARGIN)
    cards = {
        service.name: Box(_MARGIN + number * (_CARD + _GAP), cards_top, _CARD, cards_height)
        for number, service in enumerate(facts.services)
    }
    _clients(picture, facts, cards)
    _calls(picture, facts, cards, askers)
    _shared(picture, facts, cards, rails_top, stores_top, stores_height)
    for service in facts.services:
        _card(picture, service, facts, cards[service.name])
    return picture


def _height(service: Service) -> float:
    return (
        62
        + _LINE * max(len(service.apis), 2)
        + (28 + _CHIP * ((len(service.stages) + 1) // 2) if service.stages else 0)
    )


def _card(picture: Picture, service: Service, facts: Facts, box: Box) -> None:
    hue = HUES.get(service.name, OTHER_HUES[0])
    picture.solid(box)
    picture.box(Box(box.x, box.y, box.width, 32), hue=hue)
    picture.text((box.middle[0], box.y + 21), service.name, kind="title", anchor="middle")
    y = box.y + 52
    heading, rows, unit = ("gRPC", service.apis, "methods") if service.apis else ("HTTP", _doors(facts), "calls")
    picture.text((box.x + 12, y), heading, kind="small")
    picture.text((box.x + box.width - 12, y), unit, kind="small", anchor="end")
    for name, count in rows:
        y += _LINE
        picture.text((box.x + 12, y), name, within=box.width - 56)
        picture.text((box.x + box.width - 12, y), str(count), anchor="end")
    if service.stages:
        y += 26
        picture.text((box.x + 12, y), "stages", kind="small")
        wide = (box.width - 24 - 6) / 2
        for number, stage in enumerate(service.stages):
            chip = Box(box.x + 12 + (number % 2) * (wide + 6), y + 7 + (number // 2) * _CHIP, wide, _CHIP - 4)
            picture.box(chip, hue=hue, radius=8)
            picture.text((chip.middle[0], chip.middle[1] + 4), stage, anchor="middle", within=wide - 10)


def _clients(picture: Picture, facts: Facts, cards: dict[str, Box]) -> None:
    picture.text((_MARGIN, 34), "Kinemesh", kind="title")
    picture.solid(_CLIENTS, radius=20)
    picture.text((_CLIENTS.middle[0], _CLIENTS.y + 28), "clients", kind="name", anchor="middle")
    picture.text((_CLIENTS.middle[0], _CLIENTS.y + 44), "curl, kinemesh, browsers", kind="small", anchor="middle")
    first = cards[facts.services[0].name]
    hue = HUES.get(facts.services[0].name, OTHER_HUES[0])
    x = first.x + 30
    picture.line([(x, _CLIENTS.y + _CLIENTS.height), (x, first.y - 3)], hue, arrow=True)
    picture.text((x + 8, first.y - 12), "REST, WebSocket", kind="small")
    _surfaces(picture, facts, hue)


def _surfaces(picture: Picture, facts: Facts, hue: str) -> None:
    """What clients find: a chip per surface with the number of its calls, in two rows."""
    columns = (len(facts.surfaces) + 1) // 2
    left = _CLIENTS.x + _CLIENTS.width + _GAP
    wide = (picture.width - _MARGIN - left + 8) / columns - 8
    for number, (name, count) in enumerate(facts.surfaces):
        chip = Box(left + (number % columns) * (wide + 8), _CLIENTS.y + 34 * (number // columns), wide, 28)
        picture.solid(chip, radius=14)
        picture.box(chip, hue=hue, radius=14)
        picture.text((chip.x + 12, chip.middle[1] + 4), name, kind="small", within=wide - 44)
        picture.text((chip.x + wide - 12, chip.middle[1] + 4), str(count), kind="name", anchor="end")


def _doors(facts: Facts) -> tuple[tuple[str, int], ...]:
    """The gateway's calls by kind."""
    sockets = dict(facts.surfaces).get("websocket", 0)
    return (("REST", sum(count for _, count in facts.surfaces) - sockets), ("WebSocket", sockets))


def _calls(picture: Picture, facts: Facts, cards: dict[str, Box], askers: list[Service]) -> None:
    """A rail for each who asks: up from the asker, along, and down to everyone who is asked."""
    names = [service.name for service in facts.services]
    into: dict[str, int] = {}
    for number, asker in enumerate(askers):
        hue, y = HUES.get(asker.name, OTHER_HUES[0]), _RAILS_TOP + _RAIL * number + 6
        box = cards[asker.name]
        start = box.x + box.width - 30
        ends = []
        for asked in asker.asks:
            card = cards[asked]
            into[asked] = into.get(asked, 0) + 1
            ends.append(card.x + 24 + 22 * (into[asked] - 1))
            picture.line([(ends[-1], y), (ends[-1], card.y - 3)], hue, arrow=True)
            picture.dot((ends[-1], y), hue)
        picture.line([(start, box.y), (start, y)], hue)
        picture.line([(min(start, *ends), y), (max(start, *ends), y)], hue)
        whom = ", ".join(asker.asks) if len(asker.asks) < len(facts.services) - 1 else "by gRPC"
        backwards = names.index(asker.name) > min(names.index(asked) for asked in asker.asks)
        picture.text(
            (start + (-6 if backwards else 6), y - 5),
            f"asks {whom}",
            kind="small",
            anchor="end" if backwards else "start",
        )


def _shared(
    picture: Picture, facts: Facts, cards: dict[str, Box], rails_top: float, stores_top: float, height: float
) -> None:
    """A rail for each thing that is shared, with a drop from everyone who uses it."""
    wide = (picture.width - 2 * _MARGIN - _GAP * (len(STORES) - 1)) / (len(STORES) + 1)
    x = _MARGIN
    below = picture.height - _MARGIN
    assert below >= stores_top + height - 1
    for number, (group, name) in enumerate(STORES.items()):
        hue, y = OTHER_HUES[number], rails_top + _RAIL * number
        box = Box(x, stores_top, wide * (2 if group == "nats" else 1), height)
        x += box.width + _GAP
        ends: list[float] = []
        for service in facts.services:
            if group in service.stores:
                card = cards[service.name]
                at = card.x + 38 + 40 * number
                picture.line([(at, card.y + card.height), (at, y)], hue)
                picture.dot((at, y), hue)
                ends.append(at)
        nearest = min(ends, key=lambda at: abs(at - box.middle[0]))
        down = min(max(nearest, box.x + 20), box.x + box.width - 20)
        picture.line([(min(*ends, down), y), (max(*ends, down), y)], hue)
        picture.line([(down, y), (down, box.y - 3)], hue, arrow=True)
        picture.solid(box)
        picture.box(Box(box.x, box.y, box.width, 28), hue=hue)
        picture.text((box.middle[0], box.y + 19), name, kind="name", anchor="middle")
        _contents(picture, group, facts, box)


_WHAT = {
    "database": ("the catalogue: assets, jobs, sites,", "routes, models, the outbox"),
    "s3": ("media, frame indices, results;", "read by range, written whole"),
    "triton": ("models; pictures come", "by shared memory"),
}


def _contents(picture: Picture, group: str, facts: Facts, box: Box) -> None:
    y = box.y + 48
    for line in _WHAT.get(group, ()):
        picture.text((box.middle[0], y), line, kind="small", anchor="middle", within=box.width - 16)
        y += _LINE
    if group == "nats":
        for name, subject, kept in facts.streams:
            picture.text((box.x + 12, y), name.removeprefix("KINEMESH_").lower().replace("_", " "))
            picture.text((box.x + 108, y), subject, kind="small", within=box.width - 108 - 62)
            picture.text((box.x + box.width - 12, y), kept, kind="small", anchor="end")
            y += _LINE
