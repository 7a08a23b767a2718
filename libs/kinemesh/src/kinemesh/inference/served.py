"""What the builder of the model repository says of every served model, and which serves those who name none."""

from __future__ import annotations

from typing import Any

from kinemesh.errors import FailedPrecondition, InvalidArgument, NotFound
from kinemesh.inference.client import TritonClient


def facts_of(config: dict[str, Any]) -> dict[str, str]:
    """What the builder of the model repository wrote into a model's configuration."""
    return {key: value.get("string_value", "") for key, value in config.get("parameters", {}).items()}


async def config_of(triton: TritonClient, name: str, task: str) -> dict[str, Any]:
    """The configuration of a model for a task.

    :raises NotFound: ``MODEL_NOT_FOUND``.
    :raises InvalidArgument: ``WRONG_MODEL_TASK``.
    :raises Unavailable: ``MODEL_UNAVAILABLE``.
    """
    config = await triton.config(name)
    found = facts_of(config).get("task", "")
    if found != task:
        raise InvalidArgument("WRONG_MODEL_TASK", f"This model is no {task}.", model=name, task=found)
    return config


async def default_model(triton: TritonClient, task: str) -> str:
    """The name of the model for those who name none: of those that are ready, the one that is preferred most.

    :raises FailedPrecondition: ``MODEL_REQUIRED`` if there is none.
    :raises Unavailable: ``MODEL_UNAVAILABLE``.
    """
    best = (0, "")
    for name in sorted(name for name, ready in (await triton.loaded()).items() if ready):
        try:
            facts = facts_of(await triton.config(name))
        except NotFound:  # removed meanwhile
            continue
        if facts.get("task") == task:
            best = max(best, (_whole(facts.get("preference", "")), name))
    if best[0] < 1:
        raise FailedPrecondition(
            "MODEL_REQUIRED", f"No {task} is served that could be the default: add one, or name a model.", task=task
        )
    return best[1]


def _whole(text: str) -> int:
    return int(text) if text.isdecimal() else 0
