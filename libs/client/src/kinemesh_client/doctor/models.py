"""Models: built from the manifest of this checkout, and served."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from kinemesh.errors import KinemeshError
from kinemesh.inference import TritonClient, TritonSettings
from kinemesh_client.doctor.findings import Finding, ok, problem, warning

_MODELS: Final = "models"
_NEEDED: Final = ("pose_detector", "pose_landmarks", "face_detector", "person_detector", "person_colors")
_PARAMETER: Final = re.compile(r'key: "(\w+)" value \{ string_value: "([^"]*)" \}')
_MAKE: Final = "make models"


def look_at_built(project: Path, set_name: str = "default") -> list[Finding]:
    """The models that were built in a checkout.

    :param project: the folder ``triton_models``.
    """
    repository = project / "build" / set_name
    if not repository.is_dir():
        return [judge_built({}, set())]
    manifest = tomllib.loads((project / "src" / "kinemesh_models" / "models.toml").read_text())
    hashes = {weights.get("beside", weights)["sha256"] for weights in manifest["weights"].values()}
    built = {folder.name: _weights(folder) for folder in sorted(repository.iterdir()) if folder.is_dir()}
    return [judge_built(built, hashes)]


def _weights(folder: Path) -> tuple[str, str]:
    """The SHA-256 that a model's weights should have, and that they have; both empty for a model without."""
    config = folder / "config.pbtxt"
    facts = dict(_PARAMETER.findall(config.read_text())) if config.is_file() else {}
    if not facts.get("weights"):
        return "", ""
    file = folder / "1" / facts["weights"]
    if file.suffix == ".xml":
        # OpenVINO keeps a network's weights apart from its graph.
        file = file.with_suffix(".bin")
    return facts.get("sha256", ""), hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "missing"


def judge_built(built: Mapping[str, tuple[str, str]], manifest: Collection[str]) -> Finding:
    """Models with the hash that their weights should have and have, and the hashes of the manifest."""
    why = "`kinemesh up` serves them."
    missing = [name for name in _NEEDED if name not in built]
    if missing:
        return problem(_MODELS, f"Not built: {', '.join(missing)}.", why, _MAKE)
    damaged = [name for name, (should, has) in built.items() if should != has]
    if damaged:
        said = f"Other weights than they should have: {', '.join(damaged)}."
        return problem(_MODELS, said, "They cannot be loaded, or answer something else.", _MAKE)
    old = [name for name, (should, _) in built.items() if should and should not in manifest]
    if old:
        return warning(_MODELS, f"Older than the manifest: {', '.join(old)}.", why, _MAKE)
    return ok(_MODELS, f"{len(built)} models are built, with the weights of the manifest.")


async def look_at_served(settings: TritonSettings) -> list[Finding]:
    """The models that Triton serves."""
    async with TritonClient(settings.model_copy(update={"shared_memory": "off"})) as triton:
        try:
            return judge_served(await triton.loaded())
        except KinemeshError as error:
            said = f"{settings.endpoint}: {error.message} ({error.reason})"
            why = "Stages that look at pictures wait or fail."
            return [problem(_MODELS, said, why, "Start Triton; see KINEMESH_TRITON__ENDPOINT and its log.")]


def judge_served(loaded: Mapping[str, bool]) -> list[Finding]:
    """Models of the repository, and whether each is ready."""
    findings = []
    missing = [name for name in _NEEDED if not loaded.get(name)]
    if missing:
        why = "Jobs that need them fail with MODEL_NOT_FOUND."
        findings.append(
            problem(_MODELS, f"Not served: {', '.join(missing)}.", why, "See the log of Triton; make models.")
        )
    broken = [name for name, ready in loaded.items() if not ready and name not in _NEEDED]
    if broken:
        why = "Jobs that name them fail."
        action = "kinemesh logs triton says why; kinemesh models remove takes one away."
        findings.append(warning(_MODELS, f"In the repository and not served: {', '.join(broken)}.", why, action))
    return findings or [ok(_MODELS, f"{len(loaded)} models are served.")]
