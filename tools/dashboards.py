"""Writes the Grafana dashboards of `dashboards.toml` as files: `write` them, or `check` that they are up to date."""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_suffix(".toml")
FOLDER = Path(__file__).parents[1] / "k8s" / "kinemesh" / "dashboards"

_DATA = {"type": "prometheus", "uid": "${datasource}"}
_COLUMNS = 24
_GRAPH = (8, 8)
_STAT = (4, 4)


def main() -> int:
    """0, or 1 if a file is missing, old, or of no dashboard."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=("write", "check"))
    action = parser.parse_args().action
    wanted = {f"{board['name']}.json": _text(dashboard(board)) for board in tomllib.loads(SOURCE.read_text())["board"]}
    found = {path.name: path.read_text() for path in FOLDER.glob("*.json")}
    if action == "check":
        different = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
        if different:
            print(f"Not as {SOURCE.name} says: {', '.join(different)}. Run `make dashboards`.", file=sys.stderr)
        return 1 if different else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in found.keys() - wanted.keys():
        (FOLDER / name).unlink()
    for name, text in wanted.items():
        (FOLDER / name).write_text(text)
    return 0


def _text(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def dashboard(board: dict[str, Any]) -> dict[str, Any]:
    """A dashboard as Grafana has it."""
    panels: list[dict[str, Any]] = []
    top = 0
    for row in board["row"]:
        place = {"x": 0, "y": top, "w": _COLUMNS, "h": 1}
        heading = {"type": "row", "title": row["title"], "collapsed": False, "gridPos": place, "panels": []}
        panels.append({"id": len(panels) + 1, **heading})
        top += 1
        left = tallest = 0
        for panel in row["panel"]:
            width, height = _STAT if "stat" in panel else _GRAPH
            if left + width > _COLUMNS:
                left, top, tallest = 0, top + tallest, 0
            place = {"x": left, "y": top, "w": width, "h": height}
            panels.append({"id": len(panels) + 1, "gridPos": place, **_panel(panel)})
            left, tallest = left + width, max(tallest, height)
        top += tallest
    return {
        "uid": f"kinemesh-{board['name']}",
        "title": board["title"],
        "description": board["about"],
        "tags": ["kinemesh"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": []},
        "links": [
            {"type": "dashboards", "tags": ["kinemesh"], "title": "Kinemesh", "asDropdown": True, "keepTime": True}
        ],
        "templating": {
            "list": [{"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}]
        },
        "panels": panels,
    }


def _panel(panel: dict[str, Any]) -> dict[str, Any]:
    green = {"color": "green", "value": None}
    steps = [green, {"color": "red", "value": panel["alarm"]}] if "alarm" in panel else [green]
    defaults: dict[str, Any] = {"unit": panel["unit"], "min": 0, "thresholds": {"mode": "absolute", "steps": steps}}
    options: dict[str, Any]
    if "stat" in panel:
        kind, lines = "stat", [[panel["stat"], ""]]
        options = {"colorMode": "value", "graphMode": "area", "reduceOptions": {"calcs": ["lastNotNull"]}}
    else:
        kind, lines = "timeseries", panel["lines"]
        defaults["custom"] = {"fillOpacity": 8, "lineWidth": 1, "showPoints": "never"}
        options = {
            "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"]},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    return {
        "type": kind,
        "title": panel["title"],
        "description": panel.get("about", ""),
        "datasource": _DATA,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": [
            {"refId": chr(ord("A") + number), "datasource": _DATA, "expr": expression, "legendFormat": legend}
            for number, (expression, legend) in enumerate(lines)
        ],
    }


if __name__ == "__main__":
    sys.exit(main())
