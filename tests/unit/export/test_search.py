"""The precision search: the fragile node is found, trials are kept, the recipe is taken."""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from adcvsr.bundle import Bundle
from adcvsr.calibration.sets.build_set import SetOptions, build_set
from adcvsr.calibration.sets.calibration_set import CalibrationSet
from adcvsr.cli.commands import cli
from adcvsr.errors import BackendUnavailableError, ConfigError, OutputExistsError, QuantizationError
from adcvsr.export.quantize import graph_sizes
from adcvsr.export.recipes import recipe as recipes
from adcvsr.export.recipes.recipe import Expectation, Recipe, read_recipe, recipe_for, with_kept
from adcvsr.export.search import damage_meter as damage
from adcvsr.export.search.budget import read_budget
from adcvsr.export.search.damage_meter import DamageMeter
from adcvsr.export.search.search import SearchResult, Unit, _Search, search
from adcvsr.export.search.search_report import pareto
from adcvsr.export.search.search_state import FILE, Trial, Trials, only_search
from adcvsr.export.variants import stage_variant
from adcvsr.graph.census import take_census
from adcvsr.pictures.clips import write_clip
from adcvsr.pictures.synthetic import draw_clip
from variant_bundle import copy_of_nano

FRAGILE = "unet.down_blocks.0.resnets.1.conv2/Conv"
SAFE = "unet.down_blocks.0.resnets.2.conv2/Conv"
LAST = "decoder.conv_out/Conv"
pytestmark = pytest.mark.usefixtures("few_colours")  # what is looked for is the node

UNITS = {FRAGILE, SAFE, LAST}
"""Tried in these tests; the whole network has 25, which takes minutes."""

ANY_COLOURS = "\nflat_mean = 255.0\nflat_most = 255\narea = 255.0\nclip_psnr_db = 0.0\n"
"""A network that eight bits ruin keeps no colours; what is looked for is the node."""

BUDGET = "psnr>=30.5,haarpsi>=0.84,warp<=1.5x"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """`nano` with one convolution that eight bits ruin: huge weights for a channel that is dead."""
    path = tmp_path_factory.mktemp("fragile") / "nano"
    copy_of_nano(path)
    model = onnx.load(path / "fp32-onnx.onnx")
    before = FRAGILE.replace("conv2", "conv1")
    for name, change in ((before, kill), (FRAGILE, blow_up)):
        node = next(node for node in model.graph.node if node.name == name)
        for tensor, role in zip(node.input[1:], ("weight", "bias"), strict=True):
            stored = next(t for t in model.graph.initializer if t.name == tensor)
            value = onnx.numpy_helper.to_array(stored).copy()
            change(value, role)
            stored.CopyFrom(onnx.numpy_helper.from_array(value, tensor))
    with stage_variant(path) as stage:
        entry = stage.open().manifest["variants"]["fp32-onnx"]
        stage.write("fp32-onnx.onnx", model.SerializeToString())
        stage.put("fp32-onnx", entry, ["fp32-onnx.onnx"])
        stage.commit()
    return Bundle(path)


def kill(value: np.ndarray, role: str) -> None:
    value[0] = 0 if role == "weight" else -1


def blow_up(value: np.ndarray, role: str) -> None:
    if role == "weight":
        value[:, 0] = 200 * np.abs(value).max()


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """Without what would mend the fragile node."""
    text = (recipes.FOLDER / "int8-cpu.toml").read_text()
    for old, new in (
        ("equalise = true", "equalise = false"),
        ("mix_channels = true", "mix_channels = false"),
        ('"compensated"', '"nearest"'),
        ("psnr_db = 42.0", "psnr_db = 28.0"),
        ("golden_psnr_db = 38.0", "golden_psnr_db = 20.0"),
    ):
        assert old in text
        text = text.replace(old, new)
    text += ANY_COLOURS + "flicker = 2.0\n"
    path = tmp_path_factory.mktemp("recipe") / "plain.toml"
    path.write_text(text.replace("frames = 300", "frames = 12").replace('"mse"', '"max"'))
    return read_recipe(path)


@pytest.fixture(scope="module")
def calibration(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle) -> CalibrationSet:
    folder = tmp_path_factory.mktemp("calibration")
    write_clip(folder / "clip.mp4", draw_clip(12, 48, 64))
    options = SetOptions(runs=2, length=3, width=48, height=32, drawn=False)
    return build_set([folder], folder / "set", bundle, options, report=lambda line: None)


@pytest.fixture
def few_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only some layers are tried, on few frames."""
    prepare = _Search.__init__

    def start(self: _Search, *arguments: object) -> None:
        prepare(self, *arguments)  # type: ignore[arg-type]
        self.units = [u for u in self.units if u.name in UNITS]

    monkeypatch.setattr(_Search, "__init__", start)
    monkeypatch.setattr(damage, "FRAMES", 4)


def look(
    bundle: Bundle, recipe: Recipe, calibration: CalibrationSet, folder: Path, budget: str
) -> SearchResult:
    return search(
        bundle, recipe, calibration, read_budget(budget), folder, report=lambda line: None
    )


@pytest.mark.slow
@pytest.mark.usefixtures("few_units")
def test_the_fragile_node_is_the_one_kept_float(
    bundle: Bundle,
    recipe: Recipe,
    calibration: CalibrationSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command = ["search", str(bundle.path), "--budget", BUDGET, "-o", str(tmp_path / "out")]
    (tmp_path / "plain.toml").write_text(recipe.text)
    command += ["--calibration", str(calibration.path), "--recipe", str(tmp_path / "plain.toml")]
    done = CliRunner().invoke(cli, command)
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "out/result.json").read_text())
    assert found["float_nodes"] == [FRAGILE]
    assert found["everything_quantized"]["psnr"] < 30.5 < found["final"]["psnr"]
    assert found["damage"][0]["unit"] == FRAGILE
    assert f"  {FRAGILE}" in done.output
    assert found["pareto"][0]["float"] == []
    plot = ET.parse(tmp_path / "out/pareto.svg").getroot()
    assert len(plot.findall("{*}circle")) == found["trials"] + 1

    # What it wrote is a recipe that quantize takes; only that node is float then.
    kept = read_recipe(tmp_path / "out/int8-ort.toml")
    assert kept.activations.keep_float == (FRAGILE,)
    assert kept.gate == recipe.gate
    path = Path(shutil.copytree(bundle.path, tmp_path / "quantized"))
    command = ["quantize", str(path), "--precision", "int8", "--recipe"]
    command += [str(tmp_path / "out/int8-ort.toml"), "--calibration", str(calibration.path)]
    done = CliRunner().invoke(cli, command)
    assert done.exit_code == 0, done.output
    quantized = Bundle(path)
    assert quantized.read("int8-ort.recipe.toml") == kept.text.encode()
    model = onnx.load_model_from_string(quantized.read("int8-ort.onnx"))
    census = take_census(model, graph_sizes(bundle, calibration))
    assert [node.name for node in census.beside("int8")] == [FRAGILE]

    # Run again, nothing is measured twice but the recipe's own graph; a harder budget goes on.
    measured: list[int] = []
    measure = DamageMeter.measure

    def count(self: DamageMeter, graph: onnx.ModelProto) -> dict[str, float]:
        measured.append(1)
        return measure(self, graph)

    monkeypatch.setattr(DamageMeter, "measure", count)
    again = look(bundle, kept_source(tmp_path), calibration, tmp_path / "out", BUDGET)
    assert again.chosen == (FRAGILE,)
    assert len(measured) == 1
    with pytest.raises(QuantizationError, match=r"keeps psnr>=90: with 3 of 22 float, .* \(psnr 3"):
        look(bundle, kept_source(tmp_path), calibration, tmp_path / "out", "psnr>=90")
    assert len(Trials(tmp_path / "out", json.loads(trials_text(tmp_path))["of"]).all()) > 4

    # Figures of another recipe are not these.
    with pytest.raises(ConfigError, match="holds a search with other recipe"):
        look(bundle, recipe_for("int8", "cpu"), calibration, tmp_path / "out", BUDGET)


def kept_source(folder: Path) -> Recipe:
    return read_recipe(folder / "plain.toml")


def trials_text(folder: Path) -> str:
    return (folder / "out" / FILE).read_text()


def test_what_the_final_graph_does_not_need_is_given_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Made anew, the choice `a` breaks the budget; `c` holds it, but `b` is tried before."""
    a, b, c = (Unit(name, frozenset(name)) for name in "abc")

    def confirm(_: _Search, nodes: frozenset[str]) -> tuple[Recipe, Trial]:
        return recipe_for("int8", "cpu"), Trial(nodes, 0.0, {"psnr": 50.0 if "c" in nodes else 40})

    monkeypatch.setattr(_Search, "_confirm", confirm)
    search = object.__new__(_Search)
    search.budget, search.work = read_budget("psnr>=45"), {"a": 1, "b": 1, "c": 1}
    _, final = search._make_anew([a], [b, c], [c, b, a])
    assert final.nodes == {"c"}
    _, final = search._make_anew([b, c], [a], [c, b, a])
    assert final.nodes == {"b", "c"}  # as chosen: the trials said so already
    with pytest.raises(QuantizationError, match="no choice of float nodes"):
        search._make_anew([a], [b], [a, b])


def test_one_search_at_a_time(
    bundle: Bundle, recipe: Recipe, calibration: CalibrationSet, tmp_path: Path
) -> None:
    with (
        only_search(tmp_path / "out"),
        pytest.raises(OutputExistsError, match="another search works in"),
    ):
        look(bundle, recipe, calibration, tmp_path / "out", BUDGET)
    assert not (tmp_path / "out" / FILE).exists()


def test_a_trial_is_on_disk_before_the_next(tmp_path: Path) -> None:
    key = {"network": "a"}
    (tmp_path / "new").mkdir()
    trials = Trials(tmp_path / "new", key)
    first = trials.add(frozenset({"a"}), 0.1, {"snr": 20.0})
    trials.add(frozenset(), 0.0, {"snr": 10.0})
    again = Trials(tmp_path / "new", key)
    assert again.get(frozenset({"a"})) == first
    assert [each.noise for each in again.all()] == pytest.approx([0.01, 0.1])
    assert [p.name for p in (tmp_path / "new").iterdir()] == [FILE]
    with pytest.raises(ConfigError, match="other network"):
        Trials(tmp_path / "new", {"network": "b"})


@pytest.mark.parametrize(
    "trials",
    [
        "[{}]",
        '[{"float": [], "float_work": 0, "figures": {}}]',
        '[{"float": [], "float_work": 0, "figures": {"snr": -1e308}}]',
        "[",
    ],
)
def test_damaged_trials_are_run_again(
    tmp_path: Path, trials: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The file is kept beside; trials of another search stay, whatever they look like."""
    stored = f'{{"of": {{"network": "a"}}, "trials": {trials}}}'
    (tmp_path / FILE).write_text(stored)
    if trials != "[":
        with pytest.raises(ConfigError, match="other network"):
            Trials(tmp_path, {"network": "b"})
    found = Trials(tmp_path, {"network": "a"})
    assert not found.all()
    assert (
        "is damaged and is made again; the damaged file is now 'trials.json.damaged'"
        in caplog.messages[-1]
    )
    assert (tmp_path / "trials.json.damaged").read_text() == stored
    found.add(frozenset(), 0.0, {"snr": 10.0})
    assert len(Trials(tmp_path, {"network": "a"}).all()) == 1


def test_pareto_keeps_what_nothing_beats() -> None:
    def trial(name: str, work: float, snr: float) -> Trial:
        return Trial(frozenset({name}), work, {"snr": snr})

    trials = [trial("c", 0.3, 30), trial("a", 0.0, 10), trial("x", 0.4, 29), trial("b", 0.1, 20)]
    assert [min(t.nodes) for t in pareto(trials)] == ["a", "b", "c"]


def test_budgets_are_read_strictly() -> None:
    budget = read_budget("psnr>=42, haarpsi>=0.995,warp<=1.05x")
    assert str(budget) == "psnr>=42,haarpsi>=0.995,warp<=1.05x"
    good = {"psnr": 42.0, "haarpsi": 0.996, "warp": 2.1, "warp_fp32": 2.0}
    assert budget.holds(good)
    assert budget.broken({**good, "warp": 2.11}) == ["warp<=1.05x (warp 2.11)"]
    assert budget.broken({**good, "psnr": 41.9}) == ["psnr>=42 (psnr 41.9)"]
    assert not budget.holds({k: v for k, v in good.items() if k != "warp"})
    for text, message in (
        ("psnr>42", "no limit"),
        ("", "no limit"),
        ("psnr<=42", "wrong side: higher psnr is better"),
        ("warp>=1x", "wrong side: lower warp is better"),
        ("pnsr>=42", "did you mean 'psnr'"),
        ("psnr>=1x", "a meaning for warp alone"),
        ("vmaf>=90", "no measure 'vmaf'"),
    ):
        with pytest.raises(ConfigError, match=message):
            read_budget(text)


def test_a_recipe_with_kept_nodes_is_read_back(tmp_path: Path) -> None:
    for name in recipes.recipe_names():
        base = read_recipe(recipes.FOLDER / f"{name}.toml")
        changed = with_kept(base, ["a/Conv", 'b"/Add', "c"], Expectation(weights=0.5))
        path = tmp_path / f"{name}.toml"
        path.write_text(changed.text)
        assert read_recipe(path) == changed
        path.write_text(with_kept(base, [], base.expect).text)
        assert read_recipe(path).expect == base.expect


def test_what_cannot_be_judged_cannot_be_searched(
    bundle: Bundle, calibration: CalibrationSet, tmp_path: Path
) -> None:
    with pytest.raises(BackendUnavailableError, match="no search for fp8-trt here"):
        look(bundle, recipe_for("fp8", "rtx-40"), calibration, tmp_path / "new", "psnr>=40")
    assert not (tmp_path / "new").exists()
