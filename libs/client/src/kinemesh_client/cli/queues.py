"""What waits in the stages of a mesh on this machine, from the metrics of ingest."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Final

import httpx
from prometheus_client.parser import text_string_to_metric_families

_ASK_S: Final = 5.0
_TASKS: Final = "kinemesh_queue_tasks"
_OLDEST: Final = "kinemesh_queue_oldest_seconds"


async def queues(described: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Stages that have tasks: how many ``waiting`` and ``in_hand``, and ``oldest_s``, the age of the oldest waiting.

    Empty if ingest does not answer, or has not learnt it yet.

    :param described: what the mesh says of itself.
    """
    url = described["servers"].get("ingest", {}).get("metrics", "")
    try:
        async with httpx.AsyncClient(timeout=_ASK_S, trust_env=False) as http:
            text = (await http.get(url)).raise_for_status().text
    except (httpx.HTTPError, httpx.InvalidURL):
        return {}
    return parse_queues(text)


def parse_queues(text: str) -> dict[str, dict[str, float]]:
    """The same, of a text as Prometheus reads it."""
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == _TASKS:
                found[sample.labels["stage"]][sample.labels["state"]] = sample.value
            elif sample.name == _OLDEST and sample.labels["state"] == "waiting":
                found[sample.labels["stage"]]["oldest_s"] = sample.value
    return {stage: counts for stage, counts in found.items() if counts.get("waiting") or counts.get("in_hand")}
