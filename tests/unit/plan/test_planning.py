"""Plans: the roofline by hand, what decides, what would fit, and how measurements correct it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from adcvsr.bundle import open_bundle
from adcvsr.cli.commands import cli
from adcvsr.errors import BackendUnavailableError, ConfigError
from adcvsr.graph.cost import GraphCost, NodeCost, count_bundle_cost
from adcvsr.plan.compiled import CompiledGraph
from adcvsr.plan.fitted import fit_for
from adcvsr.plan.interval import fps_range
from adcvsr.plan.measured import Measurement, correction, read_measurements
from adcvsr.plan.planning import Plan, Source, plan_bundle
from adcvsr.plan.preset_costs import COLUMNS, all_rows, in_fp16, pack_cost, table, unpack_cost
from adcvsr.plan.roofline import Shares, moved_bytes, predict
from adcvsr.plan.streams import share_board
from adcvsr.plan.streams_page import write_streams_page
from adcvsr.targets import TARGETS, target
from adcvsr.targets.power_modes import at_power_mode

pytest.importorskip("onnx", reason="counting graphs needs onnx")

CONV = NodeCost("c", "Conv", 10**9, 10**6, 10**6, 10**4, element="float16")


def test_a_product_takes_the_longer_of_both() -> None:
    orin = target("orin-nano")
    shares = Shares.of(fit_for(orin, "tensorrt"))
    one = predict([CONV], orin, "tensorrt")
    assert one.bound == "compute"
    by_hand = 2e9 / (17e12 * shares.compute) + shares.kernel_seconds
    assert one.seconds == pytest.approx(by_hand)
    wide = NodeCost("c", "Conv", 10**3, 10**8, 10**8, 0, element="float16")
    moved = predict([wide], orin, "tensorrt")
    assert moved.bound == "memory"
    by_hand = 2e8 / (102e9 * shares.bandwidth) + shares.kernel_seconds
    assert moved.seconds == pytest.approx(by_hand)


def test_narrower_arithmetic_is_faster_and_named() -> None:
    orin = target("orin-nano")
    times = {}
    for element in ("float", "float16", "int8"):
        node = NodeCost("c", "Conv", 10**10, 1, 1, 0, element=element)
        prediction = predict([node], orin, "tensorrt")
        times[prediction.precisions[0]] = prediction.seconds
    assert times["fp32"] > times["fp16"] > times["int8"]
    fp8 = NodeCost("c", "Conv", 10**10, 1, 1, 0, element="float8e4m3fn")
    with pytest.raises(BackendUnavailableError, match="fp8 needs compute capability 8.9"):
        predict([fp8], orin, "tensorrt")


def test_eight_bits_are_padded_on_tensor_cores_alone() -> None:
    """16 channels are computed and read as 32; a CPU takes them as they are."""
    base = {"read_bytes": 10**8, "written_bytes": 0, "weight_bytes": 0, "element": "int8"}
    thin = NodeCost("c", "Conv", 10**9, **base, in_channels=16, out_channels=16)
    wide = NodeCost("c", "Conv", 10**9, **base, in_channels=32, out_channels=32)
    for name, backend, factor in (("orin-nano", "tensorrt", 2), ("cpu", "ort-cpu", 1)):
        got = [predict([node], target(name), backend) for node in (thin, wide)]
        assert got[0].compute_seconds == pytest.approx(factor**2 * got[1].compute_seconds)
        assert got[0].memory_seconds == pytest.approx(factor * got[1].memory_seconds)


def test_int8_of_nano_gains_little_on_a_gpu() -> None:
    """Its channels are 16: INT8 computes four times as much as the graph says."""
    cost = count_bundle_cost(open_bundle("nano"), "int8-ort", height=360, width=640)
    convolutions = [node for node in cost.nodes if node.op_type == "Conv"]
    assert {node.in_channels for node in convolutions} == {3, 16}
    padded = predict(cost.nodes, target("orin-nano"), "tensorrt")
    bare = [replace(node, in_channels=0, out_channels=0) for node in cost.nodes]
    assert (
        padded.compute_seconds > 3 * predict(bare, target("orin-nano"), "tensorrt").compute_seconds
    )


def test_a_layer_list_decides_what_a_graph_moves() -> None:
    """Bytes and kernels of the list in the place of the graph's; arithmetic and weights stay."""
    small, rtx = open_bundle("small"), target("rtx-40")
    sha = small.manifest["files"]["fp8-trt.onnx"]["sha256"]

    def plan(*compiled: CompiledGraph, backend: str = "tensorrt-rtx") -> Plan:
        return plan_bundle(
            small,
            rtx,
            Source(640, 360, 30),
            variant="fp8",
            backend=backend,
            encode=False,
            compiled=compiled,
        )

    fused = CompiledGraph("k" * 32, sha, "tensorrt-rtx", (89,), 320, 180, 120e6, 30)
    counted, listed = plan(), plan(fused)
    assert listed.frame_ms < 0.7 * counted.frame_ms
    assert any("480 MB in 30 kernels a frame, by the layer list" in note for note in listed.notes)
    shares = Shares.of(fit_for(rtx, "tensorrt-rtx"))
    bandwidth = rtx.bandwidth_gb_s.value * 1e9 * shares.bandwidth
    weights = sum(node.weight_bytes for node in listed.cost.nodes)
    by_hand = (480e6 + weights) / bandwidth
    assert listed.prediction.memory_seconds == pytest.approx(by_hand, rel=1e-3)
    others = [
        replace(fused, onnx="0" * 64),
        replace(fused, backend="tensorrt"),
        replace(fused, sms=(120,)),
    ]
    assert plan(*others).frame_ms == counted.frame_ms


@pytest.mark.parametrize("backend", ["tensorrt", "tensorrt-rtx"])
def test_no_gain_of_fp8_is_promised(backend: str) -> None:
    """Until a compiler's list or a measurement says so; the note has how to get one."""
    plans = [
        plan_bundle(
            open_bundle("small"),
            target("rtx-40"),
            Source(640, 360, 30),
            variant=precision,
            backend=backend,
            encode=False,
        )
        for precision in ("fp16", "fp8")
    ]
    assert plans[1].frame_ms > 0.95 * plans[0].frame_ms
    assert not any("fp8" in note for note in plans[0].notes)
    wanted = "adcvsr deploy" if backend == "tensorrt" else "adcvsr build --precision fp8"
    assert any("without a gain over fp16" in note and wanted in note for note in plans[1].notes)


def test_what_is_fused_moves_nothing_of_its_own() -> None:
    assert moved_bytes(NodeCost("r", "Relu", 0, 100, 100, 0)) == 0
    assert moved_bytes(NodeCost("a", "Add", 0, 200, 100, 0)) == 100  # the other operand
    assert moved_bytes(NodeCost("q", "Cast", 0, 400, 100, 0)) == 0
    assert moved_bytes(NodeCost("t", "Transpose", 0, 100, 100, 0)) == 200


def test_plan_grows_with_the_picture_and_names_what_fits() -> None:
    bundle, orin = open_bundle("nano"), target("orin-nano")
    small = plan_bundle(bundle, orin, Source(320, 180, 30))
    large = plan_bundle(bundle, orin, Source(640, 360, 30))
    assert small.feasible
    assert 3.5 < large.frame_ms / small.frame_ms < 4.1
    assert large.cost.multiply_adds == 4 * small.cost.multiply_adds
    huge = plan_bundle(bundle, orin, Source(1920, 1080, 60), encode=False)
    assert not huge.feasible
    assert huge.fits_memory
    assert huge.largest is not None
    assert plan_bundle(bundle, orin, huge.largest, encode=False).feasible
    wider = Source(round(huge.largest.width * 1.4), round(huge.largest.height * 1.4), 60)
    assert not plan_bundle(bundle, orin, wider, encode=False).feasible
    small = plan_bundle(bundle, orin, Source(320, 180, 30))
    assert any("no hardware encoder" in note for note in small.notes)


def test_too_little_memory() -> None:
    plan = plan_bundle(open_bundle("nano"), target("orin-nano-4gb"), Source(3840, 2160, 1))
    assert not plan.fits_memory
    assert not plan.feasible
    assert plan.largest_fps == 0


def test_a_targets_figures_are_its_gpus() -> None:
    source = Source(320, 180, 30)
    with pytest.raises(BackendUnavailableError, match="no figures are known for the CPU"):
        plan_bundle(open_bundle("nano"), target("orin-nano"), source, backend="ort-cpu")
    cpu = plan_bundle(open_bundle("nano"), target("cpu"), source, variant="fp32")
    assert cpu.pipeline_ms == pytest.approx(cpu.frame_ms + (cpu.video.ms or 0))
    assert cpu.backend == "ort-cpu"
    assert cpu.prediction.precisions == ("fp32",)
    assert 15 < cpu.frame_ms < 35  # 21 to 25 ms were measured for networks of its kind


def test_a_cpu_takes_the_faster_variant_as_a_session_does() -> None:
    source, here = Source(320, 180, 30), target("cpu")
    plan = plan_bundle(open_bundle("nano"), here, source)
    assert plan.variant == "int8-ort"
    assert plan.prediction.precisions == ("int8",)
    exact = plan_bundle(open_bundle("nano"), here, source, variant="fp32-onnx")
    # Measured: 0.667; the fit is within a tenth of its rows at the median.
    assert plan.frame_ms / exact.frame_ms == pytest.approx(0.667, rel=0.1)
    (said,) = (note for note in plan.notes if "int8-ort" in note)
    assert f"fp32-onnx {exact.frame_ms:.1f} ms, int8-ort {plan.frame_ms:.1f} ms" in said
    on_cpu = {"target": "cpu", "backend": "ort-cpu"}
    slow = measurement(**on_cpu, variant="int8-ort", ms=40.0)
    fast = measurement(**on_cpu, variant="fp32-onnx", ms=30.0)
    measured = plan_bundle(open_bundle("nano"), here, source, measurements=[slow, fast])
    assert (measured.variant, measured.frame_ms) == ("fp32-onnx", pytest.approx(30.0))


def test_tf32_is_planned_in_its_own_arithmetic() -> None:
    source, h100 = Source(320, 180, 30), target("h100")
    tf32 = plan_bundle(open_bundle("nano"), h100, source, variant="tf32")
    fp32 = plan_bundle(open_bundle("nano"), h100, source, variant="fp32")
    assert (tf32.variant, tf32.prediction.precisions) == ("tf32-onnx", ("tf32",))
    rates = h100.dense_tops["tf32"].value / h100.dense_tops["fp32"].value
    assert fp32.prediction.compute_seconds / tf32.prediction.compute_seconds == pytest.approx(rates)


def measurement(**changes: object) -> Measurement:
    values = {
        "target": "orin-nano",
        "backend": "tensorrt",
        "bundle": "nano",
        "variant": "fp32-onnx",
        "width": 320,
        "height": 180,
        "ms": 9.0,
        "file": "m.json",
    }
    return Measurement(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.usefixtures("nano_in_fp32")
def test_measurements_correct() -> None:
    bundle, orin = open_bundle("nano"), target("orin-nano")
    source = Source(320, 180, 30)
    assumed = plan_bundle(bundle, orin, source)
    measured = plan_bundle(bundle, orin, source, measurements=[measurement()])
    assert measured.frame_ms == pytest.approx(9.0)
    assert measured.corrected_by == "1 measurement (m.json)"
    assert assumed.notes != measured.notes
    larger = plan_bundle(bundle, orin, Source(640, 360, 30), measurements=[measurement()])
    assert larger.correction == pytest.approx(9.0 / assumed.frame_ms)
    for other in ({"target": "orin-nx"}, {"backend": "ort-cuda"}, {"bundle": "other"}):
        plan = plan_bundle(bundle, orin, source, measurements=[measurement(**other)])
        assert plan.frame_ms == assumed.frame_ms


def test_the_same_network_counts_before_others() -> None:
    several = [measurement(ms=4.0), measurement(ms=16.0), measurement(bundle="b", ms=99.0)]
    names = {"target": "orin-nano", "backend": "tensorrt", "variant": "fp32-onnx"}
    factor, by = correction(several, lambda each: 2.0, bundle="nano", **names)
    assert factor == pytest.approx(4.0)  # geometric mean of 2 and 8
    assert by.startswith("2 measurements")
    factor, _ = correction(several[2:], lambda each: 9.0, bundle="nano", **names)
    assert factor == pytest.approx(11.0)
    assert correction([], lambda each: 9.0, bundle="nano", **names) == (1.0, "")


def test_measurement_files(tmp_path: Path) -> None:
    good = {key: value for key, value in vars(measurement()).items() if key != "file"}
    (tmp_path / "a.json").write_text(json.dumps([good, good]))
    (tmp_path / "b.json").write_text(json.dumps({**good, "ms": 0}))
    (tmp_path / "c.json").write_text("{")
    said: list[str] = []
    assert len(read_measurements(tmp_path, said.append)) == 2
    assert len(said) == 2
    assert "ms is 0, expected" in said[0]
    assert read_measurements(tmp_path / "none", said.append) == []


def test_sources() -> None:
    assert Source.parse("1280x720@29.97") == Source(1280, 720, 29.97)
    for wrong in ("1280x720", "0x720@30", "1280x720@0", "a"):
        with pytest.raises(ConfigError, match="is no source"):
            Source.parse(wrong)


def test_cost_table_round_trip() -> None:
    cost = GraphCost(
        (CONV, CONV),
        weight_bytes=10,
        peak_activation_bytes=20,
        fused_peak_activation_bytes=20,
        state_bytes=30,
    )
    again = unpack_cost(json.loads(json.dumps(pack_cost(cost))))
    assert again.multiply_adds == cost.multiply_adds
    assert again.traffic_bytes == cost.traffic_bytes
    assert in_fp16(cost).traffic_bytes * 2 == cost.traffic_bytes


def test_all_presets_on_all_targets() -> None:
    rows, notes = all_rows()
    assert {row["target"] for row in rows} == set(TARGETS)
    assert {row["preset"] for row in rows} == {"nano", "small", "base", "paper"}
    lines = table(rows)
    assert len(lines) == len(rows) + 1
    assert len(COLUMNS) == 11
    by = {(row["preset"], row["target"]): row for row in rows}
    assert by["nano", "orin-nano"]["frame_ms"] < by["small", "orin-nano"]["frame_ms"]
    assert by["nano", "orin-nano"]["precision"] == "fp16"
    assert not by["paper", "orin-nano-4gb"]["fits_memory"]
    assert by["nano", "cpu"]["precision"] == "fp32"
    assert "counted from untrained exports" in notes[0]
    # What is stored is what the shipped bundle counts.
    plan = plan_bundle(open_bundle("nano"), target("cpu"), Source(320, 180, 30))
    assert by["nano", "cpu"]["multiply_adds"] == plan.cost.multiply_adds


@pytest.mark.usefixtures("nano_in_fp32")
def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADCVSR_CACHE", str(tmp_path))
    run = CliRunner().invoke
    arguments = ["plan", "nano", "--target", "orin-nano", "--source"]
    done = run(cli, [*arguments, "320x180@30"])
    assert done.exit_code == 0, done.output
    assert "feasible: up to" in done.stdout
    assert "fitted to 11 measurements of 4 networks" in done.stderr
    assert " fps (90 %), limited by the network: " in done.stdout
    done = run(cli, [*arguments, "1920x1080@60", "--json"])
    assert done.exit_code == 3
    facts = json.loads(done.stdout)
    assert not facts["feasible"]
    assert facts["largest"]["fps"] == 60
    assert facts["limit"] == "network"
    done = run(cli, [*arguments, "1920x1080@60"])
    assert "not feasible (network too slow)" in done.stdout
    assert done.exit_code == 3
    assert run(cli, ["plan", "nano"]).exit_code == 2
    done = run(cli, [*arguments, "1x1@1", "--variant", "fp16-trt"])
    assert "has no variant 'fp16-trt'" in str(done.exception)
    done = run(cli, ["plan", "--all"])
    assert done.stdout.splitlines()[0].split()[:2] == ["preset", "target"]
    assert run(cli, ["plan", "nano", "--all"]).exit_code == 2


def test_a_source_of_one_pixel() -> None:
    plan = plan_bundle(open_bundle("nano"), target("orin-nano"), Source(1, 1, 30))
    assert plan.feasible
    assert 0 < plan.largest_fps <= 1e6


def test_the_whole_pipeline_is_judged() -> None:
    """720p30 is 5120x2880 to encode: too much for an Orin Nano, which has no encoder."""
    bundle, orin, source = open_bundle("nano"), target("orin-nano"), Source(1280, 720, 30)
    plan = plan_bundle(bundle, orin, source)
    assert plan.frame_ms < 1000 / 30
    assert not plan.feasible
    assert plan.limit == "encode"
    assert plan.largest_fps == pytest.approx(1000 / (plan.video.ms or 0))
    # NVIDIA: one to two cores of it encode 1080p30, seven times fewer pixels than this.
    assert 7.1 * 1000 < 30 * plan.video.encode_cpu_ms < 2 * 7.2 * 1000
    assert plan.largest is not None
    assert plan_bundle(bundle, orin, plan.largest).feasible
    shown = plan_bundle(bundle, orin, source, encode=False)
    assert shown.feasible
    assert shown.video.encode_cpu_ms == 0
    assert shown.memory_bytes < plan.memory_bytes


def test_codecs_of_the_board_work_beside_the_processor() -> None:
    """An Orin NX has both, an Orin Nano decodes and leaves encoding to its processor."""
    bundle, source = open_bundle("nano"), Source(640, 360, 30)
    nx = plan_bundle(bundle, target("orin-nx"), source, board_codecs=True)
    assert (nx.video.decode_cpu_ms, nx.video.encode_cpu_ms) == (0, 0)
    assert nx.video.ms == pytest.approx(1000 * 2560 * 1440 / 497.664e6, rel=1e-3)
    assert nx.video.limit == "encode"
    assert plan_bundle(bundle, target("orin-nx"), source).video.ms > 2 * nx.video.ms  # type: ignore[operator]
    nano = plan_bundle(bundle, target("orin-nano"), source, board_codecs=True)
    assert nano.video.decode_engine_ms > 0
    assert nano.video.encode_cpu_ms > 0
    assert any("has none: encoded by libx264 on the CPU" in note for note in nano.notes)


def test_copies_to_a_card_and_back_are_counted() -> None:
    plan = plan_bundle(open_bundle("nano"), target("rtx-40"), Source(640, 360, 30))
    assert plan.copy_ms == pytest.approx(3 * 640 * 360 * 17 / 12e9 * 1000)
    assert plan_bundle(open_bundle("nano"), target("cpu"), Source(64, 36, 30)).copy_ms == 0


def test_a_power_mode_leaves_what_its_clocks_do() -> None:
    bundle, source, nano = open_bundle("nano"), Source(320, 180, 30), target("orin-nano")
    assert at_power_mode(nano, None) is nano
    assert at_power_mode(nano, "maxn_super") is nano
    capped = at_power_mode(nano, "15w")
    assert capped.dense_tops["fp16"].value == pytest.approx(0.6 * nano.dense_tops["fp16"].value)
    assert capped.bandwidth_gb_s is not None
    assert capped.bandwidth_gb_s.value == pytest.approx(68, abs=0.1)
    whole, less = (plan_bundle(bundle, each, source) for each in (nano, capped))
    assert 1.4 < less.frame_ms / whole.frame_ms < 1.7
    assert less.video.encode_cpu_ms == pytest.approx(whole.video.encode_cpu_ms * 1728 / 1497.6)
    with pytest.raises(ConfigError, match=r"'7W' of orin-nano; known are: MAXN_SUPER, 25W, 15W"):
        at_power_mode(nano, "7W")
    with pytest.raises(ConfigError, match="it has no power modes"):
        at_power_mode(target("rtx-40"), "15W")


def test_streams_share_a_board(tmp_path: Path) -> None:
    """Shares add up, the latency of one frame has one of every other stream before it."""
    bundle, nx = open_bundle("nano"), target("orin-nx")
    sources = [Source(640, 360, 30), Source(320, 180, 25)]
    plans = [plan_bundle(bundle, nx, source, board_codecs=True) for source in sources]
    board = share_board(plans)
    assert board.network_share == pytest.approx(
        (plans[0].device_ms * 30 + plans[1].device_ms * 25) / 1000
    )
    assert board.runs
    assert board.margin == pytest.approx(1 - board.share)
    first = board.streams[0]
    assert first.latency_ms == pytest.approx(plans[0].device_ms + (plans[0].video.ms or 0))
    assert first.most_latency_ms == pytest.approx(first.latency_ms + plans[1].device_ms)
    assert plans[0].memory_bytes < board.memory_bytes < sum(each.memory_bytes for each in plans)
    crowd = share_board(plans * 20)
    assert not crowd.runs
    assert crowd.surely is False
    assert crowd.margin < 0
    page = tmp_path / "board.html"
    write_streams_page(page, board, nx)
    text = page.read_text()
    assert "All 2 streams run" in text
    interval = plans[0].interval
    assert interval is not None
    assert f"<dd>{fps_range(interval.low_ms, interval.high_ms)} fps</dd>" in text
    assert fps_range(20.0, 250.0) == "4.0 to 50"
    assert "640x360 to 2560x1440" in text
    assert "http" not in text  # nothing is fetched


def test_streams_on_the_command_line(tmp_path: Path) -> None:
    page = tmp_path / "board.html"
    arguments = ["plan", "nano", "--target", "orin-nx", "--codecs", "board"]
    arguments += ["--source", "320x180@30", "--source", "320x180@25", "-o", str(page)]
    done = CliRunner().invoke(cli, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert len(facts["streams"]) == 2
    assert facts["feasible"]
    assert page.is_file()
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 1
    assert "--overwrite" in f"{done.output}{done.exception}"
    done = CliRunner().invoke(cli, [*arguments, "--overwrite", "--power-mode", "10W"])
    assert "All 2 streams run" in done.stdout
    assert "measurements of the device are not used" in done.stderr


def test_codecs_of_an_unknown_processor_are_not_judged() -> None:
    plan = plan_bundle(open_bundle("nano"), target("rtx-40"), Source(1280, 720, 30))
    assert plan.video.ms is None
    assert plan.pipeline_ms == plan.frame_ms + plan.copy_ms
    assert plan.limit == "network"
    assert any("not known: decoding and encoding are not judged" in note for note in plan.notes)
    assert any("hevc_nvenc" in note for note in plan.notes)  # 5120 pixels are no H.264


def test_a_device_whose_encoder_is_out_of_reach() -> None:
    plan = plan_bundle(open_bundle("nano"), target("agx-orin"), Source(640, 360, 30))
    assert plan.video.cores == 12
    assert any("through GStreamer alone" in note for note in plan.notes)
