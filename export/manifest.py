"""What a bundle's manifest says of a network and of the files in its folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import onnx

from ..bundle.schema import SCHEMA_VERSION, ColourMatch, Manifest, StateSpec, Window
from ..config import SCALE, AdcVsrConfig
from ..errors import ConfigError
from ..files import file_entry
from ..model import AdcVsr
from ..version import __version__
from .graphs.onnx_file import OPSET
from .graphs.traced import CLIP_NAME, FEATURES_NAME, INPUT_NAME, OUTPUT_NAME
from .graphs.variant_files import VariantFiles
from .parity import LEVEL_TOLERANCE

LICENCE_OF_OURS = "Apache-2.0"
GOLDEN_FILE = "golden.npz"

DEFAULT_WINDOW = Window(frames=25, overlap=8)
"""Of a network that is not causal: the clip length the paper trains and tests with (arXiv
2603.00458, section 4), a third of it shared."""


@dataclass(frozen=True, kw_only=True)
class BundleSettings:
    """What goes into a bundle beside the network."""

    name: str | None = None
    """The bundle's name; None takes the network's."""

    card: Path | None = None
    """A model card (Markdown) to include."""

    window: Window | None = None
    """How a network that is not causal walks through a video; None takes `DEFAULT_WINDOW`."""

    colour_match: ColourMatch = field(default_factory=lambda: ColourMatch("none"))
    """What the runtime does to the colours of upscaled frames."""

    fp16: bool = False
    """Add the variant `fp16-trt`."""

    calibration: tuple[Path, ...] = ()
    """Real clips that show FP16 conversion which values the network meets."""

    overwrite: bool = False
    """Replace an existing bundle."""

    def check(self, config: AdcVsrConfig) -> None:
        """Hold the settings against a network.

        Raises:
            ConfigError: A window for a causal network, an overlap that does not fit, a half-life
                that is not positive, or FP16 without clips.
        """
        if self.fp16 and not self.calibration:
            raise ConfigError(
                "FP16 needs clips of real video to see which values the network meets; give one or "
                "more with --clips"
            )
        if self.window and config.causal:
            raise ConfigError(f"'{config.name}' is causal and streams; it takes no window")
        if self.window and not 0 <= self.window.overlap < self.window.frames:
            raise ConfigError(
                f"a window of {self.window.frames} frames cannot overlap by {self.window.overlap}; "
                f"expected 0 to {self.window.frames - 1}"
            )
        if not self.colour_match.half_life_frames > 0:
            raise ConfigError(
                f"colour half-life of {self.colour_match.half_life_frames:g} frames; expected more "
                "than 0"
            )


def manifest_of(
    network: AdcVsr,
    provenance: Mapping[str, Any],
    settings: BundleSettings,
    variants: Mapping[str, Any],
    folder: Path,
    *,
    state: Sequence[StateSpec],
    past_frames: int | None,
    trained: bool,
) -> Manifest:
    """The whole manifest.

    Args:
        network: What is in the bundle.
        provenance: Where its weights come from; `licences` among it are the bundle's.
        settings: See there.
        variants: An entry each, see `variant_entry`.
        folder: All other files of the bundle, which are hashed.
        state: The network's carried state.
        past_frames: How many frames a causal network looks back; None of others.
        trained: False marks weights that are no use for pictures.
    """
    config = network.config
    golden = {"file": GOLDEN_FILE, "max_level_error": LEVEL_TOLERANCE}
    manifest: Manifest = {
        "schema": SCHEMA_VERSION,
        "name": settings.name or config.name,
        "config": config.to_dict(),
        "parameters": sum(p.numel() for p in network.parameters()),
        "scale": SCALE,
        "trained": trained,
        "size_multiple": config.size_multiple,
        "colour_match": asdict(settings.colour_match),
        "interface": _interface(network, state)
        | ({} if past_frames is None else {"past_frames": past_frames}),
        "variants": dict(variants),
        "golden": golden,
        "calibration": None,
        "licences": provenance.get("licences", [LICENCE_OF_OURS]),
        "provenance": {
            **provenance,
            "exported_with": {"adcvsr": __version__, "onnx": onnx.__version__},
        },
        "files": {file.name: file_entry(file) for file in sorted(folder.iterdir())},
    }
    if not config.causal:
        manifest["window"] = asdict(settings.window or DEFAULT_WINDOW)
    return manifest


def variant_entry(
    files: VariantFiles, state_dtype: str, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """What the manifest says of one variant.

    Args:
        files: Its files.
        state_dtype: Of state and features.
        facts: Everything else, its `parity` among it.
    """
    entry: dict[str, Any] = {
        "file": files.graph.name,
        "opset": OPSET,
        "state_dtype": state_dtype,
        "nodes": sum(_count_nodes(graph) for graph in files.graphs),
        **facts,
    }
    if files.decoder is not None:
        entry["decoder_file"] = files.decoder.name
    if files.data:
        entry["data_files"] = [data.name for data in files.data]
    return entry


def _interface(network: AdcVsr, state: Sequence[StateSpec]) -> dict[str, Any]:
    causal = network.config.causal
    interface: dict[str, Any] = {
        "kind": "stream" if causal else "clip",
        "input": picture_entry(INPUT_NAME, 1, 1) if causal else picture_entry(CLIP_NAME, "T", 1),
        "output": picture_entry(OUTPUT_NAME, 1, SCALE),
        "state": state_entries(state),
    }
    if not causal:
        shape = _shape("T", network.feature_channels, network.config.unshuffle)
        interface["features"] = {"name": FEATURES_NAME, "shape": shape}
    return interface


def state_entries(state: Sequence[StateSpec]) -> list[dict[str, Any]]:
    """What the manifest says of carried state."""
    return [
        {
            "name": s.name,
            "next": s.next_name,
            "shape": _shape(1, s.channels, s.divisor),
            **({"ends": s.ends} if s.ends else {}),
        }
        for s in state
    ]


def picture_entry(name: str, frames: int | str, scale: int) -> dict[str, Any]:
    """What the manifest says of the frames that come in or go out."""
    return {
        "name": name,
        "dtype": "uint8",
        "layout": "NHWC",
        "colour": "RGB",
        "range": [0, 255],
        "shape": [frames, {"of": "H", "mul": scale}, {"of": "W", "mul": scale}, 3],
    }


def _shape(frames: int | str, channels: int, divisor: int) -> list[Any]:
    return [frames, channels, {"of": "H", "div": divisor}, {"of": "W", "div": divisor}]


def _count_nodes(graph: Path) -> int:
    return len(onnx.load(graph, load_external_data=False).graph.node)
