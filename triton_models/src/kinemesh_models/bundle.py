"""Writes MediaPipe's ``pose_landmarker.task`` bundle from the plain TFLite files, to compare ourselves with MediaPipe.

A bundle is a zip without compression of the two networks, each with TFLite metadata that gives the normalisation of
its input (https://ai.google.dev/edge/mediapipe; format: ``metadata_schema.fbs`` in the mediapipe wheel).
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import flatbuffers
from mediapipe.tasks.metadata import metadata_schema_py_generated as metadata
from mediapipe.tasks.metadata import schema_py_generated as tflite

_METADATA_ID = b"M001"
_MODEL_ID = b"TFL3"


def write_bundle(detector: Path, landmarks: Path, out: Path) -> None:
    """Write the bundle ``out`` from BlazePose's detector and landmark networks."""
    parts = {
        "pose_detector.tflite": _with_normalisation(detector.read_bytes(), mean=127.5, std=127.5),
        "pose_landmarks_detector.tflite": _with_normalisation(landmarks.read_bytes(), mean=0.0, std=255.0),
    }
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, data in parts.items():
            archive.writestr(zipfile.ZipInfo(name), data)


def _with_normalisation(model: bytes, mean: float, std: float) -> bytes:
    """The same network whose metadata says that its input is ``(pixel - mean) / std``."""
    tree = tflite.ModelT.InitFromObj(tflite.Model.GetRootAsModel(model, 0))
    buffer = tflite.BufferT()
    buffer.data = list(_metadata(mean, std))
    tree.buffers.append(buffer)
    entry = tflite.MetadataT()
    entry.name = b"TFLITE_METADATA"
    entry.buffer = len(tree.buffers) - 1
    tree.metadata = [entry]
    return _packed(tree, _MODEL_ID)


def _metadata(mean: float, std: float) -> bytes:
    options = metadata.NormalizationOptionsT()
    options.mean, options.std = [mean], [std]
    unit = metadata.ProcessUnitT()
    unit.optionsType = metadata.ProcessUnitOptions.NormalizationOptions
    unit.options = options
    image = metadata.ImagePropertiesT()
    image.colorSpace = metadata.ColorSpaceType.RGB
    content = metadata.ContentT()
    content.contentPropertiesType = metadata.ContentProperties.ImageProperties
    content.contentProperties = image
    tensor = metadata.TensorMetadataT()
    tensor.name, tensor.content, tensor.processUnits = b"image", content, [unit]
    graph = metadata.SubGraphMetadataT()
    graph.inputTensorMetadata = [tensor]
    model = metadata.ModelMetadataT()
    model.name, model.subgraphMetadata = b"BlazePose", [graph]
    return _packed(model, _METADATA_ID)


def _packed(tree: Any, identifier: bytes) -> bytes:
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(tree.Pack(builder), identifier)
    return bytes(builder.Output())
