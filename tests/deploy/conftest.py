"""What compose.yaml comes to, and the instructions of the Dockerfile."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction of a Dockerfile, in its stage.

    :ivar stage: the stage's name.
    :ivar word: such as COPY.
    """

    stage: str
    word: str
    rest: str


def instructions(text: str) -> list[Instruction]:
    """The instructions of a Dockerfile, lines joined, without comments; before the first FROM they have no stage."""
    plain = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    found: list[Instruction] = []
    stage = ""
    for line in re.sub(r"\\\n\s*", "", plain).splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            stage = rest.split(" AS ")[-1]
        if word:
            found.append(Instruction(stage, word, rest.strip()))
    return found


def interpolated(value: Any, variables: dict[str, str]) -> Any:
    """A document of compose with ``${NAME:-default}`` replaced as compose does."""
    if isinstance(value, dict):
        return {key: interpolated(inner, variables) for key, inner in value.items()}
    if isinstance(value, list):
        return [interpolated(inner, variables) for inner in value]
    if not isinstance(value, str):
        return value
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda match: variables.get(match[1]) or match[2], value)


@pytest.fixture(scope="session")
def dockerfile() -> list[Instruction]:
    return instructions((ROOT / "Dockerfile").read_text())


@pytest.fixture(scope="session")
def compose() -> dict[str, Any]:
    """compose.yaml as it is without .env."""
    document: dict[str, Any] = interpolated(yaml.safe_load((ROOT / "compose.yaml").read_text()), {})
    return document
