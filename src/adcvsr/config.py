"""The network's configuration and the presets; free of torch, so the runtime can read it too.

One class describes every size, from `nano` to the published network: a preset is a config, never
other code. It is stored in checkpoints and in bundle manifests.

    from adcvsr.config import PRESETS
    PRESETS["nano"].widths
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args, get_origin, get_type_hints

from .errors import ConfigError

SCALE = 4
"""Upscaling factor of every AdcVSR network."""

SHOWN_LENGTH = 60
"""Characters of a wrong value that an error shows."""

MOST_LEVELS, MOST_BLOCKS, MOST_CHANNELS, MOST_KERNEL = 8, 256, 16384, 64
"""Levels, blocks of a level, channels of a tensor and frames of a temporal kernel: many times those
of the published network. A config read from a file must not make a machine build what fits none."""


LATER = {"temporal_side": 1, "temporal_past": "finite"}
"""Fields that came after the first configs were stored, with what those meant."""


@dataclass(frozen=True, kw_only=True)
class AdcVsrConfig:
    """Sizes and choices of one network.

    The 2D part follows the Stable Diffusion UNet as pruned by AdcSR (arXiv 2411.13383) and the
    temporal part AdcVSR (arXiv 2603.00458, section 3.1): pixel-unshuffle, UNet, link convolution,
    decoder, with 1D temporal convolutions after UNet blocks.
    """

    name: str
    """Preset or user-given name, used in manifests and messages."""

    unshuffle: int
    """Pixel-unshuffle factor of the stem: 1 keeps the input resolution, 2 is the published one."""

    widths: tuple[int, ...]
    """Channels of each UNet level, finest first; each further level halves the resolution."""

    down_blocks: tuple[int, ...]
    """Residual blocks of each level on the way down."""

    mid_blocks: int
    """Residual blocks at the coarsest level between the two ways; 0 for none."""

    up_blocks: tuple[int, ...]
    """Residual blocks of each level on the way up, finest first; 0 for none."""

    skip: Literal["concat", "add", "none"]
    """How the way down reaches the way up: `concat` gives every up block one skip tensor, as Stable
    Diffusion does; `add` adds one tensor a level and one around the whole body; `none` for a plain
    stack of blocks."""

    norm: Literal["group", "none"]
    """GroupNorm before every convolution of a block, or no norms at all (INT8-friendly)."""

    activation: Literal["silu", "relu"]
    """Activation of the blocks."""

    attention_levels: tuple[int, ...] = ()
    """UNet levels whose blocks are each followed by a self-attention transformer block."""

    mid_attention: bool = False
    """A transformer block between the mid blocks."""

    attention_heads: tuple[int, ...] = ()
    """Heads of each level's attention; empty when no level has attention."""

    temporal_sites: tuple[str, ...] | Literal["all"] = ()
    """Blocks followed by a temporal block: their module paths in the UNet, such as
    `down_blocks.0.resnets.1`; `all` for every residual and transformer block."""

    temporal_kernel: int = 2
    """Frames a temporal convolution sees; 2 needs only the previous frame."""

    temporal_side: Literal[1, 3] = 1
    """Side in pixels of what a temporal convolution sees of each frame before; 3 can follow motion
    of a pixel a frame and site. Causal networks only."""

    temporal_past: Literal["finite", "recurrent"] = "finite"
    """What a causal network carries. `finite`: the frames a convolution looks back on, so that the
    past ends after a known number of frames and a stream cut there goes on exactly. `recurrent`:
    the block's own output, so that the past ends at a reset alone; kernel 2, one convolution."""

    temporal_convs: Literal[1, 2] = 1
    """Convolutions of a temporal block: `x + conv(x)` or `x + conv2(relu(conv1(x)))`."""

    causal: bool = True
    """Causal networks see no future frame and can stream with carried state."""

    decoder: Literal["pixel_shuffle", "vae"] = "pixel_shuffle"
    """`pixel_shuffle`: one convolution and a rearrangement; `vae`: half of SD's VAE decoder."""

    decoder_widths: tuple[int, ...] = ()
    """Channels of the VAE decoder's levels, finest first; empty for `pixel_shuffle`."""

    def __post_init__(self) -> None:
        """Check the values against each other.

        Raises:
            ConfigError: A value is out of range; the message names the field.
        """
        self._require_kinds()
        levels = len(self.widths)
        self._require(self.unshuffle in (1, 2, 4), "unshuffle", "1, 2 or 4")
        self._require(1 <= levels <= MOST_LEVELS, "widths", f"1 to {MOST_LEVELS} levels")
        for name in ("widths", "decoder_widths", "attention_heads"):
            self._require_range(name, 1, MOST_CHANNELS)
        for name in ("down_blocks", "mid_blocks", "up_blocks"):
            self._require_range(name, 0, MOST_BLOCKS)
        self._require_range("attention_levels", 0, levels - 1)
        self._require_range("temporal_kernel", 2, MOST_KERNEL)
        self._require(len(self.down_blocks) == levels, "down_blocks", f"{levels} numbers")
        self._require(len(self.up_blocks) == levels, "up_blocks", f"{levels} numbers")
        self._require(
            self.causal or self.temporal_kernel % 2 == 1,
            "temporal_kernel",
            "odd when the network is not causal",
        )
        self._require(self.temporal_side in (1, 3), "temporal_side", "1 or 3")
        self._require(
            self.causal or self.temporal_side == 1,
            "temporal_side",
            "1 when the network is not causal",
        )
        self._require_past()
        uses_attention = bool(self.attention_levels) or self.mid_attention
        self._require(
            len(self.attention_heads) == (levels if uses_attention else 0),
            "attention_heads",
            f"{levels} numbers" if uses_attention else "() without attention",
        )
        if self.skip == "concat":
            wanted = tuple(n + 1 for n in self.down_blocks)
            self._require(self.up_blocks == wanted, "up_blocks", f"{wanted} with skip='concat'")
        if self.decoder == "vae":
            # SD's VAE doubles three times: 8x of the UNet's half resolution is 4x of the input.
            self._require(len(self.decoder_widths) == 4, "decoder_widths", "4 numbers with 'vae'")
            self._require(self.unshuffle == 2, "unshuffle", "2 with decoder='vae'")
        else:
            self._require(not self.decoder_widths, "decoder_widths", "() with 'pixel_shuffle'")

    def _require_past(self) -> None:
        if self.temporal_past != "recurrent":
            return
        fits = self.causal and self.temporal_kernel == 2 and self.temporal_convs == 1
        self._require(
            fits,
            "temporal_past",
            "'finite' unless the network is causal with temporal_kernel=2 and temporal_convs=1",
        )

    def _require_kinds(self) -> None:
        for name, kind in _kinds().items():
            value = getattr(self, name)
            self._require(_is_of_kind(value, kind), name, _kind_name(kind))
            if isinstance(value, tuple):
                self._require(len(value) <= MOST_CHANNELS, name, f"at most {MOST_CHANNELS} values")
        self._require(self.name.isprintable(), "name", "text of one line")

    def _require_range(self, name: str, least: int, most: int) -> None:
        value = getattr(self, name)
        for each in value if isinstance(value, tuple) else (value,):
            self._require(least <= each <= most, name, f"{least} to {most}")

    def _require(self, holds: bool, field: str, wanted: str) -> None:
        if not holds:
            raise ConfigError(
                f"config {_short(self.name)}: {field}={_short(getattr(self, field))}, "
                f"expected {wanted}"
            )

    @property
    def is_recurrent(self) -> bool:
        """Whether the carried state holds what came of all frames since the last reset."""
        return self.temporal_past == "recurrent" and bool(self.temporal_sites)

    @property
    def size_multiple(self) -> int:
        """Input height and width must be multiples of this (the runtime pads to it)."""
        return self.unshuffle << (len(self.widths) - 1)

    def to_dict(self) -> dict[str, Any]:
        """Return the config as JSON-ready values.

        Fields that came later are left out where they say what was so before, so that the same
        network has the same values, and hash, in every version.
        """
        values = dataclasses.asdict(self)
        later = {name: default for name, default in LATER.items() if values[name] == default}
        return {name: value for name, value in values.items() if name not in later}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> AdcVsrConfig:
        """Build a config from `to_dict` values, as read from JSON (lists become tuples).

        Raises:
            ConfigError: An unknown or missing field (the nearest valid one is named), or a value
                out of range.
        """
        known = {field.name: field for field in dataclasses.fields(cls)}
        for key in values:
            if key not in known:
                raise ConfigError(f"network config: unknown key {_short(key)}{nearest(key, known)}")
        required = [name for name, field in known.items() if field.default is dataclasses.MISSING]
        missing = [name for name in required if name not in values]
        if missing:
            raise ConfigError(f"network config: missing {', '.join(missing)}")
        arguments: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
        }
        return cls(**arguments)


@functools.cache
def _kinds() -> dict[str, Any]:
    return get_type_hints(AdcVsrConfig)


def _is_of_kind(value: object, kind: Any) -> bool:
    """Whether a value read from a file is what its field says; true and false are no numbers."""
    options = get_args(kind)
    if get_origin(kind) is Literal:
        return any(value == option and type(value) is type(option) for option in options)
    if get_origin(kind) is tuple:
        return isinstance(value, tuple) and all(_is_of_kind(each, options[0]) for each in value)
    if options:  # a union
        return any(_is_of_kind(value, option) for option in options)
    return type(value) is kind


def _kind_name(kind: Any) -> str:
    options = get_args(kind)
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(repr, options))}"
    if get_origin(kind) is tuple:
        return "texts" if options[0] is str else "whole numbers"
    if options:
        return " or ".join(map(_kind_name, options))
    return {int: "a whole number", bool: "true or false", str: "text"}[kind]


def _short(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= SHOWN_LENGTH else f"{text[: SHOWN_LENGTH - 3]}..."


def nearest(key: str, known: Mapping[str, object]) -> str:
    """Return ", did you mean 'x'?" for the known key closest to a mistyped one, or all of them."""
    import difflib  # for messages alone

    close = difflib.get_close_matches(key[:100], known, n=1)  # its time grows with the length
    return f", did you mean '{close[0]}'?" if close else f"; there are: {', '.join(sorted(known))}"


PRESETS: dict[str, AdcVsrConfig] = {
    # 16 channels fill one AVX-512 register; at equal CPU time a thin network at full resolution
    # beats a wide one at half resolution (docs/decisions.md, nano).
    "nano": AdcVsrConfig(
        name="nano",
        unshuffle=1,
        widths=(16,),
        down_blocks=(4,),
        mid_blocks=0,
        up_blocks=(0,),
        skip="none",
        norm="none",
        activation="relu",
        temporal_sites=("down_blocks.0.resnets.0",),
    ),
    # Two levels: half of the work at half resolution, where wide convolutions fill tensor cores and
    # a pixel of state costs a quarter. No norms and no attention, so that INT8 keeps its scale and
    # tiles are exact (docs/presets.md has the costs).
    "small": AdcVsrConfig(
        name="small",
        unshuffle=1,
        widths=(32, 64),
        down_blocks=(4, 4),
        mid_blocks=0,
        up_blocks=(4, 0),
        skip="add",
        norm="none",
        activation="relu",
        temporal_sites=(
            "down_blocks.0.resnets.1",
            "down_blocks.1.resnets.1",
            "down_blocks.1.resnets.3",
        ),
    ),
    "base": AdcVsrConfig(
        name="base",
        unshuffle=1,
        widths=(64, 128),
        down_blocks=(4, 6),
        mid_blocks=0,
        up_blocks=(4, 0),
        skip="add",
        norm="none",
        activation="relu",
        temporal_sites=(
            "down_blocks.0.resnets.1",
            "down_blocks.1.resnets.1",
            "down_blocks.1.resnets.3",
            "down_blocks.1.resnets.5",
        ),
    ),
    # The published network: 456,073,683 parameters and 38 temporal blocks, 572.9 M together.
    "paper": AdcVsrConfig(
        name="paper",
        unshuffle=2,
        widths=(240, 480, 960, 960),
        down_blocks=(2, 2, 2, 2),
        mid_blocks=2,
        up_blocks=(3, 3, 3, 3),
        skip="concat",
        norm="group",
        activation="silu",
        attention_levels=(0, 1, 2),
        mid_attention=True,
        attention_heads=(5, 10, 20, 20),
        temporal_sites="all",
        temporal_kernel=3,
        temporal_convs=2,
        causal=False,
        decoder="vae",
        decoder_widths=(64, 128, 256, 256),
    ),
}
"""The named configs; `AdcVsrConfig` with any other values is as good."""


def preset(name: str) -> AdcVsrConfig:
    """Return a preset by name.

    Raises:
        ConfigError: There is no such preset; the message lists them.
    """
    if name not in PRESETS:
        raise ConfigError(f"no preset '{name}'{nearest(name, cast('dict[str, object]', PRESETS))}")
    return PRESETS[name]
