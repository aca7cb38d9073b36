"""Weights of PyTorch by spandrel's interface: a stand-in has its classes, names and ranges."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from few_colours import three_colours
from torch import Tensor, nn

from adcvsr.errors import AdoptError
from adcvsr.export.adopt.adopt import AdoptOptions, adopt
from adcvsr.export.adopt.original import read_original
from adcvsr.export.adopt.torch_file import torch_to_onnx
from adcvsr.export.graphs.replay import open_session
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.runtime.upscaler import Upscaler

pytestmark = pytest.mark.usefixtures(three_colours.__name__)


class Compact(nn.Module):
    """A picture at twice its size, and a little of what a convolution makes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.conv = nn.Conv2d(3, 12, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        more: Tensor = nn.functional.pixel_shuffle(self.conv(x).tanh() * 0.05, 2)
        return nn.functional.interpolate(x, scale_factor=2, mode="nearest") + more


class ImageModelDescriptor:
    """As spandrel 0.4 has it: takes and gives [0, 1], clamped."""

    purpose = "SR"

    def __init__(self, model: nn.Module, scale: int, channels: int = 3) -> None:
        self.model, self.scale = model, scale
        self.input_channels = self.output_channels = channels
        self.architecture = SimpleNamespace(id="Compact", name="RealESRGAN Compact")
        self.size_requirements = SimpleNamespace(minimum=0, multiple_of=1, square=False)

    def float(self) -> ImageModelDescriptor:
        return self

    def eval(self) -> ImageModelDescriptor:
        self.model.eval()
        return self

    @torch.inference_mode()
    def __call__(self, image: Tensor) -> Tensor:
        made: Tensor = self.model(image).clamp_(0, 1)
        return made


class MaskedImageModelDescriptor:
    purpose = "Inpainting"


@pytest.fixture
def spandrel(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module that loads `loads` from any file."""
    module: Any = ModuleType("spandrel")

    class ModelLoader:
        def __init__(self, device: Any = None) -> None:
            assert device == "cpu"

        def load_from_file(self, path: str) -> Any:
            assert isinstance(path, str)
            if isinstance(module.loads, Exception):
                raise module.loads
            return module.loads

    module.ModelLoader, module.ImageModelDescriptor = ModelLoader, ImageModelDescriptor
    module.loads = ImageModelDescriptor(Compact(), 2)
    monkeypatch.setitem(sys.modules, "spandrel", module)
    return module


@pytest.mark.usefixtures("spandrel")
def test_what_spandrel_loads_is_traced_and_proven(tmp_path: Path) -> None:
    source = tmp_path / "x.pth"
    source.write_bytes(b"weights")
    options = AdoptOptions(licence="CC0-1.0")
    bundle = adopt(source, tmp_path / "b", options, report=lambda line: None)
    assert bundle.manifest["provenance"]["adopted"]["format"] == "pytorch"
    assert bundle.scale == 2
    assert bundle.parameters - sum(p.numel() for p in Compact().parameters()) < 10  # and sizes
    picture = draw_clip(1, 22, 30)[0]
    values = torch.from_numpy(picture.astype(np.float32) / 255).permute(2, 0, 1)[None]
    exact = Compact()(values)[0].permute(1, 2, 0).detach().numpy() * 255
    with Upscaler(bundle, backend="ort-cpu") as upscaler:
        assert np.abs(upscaler(picture) - exact.clip(0, 255)).max() <= 0.51


class Rebuilt(Compact):
    """Writes the weights it runs with from others at every run, as SPAN's convolutions do."""

    def __init__(self) -> None:
        super().__init__()
        self.own = nn.Conv2d(3, 12, 3, padding=1)

    def update_params(self) -> None:
        self.conv.weight.data = (self.own.weight.data * 2).contiguous()

    def forward(self, x: Tensor) -> Tensor:
        self.update_params()
        return super().forward(x)


def test_weights_written_at_every_run_are_written_for_the_last_time(
    tmp_path: Path, spandrel: Any
) -> None:
    """The exporter crashes, Python and all, where a network writes weights as it is traced."""
    spandrel.loads = ImageModelDescriptor(Rebuilt(), 2)
    (tmp_path / "x.pth").write_bytes(b"weights")
    values = torch.from_numpy(draw_clip(1, 24, 32)[0].astype(np.float32) / 255).permute(2, 0, 1)
    expected = spandrel.loads(values[None]).numpy()
    model = torch_to_onnx(tmp_path / "x.pth")
    (made,) = open_session(model.SerializeToString()).run(None, {"picture": values[None].numpy()})
    assert np.abs(made.clip(0, 1) - expected).max() < 1e-5
    assert np.abs(made - Compact()(values[None]).detach().numpy()).max() > 1e-3


class Writing(Compact):
    """Writes its weights by no name that is known."""

    def forward(self, x: Tensor) -> Tensor:
        self.conv.weight.data = self.conv.weight.data * 1
        return super().forward(x)


@pytest.mark.parametrize(
    ("loads", "says"),
    [
        (ValueError("no architecture\nfits"), "does not load .*: no architecture; there are two"),
        (MaskedImageModelDescriptor(), "is a network of Inpainting, no upscaler"),
        (ImageModelDescriptor(Compact(), 8), "makes 8 times the size; expected 3 and 3 colours"),
        (ImageModelDescriptor(Compact(), 2, channels=1), "takes 1 channels, gives 1"),
        (ImageModelDescriptor(Writing(), 2), "module 'conv' writes its weights whenever it runs"),
    ],
    ids=["unknown", "inpainting", "scale", "grey", "writing"],
)
def test_what_is_no_upscaler_is_said(tmp_path: Path, spandrel: Any, loads: Any, says: str) -> None:
    spandrel.loads = loads
    (tmp_path / "x.safetensors").write_bytes(b"weights")
    with pytest.raises(AdoptError, match=says) as error:
        read_original(tmp_path / "x.safetensors")
    assert "\n" not in str(error.value)


def test_without_spandrel_both_ways_around_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "spandrel", None)
    (tmp_path / "x.pth").write_bytes(b"weights")
    with pytest.raises(
        AdoptError, match=r"adcvsr\[spandrel\].*export it to ONNX.*\.param and \.bin"
    ):
        read_original(tmp_path / "x.pth")
