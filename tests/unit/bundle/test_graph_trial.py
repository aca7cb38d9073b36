"""A stranger's graph runs once in a child, which ends with the command."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from adcvsr.bundle import Bundle, graph_trial, open_bundle
from adcvsr.errors import BundleError

GRAPH = "fp32-onnx.onnx"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ADCVSR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / graph_trial.FOLDER


def bundle_with(place: Path, side: int) -> Path:
    """A copy of `nano` whose engine multiplies two squares of ones while it loads the graph."""
    shutil.copytree(open_bundle("nano").path, place)
    model = onnx.load(place / GRAPH)
    graph = model.graph
    graph.initializer.append(helper.make_tensor("side", TensorProto.INT64, [2], [side, side]))
    graph.initializer.append(helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0]))
    one = helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])
    relu = next(node for node in graph.node if node.op_type == "Relu")
    nodes = [
        helper.make_node("ConstantOfShape", ["side"], ["square"], value=one),
        helper.make_node("MatMul", ["square", "square"], ["product"]),
        helper.make_node("ReduceSum", ["product"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["sum", "zero"], ["nothing"]),
        helper.make_node("Add", [relu.input[0], "nothing"], ["as_before"]),
    ]
    at = list(graph.node).index(relu)
    relu.input[0] = "as_before"
    for index, node in enumerate(nodes):
        graph.node.insert(at + index, node)
    data = model.SerializeToString()
    (place / GRAPH).write_bytes(data)
    manifest = json.loads((place / "manifest.json").read_text())
    entry = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    manifest["files"][GRAPH] = entry
    (place / "manifest.json").write_text(json.dumps(manifest))
    return place


def test_a_graph_is_tried_once(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = Bundle(bundle_with(tmp_path / "small", 8))
    bundle.read(GRAPH)
    assert [each.name for each in cache.iterdir()] == [bundle.manifest["files"][GRAPH]["sha256"]]
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("tried again"))
    bundle.read(GRAPH)
    open_bundle("nano").read(GRAPH)


def test_one_that_unfolds_is_refused(tmp_path: Path, cache: Path) -> None:
    bundle = Bundle(bundle_with(tmp_path / "bomb", 1 << 17))
    with pytest.raises(BundleError, match=r"takes more than [\d,]+ MiB of memory for one small"):
        bundle.read(GRAPH)
    assert not cache.exists()


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(each) for each in text.split()]


def worked(pid: int) -> float:
    """Seconds of processor time."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def ends(pid: int, within_s: float = 5.0) -> bool:
    """Whether a process ends, long before its work is done."""
    deadline = time.monotonic() + within_s
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not is_alive(pid)


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A command that waits for the trial of a graph that takes long, and the trial's process."""
    bundle = bundle_with(tmp_path / "slow", 10_000)
    command = [sys.executable, "-m", "adcvsr", "verify", str(bundle)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert process.poll() is None
            found = children(process.pid)
            if found and worked(found[0]) > 1:  # in the engine by now, which heeds no signal
                break
            time.sleep(0.02)
        yield process, found[0]
        process.kill()


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks into Linux's /proc")
@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM]
)
def test_a_signal_ends_the_trial_too(
    trial: tuple[subprocess.Popen[str], int], number: signal.Signals
) -> None:
    process, child = trial
    assert is_alive(child)
    process.send_signal(number)
    said, told = process.communicate(timeout=30)
    assert (process.returncode, said, told.strip()) == (130, "", "interrupted")
    assert ends(child)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks into Linux's /proc")
def test_a_killed_command_takes_its_trial_along(
    trial: tuple[subprocess.Popen[str], int],
) -> None:
    process, child = trial
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert ends(child)
