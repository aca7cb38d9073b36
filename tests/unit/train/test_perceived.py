"""Measures by trained networks: the published formulas on weights by path, and pyiqa's by name."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from adcvsr.errors import CheckpointError, ConfigError, MissingPackageError
from adcvsr.metrics import usable_metrics, usable_without_truth
from adcvsr.train import lpips as lpips_module
from adcvsr.train.dists import VGG_STAGES
from adcvsr.train.lpips import read_lpips
from adcvsr.train.perceived import open_measures, with_measures

VGG_WIDTHS = (4, 4, 6, 8, 8)


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """VGG16 with few channels, and weights a channel."""
    monkeypatch.setattr(lpips_module, "VGG_WIDTHS", VGG_WIDTHS)
    torch.manual_seed(4)
    folder = tmp_path / "lpips"
    folder.mkdir()
    vgg: dict[str, Tensor] = {}
    channels = 3
    for indices, width in zip(VGG_STAGES, VGG_WIDTHS, strict=True):
        for index in indices:
            vgg[f"features.{index}.weight"] = 0.3 * torch.randn(width, channels, 3, 3)
            vgg[f"features.{index}.bias"] = 0.1 * torch.rand(width)
            channels = width
    torch.save(vgg, folder / "vgg16.pth")
    lins = {f"lin{i}.model.1.weight": torch.rand(1, w, 1, 1) for i, w in enumerate(VGG_WIDTHS)}
    torch.save(lins, folder / "vgg.pth")
    return folder


@torch.no_grad()
def test_lpips_is_the_published_formula(weights: Path) -> None:
    lpips = read_lpips(weights)
    first, second = torch.rand(2, 1, 3, 32, 32)
    assert float(lpips(first, first)) == 0
    vgg = torch.load(weights / "vgg16.pth")
    lins = torch.load(weights / "vgg.pth")

    def maps(picture: Tensor) -> list[Tensor]:
        # The authors' scaling of [-1, 1].
        shift = torch.tensor([-0.030, -0.088, -0.188]).view(3, 1, 1)
        x = (2 * picture - 1 - shift) / torch.tensor([0.458, 0.448, 0.450]).view(3, 1, 1)
        found = []
        for stage, indices in enumerate(VGG_STAGES):
            x = F.max_pool2d(x, 2, 2) if stage else x
            for index in indices:
                name = f"features.{index}"
                x = F.relu(F.conv2d(x, vgg[f"{name}.weight"], vgg[f"{name}.bias"], padding=1))
            found.append(x)
        return found

    expected = torch.zeros(1)
    for index, (a, b) in enumerate(zip(maps(first), maps(second), strict=True)):
        unit = [x / (x.pow(2).sum(1, keepdim=True).sqrt() + 1e-10) for x in (a, b)]
        expected += F.conv2d((unit[0] - unit[1]) ** 2, lins[f"lin{index}.model.1.weight"]).mean(
            (1, 2, 3)
        )
    assert float(lpips(first, second)) == pytest.approx(float(expected), rel=1e-4)
    (weights / "vgg.pth").unlink()
    with pytest.raises(CheckpointError, match="weights.0: expected"):
        read_lpips(weights)
    (weights / "vgg16.pth").unlink()
    with pytest.raises(CheckpointError, match="VGG16's and LPIPS's files"):
        read_lpips(weights)


def fake_pyiqa(name: str, device: object) -> Any:
    if name in ("nothing", "musik", "none"):
        raise ValueError(f"no {'weights' if name == 'none' else 'such metric'}\nin a trace")

    class Metric:
        metric_mode = "FR" if name == "lpips" else "NR"
        lower_better = name == "lpips"

        def __call__(self, *pictures: Tensor) -> Tensor:
            assert all(each.shape == (1, 3, 64, 64) and float(each.max()) <= 1 for each in pictures)
            return pictures[0].mean() + 10 * (len(pictures) - 1)

    return Metric()


def test_pyiqa_is_asked_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    with pytest.raises(MissingPackageError, match="--pyiqa musiq needs .* pip install pyiqa"):
        open_measures(pyiqa=["musiq"])
    package = SimpleNamespace(
        create_metric=fake_pyiqa, list_models=lambda: ["clipiqa", "musiq", "none"]
    )
    monkeypatch.setitem(sys.modules, "pyiqa", package)
    with pytest.raises(ConfigError, match=r"no metric 'nothing'; there are: clipiqa, musiq, none$"):
        open_measures(pyiqa=["nothing"])
    with pytest.raises(ConfigError, match="no metric 'musik', did you mean 'musiq'"):
        open_measures(pyiqa=["musik"])
    with pytest.raises(
        ConfigError, match="'none': no weights; it fetches weights by itself.* put them into '.*hub"
    ):
        open_measures(pyiqa=["none"])
    measures = open_measures(pyiqa=["musiq", "lpips", "musiq"])
    usable = with_measures(usable_metrics("psnr"), measures)
    assert [m.name for m in usable.metrics] == ["psnr", "pyiqa_musiq", "pyiqa_lpips"]
    assert [m.higher_is_better for m in usable.metrics] == [True, True, False]
    white = np.full((64, 64, 3), 255, np.uint8)
    assert usable.given["pyiqa_musiq"](white, white // 2) == 1
    assert usable.given["pyiqa_lpips"](white, white) == 11
    with pytest.raises(ConfigError, match="pyiqa_lpips compares with a truth"):
        with_measures(usable_without_truth("noise"), measures, truth=False)
