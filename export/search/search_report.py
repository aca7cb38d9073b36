"""What a search found, for people and for scripts: table, JSON, recipe file, plot.

write_result(folder, result, budget)
for line in lines(result): ...
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ...calibration.profile.plots import scatter_plot, standalone
from ...files import json_bytes, replace_file
from .budget import Budget
from .search import SearchResult
from .search_state import Trial

RESULT, PLOT = "result.json", "pareto.svg"

MOST_LINES = 12
"""Layers and blocks that the damage table shows; JSON has all."""


def write_result(folder: Path, result: SearchResult, budget: Budget) -> Path:
    """Write the recipe, the figures and the plot.

    Returns:
        The recipe file.

    Raises:
        OutputNotWritableError: The folder cannot be written.
    """
    recipe = folder / f"{result.recipe.variant}.toml"
    contents = {
        recipe: result.recipe.text.encode(),
        folder / RESULT: json_bytes(to_json(result, budget)),
        folder / PLOT: draw(result).encode(),
    }
    for path, content in contents.items():
        replace_file(path, lambda part, content=content: part.write_bytes(content))  # type: ignore[misc]
    return recipe


def to_json(result: SearchResult, budget: Budget) -> dict[str, object]:
    """JSON-ready values."""
    return {
        "budget": str(budget),
        "variant": result.recipe.variant,
        "float_nodes": list(result.chosen),
        "final": result.final.to_json(),
        "everything_quantized": result.everything.to_json(),
        "damage": [{"unit": unit.name, **trial.to_json()} for unit, trial in result.damage],
        "pareto": [trial.to_json() for trial in pareto(result.trials)],
        "trials": len(result.trials),
    }


def pareto(trials: Sequence[Trial]) -> list[Trial]:
    """Trials that no other beats in both work kept float and noise, the cheapest first."""
    best: list[Trial] = []
    for trial in sorted(trials, key=lambda each: (each.float_work, each.noise)):
        if not best or trial.noise < best[-1].noise:
            best.append(trial)
    return best


def lines(result: SearchResult) -> Iterator[str]:
    """For people."""
    yield "damage: noise that goes when a layer or block alone is kept float"
    whole = result.everything.noise
    for unit, trial in result.damage[:MOST_LINES]:
        part = (whole - trial.noise) / whole if whole else 0.0
        yield f"  {part:7.1%}  {trial.float_work:6.1%} of the work  {unit.name}"
    if len(result.damage) > MOST_LINES:
        yield f"  and {len(result.damage) - MOST_LINES} more in {RESULT}"
    yield "pareto: work kept float, figures"
    for trial in pareto(result.trials):
        yield f"  {trial.float_work:6.1%}  {_figures(trial)}  ({len(trial.nodes)} nodes)"
    yield f"chosen: {result.final.float_work:.1%} of the work, {_figures(result.final)}"
    yield from (f"  {name}" for name in result.chosen or ["nothing has to stay float"])


def draw(result: SearchResult) -> str:
    """An SVG of all trials: work kept float to the right, PSNR of luma upwards."""

    def place(trial: Trial) -> tuple[float, float]:
        return 100 * trial.float_work, trial.figures["psnr"]

    plot = scatter_plot(
        [
            (*place(each), ", ".join(sorted(each.nodes)) or "nothing float")
            for each in result.trials
        ],
        [place(trial) for trial in pareto(result.trials)],
        place(result.final),
        x="multiply-adds kept float, %",
        y="PSNR-Y to FP32, dB",
    )
    count = len(result.chosen)
    title = f"{result.recipe.variant}: {count} nodes float (red), {_figures(result.final)}"
    return standalone(plot, title)


def _figures(trial: Trial) -> str:
    """PSNR first, the rest by name; `warp` as a ratio to FP32's."""
    found = {k: v for k, v in trial.figures.items() if not k.endswith("_fp32") and k != "snr"}
    texts = [f"SNR {trial.figures['snr']:.1f} dB"]
    for name in sorted(found, key=lambda each: (each != "psnr", each)):
        own = trial.figures.get(f"{name}_fp32")
        texts.append(f"{name} {found[name]:.4g}" if not own else f"{name} {found[name] / own:.3f}x")
    return ", ".join(texts)
