"""Search for the nodes that have to stay float for a budget, and the cheapest such choice.

Every layer and every block is made float by itself first: the noise that takes away is the damage
it does. Then they are kept float in order of damage a multiply-add until the budget holds, and
given back one by one where it holds without them. Every step is a graph really made and run.

    result = search(bundle, recipe, open_set(path), read_budget("psnr>=42"), folder, report=print)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx

from ...bundle import Bundle
from ...calibration.sets.calibration_set import CalibrationSet
from ...errors import BackendUnavailableError, MissingPackageError, QuantizationError
from ...graph.census import take_census
from ...graph.cost import count_cost
from ...metrics import require_opencv
from ...runtime.sessions.ort_precision import why_not_judged
from ...variants import REFERENCE
from ..int8.int8_ort import Prepared, place_int8_ort, prepare_int8_ort
from ..quantize import (
    QUANTIZERS,
    fit_recipe,
    graph_sizes,
    require_small_stream,
    tool_versions,
)
from ..recipes.recipe import Expectation, Recipe, with_kept
from .budget import Budget
from .damage_meter import DamageMeter
from .search_state import Trial, Trials, only_search, search_key

BASE_MEASURES = ("psnr", "haarpsi", "warp")
"""Measured whatever the budget says, as far as their packages are there: so that a search with
another budget finds its trials done."""

BLOCK_SHARE = 0.5
"""Largest part of the network's work that is tried as one block."""

Report = Callable[[str], None]
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Unit:
    """What is kept float together: a node, or all nodes of a module."""

    name: str
    """The node's, or the module's path with `/*`."""

    nodes: frozenset[str]
    """Names in the ONNX graph."""


@dataclass(frozen=True)
class SearchResult:
    """What a search found."""

    recipe: Recipe
    """Keeps the chosen nodes float."""

    chosen: tuple[str, ...]
    """Their names, in the graph's order."""

    final: Trial
    """Of the recipe's own graph."""

    everything: Trial
    """With nothing kept float."""

    damage: tuple[tuple[Unit, Trial], ...]
    """Each unit kept float by itself, the most noise taken away first."""

    trials: tuple[Trial, ...]
    """All, in the order they were run."""


def search(
    bundle: Bundle,
    recipe: Recipe,
    calibration: CalibrationSet,
    budget: Budget,
    folder: Path,
    *,
    report: Report,
    progress: Progress = lambda done, total, what: None,
) -> SearchResult:
    """Search.

    Args:
        bundle: Of kind `stream`.
        recipe: What is made when nothing is kept float beside what it keeps.
        calibration: Made for the bundle's network; its runs are also what is measured on.
        budget: Against FP32.
        folder: Trials are kept in it, so that a search that was cut off goes on, and one with
            another budget starts with what is known.
        report: Called with lines to show.
        progress: Called with trials done, how many there will be at least, and what is tried next.

    Raises:
        BackendUnavailableError: The variant's figures cannot be told on this machine.
        ConfigError: The folder holds a search of something else.
        OutputExistsError: Another search works in the folder.
        QuantizationError: No choice holds the budget; the trials stay in the folder.
    """
    require_small_stream(bundle, "a search")
    recipe = fit_recipe(bundle, recipe, report)
    reason = why_not_judged(
        recipe.precision, recipe.high_precision, tool_versions(recipe.tool)["onnxruntime"]
    )
    if reason is not None:
        raise BackendUnavailableError(f"no search for {recipe.variant} here: {reason}")
    names = list(dict.fromkeys([*_base_measures(report), *budget.measures]))
    meter = DamageMeter(bundle, calibration, names)
    measured = f"{', '.join(sorted(names))} over {meter.frames} frames"
    key = search_key(bundle, recipe, calibration, measured)
    with only_search(folder):
        return _Search(bundle, recipe, calibration, budget, meter, Trials(folder, key)).run(
            report, progress
        )


class _Search:
    """One search's parts, which would else be arguments of every step."""

    def __init__(
        self,
        bundle: Bundle,
        recipe: Recipe,
        calibration: CalibrationSet,
        budget: Budget,
        meter: DamageMeter,
        trials: Trials,
    ) -> None:
        self.bundle, self.recipe, self.calibration = bundle, recipe, calibration
        self.budget, self.meter, self.trials = budget, meter, trials
        graph = onnx.load_model_from_string(bundle.read(bundle.variant(REFERENCE).file))
        self.work = _work(graph, recipe, graph_sizes(bundle, calibration))
        self.units = _units(self.work, graph)
        self.prepared: dict[frozenset[str], Prepared] = {}

    def run(self, report: Report, progress: Progress) -> SearchResult:
        report(
            f"{len(self.work)} nodes may be kept float, tried by {len(self.units)} layers and "
            f"blocks over {len(self.meter.streams)} streams of {len(self.meter.streams[0])} frames"
        )
        everything = self._try(frozenset())
        damage = []
        for index, unit in enumerate(self.units):
            progress(index, len(self.units), unit.name)
            damage.append((unit, self._try(unit.nodes)))
        damage.sort(key=lambda found: -self._gain(everything, found[1]))
        progress(len(self.units), len(self.units), "choosing")
        order = sorted(damage, key=lambda found: -self._worth(everything, found[1]))
        waiting = [unit for unit, _ in order]
        kept: list[Unit] = []
        while waiting and not self.budget.holds(self._try(_nodes(kept)).figures):
            kept.append(waiting.pop(0))
        kept = self._give_back(kept, [unit for unit, _ in damage])
        recipe, final = self._make_anew(kept, waiting, [unit for unit, _ in damage])
        chosen = tuple(name for name in self.work if name in final.nodes)
        return SearchResult(
            recipe, chosen, final, everything, tuple(damage), tuple(self.trials.all())
        )

    def _make_anew(
        self, kept: list[Unit], waiting: list[Unit], by_damage: Sequence[Unit]
    ) -> tuple[Recipe, Trial]:
        """Make the choice as `quantize` will; where that breaks the budget, keep more.

        All steps anew give a graph that is a little further off than its trial. What is kept for
        that may be large, so what the budget holds without is given back once more.
        """
        recipe, final = self._confirm(_nodes(kept))
        enough = self.budget.holds(final.figures)
        while not self.budget.holds(final.figures):
            if not waiting:
                broken = "; ".join(self.budget.broken(final.figures))
                raise QuantizationError(
                    f"no choice of float nodes keeps {self.budget}: with {len(final.nodes)} of "
                    f"{len(self.work)} float, broken is {broken}"
                )
            kept = [*kept, waiting.pop(0)]
            recipe, final = self._confirm(_nodes(kept))
        for unit in reversed([each for each in by_damage if each in kept and not enough]):
            fewer = [each for each in kept if each is not unit]
            found = self._confirm(_nodes(fewer))
            if self.budget.holds(found[1].figures):
                kept, (recipe, final) = fewer, found
        return recipe, final

    def _give_back(self, kept: list[Unit], by_damage: Sequence[Unit]) -> list[Unit]:
        """Take out, from the least damage on, what the budget holds without."""
        for unit in reversed([each for each in by_damage if each in kept]):
            fewer = [each for each in kept if each is not unit]
            if self.budget.holds(self._try(_nodes(fewer)).figures):
                kept = fewer
        return kept

    def _try(self, nodes: frozenset[str]) -> Trial:
        """Measure a graph with these nodes float, unless that was done before."""
        found = self.trials.get(nodes)
        if found is None:
            model = self._make(nodes)
            found = self.trials.add(nodes, self._float_work(nodes), self.meter.measure(model))
        return found

    def _make(self, nodes: frozenset[str]) -> onnx.ModelProto:
        recipe = self._recipe(nodes)
        if recipe.tool != "onnxruntime":
            return QUANTIZERS[recipe.tool](self.bundle, self.calibration, recipe, None).model
        ends = frozenset(_ends(self.bundle, self.recipe)) & nodes
        if ends not in self.prepared:
            base = self._recipe(ends)
            self.prepared[ends] = prepare_int8_ort(self.bundle, self.calibration, base)
        return place_int8_ort(self.prepared[ends], recipe)

    def _confirm(self, nodes: frozenset[str]) -> tuple[Recipe, Trial]:
        """Make the graph as `quantize` will with the recipe, all steps anew, and measure it."""
        recipe = self._recipe(nodes)
        model = QUANTIZERS[recipe.tool](self.bundle, self.calibration, recipe, None).model
        share = take_census(model, graph_sizes(self.bundle, self.calibration)).share(
            recipe.precision
        )
        expect = Expectation(
            convolutions=_floor(share.convolutions),
            multiply_adds=_floor(share.multiply_adds),
            weights=_floor(share.weights),
        )
        recipe = with_kept(recipe, recipe.activations.keep_float, expect)
        return recipe, Trial(nodes, self._float_work(nodes), self.meter.measure(model))

    def _recipe(self, nodes: frozenset[str]) -> Recipe:
        kept = self.recipe.activations.keep_float
        names = (*kept, *(name for name in self.work if name in nodes))
        return replace(self.recipe, activations=replace(self.recipe.activations, keep_float=names))

    def _float_work(self, nodes: frozenset[str]) -> float:
        return sum(self.work[name] for name in nodes) / sum(self.work.values())

    def _gain(self, everything: Trial, trial: Trial) -> float:
        """Noise taken away, as a part of the signal."""
        return everything.noise - trial.noise

    def _worth(self, everything: Trial, trial: Trial) -> float:
        """Noise taken away for its work."""
        return self._gain(everything, trial) / max(trial.float_work, 1e-9)


def _base_measures(report: Report) -> tuple[str, ...]:
    try:
        require_opencv()
    except MissingPackageError as error:
        report(f"not measured: {error}")
        return BASE_MEASURES[:-1]
    return BASE_MEASURES


def _work(
    graph: onnx.ModelProto, recipe: Recipe, sizes: Mapping[str, tuple[int, ...]]
) -> dict[str, int]:
    """Operations by node that may be kept float: multiply-adds; of others, values written."""
    activations = recipe.activations
    costs = {cost.name: cost for cost in count_cost(graph, sizes).nodes}
    return {
        node.name: costs[node.name].multiply_adds or costs[node.name].written_bytes // 4
        for node in graph.graph.node
        if node.op_type in activations.op_types and not activations.keeps(node.name)
    }


def _units(work: Mapping[str, int], graph: onnx.ModelProto) -> list[Unit]:
    """Each node, a Relu with what it follows, and each module of several nodes that is not most."""
    nodes = {node.name: node for node in graph.graph.node if node.name in work}
    producers = {name: node.name for node in nodes.values() for name in node.output}
    layers: dict[str, set[str]] = {}
    for node in nodes.values():
        before = producers.get(node.input[0]) if node.op_type == "Relu" else None
        layers.setdefault(before or node.name, set()).add(node.name)
    blocks: dict[str, set[str]] = {}
    for name in work:
        parts = name.partition("/")[0].split(".")
        for count in range(1, len(parts) + 1):
            blocks.setdefault(".".join(parts[:count]) + "/*", set()).add(name)
    most = BLOCK_SHARE * sum(work.values())
    found = {
        frozenset(each): Unit(name, frozenset(each))
        for name, each in [*blocks.items(), *layers.items()]
        if name in layers or (len(each) > 1 and sum(work[node] for node in each) <= most)
    }
    at = {name: index for index, name in enumerate(work)}
    return sorted(found.values(), key=lambda unit: (min(at[n] for n in unit.nodes), unit.name))


def _ends(bundle: Bundle, recipe: Recipe) -> list[str]:
    """Convolutions at the pictures, which decide how a graph is prepared."""
    if not recipe.activations.integer_ends:
        return []
    graph = onnx.load_model_from_string(bundle.read(bundle.variant(REFERENCE).file)).graph
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    first = [n for n in convolutions if n.input[0] == convolutions[0].input[0]]
    return [node.name for node in (*first, convolutions[-1])]


def _nodes(units: Sequence[Unit]) -> frozenset[str]:
    return frozenset().union(*(unit.nodes for unit in units))


def _floor(share: float) -> float:
    """A share with two decimals, never more than it is."""
    return int(share * 100) / 100
