"""What a search found, for people and for scripts: table, JSON, recipe file, plot.

write_result(folder, result, budget)
for line in lines(result): ...
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from ..files import json_bytes, replace_file
from .budget import Budget
from .search import SearchResult
from .search_state import Trial

RESULT, PLOT = "result.json", "pareto.svg"

MOST_LINES = 12
"""Layers and blocks that the damage table shows; JSON has all."""

WIDTH_PX, HEIGHT_PX, MARGIN_PX = 720, 440, 64


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
    trials = [*result.trials, result.final]
    across = max(0.01, *(trial.float_work for trial in trials))
    values = [trial.figures["psnr"] for trial in trials]
    low, high = min(values), max(*values, min(values) + 1)

    def place(trial: Trial) -> tuple[float, float]:
        right = (WIDTH_PX - 2 * MARGIN_PX) * trial.float_work / across
        up = (HEIGHT_PX - 2 * MARGIN_PX) * (trial.figures["psnr"] - low) / (high - low)
        return round(MARGIN_PX + right, 1), round(HEIGHT_PX - MARGIN_PX - up, 1)

    front = [place(trial) for trial in pareto(result.trials)]
    x, y = place(result.final)
    bottom, right = HEIGHT_PX - MARGIN_PX, WIDTH_PX - MARGIN_PX
    label = escape(f"{result.recipe.variant}: {len(result.chosen)} nodes float")
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH_PX} {HEIGHT_PX}" '
        'font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<path d="M{MARGIN_PX} {MARGIN_PX}V{bottom}H{right}" fill="none" stroke="#444"/>',
        *(_dot(trial, *place(trial)) for trial in result.trials),
        f'<polyline points="{" ".join(f"{a},{b}" for a, b in front)}" fill="none" '
        'stroke="#2060c0" stroke-width="1.5"/>',
        f'<circle cx="{x}" cy="{y}" r="7" fill="none" stroke="#c03020" stroke-width="2.5"/>',
        f'<text x="{WIDTH_PX / 2}" y="{MARGIN_PX / 2}" text-anchor="middle">{label} '
        f"(red), {_figures(result.final)}</text>",
        *_ticks(across, low, high),
        f'<text x="{WIDTH_PX / 2}" y="{HEIGHT_PX - 14}" text-anchor="middle">'
        "part of the multiply-adds kept float</text>",
        f'<text x="18" y="{HEIGHT_PX / 2}" text-anchor="middle" '
        f'transform="rotate(-90 18 {HEIGHT_PX / 2})">PSNR-Y to FP32, dB</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _dot(trial: Trial, x: float, y: float) -> str:
    names = escape(", ".join(sorted(trial.nodes)) or "nothing float")
    return f'<circle cx="{x}" cy="{y}" r="3.5" fill="#8090a8"><title>{names}</title></circle>'


def _ticks(across: float, low: float, high: float) -> Iterator[str]:
    for step in range(5):
        x = MARGIN_PX + (WIDTH_PX - 2 * MARGIN_PX) * step / 4
        y = HEIGHT_PX - MARGIN_PX - (HEIGHT_PX - 2 * MARGIN_PX) * step / 4
        below, beside = HEIGHT_PX - MARGIN_PX + 18, MARGIN_PX - 6
        yield f'<text x="{x}" y="{below}" text-anchor="middle">{across * step / 4:.0%}</text>'
        value = low + (high - low) * step / 4
        yield f'<text x="{beside}" y="{y + 4}" text-anchor="end">{value:.1f}</text>'


def _figures(trial: Trial) -> str:
    """PSNR first, the rest by name; `warp` as a ratio to FP32's."""
    found = {k: v for k, v in trial.figures.items() if not k.endswith("_fp32") and k != "snr"}
    texts = [f"SNR {trial.figures['snr']:.1f} dB"]
    for name in sorted(found, key=lambda each: (each != "psnr", each)):
        own = trial.figures.get(f"{name}_fp32")
        texts.append(f"{name} {found[name]:.4g}" if not own else f"{name} {found[name] / own:.3f}x")
    return ", ".join(texts)
