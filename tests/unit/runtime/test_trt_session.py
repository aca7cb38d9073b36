"""TensorRT sessions over a fake GPU that checks what a real one would."""

from __future__ import annotations

import json
import logging
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from av.video.reformatter import VideoReformatter

from adcvsr.bundle import open_bundle
from adcvsr.errors import (
    BackendUnavailableError,
    ConfigError,
    EngineError,
    MissingPackageError,
)
from adcvsr.graph.yuv_ends import YuvEnds
from adcvsr.pictures.colour import Colours, frame_from_rgb
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.pictures.yuv import yuv_from_frame
from adcvsr.runtime.deploy.deploy import deploy_bundle
from adcvsr.runtime.engine.build import build_plan
from adcvsr.runtime.engine.build_list import order_engines
from adcvsr.runtime.engine.engine_cache import EngineCache
from adcvsr.runtime.engine.engines import BuiltEngine, ensure_engine
from adcvsr.runtime.engine.layers import nodes_of
from adcvsr.runtime.engine.order import SizeRange
from adcvsr.runtime.engine.timings import clear_timings
from adcvsr.runtime.nvidia import gpu
from adcvsr.runtime.nvidia.device import Device
from adcvsr.runtime.nvidia.flavour import ErrorLog, load_flavour
from adcvsr.runtime.processing.backends import choose_backend, create_session
from adcvsr.runtime.sessions.ort_cuda import OrtCudaSession
from adcvsr.runtime.sessions.stream_session import StreamSession
from adcvsr.runtime.sessions.trt_runner import EngineRunner
from adcvsr.runtime.upscaler import Upscaler
from fake_cuda import CUresult, FakeDriver
from fake_trt import LAYER_MS, Builder, Context, make_module
from gpu_backends import CONTRACT, CpuGraphs, fake_gpu, prepare_backend

pytestmark = pytest.mark.usefixtures("nano_in_fp32")

OWNED = ("memory", "pinned", "streams", "graphs", "events", "contexts", "faults")
NOTHING = dict.fromkeys(OWNED, 0)


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeDriver:
    return fake_gpu(monkeypatch, tmp_path / "cache")


def reference(clip: np.ndarray) -> list[np.ndarray]:
    with create_session(open_bundle("nano"), backend="ort-cpu", threads=1) as session:
        return [session.infer(frame) for frame in clip]


def test_one_graph_a_direction_after_a_plain_run(driver: FakeDriver) -> None:
    clip = draw_clip(6, 20, 24)
    with create_session(open_bundle("nano"), backend="tensorrt") as session:
        out = [session.infer(frame) for frame in clip]
        # Frame 1 plain; 2 and 3 are captured, one a direction of the two sets, then replayed.
        assert driver.calls.count("capture") == 2
        assert driver.calls.count("launch") == 5
        assert driver.calls.count("enqueue") == 3
        # Frames alone are copied, state never.
        assert driver.calls.count("upload") == driver.calls.count("download") == 6
        assert "copy" not in driver.calls
        # The GPU's clock ran half a millisecond within each, captured or not.
        assert session.engine_seconds == pytest.approx(6 * 0.0005)
    assert all(np.array_equal(a, b) for a, b in zip(out, reference(clip), strict=True))
    assert driver.left() == NOTHING


def test_another_size_drops_graphs_and_buffers(driver: FakeDriver) -> None:
    clip = draw_clip(4, 20, 24)
    small = [frame[:12, :16] for frame in clip]
    with create_session(open_bundle("nano"), backend="tensorrt") as session:
        for frame in clip:
            session.infer(frame)
        before = driver.left()
        out = [session.infer(frame) for frame in small]
        assert driver.left() == before
    assert all(np.array_equal(a, b) for a, b in zip(out, reference(np.stack(small)), strict=True))
    assert driver.left() == NOTHING


def test_tiles_have_a_state_each(driver: FakeDriver) -> None:
    clip = draw_clip(5, 40, 70)
    with create_session(open_bundle("nano"), backend="ort-cpu", tile=40) as session:
        expected = [session.infer(frame) for frame in clip]
    with create_session(open_bundle("nano"), backend="tensorrt", tile=40) as session:
        out = [session.infer(frame) for frame in clip]
        slots = session.layout.count  # type: ignore[union-attr]
        assert slots > 1
        assert driver.calls.count("capture") == slots + 1
    assert all(np.array_equal(a, b) for a, b in zip(out, expected, strict=True))
    assert driver.left() == NOTHING


def test_shared_memory_is_read_in_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    driver = fake_gpu(monkeypatch, tmp_path, integrated=True)
    clip = draw_clip(4, 20, 24)
    with create_session(open_bundle("nano"), backend="tensorrt") as session:
        out = [session.infer(frame) for frame in clip]
        assert session.gpu_copies == (1, 1)  # into memory of both, and out of it
    assert "upload" not in driver.calls
    assert "download" not in driver.calls
    assert all(np.array_equal(a, b) for a, b in zip(out, reference(clip), strict=True))
    assert driver.left() == NOTHING


def test_used_from_another_thread(driver: FakeDriver) -> None:
    """The pipeline opens a session in one thread and runs it in another."""
    clip, out = draw_clip(3, 12, 16), []
    with create_session(open_bundle("nano"), backend="tensorrt") as session:
        worker = threading.Thread(target=lambda: out.extend(map(session.infer, clip)))
        worker.start()
        worker.join()
        session.reset()
    assert len(out) == 3


def test_refused_capture_is_said_and_runs_on(
    driver: FakeDriver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    refuse = (CUresult.CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, None)
    monkeypatch.setattr(driver, "cuGraphInstantiate", lambda graph, flags: refuse)
    clip = draw_clip(4, 12, 16)
    with (
        caplog.at_level(logging.WARNING, "adcvsr"),
        create_session(open_bundle("nano"), backend="tensorrt") as session,
    ):
        out = [session.infer(frame) for frame in clip]
    assert all(np.array_equal(a, b) for a, b in zip(out, reference(clip), strict=True))
    said = [r.message for r in caplog.records if "CUDA graphs are off" in r.message]
    assert len(said) == 1
    assert driver.left() == NOTHING


def test_engines_are_built_once_and_announced(
    driver: FakeDriver, caplog: pytest.LogCaptureFixture
) -> None:
    frame, built = draw_clip(1, 12, 16)[0], Builder.built
    with caplog.at_level(logging.WARNING, "adcvsr"):
        for _ in range(2):
            with create_session(open_bundle("nano"), backend="tensorrt") as session:
                session.infer(frame)
    assert Builder.built == built + 1
    assert sum("building it now" in r.message for r in caplog.records) == 1
    entry = EngineCache().entries()[0]
    assert entry.identity["device"] == {"gpu": driver.name, "sms": [89], "aot": False}
    entry.plan.write_bytes(entry.plan.read_bytes()[:-1] + b"?")
    with create_session(open_bundle("nano"), backend="tensorrt") as session:
        session.infer(frame)
    assert Builder.built == built + 2


def test_a_board_builds_for_itself_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On an Orin its own name is a target like no name at all; another board's is not."""
    fake_gpu(monkeypatch, tmp_path / "cache", integrated=True)
    said: list[str] = []
    (order,) = order_engines(
        open_bundle("nano"),
        targets=["orin-nano"],
        sizes=SizeRange.fixed(12, 16),
        report=said.append,
    )
    assert (order.backend, order.gpu) == ("tensorrt", "Orin")
    assert said[0] == "backend tensorrt"
    with pytest.raises(BackendUnavailableError, match="has compute capability 11.0, this Orin 8.7"):
        order_engines(open_bundle("nano"), targets=["thor"])


def test_a_range_serves_its_sizes(driver: FakeDriver) -> None:
    bundle, built = open_bundle("nano"), Builder.built
    sizes = SizeRange((8, 8), (16, 16), (32, 32))
    (order,) = order_engines(bundle, backend="tensorrt", sizes=sizes)
    ensure_engine(order)
    with create_session(bundle, backend="tensorrt") as session:
        for height, width in ((8, 8), (20, 32), (9, 31)):
            clip = draw_clip(2, height, width)
            out = [session.infer(frame) for frame in clip]
            assert all(np.array_equal(a, b) for a, b in zip(out, reference(clip), strict=True))
    assert Builder.built == built + 1


def test_out_of_memory_is_an_error_of_one_line(driver: FakeDriver) -> None:
    driver.limit_bytes = 10_000
    with (
        create_session(open_bundle("nano"), backend="tensorrt") as session,
        pytest.raises(BackendUnavailableError, match="CUDA_ERROR_OUT_OF_MEMORY.*lower the size"),
    ):
        session.infer(draw_clip(1, 64, 64)[0])
    assert driver.left() == NOTHING


def test_foreign_plan_does_not_load(driver: FakeDriver) -> None:
    bundle, cache = open_bundle("nano"), EngineCache()
    (order,) = order_engines(bundle, backend="tensorrt", sizes=SizeRange.fixed(12, 16))
    with cache.lock(order.key, print):
        cache.store(order, memoryview(b"no plan"), {"what": "x"}, print)
    with (
        create_session(bundle, backend="tensorrt") as session,
        pytest.raises(EngineError, match="does not load in tensorrt 10.3.0: magicTag"),
    ):
        session.infer(draw_clip(1, 12, 16)[0])


def test_what_a_compiler_says_anyway_comes_last(driver: FakeDriver) -> None:
    log = ErrorLog(make_module(driver))
    for text in ("Thread context has not been set", "no kernel for 'a/Conv'"):
        log.logger.log(1, text)
    log.logger.log(2, "a warning")
    assert log.take() == ["no kernel for 'a/Conv'"]
    log.logger.log(1, "this GPU is unsupported")
    assert log.take() == ["this GPU is unsupported"]
    assert log.take() == []


def test_a_library_that_does_not_start(driver: FakeDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    """The binding says that it was given nothing; why is in the log."""

    def give_nothing(made: object, logger: Any) -> None:
        logger.log(0, "CUDA initialization failure with error: 35")
        raise TypeError("pybind11::init(): factory function returned nullptr")

    monkeypatch.setattr(Builder, "__init__", give_nothing)
    with (
        create_session(open_bundle("nano"), backend="tensorrt") as session,
        pytest.raises(BackendUnavailableError, match=r"10\.3\.0 does not start: CUDA init.*doctor"),
    ):
        session.infer(draw_clip(1, 12, 16)[0])
    assert driver.left() == NOTHING


def test_real_rtx_says_why_an_engine_does_not_load() -> None:
    """On a machine without GPU; the library's own answer through our logger."""
    pytest.importorskip("tensorrt_rtx", reason="not installed: pip install 'adcvsr[rtx]'")
    if gpu.looks_like_gpu():
        pytest.skip("there is a GPU, so the engine loads")
    flavour = load_flavour("tensorrt-rtx")
    (order,) = order_engines(
        open_bundle("nano"),
        backend="tensorrt-rtx",
        targets=["rtx-40"],
        sizes=SizeRange.fixed(12, 16),
    )
    plan = build_plan(flavour, order, order.bundle.read(order.graph_file))
    with pytest.raises((EngineError, BackendUnavailableError)) as caught:
        EngineRunner(flavour, cast(Device, None), bytes(memoryview(plan)))
    assert "gives no reason" not in str(caught.value)


def test_errors_are_heard_when_the_first_session_is_gone(driver: FakeDriver) -> None:
    """TensorRT talks to the logger of whoever came first, as long as anybody is there."""
    bundle, frame = open_bundle("nano"), draw_clip(1, 12, 16)[0]
    with create_session(bundle, backend="tensorrt") as second:
        with create_session(bundle, backend="tensorrt") as first:
            first.infer(frame)
            second.infer(frame)
        assert second.runner is not None  # type: ignore[attr-defined]
        with pytest.raises(EngineError, match=r"does not take 'frame'.*is not in \["):
            second.runner.set_shapes({"frame": (1, 64, 64, 3)})  # type: ignore[attr-defined]


def test_closed_while_the_gpu_works(driver: FakeDriver, clip_bundle: Path) -> None:
    """A window whose pictures nobody asked for is still computed when the session closes."""
    with create_session(open_bundle(clip_bundle), backend="tensorrt") as session:
        clip = draw_clip(5, 16, 16)
        assert not list(session.upscale_window(clip, 0, 0))  # type: ignore[attr-defined]
        assert "enqueue" in driver.calls
    assert driver.left() == NOTHING


def test_a_gpu_that_fails_is_told_once(driver: FakeDriver) -> None:
    """Closing does not hide the error with another one."""
    clip = draw_clip(4, 12, 16)
    with (  # noqa: PT012 - the error has to pass the session's end
        pytest.raises(BackendUnavailableError, match="CUDA_ERROR_ILLEGAL_ADDRESS") as caught,
        create_session(open_bundle("nano"), backend="tensorrt") as session,
    ):
        for frame in clip[:3]:
            session.infer(frame)
        driver.failed = True
        session.infer(clip[3])
    assert caught.value.__context__ is None


def test_what_was_opened_is_closed_when_opening_fails(
    driver: FakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = create_session(open_bundle("nano"), backend="tensorrt")
    monkeypatch.setenv("ADCVSR_CACHE_LIMIT", "much")
    with pytest.raises(ConfigError, match="'much' is no amount of memory"), session:
        pass
    assert driver.left() == NOTHING


def test_kernel_timings(
    driver: FakeDriver, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Kept and extended; those of another device are refused, damaged ones set aside, and a full
    disk costs no engine."""
    bundle, timings, said = open_bundle("nano"), tmp_path / "timings", []

    def build(width: int, path: Path) -> BuiltEngine:
        (order,) = order_engines(bundle, backend="tensorrt", sizes=SizeRange.fixed(16, width))
        return ensure_engine(order, timing_cache=path, report=said.append)

    for width in (16, 24):
        build(width, timings)
    assert timings.read_bytes() == b"timings+16x16+16x24"
    timings.write_bytes(b"of another device")
    with pytest.raises(EngineError, match="is of another device or TensorRT"):
        build(32, timings)
    assert timings.read_bytes() == b"of another device"
    assert not said
    timings.write_bytes(b"damaged")
    build(36, timings)
    assert timings.read_bytes() == b"timings+16x36"
    assert (tmp_path / "timings.damaged").read_bytes() == b"damaged"
    assert "is damaged and is made again" in caplog.messages[-1]
    assert not build(40, tmp_path / "missing" / "timings").hit
    assert "kernel timings are not kept: cannot write" in said[0]
    assert len(EngineCache().entries()) == 4


def kept_timings() -> dict[str, bytes]:
    folder = EngineCache().folder / "timings"
    return {path.name: path.read_bytes() for path in folder.glob("*.bin")}


def test_kernel_timings_lie_beside_the_engines(
    driver: FakeDriver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Unasked, of a session, a build and a deployment alike; a file a device and version. What
    another build kept meanwhile is not lost, and what does not fit is begun anew with a line."""
    bundle, said = open_bundle("nano"), []

    def build(width: int) -> None:
        (order,) = order_engines(bundle, backend="tensorrt", sizes=SizeRange.fixed(16, width))
        assert not ensure_engine(order, report=said.append).hit

    with create_session(bundle, backend="tensorrt") as session:
        session.infer(np.zeros((16, 24, 3), np.uint8))
    build(32)
    ((name, kept),) = kept_timings().items()
    assert name == "nvidia-geforce-rtx-4060-sm89-tensorrt-10.3.0-cuda-13.0.bin"
    assert kept == b"timings+16x24+16x32"
    path = EngineCache().folder / "timings" / name

    compile_it = Builder.build_serialized_network

    def beside(self: Builder, network: object, config: object) -> object:
        path.write_bytes(b"timings+of+another+build")
        return compile_it(self, network, config)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(Builder, "build_serialized_network", beside)
        build(40)
    assert path.read_bytes() == b"timings+16x24+16x32+16x40+another+build+of"
    path.write_bytes(b"of another device")
    build(48)
    assert path.read_bytes() == b"timings+16x48"
    assert len(said) == 1
    assert "another device or driver: begun again" in said[0]
    path.write_bytes(b"damaged")
    build(56)
    assert path.read_bytes() == b"timings+16x56"
    assert "is damaged and is made again" in caplog.messages[-1]
    driver.name = "Another GPU"
    deploy_bundle(bundle, backend="tensorrt", sizes=SizeRange.fixed(24, 32), frames=10)
    assert kept_timings().keys() > {name}
    assert b"+24x32" in b"".join(kept_timings().values())
    assert clear_timings(EngineCache().folder) > 0
    assert not kept_timings()


def test_auto_takes_the_gpu_and_says_why_not(
    driver: FakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = open_bundle("nano")
    assert choose_backend(bundle).backend == "tensorrt"
    driver.attributes |= {"major": 6, "minor": 1}
    choice = choose_backend(bundle)
    assert choice.backend == "ort-cpu"
    assert [reason.partition(":")[0] for reason in choice.reasons] == [
        "tensorrt",
        "tensorrt-rtx",
        "ort-cuda",
    ]
    assert "needs compute capability 7.5" in choice.reasons[0]
    with pytest.raises(BackendUnavailableError, match="this is 6.1"):
        choose_backend(bundle, backend="tensorrt")


def test_precisions_the_gpu_lacks(driver: FakeDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = open_bundle("nano")
    fp32 = bundle.variants["fp32-onnx"]
    monkeypatch.setitem(bundle.variants, "fp8-trt", replace(fp32, id="fp8-trt"))
    driver.attributes |= {"major": 8, "minor": 6}
    with pytest.raises(BackendUnavailableError, match="fp8 needs compute capability 8.9"):
        create_session(bundle, backend="tensorrt", variant="fp8-trt")
    with pytest.raises(BackendUnavailableError, match="fp8 needs compute capability 8.9"):
        order_engines(bundle, backend="tensorrt", precision="fp8")


def test_tf32_is_never_taken_for_fp32(driver: FakeDriver) -> None:
    """An engine in TF32 is a variant of its own: found by its name, and only by that."""
    bundle, built = open_bundle("nano"), Builder.built
    sizes = SizeRange.fixed(12, 16)
    (order,) = order_engines(bundle, backend="tensorrt", precision="tf32", sizes=sizes)
    assert order.variant_id == "tf32-onnx"
    assert "nano tf32-onnx 16x12" in order.describe()
    tf32 = ensure_engine(order).entry
    assert json.loads(tf32.read_plan())["tf32"] is True
    frame = draw_clip(1, 12, 16)[0]
    with create_session(bundle, backend="tensorrt", variant="fp32-onnx") as session:
        session.infer(frame)
    assert Builder.built == built + 2
    (fp32,) = (entry for entry in EngineCache().entries() if entry.key != tf32.key)
    assert json.loads(fp32.read_plan())["tf32"] is False
    assert (tf32.facts["variant"], fp32.facts["variant"]) == ("tf32-onnx", "fp32-onnx")
    for name in ("tf32-onnx", "fp32-onnx"):
        with create_session(bundle, backend="tensorrt", variant=name) as session:
            session.infer(frame)
            assert session.variant.id == name
    assert Builder.built == built + 2
    with pytest.raises(BackendUnavailableError, match="tf32: ONNX Runtime computes fp32 and int8"):
        create_session(bundle, backend="ort-cpu", variant="tf32-onnx")
    driver.attributes |= {"major": 7, "minor": 5}
    with pytest.raises(BackendUnavailableError, match="tf32 needs compute capability 8.0"):
        create_session(bundle, backend="tensorrt", variant="tf32-onnx")


def test_what_a_machine_without_gpu_and_package_lacks_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who types a board's command on the laptop does not install a package in vain."""
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    for driver_is_here in (False, True):
        monkeypatch.setattr(gpu, "looks_like_gpu", lambda here=driver_is_here: here)
        with pytest.raises(MissingPackageError, match="'cuda-bindings'.*adcvsr doctor") as caught:
            gpu.load_driver()
        assert ("driver, which was not found here" in str(caught.value)) != driver_is_here


def test_ort_cuda_never_runs_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for by name, the build for CPUs is an error, as is a machine without driver."""
    with pytest.raises(BackendUnavailableError, match="no NVIDIA driver"):
        create_session(open_bundle("nano"), backend="ort-cuda")
    monkeypatch.setattr(gpu, "looks_like_gpu", lambda: True)
    with pytest.raises(MissingPackageError, match="is the build for CPUs: pip uninstall"):
        create_session(open_bundle("nano"), backend="ort-cuda")


@pytest.mark.parametrize("tile", [None, 32])
def test_ort_cuda_records_before_the_first_frame_and_in_one_thread(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tile: int | None
) -> None:
    """A capture is global there: every direction is recorded when a size is made ready, before a
    decoder allocates; and a session's runs come from one thread, whoever asks for them. The
    picture that was fetched is the caller's, without a further copy."""
    backend = prepare_backend("ort-cuda's bindings on the CPU", monkeypatch, tmp_path)
    runs: list[tuple[str, int]] = []
    fetched: list[np.ndarray] = []

    class Recording(CpuGraphs):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self.captures = True

        def run(self, direction: int, inputs: Any, outputs: Any) -> None:
            runs.append((threading.current_thread().name, direction))
            super().run(direction, inputs, outputs)

        def fetch(self, value: Any) -> Any:
            fetched.append(super().fetch(value))
            return fetched[-1]

    monkeypatch.setattr(OrtCudaSession, "graphs", Recording)
    clip = draw_clip(3, 16, 40)
    with create_session(open_bundle("nano"), backend="ort-cpu", threads=1, tile=tile) as session:
        wanted = [session.infer(frame) for frame in clip]
    with create_session(open_bundle("nano"), backend=backend, tile=tile) as session:
        found = [session.infer(clip[0])]
        assert session.layout is not None
        slots = session.layout.count
        assert {direction for _, direction in runs[: 2 * slots]} == set(range(slots + 1))
        if tile is None:
            assert np.shares_memory(found[0], fetched[0])

        def elsewhere() -> None:
            found.extend(session.infer(frame) for frame in clip[1:])

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert len({name for name, _ in runs}) == 1
    assert "adcvsr-ort-cuda" in runs[0][0]
    assert all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))
    assert not [each for each in threading.enumerate() if "ort-cuda" in each.name]


def test_rtx_compiles_its_kernels_once(
    driver: FakeDriver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", make_module(driver, "1.7.1.116"))
    monkeypatch.setattr(Context, "compiled", 0)
    clip = draw_clip(4, 12, 16)

    def start() -> int:
        before = Context.compiled
        with create_session(open_bundle("nano"), backend="tensorrt-rtx") as session:
            out = [session.infer(frame) for frame in clip]
            (kernels,) = EngineCache().entries()[0].folder.glob("kernels-*.bin")  # not at the end
        assert np.array_equal(out[-1], reference(clip)[-1])
        assert [*kernels.parent.glob("kernels-*")] == [kernels]
        return Context.compiled - before

    assert [start(), start()] == [1, 0]
    (kernels,) = EngineCache().entries()[0].folder.glob("kernels-*.bin")
    kernels.write_bytes(kernels.read_bytes() + b"!")
    assert start() == 1
    assert sum("compiled again" in r.message for r in caplog.records) == 1
    assert start() == 0
    assert driver.left() == NOTHING


def test_rtx_engines_that_cannot_be_captured_run_on(
    driver: FakeDriver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", make_module(driver, "1.7.1.116"))
    monkeypatch.setattr(Context, "is_stream_capturable", lambda context, stream: False)
    clip = draw_clip(4, 12, 16)
    with create_session(open_bundle("nano"), backend="tensorrt-rtx") as session:
        out = [session.infer(frame) for frame in clip]
    assert "capture" not in driver.calls
    assert sum("allocates memory while it runs" in r.message for r in caplog.records) == 1
    assert all(np.array_equal(a, b) for a, b in zip(out, reference(clip), strict=True))


@pytest.mark.parametrize(
    ("name", "metadata", "nodes"),
    [
        ("a + b", "[ONNX Layer: a]\x1e[ONNX Layer: b]\x1f[ONNX Layer: a]", ["a", "b"]),
        ("conv/Conv + PWN(relu)", "", ["conv/Conv", "relu"]),
        ("{ForeignNode[first...last]}", "", ["first", "last"]),
    ],
)
def test_nodes_behind_a_layer(name: str, metadata: str, nodes: list[str]) -> None:
    assert list(nodes_of(name, metadata)) == nodes


@pytest.mark.parametrize("integrated", [False, True])
def test_a_profile_has_every_run_layer_by_layer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, integrated: bool
) -> None:
    pytest.importorskip("onnx", reason="the fake engine reads its layers from the graph")
    driver = fake_gpu(monkeypatch, tmp_path / "cache", integrated=integrated)
    clip = draw_clip(4, 20, 24)
    session = create_session(open_bundle("nano"), backend="tensorrt")
    session.profile_prefix = tmp_path / "layers"
    with session:
        out = [session.infer(frame) for frame in clip[:2]]
        out += [session.infer(frame[:12]) for frame in clip[2:]]  # another size, the same profile
    assert "capture" not in driver.calls
    assert np.array_equal(out[0], reference(clip[:1])[0])
    (profile,) = session.profiles
    events = json.loads(profile.path.read_text())
    runs = [e for e in events if e["name"] == "model_run"]
    assert len(runs) == 4
    assert runs[0]["ts"] == 0
    layers = [e for e in events if e["cat"] == "Node"]
    assert len(layers) == 4 * 14  # twelve convolutions, what is before them, and a reformat
    first = layers[:14]
    assert [e["dur"] for e in first] == pytest.approx(
        [1000 * LAYER_MS * (n + 1) for n in range(14)]
    )
    ends = [e["ts"] + e["dur"] for e in first]
    assert [e["ts"] for e in first[1:]] == pytest.approx(ends[:-1], abs=0.01)
    assert first[2]["args"]["op_name"] == "CaskConvolution"
    assert first[2]["args"]["nodes"][0] == "unet.conv_in/Conv"
    assert driver.left() == NOTHING


def test_too_old_a_tensorrt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake_gpu(monkeypatch, tmp_path, version="8.6.1")
    with pytest.raises(BackendUnavailableError, match="TensorRT 8.6.1 is too old"):
        create_session(open_bundle("nano"), backend="tensorrt")


@pytest.mark.parametrize("name", [p for p in CONTRACT if p != "ort-cpu"])
def test_clip_networks(
    clip_bundle: Path, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Windows of two lengths and a tiled size give what ONNX Runtime on the CPU gives."""
    backend = prepare_backend(name, monkeypatch, tmp_path / "cache")
    bundle, clip = open_bundle(clip_bundle), draw_clip(6, 30, 90)
    for tile in (None, 64):
        with create_session(bundle, backend="ort-cpu", tile=tile) as session:
            expected = [
                picture
                for window, first, last in ((clip, 0, 6), (clip[:4], 1, 3))
                for picture in session.upscale_window(window, first, last)  # type: ignore[attr-defined]
            ]
        with create_session(bundle, backend=backend, tile=tile) as session:
            out = [
                picture
                for window, first, last in ((clip, 0, 6), (clip[:4], 1, 3))
                for picture in session.upscale_window(window, first, last)  # type: ignore[attr-defined]
            ]
        assert len(out) == len(expected) == 8
        for picture, wanted in zip(out, expected, strict=True):
            assert np.abs(picture.astype(int) - wanted).max() <= 1


def test_one_graph_serves_all_frames_of_a_clip(driver: FakeDriver, clip_bundle: Path) -> None:
    clip = draw_clip(5, 16, 16)
    with create_session(open_bundle(clip_bundle), backend="tensorrt") as session:
        for _ in range(3):
            assert len(list(session.upscale_window(clip, 0, 5))) == 5  # type: ignore[attr-defined]
        # One for the window, one for the pictures: all frames go through one address.
        assert driver.calls.count("capture") == 2
        # Three windows and fifteen pictures, half a millisecond each by the GPU's clock.
        assert session.engine_seconds == pytest.approx(18 * 0.0005)
    assert driver.left() == NOTHING


def test_yuv_is_an_engine_of_its_own(driver: FakeDriver) -> None:
    """The planes are the CPU's, two copies a way, and RGB's engine stays in the cache beside it."""
    colours, ends = Colours(6, full_range=False), YuvEnds(6, full_range=False)
    frames = [
        yuv_from_frame(
            frame_from_rgb(frame, colours, "yuv420p", VideoReformatter()),
            colours,
            VideoReformatter(),
        )
        for frame in draw_clip(4, 20, 24)
    ]
    bundle = open_bundle("nano")
    with create_session(bundle, backend="ort-cpu", threads=1) as plain:
        assert isinstance(plain, StreamSession)
        with plain.of_yuv(ends) as session:
            expected = [session.infer_yuv(frame) for frame in frames]
    with create_session(bundle, backend="tensorrt") as plain:
        assert isinstance(plain, StreamSession)
        plain.infer(draw_clip(1, 20, 24)[0])
        driver.calls.clear()
        with plain.of_yuv(ends) as session, plain.of_yuv(YuvEnds(1, full_range=True)) as other:
            found = [session.infer_yuv(frame) for frame in frames]
            assert driver.calls.count("upload") == driver.calls.count("download") == 2 * 4
            assert session.gpu_copies == (2, 2)  # pinned memory, and from there
            other.infer_yuv(frames[0])
    for a, b in zip(expected, found, strict=True):
        assert np.abs(a.luma.astype(int) - b.luma).max() <= 1
        assert np.abs(a.chroma.astype(int) - b.chroma).max() <= 1
    entries = EngineCache().entries()
    assert [entry.identity.get("yuv") for entry in entries].count(None) == 1
    assert sorted(entry.identity["yuv"] for entry in entries if "yuv" in entry.identity) == [
        [1, True],
        [6, False],
    ]
    assert driver.left() == NOTHING


def test_auto_builds_no_engine_for_yuv(driver: FakeDriver) -> None:
    with Upscaler("nano", backend="tensorrt") as upscaler:
        assert "--pixels yuv builds and runs it" in upscaler.why_not_yuv()
        assert upscaler.why_not_yuv(asked=True) == ""
