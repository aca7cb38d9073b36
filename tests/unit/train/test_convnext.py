"""The ConvNeXt trunk against a second writing of it, straight from the public tensors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from adcvsr.errors import CheckpointError
from adcvsr.train.convnext import CLIP_MEAN, CLIP_STD, read_convnext


def norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """LayerNorm over channels, by the definition."""
    mean = x.mean(1, keepdim=True)
    variance = ((x - mean) ** 2).mean(1, keepdim=True)
    return (x - mean) / torch.sqrt(variance + 1e-6) * weight[:, None, None] + bias[:, None, None]


def maps_by_definition(tensors: dict[str, Tensor], images: Tensor) -> list[Tensor]:
    """Section 2 of arXiv 2201.03545 with 1x1 convolutions for the linear layers."""
    t = {k.removeprefix("visual.trunk."): v for k, v in tensors.items() if "trunk" in k}
    mean, std = (torch.tensor(v)[:, None, None] for v in (CLIP_MEAN, CLIP_STD))
    x = F.conv2d((images * 0.5 + 0.5 - mean) / std, t["stem.0.weight"], t["stem.0.bias"], 4)
    x = norm(x, t["stem.1.weight"], t["stem.1.bias"])
    maps = []
    for stage, depth in enumerate((1, 2, 1)):
        s = f"stages.{stage}."
        if stage:
            x = norm(x, t[s + "downsample.0.weight"], t[s + "downsample.0.bias"])
            x = F.conv2d(x, t[s + "downsample.1.weight"], t[s + "downsample.1.bias"], 2)
        for block in range(depth):
            b = f"{s}blocks.{block}."
            y = F.conv2d(
                x, t[b + "conv_dw.weight"], t[b + "conv_dw.bias"], padding=3, groups=x.shape[1]
            )
            y = norm(y, t[b + "norm.weight"], t[b + "norm.bias"])
            y = F.conv2d(y, t[b + "mlp.fc1.weight"][:, :, None, None], t[b + "mlp.fc1.bias"])
            y = 0.5 * y * (1 + torch.erf(y / 2**0.5))  # exact GELU
            y = F.conv2d(y, t[b + "mlp.fc2.weight"][:, :, None, None], t[b + "mlp.fc2.bias"])
            x = x + t[b + "gamma"][:, None, None] * y
        maps.append(x)
    return maps


@pytest.fixture
def images() -> Tensor:
    return torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(4)) * 2 - 1


def test_maps_follow_the_definition(convnext_file: Path, images: Tensor) -> None:
    trunk = read_convnext(convnext_file)
    expected = maps_by_definition(torch.load(convnext_file, weights_only=True), images)
    assert trunk.widths == (8, 12, 16)
    for found, wanted in zip(trunk(images), expected, strict=True):
        assert torch.allclose(found, wanted, atol=1e-4, rtol=1e-4)


def test_timm_files_have_no_prefix(convnext_file: Path, images: Tensor, tmp_path: Path) -> None:
    tensors = torch.load(convnext_file, weights_only=True)
    bare = {k.removeprefix("visual.trunk."): v for k, v in tensors.items() if "trunk" in k}
    torch.save(bare, tmp_path / "timm.pth")
    for a, b in zip(
        read_convnext(tmp_path / "timm.pth")(images),
        read_convnext(convnext_file)(images),
        strict=True,
    ):
        assert torch.equal(a, b)


def test_frozen_but_passes_gradients(convnext_file: Path, images: Tensor) -> None:
    trunk = read_convnext(convnext_file)
    images.requires_grad_()
    trunk(images)[-1].sum().backward()
    assert images.grad is not None
    assert float(images.grad.abs().sum()) > 0
    assert all(p.grad is None and not p.requires_grad for p in trunk.parameters())


@pytest.mark.parametrize(
    ("drop", "message"),
    [
        ("stem.0.weight", "holds no stem.0.weight"),
        ("gamma", r"stages.0.blocks.0.gamma: expected \[8\], found nothing"),
        ("stages", "holds no blocks"),
    ],
)
def test_other_files_are_refused(
    convnext_file: Path, tmp_path: Path, drop: str, message: str
) -> None:
    tensors = torch.load(convnext_file, weights_only=True)
    torch.save({k: v for k, v in tensors.items() if drop not in k}, tmp_path / "a.bin")
    with pytest.raises(CheckpointError, match=message):
        read_convnext(tmp_path / "a.bin")
