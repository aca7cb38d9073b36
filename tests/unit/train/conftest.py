"""A tiny one of everything the stages take: clips, pictures, students, and weights of others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from adcvsr.config import AdcVsrConfig
from adcvsr.model import AdcVsr, save_checkpoint
from adcvsr.pictures.clips import write_clip, write_png
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.train.dists import VGG_WIDTHS, Dists
from tiny_configs import CLIP_UNET
from tiny_training import Folders


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    made = Folders(tmp_path_factory.mktemp("clips"), tmp_path_factory.mktemp("images"))
    write_clip(made.clips / "a.mp4", draw_clip(8, 64, 96))
    for index, image in enumerate(draw_clip(2, 96, 128)):
        write_png(made.images / f"{index}.png", image)
    return made


@pytest.fixture(scope="session")
def save_student(tmp_path_factory: pytest.TempPathFactory) -> Callable[[AdcVsrConfig], Path]:
    """Write a checkpoint of a new student."""

    def save(config: AdcVsrConfig) -> Path:
        torch.manual_seed(0)
        network = AdcVsr(config)
        network.start_as_interpolation()
        path = tmp_path_factory.mktemp("student") / "checkpoint.safetensors"
        save_checkpoint(path, network, provenance={"licences": ["CC0-1.0"]})
        return path

    return save


@pytest.fixture(scope="session")
def vae_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Stable Diffusion folder whose VAE has 8 channels."""
    diffusers = pytest.importorskip("diffusers", reason="the feature encoder needs diffusers")
    torch.manual_seed(1)
    vae = diffusers.AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        norm_num_groups=4,
    )
    folder = tmp_path_factory.mktemp("sd")
    vae.save_pretrained(folder / "vae")
    return folder


@pytest.fixture(scope="session")
def half_decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A half decoder's file, its mid block that of a CLIP_UNET student."""
    torch.manual_seed(2)
    mid_block = AdcVsr(CLIP_UNET).decoder.mid_block.state_dict()
    tensors = {f"decoder.mid_block.{key}": value for key, value in mid_block.items()}
    tensors["decoder.conv_in.weight"] = torch.randn(16, 4, 3, 3) / 6
    tensors["decoder.conv_in.bias"] = torch.zeros(16)
    path = tmp_path_factory.mktemp("half") / "halfDecoder.ckpt"
    torch.save({"state_dict": tensors}, path)
    return path


@pytest.fixture(scope="session")
def dists_tensors() -> dict[str, torch.Tensor]:
    """Random weights under the public keys: torchvision's VGG16 and the authors' alpha and beta."""
    torch.manual_seed(0)
    vgg = {k: v for k, v in Dists().state_dict().items() if k.startswith("features")}
    count = 3 + sum(VGG_WIDTHS)
    return vgg | {name: torch.rand(1, count, 1, 1) for name in ("alpha", "beta")}


@pytest.fixture(scope="session")
def dists_folder(
    dists_tensors: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    made = tmp_path_factory.mktemp("dists")
    vgg = {k: v for k, v in dists_tensors.items() if k.startswith("features")}
    torch.save(vgg | {"classifier.0.weight": torch.zeros(2)}, made / "vgg16-397923af.pth")
    torch.save({k: dists_tensors[k] for k in ("alpha", "beta")}, made / "weights.pt")
    return made


@pytest.fixture(scope="session")
def convnext_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An OpenCLIP checkpoint of a ConvNeXt with widths 8 to 20, key by key as the public ones."""
    generator = torch.Generator().manual_seed(3)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator) / shape[-1] ** 0.5

    tensors = {"logit_scale": torch.ones(()), "visual.head.proj.weight": draw(4, 20)}
    trunk = {"stem.0.weight": draw(8, 3, 4, 4), "stem.0.bias": draw(8)}
    trunk |= {"stem.1.weight": 1 + draw(8), "stem.1.bias": draw(8), "head.norm.bias": draw(20)}
    widths, depths = (8, 12, 16, 20), (1, 2, 1, 1)
    for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        if stage:
            before = widths[stage - 1]
            trunk[f"stages.{stage}.downsample.0.weight"] = 1 + draw(before)
            trunk[f"stages.{stage}.downsample.0.bias"] = draw(before)
            trunk[f"stages.{stage}.downsample.1.weight"] = draw(width, before, 2, 2)
            trunk[f"stages.{stage}.downsample.1.bias"] = draw(width)
        for block in range(depth):
            shapes = {
                "gamma": (width,),
                "conv_dw.weight": (width, 1, 7, 7),
                "conv_dw.bias": (width,),
                "norm.weight": (width,),
                "norm.bias": (width,),
                "mlp.fc1.weight": (4 * width, width),
                "mlp.fc1.bias": (4 * width,),
                "mlp.fc2.weight": (width, 4 * width),
                "mlp.fc2.bias": (width,),
            }
            for name, shape in shapes.items():
                trunk[f"stages.{stage}.blocks.{block}.{name}"] = draw(*shape)
    tensors |= {f"visual.trunk.{key}": value for key, value in trunk.items()}
    path = tmp_path_factory.mktemp("clip") / "open_clip_pytorch_model.bin"
    torch.save(tensors, path)
    return path
