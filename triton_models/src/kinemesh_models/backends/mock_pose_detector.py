"""Two synthetic people, always at the same places: no network. See :mod:`kinemesh_models.synthetic`."""

from __future__ import annotations

from kinemesh_models import synthetic
from kinemesh_models.backends.triton import python_model

TritonPythonModel = python_model(lambda _weights, _parameters: synthetic.detect_people)
