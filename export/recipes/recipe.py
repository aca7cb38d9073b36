"""Recipes: small TOML files that say how a variant is made. The used one is stored in the bundle.

recipe = recipe_for("int8", target="cpu")
recipe = read_recipe(Path("mine.toml"))
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ...config import nearest
from ...config_tables import read_table
from ...errors import ConfigError, InputNotFoundError
from ...reading import TOML_LIMIT_BYTES, parse_toml, read_limited
from ...runtime.proof.colours import ColourLimits
from ...targets import target
from ...variants import QUANTIZED, VariantName, why_not

FOLDER = Path(__file__).parent

FORMAT = 1

TOOLS = ("onnxruntime", "modelopt")
ROUNDINGS = ("compensated", "nearest")

OUR_ENDS = ("unet.conv_in/*", "decoder.conv_out/*")
"""The first convolution and the last of our networks, which recipes for GPUs keep float."""

EVEN_NOISE = 2.0
"""Of the packaged recipes; docs/quantization.md has what others give."""

FAMILIES = {87: "orin"}
"""Recipe family by SM; all other GPUs are `rtx`."""


@dataclass(frozen=True, kw_only=True)
class Activations:
    """What becomes of the tensors between nodes."""

    op_types: tuple[str, ...]
    """Operators whose inputs and outputs are quantized."""

    keep_float: tuple[str, ...] = ()
    """Names of nodes that are left alone; `*` and `?` match as in a shell."""

    integer_ends: bool = False
    """Take the float nodes between uint8 pictures and the network out (`onnxruntime` only)."""

    equalise: bool = False
    """Bring the channels of a tensor to one range first, in stream networks whose ONNX file holds
    their weights."""

    mix_channels: bool = False
    """Fit a basis for each residual stream, likewise: see `int8.stream_basis`. The range fitted
    with it is used by `onnxruntime` only."""

    even_noise: float = EVEN_NOISE
    """For `mix_channels`: the strength of noise that is even over blocks, as errors of flat colours
    are, to that of noise of single pixels. `quantize` tries others where colours are beyond the
    gate."""

    centre_picture: bool = False
    """Take the mean error of each of the picture's channels out by the last biases (`onnxruntime`
    only)."""

    calibration: str = "max"
    """How ranges are chosen. `max`: they hold every value. `mse` (`onnxruntime` only): the least
    squared error, rare extremes cut off. `entropy` (`modelopt` only) clips highlights."""

    def keeps(self, name: str) -> bool:
        """Whether a node is left alone."""
        return any(fnmatchcase(name, pattern) for pattern in self.keep_float)


@dataclass(frozen=True, kw_only=True)
class Weights:
    """How weights are rounded."""

    rounding: str = "nearest"
    """`nearest`, or `compensated`: see `int8.weight_rounding` (`onnxruntime` only)."""


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """Least shares of the graph in the recipe's precision, 0 to 1."""

    convolutions: float = 0.0
    """Of the convolutions."""

    multiply_adds: float = 0.0
    """Of the multiply-adds of convolutions and matrix products."""

    weights: float = 0.0
    """Of the weights' elements."""


@dataclass(frozen=True, kw_only=True)
class Gate(ColourLimits):
    """Limits against the FP32 variant, colours' among them; what is beyond is not written."""

    psnr_db: float
    """Least PSNR of the pictures, dB."""

    golden_psnr_db: float = 30.0
    """Least PSNR of the bundle's golden clip, dB: small and all edges, so harder than footage."""

    drift_db: float = 0.5
    """Largest loss of PSNR from the first sixth of the frames to the last."""

    frames: int = 300
    """Frames of the drawn clip, with carried state."""

    flicker: float = 0.5
    """Most levels that still parts may change more from frame to frame."""


@dataclass(frozen=True)
class _Head:
    """What stands before the sections; see `Recipe`."""

    variant: str
    tool: str
    high_precision: str = "float32"


@dataclass(frozen=True)
class Recipe:
    """One recipe."""

    name: str
    """The file's name without its ending."""

    text: str
    """The file, as it is stored in the bundle."""

    variant: str
    """Id of what it makes, `<precision>-<runtime>`."""

    tool: str
    """One of `TOOLS`."""

    activations: Activations
    weights: Weights
    expect: Expectation
    gate: Gate

    high_precision: str = "float32"
    """What the rest of the graph is in: `float32` or `float16` (`modelopt` only)."""

    @property
    def precision(self) -> str:
        """`int8` or `fp8`."""
        return VariantName.parse(self.variant).precision


def recipe_names() -> list[str]:
    """Recipes that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def recipe_for(precision: str, target_name: str) -> Recipe:
    """Choose a packaged recipe.

    Args:
        precision: `int8` or `fp8`.
        target_name: A name of `adcvsr targets`; `cpu` is one of them.

    Raises:
        ConfigError: There is no such target, or it does not run the precision; the reason is given.
    """
    device = target(target_name)
    family = FAMILIES.get(device.sm or 0, "rtx") if device.sm else "cpu"
    backend = "tensorrt" if device.sm else "ort-cpu"
    reason = why_not(device.sm, backend, precision)
    if reason is not None:
        raise ConfigError(f"no {precision} on {target_name} ({device.device}): {reason}")
    return read_recipe(FOLDER / f"{precision}-{family}.toml")


def read_recipe(path: Path) -> Recipe:
    """Read a recipe file.

    Raises:
        InputNotFoundError: It is not there.
        ConfigError: It is no TOML, or a value is not known; the nearest known one is named.
    """
    data = read_limited(path, TOML_LIMIT_BYTES, error=InputNotFoundError)
    source = f"recipe '{path}'"
    found = parse_toml(data, source=source, extra="export", purpose="reading a recipe")
    try:
        return _recipe(path.stem, data.decode("utf-8-sig"), found.mapping())
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, ConfigError):
            raise ConfigError(f"recipe '{path}': {error}") from error
        reason = f"'{error.args[0]}' is missing" if isinstance(error, KeyError) else str(error)
        raise ConfigError(f"recipe '{path}': {reason}") from error


def with_kept(recipe: Recipe, keep_float: Sequence[str], expect: Expectation) -> Recipe:
    """A recipe that keeps other nodes float, with a text of its own.

    Args:
        recipe: Everything else is from it.
        keep_float: Names of nodes, in the place of the recipe's.
        expect: Least shares, likewise.
    """
    activations = replace(recipe.activations, keep_float=tuple(keep_float))
    changed = replace(recipe, activations=activations, expect=expect)
    return _written(changed, "with nodes that a search kept float")


def with_even_noise(recipe: Recipe, strength: float) -> Recipe:
    """A recipe whose residual streams are fitted to other noise, with a text of its own.

    Args:
        recipe: Everything else is from it.
        strength: See `Activations.even_noise`.
    """
    changed = replace(recipe, activations=replace(recipe.activations, even_noise=strength))
    return _written(changed, f"with even noise of strength {strength:g}")


def for_adopted(
    recipe: Recipe,
    ends: Sequence[str],
    *,
    integer_ends: bool,
    expect: Expectation,
    always: Sequence[str] = (),
) -> Recipe:
    """A recipe for a network whose nodes have other names than ours.

    Args:
        recipe: A packaged one.
        ends: Names of the first and last convolutions, which stay float where the recipe keeps ours
            float.
        integer_ends: Whether pictures can be integers throughout; of the recipe's where it says so.
        expect: Least shares, as ends of other networks are other shares of them.
        always: Names of nodes that stay float whatever the recipe says.
    """
    activations = recipe.activations
    kept = tuple(ends) if set(activations.keep_float) == set(OUR_ENDS) else activations.keep_float
    kept += tuple(name for name in always if name not in kept)
    changed = replace(
        activations, keep_float=kept, integer_ends=activations.integer_ends and integer_ends
    )
    if changed == activations and expect == recipe.expect:
        return recipe
    return _written(
        replace(recipe, activations=changed, expect=expect), "with the ends of an adopted network"
    )


def _written(recipe: Recipe, how: str) -> Recipe:
    """A changed recipe with a text of its own."""
    activations, expect = recipe.activations, recipe.expect
    head = {"format": FORMAT, "variant": recipe.variant, "tool": recipe.tool}
    head["high_precision"] = recipe.high_precision
    parts: dict[str, Any] = {
        "activations": activations,
        "weights": recipe.weights,
        "expect": expect,
        "gate": recipe.gate,
    }
    lines = [f"# As {recipe.name}, {how}.", *_assignments(head)]
    for name, part in parts.items():
        lines += [
            "",
            f"[{name}]",
            *_assignments({f.name: getattr(part, f.name) for f in fields(part)}),
        ]
    return replace(recipe, text="\n".join(lines) + "\n")


def _assignments(values: Mapping[str, Any]) -> list[str]:
    """Lines of TOML; JSON's texts, numbers, truth values and lists of texts are TOML's too."""
    lines = []
    for key, value in values.items():
        if isinstance(value, tuple) and len(value) > 1:
            entries = "".join(f"  {json.dumps(entry)},\n" for entry in value)
            lines.append(f"{key} = [\n{entries}]")
        else:
            lines.append(f"{key} = {json.dumps(value)}")
    return lines


def _recipe(name: str, text: str, values: dict[str, Any]) -> Recipe:
    if values.pop("format") != FORMAT:
        raise ConfigError(f"format of another version; this adcvsr reads {FORMAT}")
    parts: dict[str, Any] = {
        "activations": read_table(Activations, values.pop("activations"), "[activations]"),
        "weights": read_table(Weights, values.pop("weights", {}), "[weights]"),
        "expect": read_table(Expectation, values.pop("expect", {}), "[expect]"),
        "gate": read_table(Gate, values.pop("gate"), "[gate]"),
    }
    head = read_table(_Head, values, "before the sections")
    recipe = Recipe(name=name, text=text, **parts, **asdict(head))
    _require_known("tool", recipe.tool, TOOLS)
    _require_known("rounding", recipe.weights.rounding, ROUNDINGS)
    _require_known("precision", recipe.precision, QUANTIZED)
    _require_known("calibration", recipe.activations.calibration, ("max", "mse", "entropy"))
    _require_known("high_precision", recipe.high_precision, ("float32", "float16"))
    return recipe


def _require_known(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigError(f"{what} '{value}'{nearest(value, dict.fromkeys(known))}")
