"""Traces that Perfetto opens: stages and layers on one clock."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from adcvsr.cli import cli
from adcvsr.runtime import trace as trace_module
from adcvsr.runtime.trace import Trace
from video_facts import VideoMaker


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
