"""Nothing is told to anybody: ONNX Runtime's telemetry, which is on by default, is off here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

RUN = """
import sys, adcvsr, onnxruntime
onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
"""
SILENT = {"CI", "TF_BUILD", "GITHUB_ACTIONS", "XDG_CACHE_HOME", "ORT_DISABLE_TELEMETRY"}
"""Where it would be off for another reason, or keep its files elsewhere."""


def test_onnx_runtime_keeps_no_number_of_this_machine(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="it is ONNX Runtime's telemetry")
    graph = Path(__file__).resolve().parents[2] / "src/adcvsr/models/nano/fp32-onnx.onnx"
    given = {name: value for name, value in os.environ.items() if name not in SILENT}
    command = [sys.executable, "-c", RUN, str(graph)]
    subprocess.run(command, env={**given, "HOME": str(tmp_path)}, check=True)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
