"""What a teacher says of pictures."""

from dataclasses import dataclass

from torch import Tensor

# Of its features, at every stride.
CHANNELS = 64


@dataclass(frozen=True)
class Taught:
    """The teacher's answers for B pictures; its cells look where ours do.

    Attributes:
        scores: float32 [B, A], probabilities.
        lengths: float32 [B, A, 4], pixels from a cell's point to the left, top, right and bottom.
        features: float32 [B, 64, H, W] of each stride.
    """

    scores: Tensor
    lengths: Tensor
    features: list[Tensor]

    def to(self, device: str) -> "Taught":
        """The same on another device."""
        return Taught(self.scores.to(device), self.lengths.to(device), [level.to(device) for level in self.features])
