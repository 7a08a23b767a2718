"""Rebuilds a network from its description and weights and exports it. Runs in the converter's environment only.

Ultralytics is licensed under AGPL-3.0: nothing but this module imports it, and no service imports this module.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import torch

from kinemesh_models.importing import checkpoint
from kinemesh_models.refusal import RefusedError

_LARGEST_SIDE = 1536
_FACTS = ("author", "imgsz", "license", "names", "stride", "task", "version")


def convert(source: str, target: str) -> dict[str, Any]:
    """Write the detector in the weights ``source`` as ONNX to ``target``."""
    torch.set_num_threads(1)
    saved = checkpoint.load(Path(source))
    if saved.size > _LARGEST_SIDE:
        raise RefusedError(
            "MODEL_TOO_LARGE", f"The network takes pictures of {saved.size} px; {_LARGEST_SIDE} are the most."
        )
    # After the checks: Ultralytics takes seconds to import.
    from ultralytics.engine.exporter import Exporter

    network = _rebuilt(saved)
    network.task = "detect"
    network.pt_path = "model.pt"  # names the file that is written here
    written = Exporter(
        overrides={"format": "onnx", "imgsz": saved.size, "dynamic": True, "simplify": True, "device": "cpu"}
    )(model=network)
    _keep_facts(Path(written), Path(target))
    return {"size": saved.size}


def _keep_facts(written: Path, target: Path) -> None:
    """Write the network with those of Ultralytics' remarks that describe it: the date would change the file's hash."""
    network = onnx.load(written, load_external_data=False)
    facts = {entry.key: entry.value for entry in network.metadata_props if entry.key in _FACTS}
    del network.metadata_props[:]
    onnx.helper.set_model_props(network, facts)
    onnx.save(network, target)


def _rebuilt(saved: checkpoint.Checkpoint) -> Any:
    from ultralytics.nn.tasks import DetectionModel

    try:
        network = DetectionModel(saved.description, ch=int(saved.description.get("ch") or 3), verbose=False)
    except MemoryError:
        raise
    except Exception as error:
        raise RefusedError("CONVERSION_FAILED", f"Ultralytics cannot build the network: {error!s:.300}.") from error
    try:
        network.load_state_dict(saved.weights, strict=True)
    except RuntimeError:
        # Saved after its normalisation was folded into the convolutions.
        network.fuse(verbose=False)
        try:
            network.load_state_dict(saved.weights, strict=True)
        except RuntimeError as error:
            raise RefusedError("CONVERSION_FAILED", "The weights do not fit the network that they describe.") from error
    if saved.labels:
        network.names = dict(enumerate(saved.labels))
    return network.float().eval()
