"""What a bundle's manifest says, its version, and how earlier versions are brought up to it.

One named function an old version, applied in order; a newer version is refused by `bundle`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from ..config import MOST_CHANNELS, SCALE
from ..reading import Item
from ..variants import TF32_LEAST_PSNR_DB, VariantName

SCHEMA_VERSION = 3
"""Manifest schema this version writes; it reads this one and all before it."""

STATE_DTYPES = ("float32", "float16")

COLOUR_MATCHES = ("none", "frame", "ema")
"""How the upscaled frame's colours are matched to the input's, see `ColourMatch`."""

MOST_SIZE, MOST_FRAMES = 1024, 4096
"""Of a size multiple or divisor, and of a window."""

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

    ends: int = 0
    """Not 0: what is more than zero in it says that the frame is none, the clip is over; and so
    many frames late pictures come, see `delay_of`."""


def delay_of(state: Sequence[StateSpec]) -> int:
    """Frames that the pictures of a stream with this state come after their own."""
    return max((spec.ends for spec in state), default=0)


@dataclass(frozen=True)
class Window:
    """How a network that is not causal walks through a video: overlapping windows, blended."""

    frames: int
    """T, frames of each window."""

    overlap: int
    """Frames that neighbouring windows share, in [0, T)."""

    filled: bool = False
    """Whether a shorter clip is filled with its last frame, inside the graph."""


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


def _scale_is_four(manifest: Manifest) -> None:
    """Schema 2 knew networks of four times the size alone, whatever it said, and none adopted."""
    manifest["scale"] = SCALE


UPGRADES: dict[int, Callable[[Manifest], None]] = {
    1: _say_stream_and_colour_match,
    2: _scale_is_four,
}
"""For each old schema, what brings it to the next."""


def upgrade_checked(found: Item) -> Item:
    """`upgrade_manifest` on a document that may be anything.

    Raises:
        AdcVsrError: Of the document's class: it is not what its own schema says.
    """
    found["interface"].mapping()
    upgrade_manifest(found.mapping())
    return found


def read_tensor(entry: Item) -> TensorSpec:
    """A tensor from a manifest's {"name", "shape": [frames, C, H, W]}."""
    name, (_, channels, height, _) = entry["name"].text(), entry["shape"].items(least=4, most=4)
    return TensorSpec(name, channels.integer(1, MOST_CHANNELS), height["div"].integer(1, MOST_SIZE))


def read_state(entry: Item) -> StateSpec:
    """A state tensor from a manifest's {"name", "shape", "next"}, `ends` where it has that."""
    tensor = read_tensor(entry)
    ends = entry.get("ends")
    late = 0 if ends is None else ends.integer(1, MOST_FRAMES)
    return StateSpec(tensor.name, tensor.channels, tensor.divisor, entry["next"].text(), late)


def read_window(entry: Item) -> Window:
    """A window from a manifest's {"frames", "overlap"}, `filled` where it has that."""
    frames = entry["frames"].integer(1, MOST_FRAMES)
    filled = entry.get("filled")
    overlap = entry["overlap"].integer(0, frames - 1)
    return Window(frames, overlap, filled is not None and filled.flag())


def read_colour_match(entry: Item) -> ColourMatch:
    """The colour match of a manifest."""
    half_life = entry.get("half_life_frames")
    mode = entry["mode"].text(one_of=COLOUR_MATCHES)
    if half_life is None:
        return ColourMatch(mode)
    if not half_life.number(0, 1e9) > 0:
        half_life.expected("a number of more than 0")
    return ColourMatch(mode, half_life.number())


def read_variant(key: str, entry: Item, kind: str) -> Variant:
    """A variant of the manifest of a bundle of this kind."""
    decoder, data = entry.get("decoder_file"), entry.get("data_files")
    if (decoder is not None) != (kind == "clip"):
        entry.expected(f"{'a' if kind == 'clip' else 'no'} decoder_file, as the kind is '{kind}'")
    _check_facts(entry)
    return Variant(
        id=key,
        file=_plain_name(entry["file"]),
        decoder_file=_plain_name(decoder) if decoder else None,
        data_files=tuple(_plain_name(each) for each in data.items()) if data else (),
        state_dtype=entry["state_dtype"].text(one_of=STATE_DTYPES),
        facts=dict(entry.mapping()),
    )


def check_rest(manifest: Item) -> None:
    """Hold what is read by key later against the schema: golden clip, licences, provenance.

    Raises:
        AdcVsrError: Of the document's class.
    """
    golden = manifest["golden"]
    golden["file"].text()
    golden["max_level_error"].integer(0, 255)
    for licence in manifest["licences"].items():
        licence.text()
    manifest["provenance"].mapping()
    interface = manifest["interface"]
    if (past := interface.get("past_frames")) is not None:
        past.integer(0, MOST_FRAMES)
    state = interface.get("state")
    features = interface.get("features")
    for tensor in (
        interface["input"],
        interface["output"],
        *(state.items() if state else ()),
        *([features] if features else ()),
    ):
        _check_tensor(tensor)


def _check_tensor(tensor: Item) -> None:
    tensor["name"].text()
    if (dtype := tensor.get("dtype")) is not None:
        dtype.text()
        tensor["colour"].text()
    for axis in tensor["shape"].items(least=4, most=4):
        if isinstance(axis.value, dict):
            axis["of"].text()
            for factor in ("mul", "div"):
                if (each := axis.get(factor)) is not None:
                    each.integer(1, MOST_SIZE)
        elif isinstance(axis.value, str):
            axis.text()
        else:
            axis.integer(1, MOST_CHANNELS)


def _check_facts(entry: Item) -> None:
    """What commands say of a variant and hold it to."""
    for name in ("opset", "nodes"):
        if (count := entry.get(name)) is not None:
            count.integer(1, 1 << 32)
    for name in ("parity", "calibration", "conversion", "recipe", "units", "census"):
        if (part := entry.get(name)) is not None:
            part.mapping()
    _check_figures(entry)
    if (statement := entry.get("statement")) is not None:
        _check_statement(statement)
    if (refused := entry.get("refused")) is not None:
        for name in ("line", "meaning"):
            refused[name].text()
    if (units := entry.get("units")) is not None:
        units["file"].text()
    if (files := entry.get("files")) is not None:
        for each in files.items():
            each.text()


def _check_figures(entry: Item) -> None:
    for proof in ("parity", "statement", "refused"):
        if (part := entry.get(proof)) is not None and (graphs := part.get("graphs")) is not None:
            for _, sha256 in graphs.fields():
                sha256.text()
    if (parity := entry.get("parity")) is not None:
        for key, value in parity.fields():
            if key.endswith("_db"):
                value.number()
            elif key.endswith("level_error"):
                value.integer(0, 255)
    if (census := entry.get("census")) is not None:
        for _, share in census.fields():
            for key in ("convolutions", "multiply_adds", "weights"):
                share[key].number(0, 1)


def _check_statement(statement: Item) -> None:
    """What `verify` repeats and `live` watches."""
    _plain_name(statement["runs_file"])
    statement["line"].text()
    for _, limit in statement["limits"].fields():
        limit.number()
    for _, trait in statement["content"].fields():
        for name in ("edges", "runs"):
            for each in trait[name].items():
                each.number()


def _plain_name(item: Item) -> str:
    """A file beside the manifest: an engine looks for weights in the folder of the graph."""
    name = item.text()
    if PurePosixPath(name).name != name or "\\" in name:
        item.expected("the plain name of a file beside the manifest")
    return name


def computed_otherwise(stored: Variant, variant_id: str) -> Variant:
    """The variant of a graph that is computed in other arithmetic than it is stored in: TF32.

    Its proof is not the stored variant's: it is held to `TF32_LEAST_PSNR_DB`.
    """
    facts = {**stored.facts, "parity": {"least_psnr_db": TF32_LEAST_PSNR_DB}}
    return replace(stored, id=variant_id, facts=facts)
