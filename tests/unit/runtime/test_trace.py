"""Traces that Perfetto opens: stages and layers on one clock."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from adcvsr.cli.commands import cli
from adcvsr.runtime import trace as trace_module
from adcvsr.runtime.bench.bench import TRACED_FRAMES
from adcvsr.runtime.trace import Trace
from gpu_backends import fake_gpu
from video_facts import VideoMaker

pytestmark = pytest.mark.usefixtures("nano_in_fp32")


def test_upscale_writes_stages_and_layers(make_video: VideoMaker, tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    arguments = ["upscale", str(make_video()), str(tmp_path / "out.mp4"), "--trace", str(path)]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, f"{done.output}{done.exception!r}"
    events = json.loads(path.read_text())["traceEvents"]
    tracks = {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}
    spans = [e for e in events if e["ph"] == "X"]
    of = {name: [e for e in spans if tracks[e["tid"]] == name] for name in tracks.values()}
    assert {"decode", "infer", "encode", "layers fp32-onnx on ort-cpu"} == set(of)
    assert len(of["infer"]) >= 8
    layers = of["layers fp32-onnx on ort-cpu"]
    assert {"Conv"} <= {e["args"]["op_name"] for e in layers}
    assert min(e["ts"] for e in spans) == 0
    # One clock: every layer runs while the stage that runs it does.
    slack_us = 20_000
    for each in layers:
        assert any(
            e["ts"] - slack_us <= each["ts"] <= e["ts"] + e["dur"] + slack_us for e in of["infer"]
        )
    again = CliRunner().invoke(cli, [*arguments, "--overwrite"])
    assert again.exit_code == 0
    refused = CliRunner().invoke(cli, [*arguments[:2], str(tmp_path / "b.mp4"), *arguments[3:]])
    assert "pass --overwrite" in str(refused.exception)
    assert not (tmp_path / "b.mp4").exists()


def spans_by_track(path: Path, *, beside: str = "") -> dict[str, list[dict[str, Any]]]:
    """A trace's spans; those of a track must not overlap, but in the one named."""
    events = json.loads(path.read_text())["traceEvents"]
    assert len({e["pid"] for e in events}) == 1
    tracks = {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in tracks.values()}
    for event in events:
        if event["ph"] == "X":
            found[tracks[event["tid"]]].append(event)
    for name, spans in found.items():
        for one, other in itertools.pairwise(spans if name != beside else []):
            assert one["ts"] + one["dur"] <= other["ts"] + 0.01
    return found


def test_bench_writes_frames_and_layers(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    arguments = ["bench", "nano", "--size", "32x24", "--duration", "0.1", "--no-start"]
    done = CliRunner().invoke(cli, [*arguments, "--trace", str(path)])
    assert done.exit_code == 0, f"{done.output}{done.exception!r}"
    of = spans_by_track(path)
    assert set(of) == {"fp32-onnx", "layers fp32-onnx on ort-cpu"}
    frames, layers = of["fp32-onnx"], of["layers fp32-onnx on ort-cpu"]
    assert len(frames) == TRACED_FRAMES
    last = frames[-1]
    within = [e for e in layers if last["ts"] <= e["ts"] <= last["ts"] + last["dur"]]
    assert sum(e["args"]["op_name"] == "Conv" for e in within) == 12


def test_live_writes_each_threads_work_and_layers(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    source = "test://?size=96x64&fps=30&frames=8"
    arguments = ["live", "--source", source, "--sink", str(tmp_path / "out.mkv")]
    done = CliRunner().invoke(cli, [*arguments, "--policy", "every", "--trace", str(path)])
    assert done.exit_code == 0, f"{done.output}{done.exception!r}"
    of = spans_by_track(path)
    assert set(of) == {"infer", "encode", "present", "layers fp32-onnx on ort-cpu"}
    assert len(of["infer"]) == len(of["encode"]) == 8
    assert all(e["args"]["age_ms"] >= e["dur"] / 1000 for e in of["encode"])


def test_tensorrts_layers_are_merged(
    make_video: VideoMaker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("onnx", reason="the fake engine reads its layers from the graph")
    fake_gpu(monkeypatch, tmp_path / "cache")
    path = tmp_path / "trace.json"
    arguments = ["upscale", str(make_video()), str(tmp_path / "out.mp4"), "--trace", str(path)]
    done = CliRunner().invoke(cli, [*arguments, "--backend", "tensorrt"])
    assert done.exit_code == 0, f"{done.output}{done.exception!r}"
    # The fake's layers last as long as it says, which may be longer than its run on a fast machine.
    of = spans_by_track(path, beside="layers fp32-onnx on tensorrt")
    layers = of["layers fp32-onnx on tensorrt"]
    assert len(layers) == 14 * 8  # of every frame
    conv = next(e for e in layers if "unet.conv_in/Conv" in e["args"].get("nodes", []))
    assert conv["args"]["op_name"] == "CaskConvolution"
    for each in layers:
        assert any(e["ts"] <= each["ts"] <= e["ts"] + e["dur"] for e in of["infer"])


def test_a_failed_run_writes_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"

    def run() -> None:
        with Trace(path) as trace:
            trace.span("infer", "infer", 1.0, 2.0)
            raise RuntimeError("no more disk")

    with pytest.raises(RuntimeError, match="no more disk"):
        run()
    assert not path.exists()


def test_a_full_trace_counts_what_it_drops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_module, "MOST_EVENTS", 2)
    with Trace(tmp_path / "trace.json") as trace:
        for start in range(5):
            trace.span("decode", "decode", start, start + 0.5, frame=start)
    assert trace.dropped == 3
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    first, second = (e for e in events if e["ph"] == "X")
    assert (second["ts"] - first["ts"], first["dur"]) == (1e6, 5e5)
    assert second["args"] == {"frame": 1}
