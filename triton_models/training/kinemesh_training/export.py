"""The trained network as one ONNX file: a picture in, people out, suppression inside."""

import json
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import compose, numpy_helper, parser
from torch import Tensor, nn

from kinemesh_training.boxes import decode, flatten, places
from kinemesh_training.finding import LEAST_SCORE, OVERLAP, ROWS
from kinemesh_training.network import DEVIATION, MEAN, Detector

INPUT, OUTPUT = "image", "boxes"
# A size that suits the network; any multiple of its greatest stride can be had.
SIZE, STRIDE = 416, 32
_OPSET = 18

_SUPPRESSION = f"""
<ir_version: 10, opset_import: ["" : {_OPSET}]>
suppression (float[1, A, 4] found, float[1, 1, A] scores) => (float[1, K, 6] {OUTPUT}) {{
    most = Constant <value = int64[1] {{{ROWS}}}> ()
    overlap = Constant <value = float[1] {{{OVERLAP}}}> ()
    least = Constant <value = float[1] {{{LEAST_SCORE}}}> ()
    chosen = NonMaxSuppression (found, scores, most, overlap, least)
    third = Constant <value = int64 {{2}}> ()
    cells = Gather <axis = 1> (chosen, third)
    corners = Gather <axis = 1> (found, cells)
    column = Transpose <perm = [0, 2, 1]> (scores)
    sure = Gather <axis = 1> (column, cells)
    zero = Constant <value = float {{0.0}}> ()
    kind = Mul (sure, zero)
    {OUTPUT} = Concat <axis = 2> (corners, sure, kind)
}}
"""


class _Candidates(nn.Module):
    """A box and a score for every cell, from float32 [1, 3, H, W], RGB from 0 to 1."""

    def __init__(self, network: Detector, lift: float) -> None:
        super().__init__()
        self.network, self.lift = network, lift

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        levels = self.network(image * (255 / DEVIATION) - MEAN / DEVIATION)
        points, strides = places([(level.shape[2], level.shape[3]) for level in levels])
        answers = flatten(levels)
        boxes = decode(answers[..., 1:], points, strides)
        height, width = image.shape[2], image.shape[3]
        x, y = boxes[..., 0::2].clamp(0, width), boxes[..., 1::2].clamp(0, height)
        boxes = torch.stack([x[..., 0], y[..., 0], x[..., 1], y[..., 1]], -1)
        return boxes, (answers[..., :1] + self.lift).sigmoid().transpose(1, 2)


def to_onnx(network: Detector, lift: float, path: Path) -> None:
    """Write the network with weights of half precision: ``image`` float32 [1, 3, H, W] to ``boxes`` [1, K ≤ 300, 6].

    A row is x1 y1 x2 y2 in pixels of the input, score, class 0; best first. Sides are multiples of 32. Weights become
    float32 as the file is loaded, so that every runtime computes the same with them. ``lift`` is added to scores, as
    logits (:mod:`.calibrate`).
    """
    rows, columns = torch.export.Dim("rows", min=2, max=80), torch.export.Dim("columns", min=2, max=80)
    program = torch.onnx.export(
        _Candidates(network.eval(), lift),
        (torch.zeros(1, 3, SIZE, SIZE - 2 * STRIDE),),
        dynamo=True,
        opset_version=_OPSET,
        input_names=[INPUT],
        output_names=["found", "scores"],
        dynamic_shapes={"image": {2: STRIDE * rows, 3: STRIDE * columns}},
        optimize=True,
        verbose=False,
    )
    assert program is not None
    whole = compose.merge_models(
        program.model_proto,
        parser.parse_model(_SUPPRESSION),
        io_map=[("found", "found"), ("scores", "scores")],
        prefix2="suppression/",
    )
    whole.graph.output[0].name = OUTPUT
    for node in whole.graph.node:
        node.output[:] = [OUTPUT if name == f"suppression/{OUTPUT}" else name for name in node.output]
    _halve(whole)
    del whole.metadata_props[:], whole.graph.value_info[:]
    for node in whole.graph.node:
        # The exporter tells there where in our sources, by their paths, a node comes from.
        del node.metadata_props[:]
        node.doc_string = ""
    onnx.helper.set_model_props(
        whole, {"task": "detect", "names": "{0: 'person'}", "imgsz": json.dumps([SIZE, SIZE]), "license": "Apache-2.0"}
    )
    onnx.checker.check_model(whole, full_check=True)
    path.write_bytes(whole.SerializeToString(deterministic=True))


def _halve(model: onnx.ModelProto) -> None:
    """Keep convolutions' weights in half precision, each made single where it is used."""
    kernels = {node.input[1] for node in model.graph.node if node.op_type == "Conv"}
    casts = []
    for tensor in model.graph.initializer:
        if tensor.name in kernels:
            halved = numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), f"{tensor.name}/half")
            casts.append(onnx.helper.make_node("Cast", [halved.name], [tensor.name], to=onnx.TensorProto.FLOAT))
            tensor.CopyFrom(halved)
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*casts, *nodes])
