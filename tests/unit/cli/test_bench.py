"""`adcvsr bench` as a user meets it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from adcvsr.cli.commands import cli
from adcvsr.runtime.bench.compare import read_result
from variant_bundle import add_variant, copy_of_nano, load

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two variants, the second the same graph under another name."""
    path = copy_of_nano(tmp_path_factory.mktemp("bench") / "nano")
    add_variant(path, "fp16-onnx", load(path))
    return path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["bench", *map(str, arguments)])


def test_bench_writes_what_it_prints(bundle: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    done = run(bundle, "--size", "48x32", "--duration", "0.2", f"-o{file}")
    assert done.exit_code == 0, done.output
    assert "fp16-onnx / fp32-onnx" in done.output
    found = json.loads(file.read_text())
    first, second = found["variants"]
    assert first["variant"] == "fp32-onnx"
    assert first["latency_ms"]["p50"] <= first["latency_ms"]["p99"] <= first["latency_ms"]["max"]
    assert first["start"]["memory_bytes"] > 20e6
    assert first["start"]["load_seconds"] > 0
    assert first["model_bytes"] == (bundle / "fp32-onnx.onnx").stat().st_size
    # The same graph under two names: 48x32 is tiny, so this is a bound on nonsense, not on speed.
    assert 0.3 < second["cpu_ratio"]["median"] < 3
    assert second["wall_ratio"]["low"] <= second["wall_ratio"]["median"]
    assert first["infer_ms"] + first["copy_ms"] < 5 * first["latency_ms"]["max"]

    documented = (ROOT / "docs/bench.md").read_text().replace("[]", "")
    for key in [*found, *found["conditions"], *found["sensors"], *first, *second]:
        assert f"`{key}`" in documented or f".{key}`" in documented, key
    catalogue = sorted((ROOT / "benchmarks/results").glob("*.json"))
    assert catalogue
    for path in catalogue:
        result = read_result(path)
        assert result.keys() == found.keys()
        # Results from before the quota was noted are still read.
        noted = result["conditions"].keys() | {"processor_quota"}
        assert noted == found["conditions"].keys()
        # `sustained` is there where the machine tells its power.
        assert result["variants"][0].keys() ^ first.keys() <= {"sustained"}
        for row in result["variants"][1:]:
            assert row.keys() ^ second.keys() <= {"sustained"}
        assert path.name in (ROOT / "benchmarks/results/README.md").read_text()

    compared = run("compare", file, file)
    assert compared.exit_code == 0, compared.output
    assert "p99 ms" in compared.output
    rows = json.loads(run("compare", file, file, "--json").stdout)["rows"]
    assert {row["p50"]["ratio"] for row in rows} == {1.0}


def test_a_clip_network_is_told_by_the_picture(clip_bundle: Path) -> None:
    done = run(clip_bundle, "--size", "16x16", "--duration", "0.1", "--no-start", "--json")
    assert done.exit_code == 0, done.output
    (row,) = json.loads(done.stdout)["variants"]
    assert row["pictures_per_step"] == 5
    assert row["frames"] % 5 == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--variant", "int8"], "no variant 'int8' that 'ort-cpu' runs"),
        (["--size", "big"], "'big' is no size"),
        (["-o{folder}/none/a.json"], "does not exist; create it first"),
        (["--backend", "tpu"], "tpu"),
    ],
)
def test_bad_input(bundle: Path, tmp_path: Path, arguments: list[str], says: str) -> None:
    done = run(bundle, *(a.format(folder=tmp_path) for a in arguments))
    assert done.exit_code != 0
    assert says in f"{done.output}{done.exception}"


def test_results_are_not_overwritten(bundle: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text("mine")
    done = run(bundle, f"-o{file}")
    assert "pass --overwrite" in str(done.exception)
    assert file.read_text() == "mine"


@pytest.mark.slow
def test_several_bundles_take_turns_in_one_table(bundle: Path, tmp_path: Path) -> None:
    """A network beside ours: both are named, the second over the first."""
    other = tmp_path / "theirs"
    shutil.copytree(bundle, other)
    how = ("--variant", "fp32-onnx", "--size", "32x32", "--duration", "0.1", "--no-start")
    done = run(f"--model={bundle}", f"--model={other}", *how)
    assert done.exit_code == 0, done.output
    assert "beside it nano, to 128x128" in done.output
    assert "theirs fp32-onnx / nano fp32-onnx: " in done.output
    result = json.loads(run(bundle, other, *how, "--json").output)
    assert [row["name"] for row in result["variants"]] == ["nano fp32-onnx", "theirs fp32-onnx"]
    assert [each["scale"] for each in result["beside"]] == [4]
