"""Reading checkpoints of others: AdcSR's pickles, half decoders, Stable Diffusion (diffusers).

Everything ends in the project's own network, with temporal blocks that start as identity: an
imported AdcSR gives on every frame what AdcSR gives.

    network, provenance = import_adcsr(Path("net_params_200.pkl"), Path("halfDecoder.ckpt"))
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..config import AdcVsrConfig, preset
from ..errors import CheckpointError
from ..files import file_entry
from .checkpoint import check_tensors
from .network import AdcVsr
from .temporal import TemporalBlock

ADCSR_LICENCES = (
    "AdcSR code and weights: Apache-2.0",
    "derived from Stable Diffusion 2.1: CreativeML Open RAIL++-M",
)
SD_LICENCES = ("derived from Stable Diffusion 2.1: CreativeML Open RAIL++-M",)

ADCSR_ALIASES = "body.1.body."
"""AdcSR registers its UNet's blocks a second time under this prefix: 524 of its 1,076 keys."""

_STUBBED = ("pytorch_lightning.", "lightning.")
"""Packages whose classes lie in training checkpoints beside the weights, and mean nothing here."""

Provenance = dict[str, Any]


def import_adcsr(
    net_params: Path, half_decoder: Path, *, config: AdcVsrConfig | None = None
) -> tuple[AdcVsr, Provenance]:
    """Load the official AdcSR weights.

    Args:
        net_params: `net_params_200.pkl`, a state dict with or without the prefix `module.`.
        half_decoder: `halfDecoder.ckpt`; names of diffusers or of LDM.
        config: A variation of the preset `paper`, such as its causal twin; None for `paper`.

    Returns:
        The network, temporal blocks as identity, and the provenance for its checkpoint.

    Raises:
        CheckpointError: A file cannot be read safely, or a tensor is missing, surplus or of another
            shape (the first ten are named).
    """
    found: dict[str, Tensor] = {}
    for key, tensor in read_tensors(net_params).items():
        name = key.removeprefix("module.")
        if not name.startswith(ADCSR_ALIASES):
            found[_own_name(name)] = tensor
    found |= _decoder_tail(half_decoder)
    network = _network_with(found, config or preset("paper"), source=str(net_params))
    return network, _provenance(ADCSR_LICENCES, net_params, half_decoder)


def import_stable_diffusion(
    folder: Path, half_decoder: Path | None = None, *, config: AdcVsrConfig | None = None
) -> tuple[AdcVsr, Provenance]:
    """Prune Stable Diffusion 2.1 to the network's start, as the paper does before training.

    Of every weight the first channels are kept (75 % in the UNet). The stem repeats SD's four times
    and the link repeats SD's output to the decoder's width, as AdcSR builds them. The result is a
    start for training, not a network that upscales.

    Args:
        folder: A diffusers folder with `unet/` and, without `half_decoder`, `vae/`.
        half_decoder: A half decoder to take instead of the first half of the VAE's channels.
        config: A variation of the preset `paper`; None for `paper`.

    Returns:
        See `import_adcsr`.

    Raises:
        CheckpointError: See `import_adcsr`; also when a part of the folder is missing.
    """
    config = config or preset("paper")
    unet_file = _find_weights(folder / "unet")
    expected = _expected_shapes(config)
    found: dict[str, Tensor] = {}
    for key, tensor in read_tensors(unet_file).items():
        name = f"unet.{key}"
        if not _is_removed(key):
            found[name] = _repeat_ends(name, tensor)
    files = [unet_file]
    if half_decoder is None:
        files.append(_find_weights(folder / "vae"))
        for key, tensor in read_tensors(files[-1]).items():
            name = key
            if name in expected:
                found[name] = tensor
    else:
        files.append(half_decoder)
        found |= _decoder_tail(half_decoder) | _decoder_middle(half_decoder)
    pruned = {
        name: _first_channels(tensor, expected[name]) if name in expected else tensor
        for name, tensor in found.items()
    }
    network = _network_with(pruned, config, source=str(folder))
    return network, _provenance(SD_LICENCES, *files)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint without running any code in it.

    Safetensors, or a pickle opened by an unpickler that allows tensors and plain containers;
    Lightning's classes are replaced by empty ones. A nested `state_dict` is taken out.

    Raises:
        CheckpointError: The file is missing, unreadable, or names any other global (which is said).
    """
    if not path.is_file():
        raise CheckpointError(f"no file '{path}'")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    loaded = _load_restricted(path)
    if isinstance(loaded, Mapping) and isinstance(loaded.get("state_dict"), Mapping):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, Mapping):
        raise CheckpointError(f"'{path}' holds a {type(loaded).__name__}, expected a state dict")
    tensors = {str(key): value for key, value in loaded.items() if isinstance(value, Tensor)}
    if not tensors:
        raise CheckpointError(f"'{path}' holds no tensors; expected a state dict")
    return tensors


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except Exception as error:  # safetensors raises its own untyped exception
        raise CheckpointError(f"'{path}' is not a readable safetensors file: {error}") from error


class _Stub:
    """Stands for a class whose contents nobody needs."""

    def __init__(self, *arguments: object) -> None:
        """Take anything."""

    def __setstate__(self, state: object) -> None:
        """Forget everything."""


def _load_restricted(path: Path) -> Any:
    """`torch.load` with weights only, Lightning's classes stubbed, all else refused by name."""
    try:
        foreign = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # not the zip format; loading decides below
        foreign = []
    refused = [name for name in foreign if not name.startswith(_STUBBED)]
    if refused:
        raise _refusal(path, refused)
    stubs: list[Any] = [(_Stub, name) for name in foreign]
    try:
        with torch.serialization.safe_globals(stubs):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle raises whatever its bytes happen to ask for
        # The older format shows its globals only here; torch's own advice (to trust the file) is
        # not passed on.
        named = re.search(r"GLOBAL (\S+)", str(error))
        if named is not None:
            raise _refusal(path, [named.group(1)]) from error
        raise CheckpointError(
            f"'{path}' cannot be read: it is no torch checkpoint, or it is damaged"
        ) from error


def _refusal(path: Path, names: list[str]) -> CheckpointError:
    return CheckpointError(
        f"'{path}' wants to use {', '.join(sorted(names))}; only tensors and plain containers are "
        "read from a pickle, since anything else can run code"
    )


def _own_name(key: str) -> str:
    """AdcSR's name of a tensor in ours: the UNet is `body.1`, the mid block `body.2`."""
    for theirs, ours in (("body.1.", "unet."), ("body.2.", "decoder.mid_block.")):
        if key.startswith(theirs):
            return ours + key[len(theirs) :]
    return key


def _decoder_tensors(path: Path) -> dict[str, Tensor]:
    """A half decoder's tensors under diffusers names, whatever names it has."""
    found: dict[str, Tensor] = {}
    for key, tensor in read_tensors(path).items():
        _, marker, inner = key.rpartition("decoder.")
        if marker:
            name = _diffusers_name(inner)
            found[name] = tensor.flatten(1) if _is_attention_matrix(name, tensor) else tensor
    if not found:
        raise CheckpointError(
            f"'{path}' holds no decoder: no key contains 'decoder.'; expected AdcSR's "
            "halfDecoder.ckpt or a decoder trained with LDM's code"
        )
    return found


def read_decoder_entry(path: Path) -> dict[str, Tensor]:
    """A half decoder's tensors up to its mid block, under diffusers names: what training compares.

    Raises:
        CheckpointError: The file cannot be read or holds no decoder.
    """
    parts = ("conv_in.", "mid_block.")
    return {k: v for k, v in _decoder_tensors(path).items() if k.startswith(parts)}


def _decoder_tail(path: Path) -> dict[str, Tensor]:
    """What follows the mid block, under our names."""
    parts = ("up_blocks.", "conv_norm_out.", "conv_out.")
    return {
        f"decoder.{key}": value
        for key, value in _decoder_tensors(path).items()
        if key.startswith(parts)
    }


def _decoder_middle(path: Path) -> dict[str, Tensor]:
    """The mid block, under our names."""
    return {
        f"decoder.{key}": value
        for key, value in read_decoder_entry(path).items()
        if key.startswith("mid_block.")
    }


_LDM_MIDDLE = {
    "mid.block_1.": "mid_block.resnets.0.",
    "mid.block_2.": "mid_block.resnets.1.",
    "mid.attn_1.norm.": "mid_block.attentions.0.group_norm.",
    "mid.attn_1.q.": "mid_block.attentions.0.to_q.",
    "mid.attn_1.k.": "mid_block.attentions.0.to_k.",
    "mid.attn_1.v.": "mid_block.attentions.0.to_v.",
    "mid.attn_1.proj_out.": "mid_block.attentions.0.to_out.0.",
    "norm_out.": "conv_norm_out.",
}

_LDM_LEVELS = 4


def _diffusers_name(key: str) -> str:
    """Translate LDM's decoder names; diffusers names pass unchanged.

    LDM counts its up blocks from the finest, diffusers from the coarsest.
    """
    for theirs, ours in _LDM_MIDDLE.items():
        if key.startswith(theirs):
            return ours + key[len(theirs) :]
    if not key.startswith("up."):
        return key
    _, level, kind, rest = key.split(".", 3)
    block = f"up_blocks.{_LDM_LEVELS - 1 - int(level)}."
    if kind == "block":
        return block + "resnets." + rest.replace("nin_shortcut.", "conv_shortcut.")
    return block + "upsamplers.0." + rest


def _is_attention_matrix(name: str, tensor: Tensor) -> bool:
    """LDM writes the mid attention's projections as 1x1 convolutions."""
    return ".attentions." in name and tensor.ndim == 4


def _is_removed(key: str) -> bool:
    """Whether AdcSR removed this tensor of SD's UNet: time, text, cross-attention."""
    return (
        key.startswith("time_embedding.")
        or ".time_emb_proj." in key
        or ".attn2." in key
        or (".transformer_blocks." in key and ".norm2." in key)
    )


def _repeat_ends(name: str, tensor: Tensor) -> Tensor:
    """Widen SD's first convolution's input and last one's output by repetition, as AdcSR does."""
    if name == "unet.conv_in.weight":
        return tensor.repeat(1, 4, 1, 1)
    if name.startswith("unet.conv_out."):
        # 342 channels, of which the pruning keeps 75 %: 256.
        return tensor.repeat(86, *[1] * (tensor.ndim - 1))
    return tensor


def _first_channels(tensor: Tensor, shape: torch.Size) -> Tensor:
    """The leading part of a tensor, the way the paper prunes.

    Returned as it is where it is too small; the comparison of shapes then names it.
    """
    if tensor.ndim != len(shape) or any(
        have < want for have, want in zip(tensor.shape, shape, strict=True)
    ):
        return tensor
    return tensor[tuple(slice(0, want) for want in shape)].clone()


def _find_weights(folder: Path) -> Path:
    """The one weights file of a diffusers component.

    Raises:
        CheckpointError: There is none.
    """
    for name in ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"):
        if (folder / name).is_file():
            return folder / name
    raise CheckpointError(
        f"no diffusion_pytorch_model.safetensors in '{folder}'; expected a Stable Diffusion 2.1 "
        "folder in diffusers layout, with unet/ and vae/"
    )


def _expected_shapes(config: AdcVsrConfig) -> dict[str, torch.Size]:
    """Shapes of the network's tensors but the temporal ones."""
    with torch.device("meta"):
        network = AdcVsr(config)
    return {k: v.shape for k, v in network.state_dict().items() if ".temporal_" not in k}


def _network_with(tensors: dict[str, Tensor], config: AdcVsrConfig, *, source: str) -> AdcVsr:
    """Build the network around the tensors, without a second copy of them in memory."""
    with torch.device("meta"):
        network = AdcVsr(config)
    expected = {k: v for k, v in network.state_dict().items() if ".temporal_" not in k}
    check_tensors(tensors, expected, source=source)
    floats = {key: value.float() for key, value in tensors.items()}
    network.load_state_dict(floats, strict=False, assign=True)
    for module in network.modules():
        if isinstance(module, TemporalBlock):
            module.to_empty(device="cpu")
            module.start_as_identity()
    return network.eval()


def _provenance(licences: Iterable[str], *files: Path) -> Provenance:
    return {
        "imported_from": [{"file": path.name, **file_entry(path)} for path in files],
        "licences": list(licences),
    }
