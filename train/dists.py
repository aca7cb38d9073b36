"""DISTS (arXiv 2004.07728): structure and texture similarity of two pictures in VGG16 features.

Written out here because every package that has it needs torchvision. It follows the authors' code:
L2 pooling instead of max pooling, the unnormalised picture as the first "feature", weights alpha
(means) and beta (covariances) that sum to one.

    dists = read_dists(Path("weights/dists"))  # a folder with vgg16*.pth and DISTS's weights.pt
    dists(output, truth)  # (N, 3, H, W) each in [0, 1] -> (N,), 0 for equal pictures
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import CheckpointError
from ..model.checkpoint import check_tensors
from ..model.published import read_tensors

VGG_STAGES = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
"""Indices of torchvision's `features.N` convolutions, by stage; L2 pooling between the stages."""

VGG_WIDTHS = (64, 128, 256, 512, 512)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

STABILITY = 1e-6
"""The constants c1 and c2 of the similarities."""

SUFFIXES = frozenset({".pt", ".pth", ".bin", ".safetensors"})


class Dists(nn.Module):
    """The distance; frozen, but gradients flow to the pictures."""

    mean: Tensor
    std: Tensor
    pooling: Tensor

    def __init__(self) -> None:
        super().__init__()
        convs, channels = {}, 3
        for indices, width in zip(VGG_STAGES, VGG_WIDTHS, strict=True):
            for index in indices:
                convs[str(index)] = nn.Conv2d(channels, width, 3, padding=1)
                channels = width
        self.features = nn.ModuleDict(convs)
        count = 3 + sum(VGG_WIDTHS)
        self.alpha = nn.Parameter(torch.ones(1, count, 1, 1))
        self.beta = nn.Parameter(torch.ones(1, count, 1, 1))
        hann = torch.tensor([0.25, 0.5, 0.25])  # Hann window of 5 without its zeros
        for name, value in (
            ("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1)),
            ("std", torch.tensor(IMAGENET_STD).view(3, 1, 1)),
            ("pooling", hann[:, None] * hann[None, :]),
        ):
            self.register_buffer(name, value, persistent=False)
        self.requires_grad_(False)

    def forward(self, output: Tensor, truth: Tensor) -> Tensor:
        """Distance of pictures (N, 3, H, W) in [0, 1], at least 16 pixels a side: (N,) in float32.

        Always in float32: squared VGG features overflow float16.
        """
        with torch.autocast(output.device.type, enabled=False):
            pairs = zip(self._maps(output.float()), self._maps(truth.float()), strict=True)
            means, covariances = zip(*(_similarities(x, y) for x, y in pairs), strict=True)
            total = self.alpha.sum() + self.beta.sum()
            structure = (self.alpha.flatten() * torch.cat(means, 1)).sum(1)
            texture = (self.beta.flatten() * torch.cat(covariances, 1)).sum(1)
            distance: Tensor = 1 - (structure + texture) / total
        return distance

    def _maps(self, images: Tensor) -> list[Tensor]:
        """The picture itself and the last activation of each VGG stage."""
        maps, x = [images], (images - self.mean) / self.std
        for stage, indices in enumerate(VGG_STAGES):
            x = self._pool(x) if stage else x
            for index in indices:
                x = F.relu(self.features[str(index)](x))
            maps.append(x)
        return maps

    def _pool(self, x: Tensor) -> Tensor:
        """Root of the Hann-weighted mean of squares, every second position."""
        kernel = self.pooling.expand(x.shape[1], 1, 3, 3)
        return (F.conv2d(x**2, kernel, stride=2, padding=1, groups=x.shape[1]) + 1e-12).sqrt()


def read_dists(path: Path) -> Dists:
    """Read the distance's weights.

    Args:
        path: A folder with torchvision's VGG16 (`features.N.weight`) and the authors' weights
            (`alpha`, `beta`), or one file that holds all of them. Pickles run no code.

    Raises:
        CheckpointError: A file cannot be read, or tensors are missing or of another shape.
    """
    dists = Dists()
    expected = dists.state_dict()
    found = read_measure_tensors(path, "DISTS")
    found = {key: value.float() for key, value in found.items() if key in expected}
    check_tensors(found, expected, source=str(path))
    dists.load_state_dict(found)
    return dists


def read_measure_tensors(path: Path, measure: str) -> dict[str, Tensor]:
    """All tensors of a file, or of a folder's files of weights.

    Raises:
        CheckpointError: A file cannot be read, or there is none.
    """
    if not path.is_dir():
        return read_tensors(path)
    files = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
    if not files:
        raise CheckpointError(
            f"no weights in '{path}'; expected VGG16's and {measure}'s files, ending in "
            f"{', '.join(sorted(SUFFIXES))}"
        )
    return {key: value for file in files for key, value in read_tensors(file).items()}


def _similarities(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Of means and of covariances, each (N, C), of two maps (N, C, H, W)."""
    x_mean, y_mean = x.mean((2, 3)), y.mean((2, 3))
    x_variance, y_variance = x.var((2, 3), correction=0), y.var((2, 3), correction=0)
    covariance = (x * y).mean((2, 3)) - x_mean * y_mean
    means = (2 * x_mean * y_mean + STABILITY) / (x_mean**2 + y_mean**2 + STABILITY)
    return means, (2 * covariance + STABILITY) / (x_variance + y_variance + STABILITY)
