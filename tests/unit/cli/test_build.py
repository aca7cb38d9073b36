"""`adcvsr build` and `cache` with the real TensorRT-RTX, which builds without a GPU."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from adcvsr.bundle import open_bundle
from adcvsr.cli.build import HARDWARE_LEVELS
from adcvsr.cli.commands import cli
from adcvsr.errors import EngineError
from adcvsr.runtime.engine.advice import ADVICE, advice, shorten
from adcvsr.runtime.engine.build import build_plan
from adcvsr.runtime.engine.build_list import order_engines
from adcvsr.runtime.engine.engine_cache import EngineCache
from adcvsr.runtime.engine.order import SizeRange
from adcvsr.runtime.engine.progress import BuildProgress
from adcvsr.runtime.nvidia.flavour import HARDWARE_LEVELS as LEVELS
from adcvsr.runtime.nvidia.flavour import load_flavour
from adcvsr.runtime.nvidia.modules import MODULES
from adcvsr.variants import ENGINE_BACKENDS
from changed_manifest import with_manifest
from video_facts import VideoMaker

SKIP = "TensorRT-RTX is not installed: pip install 'adcvsr[rtx]' -c constraints.txt"
RTX = ("--backend", "tensorrt-rtx", "--target", "rtx-40", "--size", "64x48")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EngineCache:
    monkeypatch.setenv("ADCVSR_CACHE", str(tmp_path / "cache"))
    return EngineCache()


def adcvsr(*arguments: str) -> Result:
    return CliRunner().invoke(cli, [*arguments])


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "adcvsr", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_names_held_in_the_command() -> None:
    assert tuple(MODULES) == ENGINE_BACKENDS
    assert tuple(LEVELS) == HARDWARE_LEVELS


def test_build_then_hit_then_clear(cache: EngineCache) -> None:
    pytest.importorskip("tensorrt_rtx", reason=SKIP)
    first = adcvsr("build", "nano", *RTX, "--json")
    assert first.exit_code == 0, first.output
    (engine,) = json.loads(first.stdout)["engines"]
    assert not engine["hit"]
    plan = Path(engine["path"])
    assert plan.stat().st_size == engine["plan_bytes"] > 100_000
    assert engine["identity"]["device"] == {"gpu": None, "sms": [89], "aot": True}
    second = json.loads(adcvsr("build", "nano", *RTX, "--json").stdout)["engines"][0]
    assert second["hit"]
    assert second["key"] == engine["key"]

    plan.write_bytes(b"evil")
    again = adcvsr("build", "nano", *RTX)
    assert "is built again: its plan has 4 bytes" in again.stderr
    listed = adcvsr("cache", "list")
    assert "nano fp16-trt 64x48 for sm89 ahead of time" in listed.stdout
    assert "1 engines" in listed.stdout
    assert adcvsr("cache", "clear", engine["key"][:6]).exit_code == 0
    assert cache.entries() == []


def test_kernel_timings_are_refused_for_rtx(cache: EngineCache, tmp_path: Path) -> None:
    """Also where the engine is there already, so that one command does one thing."""
    pytest.importorskip("tensorrt_rtx", reason=SKIP)
    assert adcvsr("build", "nano", *RTX).exit_code == 0
    done = adcvsr("build", "nano", *RTX, "--timing-cache", str(tmp_path / "timings"))
    assert "leave out --timing-cache" in str(done.exception)


def test_several_targets_and_a_range() -> None:
    pytest.importorskip("tensorrt_rtx", reason=SKIP)
    sizes = ("--min", "32x32", "--opt", "64x48", "--max", "128x96")
    done = adcvsr("build", "nano", "--target", "rtx-30", "--target", "rtx-50", *sizes, "--json")
    assert done.exit_code == 0, done.output
    identity = json.loads(done.stdout)["engines"][0]["identity"]
    assert identity["device"]["sms"] == [86, 120]
    assert identity["profile"]["frame"] == [[1, 32, 32, 3], [1, 48, 64, 3], [1, 96, 128, 3]]


def test_what_a_target_lacks_is_refused_first(tmp_path: Path) -> None:
    """Before a compiler starts, so also where none is installed."""
    manifest = open_bundle("nano").manifest
    fp8 = {**manifest["variants"], "fp8-trt": manifest["variants"]["fp32-onnx"]}
    bundle = with_manifest(open_bundle("nano").path, tmp_path / "fp8", variants=fp8)
    target = ("--backend", "tensorrt-rtx", "--target")
    done = adcvsr("build", str(bundle), *target, "rtx-30", "--precision", "fp8")
    assert "fp8 needs compute capability 8.9; this is 8.6" in str(done.exception)
    for name, reason in (
        ("h100", "TensorRT-RTX runs on compute capability 7.5"),
        ("orin-nano", "TensorRT-RTX runs on compute capability 7.5"),
        ("cpu", "has no NVIDIA GPU"),
        ("rtx-99", "no target 'rtx-99'"),
    ):
        assert reason in str(adcvsr("build", "nano", *target, name).exception)
    done = adcvsr("build", "nano", "--target", "orin-nano")
    assert "tensorrt: TensorRT builds on the device itself: run this on the" in str(done.exception)
    done = adcvsr("build", "nano", *RTX, "--version-compatible")
    assert "have no compatibility modes" in str(done.exception)
    done = adcvsr("build", "nano", *RTX, "--precision", "int1")
    assert "has no precision 'int1'; it has: fp16-trt, fp32-onnx" in str(done.exception)
    assert adcvsr("build", "nano", "--size", "8x8", "--min", "8x8").exit_code == 2
    assert "is no size" in adcvsr("build", "nano", "--size", "big").stderr


def test_without_a_gpu_or_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    done = adcvsr("build", "nano", *RTX)
    assert "pip install 'adcvsr[rtx]'" in str(done.exception)
    for name in ("cuda", "cuda.bindings"):
        monkeypatch.setitem(sys.modules, name, None)
    done = adcvsr("build", "nano")
    assert re.search("cuda-bindings.*--backend tensorrt-rtx --target rtx-40", str(done.exception))
    done = adcvsr("build", "nano", "--backend", "tensorrt", "--target", "orin-nano")
    assert "which is not installed" in str(done.exception)


def test_ctrl_c_stops_the_compiler() -> None:
    pytest.importorskip("tensorrt_rtx", reason=SKIP)
    shares = []

    def interrupt(share: float, phase: str) -> None:
        shares.append(share)
        if share > 0.2 and not any(s is None for s in shares):
            shares.append(None)
            os.kill(os.getpid(), signal.SIGINT)

    (order,) = order_engines(
        open_bundle("nano"),
        backend="tensorrt-rtx",
        targets=["rtx-40"],
        sizes=SizeRange.fixed(48, 64),
    )
    graph = order.bundle.read(order.graph_file)
    with pytest.raises(KeyboardInterrupt):
        build_plan(load_flavour("tensorrt-rtx"), order, graph, progress=interrupt)
    assert max(s for s in shares if s is not None) < 1.0
    # The compiler is fit for another build.
    assert build_plan(load_flavour("tensorrt-rtx"), order, graph) is not None


def test_parser_errors_name_the_node() -> None:
    pytest.importorskip("tensorrt_rtx", reason=SKIP)
    onnx = pytest.importorskip("onnx", reason="drawing a wrong graph needs onnx")
    model = onnx.load_model_from_string(open_bundle("nano").read("fp32-onnx.onnx"))
    cast = next(node for node in model.graph.node if "frame" in node.input)
    model.graph.node.remove(cast)
    readers = [node for node in model.graph.node if cast.output[0] in node.input]
    for node in readers:
        node.input[0] = "frame"
    reader = next(node for node in readers if node.op_type != "Shape")
    (order,) = order_engines(open_bundle("nano"), backend="tensorrt-rtx", targets=["rtx-40"])
    flavour = load_flavour("tensorrt-rtx")
    with pytest.raises(EngineError, match=f"node '{reader.name}'.*must meet a Cast") as caught:
        build_plan(flavour, order, model.SerializeToString())
    assert "checkMacros" not in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(EngineError, match="damaged or no ONNX file"):
        build_plan(flavour, order, b"nonsense")
    wrong = replace(order, sizes=SizeRange.fixed(1, 1))
    monkey = onnx.load_model_from_string(open_bundle("nano").read("fp32-onnx.onnx"))
    monkey.graph.input[0].name = "picture"
    for node in monkey.graph.node:
        for index, name in enumerate(node.input):
            if name == "frame":
                node.input[index] = "picture"
    with pytest.raises(EngineError, match="the manifest says"):
        build_plan(flavour, wrong, monkey.SerializeToString())


def test_advice_on_messages_seen() -> None:
    seen = (
        ("SUM must have same input types, they are of types Float and Half", "mixes precisions"),
        ("Could not find any implementation for node {ForeignNode[a...b]}", "--workspace"),
        ("Requested amount of GPU memory (8 bytes) could not be allocated. OutOfMemory", "memory"),
        ("FP8 is not supported on this GPU", "take --precision fp16"),
        ("no idea", "docs/engines.md"),
    )  # fmt: skip
    for message, expected in seen:
        assert expected in advice([message])
    # `paper` with the default workspace.
    said = (
        "[localCheckMacros.cpp::getErrorStr::132] Error Code 2: OutOfMemory "
        "(Requested size was 3268688032 bytes.)"
    )
    assert advice([said]).endswith("(one buffer alone wants 3.0 GiB: --workspace 8GiB)")
    assert shorten(said) == "OutOfMemory (Requested size was 3268688032 bytes.)"
    assert len({line for _, line in ADVICE}) == len(ADVICE)
    assert shorten("x" * 400).endswith("…")


def test_progress_is_one_growing_share() -> None:
    shares: list[float] = []
    progress = BuildProgress(lambda share, phase: shares.append(share))
    progress.start("build", None, 2)
    progress.start("tactics", "build", 4)
    for step in range(4):
        assert progress.step("tactics", step)
    progress.finish("tactics")
    progress.step("build", 0)
    progress.start("late", "build", 10)
    progress.step("late", 0)
    progress.step("unknown", 3)
    progress.cancel()
    assert not progress.step("build", 1)
    assert shares == sorted(shares)
    assert shares[:4] == [0.125, 0.25, 0.375, 0.5]
    assert shares[-1] == 1.0


@pytest.mark.slow
def test_small_builds_in_fp16(tmp_path: Path, make_video: VideoMaker) -> None:
    """From a preset to an engine; `paper` takes minutes and is benchmarks/engine_build.py's."""
    pytest.importorskip("tensorrt_rtx", reason=SKIP)
    pytest.importorskip("modelopt", reason="FP16 variants need 'adcvsr[quantize]'")
    bundle = str(tmp_path / "small")
    fp16 = ["--fp16", "--clips", str(make_video())]
    done = adcvsr("export", "--untrained", "small", "-o", bundle, *fp16)
    assert done.exit_code == 0, f"{done.output}{done.exception!r}"
    done = adcvsr("build", bundle, *RTX, "--precision", "fp16", "--json")
    assert done.exit_code == 0, f"{done.output}{done.exception!r}"
    (engine,) = json.loads(done.stdout)["engines"]
    assert engine["variant"] == "fp16-trt"
    assert engine["plan_bytes"] > 500_000  # its weights in two bytes each are 1 MB


@pytest.mark.slow
def test_two_builds_started_together_build_once() -> None:
    pytest.importorskip("tensorrt_rtx", reason=SKIP)
    both = [start("build", "nano", *RTX, "--json") for _ in range(2)]
    done = [json.loads(each.communicate()[0])["engines"][0] for each in both]
    assert sorted(each["hit"] for each in done) == [False, True]
    assert done[0]["plan_sha256"] == done[1]["plan_sha256"]


@pytest.mark.slow
def test_kill_in_mid_build_leaves_a_clean_cache(cache: EngineCache) -> None:
    pytest.importorskip("tensorrt_rtx", reason=SKIP)
    process = start("build", "nano", *RTX)
    locks = cache.folder / "locks"
    while not (locks.is_dir() and any(locks.iterdir())):
        time.sleep(0.002)  # the lock is taken just before the compiler starts
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not cache.engines.is_dir() or list(cache.engines.iterdir()) == []
    assert adcvsr("build", "nano", *RTX).exit_code == 0
    assert len(cache.entries()) == 1
