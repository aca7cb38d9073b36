"""Importing the checkpoints of others: right tensors in, everything else refused by name."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from adcvsr.config import PRESETS, AdcVsrConfig
from adcvsr.errors import CheckpointError
from adcvsr.model import AdcVsr, load_checkpoint, save_checkpoint
from adcvsr.model.published import import_adcsr, import_stable_diffusion, read_tensors
from published_files import write_adcsr, write_lightning

SMALL = dataclasses.replace(
    PRESETS["paper"], widths=(12, 24, 48, 48), attention_heads=(1, 2, 4, 4),
    decoder_widths=(8, 16, 32, 256),
)  # fmt: skip


@torch.no_grad()
def test_adcsr_gives_what_adcsr_gives(tmp_path: Path) -> None:
    network, net_params, half_decoder = write_adcsr(tmp_path, SMALL)
    imported, provenance = import_adcsr(net_params, half_decoder, config=SMALL)
    clip = torch.rand(1, 3, 3, 16, 32) * 2 - 1
    assert (imported(clip)[0] - network(clip)[0]).abs().max() <= 1e-5
    assert [f["file"] for f in provenance["imported_from"]] == [
        "net_params_200.pkl",
        "halfDecoder.ckpt",
    ]
    assert any("Open RAIL" in licence for licence in provenance["licences"])
    # The temporal part is there, as identity, and survives our own checkpoint with the licence.
    assert any(".temporal_" in key for key in imported.state_dict())
    save_checkpoint(tmp_path / "own.safetensors", imported, provenance=provenance)
    loaded, travelled = load_checkpoint(tmp_path / "own.safetensors")
    assert travelled == provenance
    assert torch.equal(loaded(clip)[0], imported(clip)[0])


def test_the_causal_twin_takes_the_same_weights(tmp_path: Path) -> None:
    _, net_params, half_decoder = write_adcsr(tmp_path, SMALL)
    causal, _ = import_adcsr(
        net_params, half_decoder, config=dataclasses.replace(SMALL, causal=True)
    )
    assert causal.state_divisors()


def test_ldm_named_decoder(tmp_path: Path) -> None:
    """The decoder under the names of LDM's code, projections as 1x1 convolutions."""
    network, net_params, half_decoder = write_adcsr(tmp_path, SMALL)
    renamed = {}
    for key, tensor in read_tensors(half_decoder).items():
        name = key
        for level in range(4):
            name = name.replace(f"up_blocks.{level}.resnets.", f"up.{3 - level}.block.")
            name = name.replace(f"up_blocks.{level}.upsamplers.0.", f"up.{3 - level}.upsample.")
        name = name.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
        renamed[name] = tensor
    write_lightning(tmp_path / "ldm.ckpt", renamed)
    imported, _ = import_adcsr(net_params, tmp_path / "ldm.ckpt", config=SMALL)
    weights = imported.state_dict()
    for key, tensor in network.state_dict().items():
        assert torch.equal(weights[key], tensor), key


def stable_diffusion_of(config: AdcVsrConfig) -> AdcVsrConfig:
    """The unpruned widths a pruned config comes from."""
    return dataclasses.replace(
        config,
        widths=tuple(w * 4 // 3 for w in config.widths),
        decoder_widths=tuple(w * 2 for w in config.decoder_widths),
        temporal_sites=(),
    )


def write_stable_diffusion(folder: Path, config: AdcVsrConfig) -> dict[str, Tensor]:
    """A diffusers folder with what AdcSR removes from it, too."""
    torch.manual_seed(2)
    full = AdcVsr(stable_diffusion_of(config)).state_dict()
    unet = {k.removeprefix("unet."): v for k, v in full.items() if k.startswith("unet.")}
    width = unet["conv_in.weight"].shape[0]
    unet["conv_in.weight"] = torch.randn(width, 4, 3, 3)
    unet["conv_out.weight"], unet["conv_out.bias"] = torch.randn(4, width, 3, 3), torch.randn(4)
    block = "down_blocks.0.attentions.0.transformer_blocks.0."
    unet |= {
        "time_embedding.linear_1.weight": torch.randn(4, 4),
        "down_blocks.0.resnets.0.time_emb_proj.weight": torch.randn(4, 4),
        block + "attn2.to_q.weight": torch.randn(4, 4),
        block + "norm2.weight": torch.randn(4),
    }
    vae = {k: v for k, v in full.items() if k.startswith("decoder.")}
    vae["encoder.conv_in.weight"] = torch.randn(4, 3, 3, 3)
    for part, tensors in (("unet", unet), ("vae", vae)):
        (folder / part).mkdir(parents=True)
        contiguous = {k: v.contiguous() for k, v in tensors.items()}
        save_file(contiguous, folder / part / "diffusion_pytorch_model.safetensors")
    return {**{f"unet.{k}": v for k, v in unet.items()}, **vae}


def test_stable_diffusion_keeps_the_first_channels(tmp_path: Path) -> None:
    source = write_stable_diffusion(tmp_path / "sd", SMALL)
    network, provenance = import_stable_diffusion(tmp_path / "sd", config=SMALL)
    weights = network.state_dict()
    key = "unet.down_blocks.1.resnets.1.conv1.weight"
    assert torch.equal(weights[key], source[key][:24, :24])
    key = "unet.down_blocks.0.attentions.0.transformer_blocks.0.ff.net.0.proj.weight"
    assert torch.equal(weights[key], source[key][: 8 * 12, :12])
    key = "decoder.up_blocks.3.resnets.0.conv1.weight"
    assert torch.equal(weights[key], source[key][:8, :16])
    # Four latent channels repeated, cut to the twelve of the unshuffled picture; 256 to the link.
    stem, link = source["unet.conv_in.weight"], source["unet.conv_out.weight"]
    assert torch.equal(weights["unet.conv_in.weight"], stem.repeat(1, 3, 1, 1)[:12])
    assert torch.equal(weights["unet.conv_out.weight"], link.repeat(64, 1, 1, 1)[:, :12])
    assert len(provenance["imported_from"]) == 2


def test_stable_diffusion_with_a_half_decoder(tmp_path: Path) -> None:
    write_stable_diffusion(tmp_path / "sd", SMALL)
    adcsr, _, half_decoder = write_adcsr(tmp_path, SMALL)
    network, _ = import_stable_diffusion(tmp_path / "sd", half_decoder, config=SMALL)
    weights = network.state_dict()
    for key, tensor in adcsr.state_dict().items():
        if key.startswith("decoder."):
            assert torch.equal(weights[key], tensor), key


def test_no_stable_diffusion_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="expected a Stable Diffusion 2.1 folder"):
        import_stable_diffusion(tmp_path)


def drop(net: dict[str, Tensor]) -> None:
    del net["module.body.1.conv_in.weight"]


def add(net: dict[str, Tensor]) -> None:
    net["module.body.1.attn2.weight"] = torch.zeros(1)


def reshape(net: dict[str, Tensor]) -> None:
    for key in list(net)[:20]:
        net[key] = net[key][:1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop, r"unet\.conv_in\.weight: expected \[12, 12, 3, 3\], found nothing"),
        (add, r"unet\.attn2\.weight: expected no such tensor, found \[1\]"),
        pytest.param(reshape, r"and \d+ more", marks=pytest.mark.slow),
    ],
)
def test_wrong_keys_are_named(
    tmp_path: Path, change: Callable[[dict[str, Tensor]], None], message: str
) -> None:
    _, net_params, half_decoder = write_adcsr(tmp_path, SMALL)
    net = torch.load(net_params)
    change(net)
    torch.save(net, net_params)
    with pytest.raises(CheckpointError, match=message):
        import_adcsr(net_params, half_decoder, config=SMALL)


class Evil:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.system, (f"touch {self.marker}",))


@pytest.mark.parametrize("legacy", [False, True])
def test_a_malicious_pickle_is_refused_and_runs_nothing(tmp_path: Path, legacy: bool) -> None:
    marker = tmp_path / "ran"
    path = tmp_path / "evil.pkl"
    torch.save({"a": Evil(marker)}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(CheckpointError, match=r"(posix|nt|os)\.system"):
        read_tensors(path)
    assert not marker.exists()


def test_a_class_hidden_in_lightnings_name_is_only_a_stub(tmp_path: Path) -> None:
    write_lightning(tmp_path / "a.ckpt", {"decoder.conv_out.bias": torch.ones(3)})
    assert read_tensors(tmp_path / "a.ckpt").keys() == {"decoder.conv_out.bias"}


@pytest.mark.parametrize("content", [b"", b"not a pickle", b"PK\x03\x04 broken zip"])
def test_damaged_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="cannot be read|holds"):
        read_tensors(path)
    with pytest.raises(CheckpointError, match="no file"):
        read_tensors(tmp_path / "none.pkl")


def test_a_decoder_without_decoder(tmp_path: Path) -> None:
    _, net_params, _ = write_adcsr(tmp_path, SMALL)
    write_lightning(tmp_path / "half.ckpt", {"encoder.a": torch.zeros(1)})
    with pytest.raises(CheckpointError, match="holds no decoder"):
        import_adcsr(net_params, tmp_path / "half.ckpt", config=SMALL)
