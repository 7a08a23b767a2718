"""The detector's network: dense convolutions, anchor-free, one class, three strides."""

from itertools import pairwise

import torch
from torch import Tensor, nn

STRIDES = (8, 16, 32)
# Where the answer is fed with a picture of bytes: what makes it centred and of about unit variance.
MEAN, DEVIATION = 114.0, 58.0


class Conv(nn.Sequential):
    """A convolution, batch normalisation and ReLU, which run as one where the network is served, in INT8 too."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.03),
            nn.ReLU(inplace=True),
        )


class Residual(nn.Module):
    """Two 3 x 3 convolutions beside what they are added to."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = Conv(channels, channels), Conv(channels, channels)

    def forward(self, features: Tensor) -> Tensor:
        return features + self.second(self.first(features))


class Stage(nn.Module):
    """Half of the channels through residual blocks, all that arose joined (C2f: Ultralytics YOLOv8; ELAN: YOLOv7).

    The joining convolution is 1 x 1, so that depth costs little.
    """

    def __init__(self, inputs: int, outputs: int, depth: int, *, residual: bool = True) -> None:
        super().__init__()
        half = outputs // 2
        self.split = Conv(inputs, outputs, 1)
        self.blocks = nn.ModuleList(Residual(half) if residual else Conv(half, half) for _ in range(depth))
        self.join = Conv(half * (2 + depth), outputs, 1)

    def forward(self, features: Tensor) -> Tensor:
        parts = list(self.split(features).chunk(2, dim=1))
        for block in self.blocks:
            parts.append(block(parts[-1]))
        return self.join(torch.cat(parts, dim=1))


class Pyramid(nn.Module):
    """Maxima of three growing neighbourhoods beside the features themselves (SPPF)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce = Conv(channels, channels // 2, 1)
        self.pool = nn.MaxPool2d(5, 1, 2)
        self.join = Conv(channels * 2, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        parts = [self.reduce(features)]
        for _ in range(3):
            parts.append(self.pool(parts[-1]))
        return self.join(torch.cat(parts, dim=1))


class Detector(nn.Module):
    """Pictures to scores and boxes at every place of three grids.

    Args:
        widths: channels at strides 2, 4, 8, 16 and 32.
        depths: blocks at strides 4, 8, 16 and 32.
        neck: channels of the neck and heads.
        bins: values of a side's distribution (generalised focal loss, arXiv:2006.04388).
    """

    def __init__(
        self,
        widths: tuple[int, ...] = (16, 32, 48, 96, 192),
        depths: tuple[int, ...] = (1, 2, 2, 2),
        neck: int = 48,
        bins: int = 12,
    ) -> None:
        super().__init__()
        self.bins = bins
        self.stem = Conv(3, widths[0], 3, 2)
        self.stages = nn.ModuleList(
            nn.Sequential(Conv(before, width, 3, 2), Stage(width, width, depth))
            for (before, width), depth in zip(pairwise(widths), depths, strict=True)
        )
        self.context = Pyramid(widths[4])
        self.lateral = nn.ModuleList(Conv(width, neck, 1) for width in widths[2:])
        self.down_up = nn.ModuleList(Stage(2 * neck, neck, 1, residual=False) for _ in range(2))
        self.shrink = nn.ModuleList(Conv(neck, neck, 3, 2) for _ in range(2))
        self.up_down = nn.ModuleList(Stage(2 * neck, neck, 1, residual=False) for _ in range(2))
        self.towers = nn.ModuleList(Conv(neck, neck) for _ in STRIDES)
        self.score = nn.ModuleList(nn.Conv2d(neck, 1, 1) for _ in STRIDES)
        self.sides = nn.ModuleList(nn.Conv2d(neck, 4 * bins, 1) for _ in STRIDES)
        for score in self.score:
            # At first nobody is anywhere.
            nn.init.constant_(score.bias, -4.6)

    def features(self, pictures: Tensor) -> list[Tensor]:
        features = self.stem(pictures)
        levels = []
        for stage in self.stages:
            features = stage(features)
            levels.append(features)
        eight, sixteen, thirty_two = (
            lateral(level)
            for lateral, level in zip(self.lateral, (levels[1], levels[2], self.context(levels[3])), strict=True)
        )
        sixteen = self.down_up[0](torch.cat([nn.functional.interpolate(thirty_two, scale_factor=2.0), sixteen], 1))
        eight = self.down_up[1](torch.cat([nn.functional.interpolate(sixteen, scale_factor=2.0), eight], 1))
        sixteen = self.up_down[0](torch.cat([self.shrink[0](eight), sixteen], 1))
        thirty_two = self.up_down[1](torch.cat([self.shrink[1](sixteen), thirty_two], 1))
        return [eight, sixteen, thirty_two]

    def heads(self, features: list[Tensor]) -> list[Tensor]:
        """The answers at each stride: a score's logit and four sides' distributions, [B, 1 + 4 * bins, H, W]."""
        answers = []
        for level, tower, score, sides in zip(features, self.towers, self.score, self.sides, strict=True):
            towered = tower(level)
            answers.append(torch.cat([score(towered), sides(towered)], 1))
        return answers

    def forward(self, pictures: Tensor) -> list[Tensor]:
        return self.heads(self.features(pictures))
