"""Turn a checkpoint into what the project ships: ``python -m kinemesh_training.ship --help``."""

import argparse
import hashlib
import re
import zipfile
from pathlib import Path

import cv2
import numpy as np
import torch

from kinemesh_training import calibrate, pictures
from kinemesh_training.export import SIZE, to_onnx
from kinemesh_training.finding import cells_of
from kinemesh_training.network import Detector
from kinemesh_training.quantise import to_int8
from kinemesh_training.teacher import Teacher

NAME = "person_detector"
START = Path(__file__).parents[1] / f"{NAME}.pt"


def ship(checkpoint: Path, archive: Path, teacher: Path, package: Path, seed: int) -> None:
    """Write the network's files into the package of models, and their hashes into its manifest."""
    network = Detector().eval()
    learned = torch.load(checkpoint, map_location="cpu", weights_only=True)["average"]
    network.load_state_dict(learned)
    # Whoever wants it to know their own footage better goes on from here.
    torch.save({name: _halved(tensor) for name, tensor in learned.items()}, START)
    weights = package / "weights"
    weights.mkdir(exist_ok=True)
    onnx, int8 = weights / f"{NAME}.onnx", weights / f"{NAME}_int8.xml"
    shown = pictures.read(archive, "train")
    lift = calibrate.between(cells_of(network), Teacher(teacher, 1).cells, shown, SIZE)
    to_onnx(network, lift, onnx)
    to_int8(onnx, shown, int8, np.random.default_rng(seed))
    manifest = package / "models.toml"
    text = manifest.read_text()
    for file in (onnx, int8, int8.with_suffix(".bin")):
        data = file.read_bytes()
        text, count = re.subn(
            rf'(packaged = "weights/{re.escape(file.name)}"\nsha256 = ")[^"]*("\nbytes = )\d+',
            rf"\g<1>{hashlib.sha256(data).hexdigest()}\g<2>{len(data)}",
            text,
        )
        if count != 1:
            raise SystemExit(f"{manifest} has {count} entries for {file.name}")
    manifest.write_text(text)


def _halved(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.half() if tensor.ndim > 1 else tensor


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument(
        "--data", type=Path, required=True, help="what it learned from; ranges are taken from some of it"
    )
    parser.add_argument(
        "--teacher", type=Path, required=True, help="RTMDet-nano's ONNX file, whose scores ours are to equal"
    )
    parser.add_argument("--package", type=Path, required=True, help="folder of models.toml")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        ship(chosen.checkpoint, chosen.data, chosen.teacher, chosen.package, chosen.seed)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise SystemExit(f"ship: {error}") from error


if __name__ == "__main__":
    main()
