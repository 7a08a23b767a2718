"""A NUL in a text is found wherever it stands in a message."""

from __future__ import annotations

import pytest
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct, Value

from kinemesh import errors
from kinemesh.job.v1 import job_pb2
from kinemesh.serving.texts import check_texts


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (job_pb2.GetJobRequest(job_id="\0"), "job_id"),
        (
            job_pb2.CreateJobRequest(inputs=[job_pb2.JobInput(asset_id="a"), job_pb2.JobInput(asset_id="a\0")]),
            "asset_id",
        ),
        (Struct(fields={"a": Value(string_value="b\0")}), "string_value"),
        (Struct(fields={"a\0": Value(number_value=1)}), "fields"),
    ],
)
def test_a_nul_is_refused_and_its_field_named(message: Message, field: str) -> None:
    with pytest.raises(errors.InvalidArgument) as refused:
        check_texts(message)
    assert (refused.value.reason, refused.value.metadata["field"]) == ("INVALID_TEXT", field)


def test_other_texts_and_bytes_pass() -> None:
    check_texts(job_pb2.CreateJobRequest(inputs=[job_pb2.JobInput(asset_id="ä\n\U0001f9d7")]))
    check_texts(Struct(fields={"a": Value(string_value="b")}))
