"""Run by the converter's Python: writes the networks that tests import, good ones and bad ones, into a folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from ultralytics import YOLO

LABELS = {0: "wheel", 1: "jack", 2: "person"}
SIDE, CELLS = 64, 84  # 8² + 4² + 2² cells


def main(folder: Path) -> None:
    os.chdir(folder)
    torch.manual_seed(3)
    network = YOLO("yolo11n.yaml")
    network.model.names = {number: f"thing {number}" for number in range(80)}
    network.save("yolo11n.pt")
    network.export(format="onnx", imgsz=320)
    YOLO("yolo11n-seg.yaml").save("segments.pt")

    small = network.model
    small.yaml["activation"] = "__import__('os').system('touch evaluated')"
    torch.save({"model": small}, "evaluated.pt")
    del small.yaml["activation"]
    torch.save({"model": small, "train_args": {"imgsz": 4096}}, "large.pt")
    torch.save({"model": small}, "legacy.pt", _use_new_zipfile_serialization=False)
    torch.save({"state": small.state_dict()}, "bare.pt")
    with torch.no_grad():
        for parameter in small.parameters():
            parameter.zero_()
    torch.save({"model": small, "train_args": {"imgsz": 320}}, "zero.pt")
    small.names = {0: "one"}
    torch.save({"model": small, "train_args": {"imgsz": 320}}, "one_name.pt")

    rows = np.random.default_rng(3).uniform(0.1, 0.9, (1, 7, CELLS)).astype(np.float32)
    write("alive", answer(rows, picture=1.0), names=LABELS)
    write("unnamed", answer(rows, picture=1.0))
    write("nan", answer(rows, picture=float("nan")), names=LABELS)
    write("constant", answer(np.full_like(rows, 0.5), picture=0.0), names=LABELS)
    write("blind", answer(rows, picture=0.0), names=LABELS)
    write("silent", answer(np.concatenate([rows[:, :4], np.zeros_like(rows[:, 4:])], 1), picture=0.0), names=LABELS)
    write("classifier", answer(rows[:, :, 0], picture=1.0), names=LABELS)
    many = np.broadcast_to(rows[:, :, :1], (1, 7, CELLS * (2048 // SIDE) ** 2))
    write("large", answer(many, picture=1.0), names=LABELS, side=2048)
    write("miscounted", answer(rows, picture=1.0), names={0: "wheel", 1: "jack"})
    write("own_operator", [helper.make_node("Rowhammer", ["images"], ["output"], domain="org.example")])
    hidden = helper.make_graph(
        [helper.make_node("Rowhammer", ["images"], ["inner"], domain="org.example")],
        "branch",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)],
    )
    yes = numpy_helper.from_array(np.array(True), "yes")
    branch = helper.make_node("If", ["yes"], ["output"], then_branch=hidden, else_branch=hidden)
    write("own_operator_within", [constant("yes", yes), branch])
    outside = numpy_helper.from_array(rows, "outside")
    outside.ClearField("raw_data")
    outside.data_location = TensorProto.EXTERNAL
    outside.external_data.add(key="location", value="../../../../../../etc/passwd")
    write("elsewhere", [constant("output", outside)])


def constant(name: str, tensor: Any) -> Any:
    return helper.make_node("Constant", [], [name], value=tensor)


def answer(rows: NDArray[np.float32], picture: float) -> list[Any]:
    """Nodes that answer with ``rows``, which grow with the picture's brightness times ``picture``."""
    return [
        helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0),
        constant("weight", numpy_helper.from_array(np.array(picture, np.float32))),
        helper.make_node("Mul", ["mean", "weight"], ["shown"]),
        constant("rows", numpy_helper.from_array(rows)),
        helper.make_node("Mul", ["rows", "shown"], ["change"]),
        helper.make_node("Add", ["rows", "change"], ["output"]),
    ]


def write(name: str, nodes: list[Any], names: dict[int, str] | None = None, side: int = SIDE) -> None:
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, side, side])
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, name, [images], [output])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("org.example", 1)]
    network = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    if names is not None:
        helper.set_model_props(network, {"names": repr(names)})
    onnx.save(network, f"{name}.onnx")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
