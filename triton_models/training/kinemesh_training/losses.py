"""What is learned: the labels, and the teacher's answer at every cell."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from kinemesh_training.boxes import around, decode, overlaps

CANDIDATES = 10
# Alignment of score and overlap that decides who answers for a person (TOOD, arXiv:2108.07755).
SCORE_POWER, OVERLAP_POWER = 0.5, 4.0
SMALLEST_REACH_PX = 6.0


@dataclass(frozen=True)
class Targets:
    """What cells are to answer, for a batch.

    Attributes:
        scores: float32 [B, A]; 0 where nobody is.
        boxes: float32 [B, A, 4]; of no meaning where the score is 0.
    """

    scores: Tensor
    boxes: Tensor


@torch.no_grad()
def assign(scores: Tensor, boxes: Tensor, points: Tensor, strides: Tensor, people: list[Tensor]) -> Targets:
    """Give every person the cells that find it best, each cell to the one person that it overlaps most.

    Args:
        scores: float32 [B, A], probabilities.
        boxes: float32 [B, A, 4], found boxes.
        points, strides: of the cells, ``boxes.places``.
        people: for every picture float32 [N, 4], the true boxes.
    """
    wanted, where = torch.zeros_like(scores), torch.zeros_like(boxes)
    for index, truth in enumerate(people):
        if not len(truth):
            continue
        shared = overlaps(truth[:, None], boxes[index][None])
        # A cell of a coarse grid may miss a small person by less than its stride.
        reach = ((truth[:, 2:] - truth[:, :2]) / 2).clamp(min=SMALLEST_REACH_PX)
        centre = (truth[:, :2] + truth[:, 2:]) / 2
        near = ((points[None] - centre[:, None]).abs() < reach[:, None]).all(-1)
        aligned = scores[index][None] ** SCORE_POWER * shared**OVERLAP_POWER * near
        best = aligned.topk(min(CANDIDATES, aligned.shape[1]), 1)
        chosen = torch.zeros_like(aligned).scatter_(1, best.indices, (best.values > 1e-9).float())
        # Nobody may be left without a cell, even where all answers are still wrong.
        closest = ((points[None] - centre[:, None]) / strides[None, :, None]).square().sum(-1)
        chosen[torch.arange(len(truth)), closest.argmin(1)] = 1
        owner = torch.where(chosen > 0, shared + 1e-6, torch.zeros_like(shared)).max(0)
        mine = owner.values > 0
        cells = owner.indices[mine]
        alignment = (aligned * chosen).max(1).values.clamp(min=1e-9)
        quality = (shared * chosen).max(1).values
        share = (aligned[cells, mine.nonzero().squeeze(1)] / alignment[cells]).clamp(max=1)
        wanted[index, mine] = (share * quality[cells]).clamp(min=0.02)
        where[index, mine] = truth[cells]
    return Targets(wanted, where)


def score_loss(logits: Tensor, wanted: Tensor) -> Tensor:
    """Quality focal loss (arXiv:2006.04388), over the sum of what is wanted."""
    weight = (logits.sigmoid() - wanted).square()
    loss = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    return (loss * weight).sum() / wanted.sum().clamp(min=1)


def box_loss(boxes: Tensor, wanted: Tensor, weights: Tensor) -> Tensor:
    """One minus generalised overlap, weighed by how sure the wanted box is."""
    return ((1 - overlaps(boxes, wanted, generalised=True)) * weights).sum() / weights.sum().clamp(min=1)


def side_loss(sides: Tensor, points: Tensor, strides: Tensor, wanted: Tensor, weights: Tensor) -> Tensor:
    """Cross entropy with the two bins around each side's true length (distribution focal loss).

    Args:
        sides: float32 [M, 4 * bins] of M cells; the others of the same M.
    """
    shares = sides.unflatten(-1, (4, -1)).log_softmax(-1)
    lengths = torch.cat([points - wanted[:, :2], wanted[:, 2:] - points], -1) / strides[:, None]
    lengths = lengths.clamp(0, shares.shape[-1] - 1.01)
    below = lengths.floor().long()
    above_part = lengths - below
    loss = -(
        shares.gather(-1, below[..., None]).squeeze(-1) * (1 - above_part)
        + shares.gather(-1, below[..., None] + 1).squeeze(-1) * above_part
    )
    return (loss.mean(-1) * weights).sum() / weights.sum().clamp(min=1)


def likeness_loss(mine: Tensor, theirs: Tensor) -> Tensor:
    """How little two grids of features correlate, on average over channels: 0 to 2 (PKD, arXiv:2207.02039)."""
    over = (0, 2, 3)
    mine = mine - mine.mean(over, keepdim=True)
    theirs = theirs - theirs.mean(over, keepdim=True)
    spread = (mine.square().mean(over) * theirs.square().mean(over)).clamp(min=1e-8).sqrt()
    return (1 - (mine * theirs).mean(over) / spread).mean()


def label_loss(
    logits: Tensor, sides: Tensor, points: Tensor, strides: Tensor, people: list[Tensor]
) -> dict[str, Tensor]:
    """The three losses that labels give, for answers [B, A] and [B, A, 4 * bins]."""
    boxes = decode(sides, points, strides)
    targets = assign(logits.detach().sigmoid(), boxes.detach(), points, strides, people)
    found = targets.scores > 0
    cells = found.nonzero()[:, 1]
    weights, wanted = targets.scores[found], targets.boxes[found]
    return {
        "score": score_loss(logits, targets.scores),
        "box": box_loss(boxes[found], wanted, weights),
        "side": side_loss(sides[found], points[cells], strides[cells], wanted, weights),
    }


def teacher_loss(
    logits: Tensor, sides: Tensor, points: Tensor, strides: Tensor, taught: Tensor, lengths: Tensor
) -> dict[str, Tensor]:
    """Losses against the teacher's probabilities [B, A] and side lengths [B, A, 4] in pixels."""
    sure = taught > 0.1
    cells = sure.nonzero()[:, 1]
    boxes = decode(sides[sure], points[cells], strides[cells])
    wanted = around(points[cells], lengths[sure])
    return {
        "taught score": score_loss(logits, taught),
        "taught box": box_loss(boxes, wanted, taught[sure]),
        "taught side": side_loss(sides[sure], points[cells], strides[cells], wanted, taught[sure]),
    }
