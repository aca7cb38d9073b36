"""DISTS: its formula where it can be computed by hand, and its properties on random weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from adcvsr.errors import CheckpointError
from adcvsr.train.dists import VGG_WIDTHS, Dists, read_dists

CHANNELS = 3 + sum(VGG_WIDTHS)


@pytest.fixture(scope="module")
def dists(dists_folder: Path) -> Dists:
    return read_dists(dists_folder)


@pytest.fixture
def pictures() -> Tensor:
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_pictures_part_by_hand(dists_tensors: dict[str, Tensor], pictures: Tensor) -> None:
    """With weight on the picture's own channels alone it is SSIM of whole channels, in parts."""
    network = Dists()
    weights = torch.zeros(1, CHANNELS, 1, 1)
    weights[:, :3] = torch.tensor([1.0, 2.0, 3.0])[:, None, None]
    network.load_state_dict(dists_tensors | {"alpha": weights, "beta": weights})
    x, y = pictures
    expected = 0.0
    for channel, weight in enumerate((1.0, 2.0, 3.0)):
        a, b = x[channel].double(), y[channel].double()
        mean = (2 * a.mean() * b.mean() + 1e-6) / (a.mean() ** 2 + b.mean() ** 2 + 1e-6)
        covariance = ((a - a.mean()) * (b - b.mean())).mean()
        texture = (2 * covariance + 1e-6) / (a.var(correction=0) + b.var(correction=0) + 1e-6)
        expected += weight * float(mean + texture) / 12
    assert float(network(x[None], y[None])) == pytest.approx(1 - expected, abs=1e-4)


def test_equal_pictures_have_no_distance(dists: Dists, pictures: Tensor) -> None:
    assert dists(pictures, pictures).abs().max() < 1e-4
    assert dists(pictures, pictures).shape == (2,)


def test_it_grows_with_the_damage_and_has_no_order(dists: Dists, pictures: Tensor) -> None:
    noise = torch.randn(pictures.shape, generator=torch.Generator().manual_seed(2))
    little, much = (dists((pictures + s * noise).clamp(0, 1), pictures) for s in (0.05, 0.3))
    assert (little > 0).all()
    assert (2 * little < much).all()
    assert (much < 2).all()
    assert torch.allclose(dists(pictures, pictures * 0.5), dists(pictures * 0.5, pictures))


def test_weights_count_relative_to_each_other(
    dists: Dists, dists_tensors: dict[str, Tensor], pictures: Tensor
) -> None:
    doubled = Dists()
    doubled.load_state_dict(dists_tensors | {k: 2 * dists_tensors[k] for k in ("alpha", "beta")})
    other = pictures.flip(3)
    assert torch.allclose(doubled(pictures, other), dists(pictures, other), atol=1e-5)


def test_gradients_reach_the_pictures_alone(dists: Dists, pictures: Tensor) -> None:
    output = (pictures * 0.9).requires_grad_()
    dists(output, pictures).sum().backward()
    assert output.grad is not None
    assert torch.isfinite(output.grad).all()
    assert float(output.grad.abs().sum()) > 0
    assert all(p.grad is None for p in dists.parameters())


def test_incomplete_weights(dists_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"alpha: expected \[1, 1475, 1, 1\], found nothing"):
        read_dists(dists_folder / "vgg16-397923af.pth")
    with pytest.raises(CheckpointError, match="no weights in"):
        read_dists(tmp_path)
    with pytest.raises(CheckpointError, match="no file"):
        read_dists(tmp_path / "none.pt")
