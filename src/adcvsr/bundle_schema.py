"""What a bundle's manifest says, its version, and how earlier versions are brought up to it.

One named function an old version, applied in order; a newer version is refused by `adcvsr.bundle`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from .variants import TF32_LEAST_PSNR_DB, VariantName

SCHEMA_VERSION = 2
"""Manifest schema this version writes; it reads this one and all before it."""

STATE_DTYPES = ("float32", "float16")

COLOUR_MATCHES = ("none", "frame", "ema")
"""How the upscaled frame's colours are matched to the input's, see `ColourMatch`."""

Manifest = dict[str, Any]


@dataclass(frozen=True)
class TensorSpec:
    """A float tensor beside the pictures, (frames, C, H/div, W/div)."""

    name: str
    """Graph input (state), or graph output and the decoder graph's input (features)."""

    channels: int
    """C."""

    divisor: int
    """Input height (padded to `size_multiple`) over the tensor's height."""

    def shape(self, height: int, width: int, frames: int = 1) -> tuple[int, int, int, int]:
        """Shape for an input of the given padded size."""
        return (frames, self.channels, height // self.divisor, width // self.divisor)


@dataclass(frozen=True)
class StateSpec(TensorSpec):
    """One carried state tensor of a stream graph, (1, C, H/div, W/div)."""

    next_name: str
    """Graph output that becomes this input for the next frame."""


@dataclass(frozen=True)
class Window:
    """How a network that is not causal walks through a video: overlapping windows, blended."""

    frames: int
    """T, frames of each window."""

    overlap: int
    """Frames that neighbouring windows share, in [0, T)."""


@dataclass(frozen=True)
class ColourMatch:
    """Match of mean and standard deviation, per frame and channel, of the output to the input.

    The post-processing of AdcSR's public test script (Guaishou74851/AdcSR, test.py).
    """

    mode: str
    """`none`; `frame`: each frame by itself, as published; `ema`: statistics averaged over the
    stream, so that brightness does not pump."""

    half_life_frames: float = 15.0
    """`ema`: frames after which a statistic's weight has halved."""


@dataclass(frozen=True)
class Variant:
    """One precision of the network for one kind of runtime."""

    id: str
    """`<precision>-<runtime>`, such as `fp32-onnx`."""

    file: str
    """The ONNX file's name: the stream graph, or the clip graph up to the features."""

    decoder_file: str | None
    """Of a clip network: the graph from one frame's features to its picture."""

    data_files: tuple[str, ...]
    """Files of weights the graphs refer to, where they outgrow the 2 GiB of one ONNX file."""

    state_dtype: str
    """`float32` or `float16`, of state and features."""

    facts: dict[str, Any]
    """Everything else the manifest says of it: opset, parity figures."""

    @property
    def name(self) -> VariantName:
        """Its precision and runtime."""
        return VariantName.parse(self.id)

    @property
    def precision(self) -> str:
        """Arithmetic of its products, one of `adcvsr.variants.PRECISIONS`."""
        return self.name.precision

    @property
    def graph_files(self) -> tuple[str, ...]:
        """Names of all its ONNX files."""
        return (self.file, *([self.decoder_file] if self.decoder_file else []))


def upgrade_manifest(manifest: Manifest) -> Manifest:
    """Bring a manifest of any earlier schema to `SCHEMA_VERSION`.

    Args:
        manifest: With a known `schema`; changed in place.

    Raises:
        KeyError: A manifest that its own schema does not allow.
    """
    while manifest["schema"] < SCHEMA_VERSION:
        UPGRADES[manifest["schema"]](manifest)
        manifest["schema"] += 1
    return manifest


def _say_stream_and_colour_match(manifest: Manifest) -> None:
    """Schema 1 knew stream graphs only, and no colour match."""
    manifest["interface"]["kind"] = "stream"
    manifest["colour_match"] = {"mode": "none"}


UPGRADES: dict[int, Callable[[Manifest], None]] = {1: _say_stream_and_colour_match}
"""For each old schema, what brings it to the next."""


def read_tensor(entry: dict[str, Any]) -> dict[str, Any]:
    """Name, channels and divisor from a manifest's {"name", "shape": [frames, C, H, W]}."""
    shape = entry["shape"]
    return {"name": entry["name"], "channels": int(shape[1]), "divisor": int(shape[2]["div"])}


def read_variant(key: str, entry: dict[str, Any]) -> Variant:
    """A variant of the manifest."""
    return Variant(
        id=key,
        file=entry["file"],
        decoder_file=entry.get("decoder_file"),
        data_files=tuple(entry.get("data_files", ())),
        state_dtype=entry["state_dtype"],
        facts=dict(entry),
    )


def computed_otherwise(stored: Variant, variant_id: str) -> Variant:
    """The variant of a graph that is computed in other arithmetic than it is stored in: TF32.

    Its proof is not the stored variant's: it is held to `TF32_LEAST_PSNR_DB`.
    """
    facts = {**stored.facts, "parity": {"least_psnr_db": TF32_LEAST_PSNR_DB}}
    return replace(stored, id=variant_id, facts=facts)
