"""Frames as a part, encoded in a thread."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from fractions import Fraction
from pathlib import Path

from kinemesh.media import Frame, H264Writer
from kinemesh.media.types import Layout
from kinemesh.nv12 import ColorMatrix
from kinemesh.pipelining import in_thread
from kinemesh_render.settings import EncoderSettings


async def write_part(
    part: Path,
    source: AsyncGenerator[list[Frame], None],
    encoder: EncoderSettings,
    *,
    size: tuple[int, int],
    time_base: Fraction,
    frame_rate: Fraction,
    layout: Layout = "nv12",
    color_matrix: ColorMatrix = ColorMatrix.BT709,
) -> AsyncGenerator[int, None]:
    """Encode frames of a layout and yield how many are written. Closes ``source``."""
    writer = H264Writer(
        part,
        width=size[0],
        height=size[1],
        layout=layout,
        color_matrix=color_matrix,
        time_base=time_base,
        frame_rate=frame_rate,
        preset=encoder.preset,
        crf=encoder.crf,
        gop=encoder.gop,
        threads=encoder.threads,
    )
    written = 0
    async with AsyncExitStack() as stack:
        stack.push_async_exit(lambda *error: in_thread(writer.__exit__, *error))
        await stack.enter_async_context(aclosing(source))
        async for batch in source:
            await in_thread(_encode, writer, batch)
            written += len(batch)
            yield written


def _encode(writer: H264Writer, batch: list[Frame]) -> None:
    for frame in batch:
        writer.write(frame.image, frame.pts)
