"""The ledger of measured speeds, the model fitted to it, and the intervals of plans."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner

from adcvsr.bundle import open_bundle
from adcvsr.cli.commands import cli
from adcvsr.errors import ConfigError
from adcvsr.graph.cost import count_bundle_cost
from adcvsr.plan.fitted import TABLE, as_table, fit_for, read_fitted
from adcvsr.plan.fitting import Pack, Sample, fit_classes, fit_pack
from adcvsr.plan.interval import MEASURED, judge, network_spread
from adcvsr.plan.ledger import Ledger, read_ledger
from adcvsr.plan.measured import Measurement
from adcvsr.plan.networks import make_network
from adcvsr.plan.planning import Source, plan_bundle
from adcvsr.plan.preset_costs import TABLE as PRESETS
from adcvsr.plan.preset_costs import pack_cost
from adcvsr.plan.roofline import Shares, predict
from adcvsr.plan.work import count_work
from adcvsr.reading import parse_json
from adcvsr.targets import target

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).resolve().parents[3]

pytest.importorskip("onnx", reason="counting graphs needs onnx")


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    return read_ledger(ROOT / "benchmarks" / "ledger.json")


@pytest.fixture(scope="module")
def command() -> ModuleType:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import fit_costs
    finally:
        sys.path.pop(0)
    module: ModuleType = fit_costs
    return module


class TestNetworks:
    @pytest.mark.parametrize(
        ("spec", "parameters"),
        [
            ({"kind": "srvgg", "channels": 64, "convolutions": 16, "scale": 4}, 621_424),
            ({"kind": "srvgg", "channels": 64, "convolutions": 16, "scale": 3}, 609_307),
            ({"kind": "srvgg", "channels": 64, "convolutions": 8, "scale": 4}, 325_488),
            ({"kind": "srvgg", "channels": 24, "convolutions": 8, "scale": 4}, 52_968),
            (
                {"kind": "rrdb", "channels": 64, "growth": 32, "blocks": 23, "scale": 4},
                16_697_987,
            ),
        ],
    )
    def test_have_the_parameters_that_are_published(
        self, spec: dict[str, object], parameters: int
    ) -> None:
        item = parse_json(json.dumps(spec), source="spec", error=ConfigError)
        net = make_network(item, width=8, height=8, element="float16")
        assert net.weights == parameters

    def test_cost_what_the_graph_costs(self) -> None:
        """Convolutions of one shape cost the same here and counted from a graph."""
        cost = count_bundle_cost(open_bundle("nano"), "fp32-onnx", height=16, width=32)
        counted = next(n for n in cost.nodes if (n.in_channels, n.out_channels) == (3, 16))
        spec = {"kind": "srvgg", "channels": 16, "convolutions": 1, "scale": 4}
        item = parse_json(json.dumps(spec), source="spec", error=ConfigError)
        made = make_network(item, width=32, height=16, element="float").nodes[0]
        assert replace(counted, name="") == made

    def test_an_unknown_one_is_refused_by_name(self) -> None:
        item = parse_json('{"kind": "swinir"}', source="spec", error=ConfigError)
        with pytest.raises(ConfigError, match='kind is "swinir", expected one of srvgg'):
            make_network(item, width=8, height=8, element="float16")


class TestLedger:
    def test_every_row_has_a_source_and_fits_a_device(self, ledger: Ledger) -> None:
        results = {path.name for path in (ROOT / "benchmarks" / "results").glob("*.json")}
        for row in ledger.rows:
            assert row.source in ledger.sources or row.source in results
            assert row.ms > 0
        assert results == {row.source for row in ledger.rows} & results  # none is forgotten
        assert all(source.url.startswith("https://") for source in ledger.sources.values())
        assert all(each.why for each in ledger.left_out)

    def test_a_worthless_wall_time_is_not_taken(self, ledger: Ledger) -> None:
        (row,) = (r for r in ledger.rows if r.source.startswith("xeon") and r.precision == "fp32")
        assert row.ms == pytest.approx(54.147 / 2)  # CPU time over two threads
        assert "CPU time over 2 threads" in row.note

    def test_a_board_enters_as_its_report_says(self, tmp_path: Path) -> None:
        """A GPU's row by wall time; none where other work made that worthless."""
        result = json.loads(
            (ROOT / "benchmarks" / "results" / "xeon-2-cores-nano-320x180.json").read_text()
        )
        result["conditions"] |= {"board": "Jetson Orin Nano", "power_mode": "25W"}
        result["variants"] = result["variants"][:1]
        result["variants"][0] |= {"backend": "tensorrt", "variant": "fp16-trt"}
        result["variants"][0]["latency_ms"]["p50"] = 2.5
        entry: dict[str, object] = {
            "file": "board.json",
            "target": "orin-nano",
            "fitted": ["fp16-trt"],
        }
        entry["compute_share"] = 0.5
        document = {"sources": {}, "networks": {}, "runs": [], "bench": [entry], "left_out": []}
        (tmp_path / "ledger.json").write_text(json.dumps(document))
        (tmp_path / "results").mkdir()
        for warnings, expected in ((result["warnings"], []), ([], [2.5])):
            (tmp_path / "results" / "board.json").write_text(
                json.dumps(result | {"warnings": warnings})
            )
            found = read_ledger(tmp_path / "ledger.json")
            rows = found.rows
            assert [row.ms for row in rows] == expected
            assert [each.what for each in found.left_out] == ["fp16-trt of board.json"][
                len(expected) :
            ]
        assert (rows[0].target, rows[0].power, rows[0].fitted) == ("orin-nano", "25W", True)
        assert rows[0].compute_share == 0.5

    def test_what_is_wrong_is_named(self, tmp_path: Path) -> None:
        document = json.loads((ROOT / "benchmarks" / "ledger.json").read_text())
        document["runs"][0]["rows"][0]["network"] = "nanovsr"
        path = tmp_path / "ledger.json"
        path.write_text(json.dumps(document))
        with pytest.raises(ConfigError, match=r"runs\[0\].rows\[0\].network is \"nanovsr\""):
            read_ledger(path)

    @pytest.mark.parametrize(("fps", "how"), [(0.0228, "times slower than"), (43860, "as fast as")])
    def test_a_slip_of_the_unit_is_refused(self, ledger: Ledger, fps: float, how: str) -> None:
        """Seconds or thousandths where frames a second belong: no device is that quick or slow."""
        (row,) = (r for r in ledger.rows if r.network == "nanovsr-32-8" and r.ms < 25)
        with pytest.raises(ConfigError, match=f"nanovsr-32-8 at 320x180 .*{how} the peaks"):
            fit_classes([replace(row, ms=1000 / fps)])

    def test_a_fitted_variant_that_was_not_measured_is_named(
        self,
        tmp_path: Path,
        command: ModuleType,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """One letter off, and the row would be listed and never fitted; the command says it."""
        document = json.loads((ROOT / "benchmarks" / "ledger.json").read_text())
        document["runs"], document["bench"] = [], document["bench"][:1]
        document["bench"][0]["fitted"] = ["fp32-onx"]
        (tmp_path / "ledger.json").write_text(json.dumps(document))
        (tmp_path / "results").symlink_to(ROOT / "benchmarks" / "results")
        monkeypatch.setattr(command, "LEDGER", tmp_path / "ledger.json")
        monkeypatch.setattr(sys, "argv", ["fit_costs.py"])
        assert command.main() == 1
        said = capsys.readouterr().err
        assert 'bench[0].fitted[0] is "fp32-onx", expected one of fp32-onnx, int8-ort' in said


class TestFit:
    def test_stored_figures_are_those_of_the_ledger(
        self, ledger: Ledger, command: ModuleType
    ) -> None:
        stored = read_fitted()
        assert stored.ledger_sha256 == ledger.sha256, f"run {command.COMMAND} --write"
        again = fit_classes(ledger.rows)  # differs too where a shipped graph has changed
        assert set(again) == set(stored.classes)
        for name, fit in again.items():
            assert fit.values == pytest.approx(stored.classes[name].values, rel=1e-3)
            assert fit.spread == pytest.approx(stored.classes[name].spread, rel=1e-2)
            for key, pair in fit.left_out.items():
                assert pair == pytest.approx(stored.classes[name].left_out[key], rel=1e-2)
        page = (ROOT / "docs" / "measurements.md").read_text()
        assert command.fill(page, command.tables(ledger, again)) == page
        assert json.loads(TABLE.read_text())["classes"]["cpu"] == as_table(stored.classes["cpu"])

    def test_rows_left_out_are_predicted(self) -> None:
        for fit in read_fitted().classes.values():
            median, worst = fit.left_out["row"]
            assert median <= 1.3
            assert worst <= 2.0

    def test_cpu_rows_are_those_of_a_bench_at_five_sizes(
        self, ledger: Ledger, command: ModuleType
    ) -> None:
        fits = dict(read_fitted().classes)
        rows = [r for r in ledger.rows if r.source.startswith("epyc-2-cores-nano") and r.fitted]
        assert len(rows) == 5
        for row in rows:
            assert 1 / 1.25 <= command.modelled_ms(row, fits) / row.ms <= 1.25

    def test_known_figures_are_found_again(self, ledger: Ledger) -> None:
        """Times the model made itself give back the figures they were made with."""
        rows = [row for row in ledger.rows if row.target == "rtx-4090" and row.fitted]
        rows += [row for row in ledger.rows if row.source == "aji"]
        truth = np.array([0.7, 20.0, 0.6, 5e-6])
        samples = []
        for row in rows:
            work = count_work(row.nodes, target(str(row.target)), row.backend)
            samples.append(Sample(replace(row, ms=1e3 * work.seconds(truth).sum()), work))
        values, covariance, spread = fit_pack("geforce", Pack.of(samples))
        assert np.exp(values) == pytest.approx(truth, rel=0.1)
        assert spread < 0.05
        assert (np.linalg.eigvalsh(covariance) > 0).all()

    @pytest.mark.parametrize("name", ["orin-nano", "rtx-4090", "cpu"])
    def test_both_ways_of_counting_agree(self, name: str) -> None:
        where = target(name)
        backend = where.backends[-1] if name == "cpu" else "tensorrt"
        cost = count_bundle_cost(open_bundle("nano"), "int8-ort", height=16, width=32)
        figures = (0.5, 12.0, 0.7, 4e-6)
        expected = predict(cost.nodes, where, backend, shares=Shares(*figures)).seconds
        work = count_work(cost.nodes, where, backend)
        assert work.seconds(np.array(figures)).sum() == pytest.approx(expected)


class TestInterval:
    def test_few_channels_take_longer_for_their_arithmetic(self) -> None:
        shares = Shares.of(fit_for(target("rtx-4090"), "tensorrt"))
        cost = count_bundle_cost(open_bundle("nano"), "fp16-trt", height=16, width=32)
        node = next(n for n in cost.nodes if (n.in_channels, n.out_channels) == (16, 16))
        wide = replace(node, in_channels=256, out_channels=256)
        assert shares.slowdown(node) > 2 * shares.slowdown(wide)

    def test_stored_presets_have_their_channels(self) -> None:
        """Without them 16 channels would cost what 256 do."""
        stored = json.loads(PRESETS.read_text())["presets"]
        nano = next(entry for entry in stored if entry["preset"] == "nano")
        cost = count_bundle_cost(open_bundle("nano"), "fp32-onnx", height=180, width=320)
        assert pack_cost(cost)["nodes"] == nano["nodes"]
        convolutions = [node for entry in stored for node in entry["nodes"] if node[1] == "Conv"]
        assert all(node[7] and node[8] for node in convolutions)

    def test_nobody_knows_a_device_without_rows_as_well(self) -> None:
        def spread(name: str, backend: str, precision: str, **more: str) -> float:
            where = target(name)
            cost = count_bundle_cost(open_bundle("nano"), "fp16-trt", height=16, width=32)

            def seconds(shares: Shares) -> float:
                return predict(cost.nodes, where, backend, shares=shares).seconds

            fit = fit_for(where, backend)
            return network_spread(fit, where, backend, (precision,), seconds, **more)

        known = spread("rtx-4090", "tensorrt", "fp16")
        assert known < spread("rtx-2080-ti", "tensorrt", "fp16")
        assert known < spread("rtx-4090", "tensorrt-rtx", "fp16")
        assert known < spread("rtx-4090", "tensorrt", "fp8")
        assert spread("orin-nano", "tensorrt", "fp16", measured="graph") == MEASURED
        assert spread("orin-nano", "tensorrt", "fp16", measured="device") < spread(
            "orin-nano", "tensorrt", "fp16"
        )

    def test_verdicts(self) -> None:
        def verdict(budget_ms: float) -> str:
            return judge(10.0, 0.3, 5.0, 0.1, budget_ms, together=False).verdict

        assert [verdict(ms) for ms in (5, 10, 30)] == ["infeasible", "uncertain", "feasible"]
        alone = judge(10.0, 0.3, 0.0, 0.0, 10.0, together=False)
        assert alone.probability == pytest.approx(0.5)
        factor = math.exp(1.645 * 0.3)
        assert alone.low_ms == pytest.approx(10 / factor, rel=0.03)
        assert alone.high_ms == pytest.approx(10 * factor, rel=0.03)
        assert alone.network_factor == pytest.approx(factor, rel=1e-3)

    def test_what_binds_is_what_should_be_measured(self) -> None:
        network = judge(30.0, 0.4, 10.0, 0.2, 33.0, together=False)
        assert network.narrowed_by == "network"
        codecs = judge(10.0, 0.2, 30.0, 0.4, 33.0, together=False)
        assert codecs.narrowed_by == "codecs"
        for each in (network, codecs):
            low, high = each.narrowed_ms
            assert high / low < each.high_ms / each.low_ms

    def test_a_measurement_narrows_a_plan(self) -> None:
        bundle, source = open_bundle("nano"), Source(640, 360, 30)
        before = plan_bundle(bundle, target("orin-nano"), source, encode=False)
        ms = before.frame_ms
        here = Measurement("orin-nano", "tensorrt", "nano", before.variant, 320, 180, ms, "m.json")
        after = plan_bundle(bundle, target("orin-nano"), source, encode=False, measurements=[here])
        assert before.interval is not None
        assert after.interval is not None
        assert after.interval.network_factor < 1.2 < before.interval.network_factor

    def test_the_command_says_it(self) -> None:
        arguments = ["plan", "nano", "--target", "orin-nano", "--source", "640x360@30"]
        told = CliRunner().invoke(cli, arguments).stdout
        assert "fps (90 %), limited by the encoder" in told
        assert "measure next" in told
        facts = json.loads(CliRunner().invoke(cli, [*arguments, "--json"]).stdout)
        low, high = facts["interval_fps"]
        assert low < facts["largest_fps"] < high
        assert facts["verdict"] in {"feasible", "uncertain", "infeasible"}
        assert facts["shares"]["half_channels"] > 0

    def test_too_little_memory_is_infeasible_for_sure(self) -> None:
        plan = plan_bundle(open_bundle("nano"), target("orin-nano-4gb"), Source(3840, 2160, 1))
        assert plan.interval is None
        assert plan.verdict == "infeasible"
