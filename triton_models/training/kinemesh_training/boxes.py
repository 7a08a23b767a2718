"""Boxes as tensors: x1 y1 x2 y2 in pixels of the network's input."""

import torch
from torch import Tensor

from kinemesh_training.network import STRIDES


def places(sizes: list[tuple[int, int]], device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Where the grids' cells look and how far apart they are.

    Returns:
        float32 [A, 2], x y in pixels: cell i of a grid sees pixel i times the stride, which is where convolutions of
        odd kernels and stride 2 put it; and float32 [A], the strides.
    """
    points, strides = [], []
    for stride, (rows, columns) in zip(STRIDES, sizes, strict=True):
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        points.append(torch.stack([x, y], -1).reshape(-1, 2) * float(stride))
        strides.append(torch.full((rows * columns,), float(stride)))
    return torch.cat(points).to(device), torch.cat(strides).to(device)


def flatten(levels: list[Tensor]) -> Tensor:
    """Grids [B, C, H, W] as one list of cells, [B, A, C]."""
    return torch.cat([level.flatten(2).transpose(1, 2) for level in levels], 1)


def decode(sides: Tensor, points: Tensor, strides: Tensor) -> Tensor:
    """Boxes [..., A, 4] of distributions over a side's lengths [..., A, 4 * bins] (arXiv:2006.04388)."""
    shares = sides.unflatten(-1, (4, -1)).softmax(-1)
    lengths = shares @ torch.arange(shares.shape[-1], dtype=shares.dtype, device=shares.device)
    return around(points, lengths * strides[:, None])


def around(points: Tensor, lengths: Tensor) -> Tensor:
    """Boxes whose sides lie that far left, up, right and down of points."""
    return torch.cat([points - lengths[..., :2], points + lengths[..., 2:]], -1)


def overlaps(first: Tensor, second: Tensor, *, generalised: bool = False) -> Tensor:
    """Intersection over union of boxes that broadcast; generalised: minus the hull's empty part (arXiv:1902.09630)."""
    corner, end = torch.maximum(first[..., :2], second[..., :2]), torch.minimum(first[..., 2:], second[..., 2:])
    shared = (end - corner).clamp(min=0).prod(-1)
    union = _area(first) + _area(second) - shared
    ratio = shared / union.clamp(min=1e-6)
    if not generalised:
        return ratio
    hull = (torch.maximum(first[..., 2:], second[..., 2:]) - torch.minimum(first[..., :2], second[..., :2])).prod(-1)
    return ratio - (hull - union) / hull.clamp(min=1e-6)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1)
