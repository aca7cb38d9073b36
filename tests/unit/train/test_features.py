"""The feature domain: the path of AdcSR, and parts that do not fit."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from adcvsr.errors import CheckpointError
from adcvsr.model import AdcVsr
from adcvsr.train.features import Student, read_feature_encoder
from tiny_configs import CLIP_UNET
from tiny_training import LIGHT


def test_student_gives_what_its_mid_block_gave() -> None:
    torch.manual_seed(0)
    network = AdcVsr(CLIP_UNET)
    low = torch.rand(2, 3, 3, 8, 12) * 2 - 1
    frames, features = Student(network, features=True)(low)
    assert torch.equal(frames, network(low)[0])
    assert features.shape == (2, 3, 16, 4, 6)
    # The rest of the decoder, from these features, ends in the same frames.
    x = features.flatten(0, 1)
    for block in network.decoder.up_blocks:
        x = block(x)
    decoder = network.decoder
    again = decoder.conv_out(decoder.conv_act(decoder.conv_norm_out(x)))
    assert torch.allclose(again, frames.flatten(0, 1), atol=1e-5)
    assert Student(AdcVsr(LIGHT), features=False)(low)[1] is None
    assert not network.decoder.mid_block._forward_hooks


def test_encoder_takes_the_path_of_adcsr(vae_folder: Path, half_decoder: Path) -> None:
    from diffusers import AutoencoderKL

    encoder = read_feature_encoder(vae_folder, half_decoder)
    clip = torch.rand(2, 3, 3, 32, 48) * 2 - 1
    features = encoder(clip)
    assert features.shape == (2, 3, 16, 4, 6)
    vae = AutoencoderKL.from_pretrained(vae_folder / "vae")
    tensors = torch.load(half_decoder, weights_only=True)["state_dict"]
    with torch.no_grad():
        moments = vae.quant_conv(vae.encoder(clip.flatten(0, 1)))
        latent = vae.post_quant_conv(moments[:, :4])  # the mean; no sampling, no scaling factor
        weight, bias = (tensors[f"decoder.conv_in.{name}"] for name in ("weight", "bias"))
        x = torch.nn.functional.conv2d(latent, weight, bias, padding=1)
        middle = AdcVsr(CLIP_UNET).decoder.mid_block
        middle.load_state_dict(
            {k[len("decoder.mid_block.") :]: v for k, v in tensors.items() if "mid_block" in k}
        )
        expected = middle(x).unflatten(0, (2, 3))
    assert torch.allclose(features, expected, atol=1e-5)
    assert not features.requires_grad
    assert not any(p.requires_grad for p in encoder.parameters())


def test_parts_that_are_missing(vae_folder: Path, half_decoder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no config.json in .* diffusers layout"):
        read_feature_encoder(tmp_path, half_decoder)
    whole = torch.load(half_decoder, weights_only=True)["state_dict"]
    torch.save({k: v for k, v in whole.items() if "conv_in" not in k}, tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match="holds no conv_in"):
        read_feature_encoder(vae_folder, tmp_path / "a.ckpt")
    whole["decoder.conv_in.weight"] = torch.zeros(16, 8, 3, 3)
    torch.save(whole, tmp_path / "b.ckpt")
    with pytest.raises(CheckpointError, match="takes 8 latent channels, .* gives 4"):
        read_feature_encoder(vae_folder, tmp_path / "b.ckpt")


def test_an_incomplete_vae(vae_folder: Path, half_decoder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "vae"
    shutil.copytree(vae_folder / "vae", folder)
    weights = folder / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    save_file({k: v for k, v in tensors.items() if "quant_conv.bias" not in k}, weights)
    with pytest.raises(CheckpointError, match=r"lacks 2 of .* the first is post_quant_conv.bias"):
        read_feature_encoder(tmp_path, half_decoder)
    weights.unlink()
    with pytest.raises(CheckpointError, match="not a readable VAE"):
        read_feature_encoder(tmp_path, half_decoder)
