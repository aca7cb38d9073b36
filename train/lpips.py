"""LPIPS (arXiv 1801.03924): distance of two pictures in VGG16 features, weighted a channel.

Written out here for the reason DISTS is, and from the same files: torchvision's VGG16 and the
authors' `vgg.pth` of weights a channel (version 0.1).

    lpips = read_lpips(Path("weights/lpips"))  # a folder with vgg16*.pth and LPIPS's vgg.pth
    lpips(output, truth)  # (N, 3, H, W) each in [0, 1] -> (N,), 0 for equal pictures
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..model.checkpoint import check_tensors
from .dists import IMAGENET_MEAN, IMAGENET_STD, VGG_STAGES, VGG_WIDTHS, read_measure_tensors

EPSILON = 1e-10
"""Added to the length of a pixel's features before they are divided by it."""


class Lpips(nn.Module):
    """The distance; frozen."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        convs, channels = {}, 3
        for indices, width in zip(VGG_STAGES, VGG_WIDTHS, strict=True):
            for index in indices:
                convs[str(index)] = nn.Conv2d(channels, width, 3, padding=1)
                channels = width
        self.features = nn.ModuleDict(convs)
        self.weights = nn.ParameterList(torch.ones(1, width, 1, 1) for width in VGG_WIDTHS)
        for name, values in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)
        self.requires_grad_(False)

    def forward(self, output: Tensor, truth: Tensor) -> Tensor:
        """Distance of pictures (N, 3, H, W) in [0, 1], at least 16 pixels a side: (N,) in float32.

        Always in float32, as DISTS.
        """
        with torch.autocast(output.device.type, enabled=False):
            pairs = zip(self._maps(output.float()), self._maps(truth.float()), strict=True)
            parts = [
                (weight * (x - y).square()).sum(1).mean((1, 2))
                for weight, (x, y) in zip(self.weights, pairs, strict=True)
            ]
        return torch.stack(parts).sum(0)

    def _maps(self, images: Tensor) -> list[Tensor]:
        """The last activation of each VGG stage, of length 1 at every pixel."""
        maps, x = [], (images - self.mean) / self.std
        for stage, indices in enumerate(VGG_STAGES):
            x = F.max_pool2d(x, 2) if stage else x
            for index in indices:
                x = F.relu(self.features[str(index)](x))
            maps.append(x / (x.square().sum(1, keepdim=True).sqrt() + EPSILON))
        return maps


def read_lpips(path: Path) -> Lpips:
    """Read the distance's weights.

    Args:
        path: A folder with torchvision's VGG16 (`features.N.weight`) and the authors' weights
            (`lin0.model.1.weight` and so on), or one file with all of them. Pickles run no code.

    Raises:
        CheckpointError: A file cannot be read, or tensors are missing or of another shape.
    """
    lpips = Lpips()
    expected = lpips.state_dict()
    found = {
        f"weights.{key[3]}" if key.startswith("lin") and key.endswith(".weight") else key: value
        for key, value in read_measure_tensors(path, "LPIPS").items()
    }
    found = {key: value.float() for key, value in found.items() if key in expected}
    check_tensors(found, expected, source=str(path))
    lpips.load_state_dict(found)
    return lpips.eval()
