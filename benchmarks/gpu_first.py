"""The first hour on a GPU nobody ran this on: what our code takes for granted of it.

    python benchmarks/gpu_first.py                    # all stages, ten minutes at most
    python benchmarks/gpu_first.py --stage 2          # up to a stage
    python benchmarks/gpu_first.py --check events_in_a_graph

One JSON line a check: `check`, `stage`, `result` (`ok`, `failed`, `left out`), `seconds`, and
`facts` or `why`. Each check is a process of its own, so that a crash costs one line. Exit 1 if one
failed.

It needs numpy, cuda-bindings and this repository, installed or not: no PyAV, no network. Later
stages also take what is there of onnxruntime-gpu, torch, TensorRT and TensorRT-RTX, and leave out
the rest with a line. The same checks run over the fake GPU in the tests, where torch is numpy.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
if importlib.util.find_spec("adcvsr") is None:  # not installed: the stages lie beside src
    sys.path.insert(0, str(ROOT / "src"))
    import adcvsr

    adcvsr.__path__.append(str(ROOT))

from adcvsr.bundle import open_bundle  # noqa: E402
from adcvsr.errors import AdcVsrError, BackendUnavailableError, MissingPackageError  # noqa: E402
from adcvsr.runtime.nvidia import gpu  # noqa: E402
from adcvsr.runtime.nvidia.device import Device  # noqa: E402
from adcvsr.runtime.nvidia.flavour import load_flavour  # noqa: E402
from adcvsr.runtime.processing.backends import create_session  # noqa: E402
from adcvsr.runtime.sessions.trt_runner import EngineRunner  # noqa: E402
from adcvsr.runtime.sessions.trt_stream import TensorRtSession  # noqa: E402

LIMIT_S = 570.0
"""Of all checks together."""

CHECK_LIMIT_S = 240.0
SIZE = 1 << 20
"""Bytes of the copies."""

FRAMES = 6
HEIGHT, WIDTH = 48, 64
LEVELS = 1
"""How far a picture in FP32 may be from the CPU's, by rounding."""

Facts = dict[str, Any]


class LeftOutError(Exception):
    """A check that cannot run here; the message says what is missing."""


@dataclass(frozen=True)
class Check:
    """One thing that has to hold."""

    stage: int
    run: Callable[[], Facts]


CHECKS: dict[str, Check] = {}


def check(stage: int) -> Callable[[Callable[[], Facts]], Callable[[], Facts]]:
    """Register a check under its function's name."""

    def add(run: Callable[[], Facts]) -> Callable[[], Facts]:
        CHECKS[run.__name__] = Check(stage, run)
        return run

    return add


def must(holds: bool, what: str) -> None:
    """Fail a check; `assert` is not used, as -O would take it away.

    Raises:
        AdcVsrError: It does not hold.
    """
    if not holds:
        raise AdcVsrError(what)


class OnDevice:
    """A device with a buffer on it and one beside it, closed at the end."""

    def __enter__(self) -> OnDevice:
        self.device = Device(gpu.load_driver())
        self.host, self.back = self.device.pin(SIZE), self.device.pin(SIZE)
        self.address = self.device.allocate(SIZE)
        return self

    def __exit__(self, *error: object) -> None:
        self.device.close()

    def there_and_back(self) -> None:
        """Queue a copy to the device and one back."""
        self.device.upload(self.address, self.host, SIZE)
        self.device.download(self.back, self.address, SIZE)

    def equal(self) -> bool:
        """Whether what came back is what was sent."""
        return bool(np.array_equal(self.host.array, self.back.array))


# Stage 1: the driver


@check(1)
def driver_answers() -> Facts:
    """The driver starts and names its GPU."""
    found = gpu.current_gpu()
    must(bool(found.name), "the GPU has no name")
    must(found.sm >= 50, f"compute capability {found.sm}")
    return {"gpu": found.name, "sm": found.sm, "cuda": found.cuda, "integrated": found.integrated}


@check(1)
def memory_holds_what_is_copied() -> Facts:
    """Pinned memory to the device and back; cleared memory is zero; addresses are aligned."""
    with OnDevice() as on:
        must(on.address % 256 == 0, f"address {on.address:#x} is not aligned to 256 bytes")
        on.host.array[:] = np.random.default_rng(0).integers(0, 256, SIZE, dtype=np.uint8)
        began = time.perf_counter()
        on.there_and_back()
        on.device.synchronize()
        seconds = time.perf_counter() - began
        must(on.equal(), "what came back is not what was sent")
        on.device.zero(on.address, SIZE)
        on.device.download(on.back, on.address, SIZE)
        on.device.synchronize()
        must(not on.back.array.any(), "cleared memory is not zero")
        return {"copy_ms_both_ways": round(1000 * seconds, 3)}


@check(1)
def another_thread_goes_on() -> Facts:
    """A device is used from the thread that made it current, whichever that is."""
    with OnDevice() as on:
        failed: list[BaseException] = []

        def work() -> None:
            try:
                on.device.activate()
                on.host.array[:] = 7
                on.there_and_back()
                on.device.synchronize()
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        must(not failed, f"the other thread: {failed}")
        must(on.equal(), "what came back is not what was sent")
        return {}


# Stage 2: CUDA graphs and events


@check(2)
def a_graph_is_replayed() -> Facts:
    """A captured run copies what is in memory at each launch, and nothing at its capture."""
    with OnDevice() as on:
        on.host.array[:], on.back.array[:] = 1, 9
        graph = on.device.capture(on.there_and_back)
        on.device.synchronize()
        must(bool((on.back.array == 9).all()), "the capture already ran")
        for value in (2, 3):
            on.host.array[:] = value
            on.device.launch(graph)
            on.device.synchronize()
            must(bool((on.back.array == value).all()), f"launch {value} gave another value")
        on.device.drop(graph)
        return {}


@check(2)
def events_in_a_graph() -> Facts:
    """Events that were recorded within a capture note the time of every launch."""
    with OnDevice() as on:
        first, last = on.device.event(), on.device.event()

        def work() -> None:
            on.device.record(first)
            on.there_and_back()
            on.device.record(last)

        work()
        on.device.synchronize()
        plain = on.device.seconds(first, last)
        graph = on.device.capture(work)
        times = []
        for _ in range(3):
            on.device.launch(graph)
            on.device.synchronize()
            times.append(on.device.seconds(first, last))
        must(all(0 < each < 1 for each in (plain, *times)), f"times {plain}, {times}")
        return {"plain_us": round(1e6 * plain, 2), "us": [round(1e6 * t, 2) for t in times]}


@check(2)
def capture_beside_a_thread_that_allocates() -> Facts:
    """A decoder of another thread may allocate while we capture: the capture is thread-local."""
    with OnDevice() as on:
        failed: list[BaseException] = []

        def beside() -> None:
            try:
                on.device.activate()
                on.device.free(on.device.allocate(SIZE))
            except BaseException as error:
                failed.append(error)

        def work() -> None:
            on.device.upload(on.address, on.host, SIZE)
            thread = threading.Thread(target=beside)
            thread.start()
            thread.join()
            on.device.download(on.back, on.address, SIZE)

        graph = on.device.capture(work)
        must(not failed, f"the other thread: {failed}")
        on.host.array[:] = 5
        on.device.launch(graph)
        on.device.synchronize()
        must(on.equal(), "what came back is not what was sent")
        return {}


@check(2)
def a_refused_capture_leaves_the_stream_usable() -> Facts:
    """What cannot be captured is an error of ours, and the next run is an ordinary one."""
    with OnDevice() as on:
        refused = ""
        try:
            on.device.capture(on.device.synchronize)
        except BackendUnavailableError as error:
            refused = str(error)
        must(bool(refused), "waiting within a capture was not refused")
        on.host.array[:] = 4
        on.there_and_back()
        on.device.synchronize()
        must(on.equal(), "what came back is not what was sent")
        return {"refused_with": refused}


# Stage 3: ONNX Runtime's CUDA provider


def clip() -> np.ndarray:
    """A moving gradient, drawn without PyAV: (FRAMES, HEIGHT, WIDTH, 3) uint8."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack(
        [
            np.stack([rows * 5 + 3 * n, columns * 4 - 2 * n, rows + columns + 9 * n], -1) % 256
            for n in range(FRAMES)
        ]
    ).astype(np.uint8)


def compare_with_cpu(backend: str) -> Facts:
    """Run the clip twice with carried state, the second time after a reset, against the CPU."""
    if importlib.util.find_spec("onnxruntime") is None:
        raise LeftOutError("onnxruntime is not installed: nothing to compare with")
    bundle, frames = open_bundle("nano"), clip()
    with create_session(bundle, backend="ort-cpu", variant="fp32") as session:
        wanted = [session.infer(frame) for frame in frames]
    with create_session(bundle, backend=backend, variant="fp32") as session:
        began = time.perf_counter()
        first = session.infer(frames[0])
        first_s = time.perf_counter() - began
        found = [first, *(session.infer(frame) for frame in frames[1:])]
        session.reset()
        again = [session.infer(frame) for frame in frames]
        began = time.perf_counter()
        for frame in frames:
            session.infer(frame)
        frame_s = (time.perf_counter() - began) / FRAMES
        engine_s = session.engine_seconds
    worst = max(int(np.abs(a.astype(int) - b).max()) for a, b in zip(found, wanted, strict=True))
    must(worst <= LEVELS, f"pictures are {worst} levels from the CPU's")
    same = all(np.array_equal(a, b) for a, b in zip(found, again, strict=True))
    must(same, "after a reset the same frames give other pictures")
    moved = not np.array_equal(wanted[1], _without_past(bundle, frames[1]))
    must(moved, "the clip does not show whether state is carried")
    return {
        "worst_levels": worst,
        "first_frame_s": round(first_s, 3),
        "frame_ms": round(1000 * frame_s, 3),
        "engine_s": None if engine_s is None else round(engine_s, 6),
    }


def _without_past(bundle: Any, frame: np.ndarray) -> np.ndarray:
    with create_session(bundle, backend="ort-cpu", variant="fp32") as session:
        return session.infer(frame)


@check(3)
def ort_cuda_carries_state() -> Facts:
    """IO binding, state on the device and a CUDA graph a direction give the CPU's pictures."""
    return compare_with_cpu("ort-cuda")


# Stage 4: a TensorRT session over torch as the engine


class TorchEngine:
    """In the place of a TensorRT engine: nearest-neighbour x4 plus the state, which counts frames.

    Args:
        compute: Queues one run: addresses and shapes by name, and a stream's handle.
        inputs: Names.
        outputs: Likewise.
    """

    def __init__(self, compute: Any, inputs: list[str], outputs: list[str]) -> None:
        self.names, self._inputs, self._compute = [*inputs, *outputs], set(inputs), compute
        self.num_io_tensors = len(self.names)

    def get_tensor_name(self, index: int) -> str:
        """See TensorRT."""
        return self.names[index]

    def get_tensor_mode(self, name: str) -> str:
        """See TensorRT."""
        return "in" if name in self._inputs else "out"

    def create_execution_context(self) -> TorchEngine:
        """See TensorRT."""
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}
        return self

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        """See TensorRT."""
        self.shapes[name] = shape
        return True

    def infer_shapes(self) -> list[str]:
        """See TensorRT."""
        return [name for name in self._inputs if name not in self.shapes]

    def set_tensor_address(self, name: str, address: int) -> bool:
        """See TensorRT."""
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        """See TensorRT."""
        self._compute(dict(self.addresses), self.shapes, stream)
        return True


class TorchModule:
    """As much of TensorRT's module as an `EngineRunner` takes."""

    class ILogger:
        """A logger's base."""

        ERROR = 1

    TensorIOMode = SimpleNamespace(INPUT="in")


class TorchFlavour:
    """In the place of TensorRT's module: it loads a `TorchEngine`, whatever the plan."""

    backend, version = "tensorrt", "torch"
    trt = TorchModule

    def __init__(self, engine: TorchEngine) -> None:
        self._engine = engine

    def runtime(self, **options: Any) -> Any:
        """See `Flavour`."""
        return SimpleNamespace(deserialize_cuda_engine=lambda plan: self._engine)

    def runtime_config(self, engine: Any) -> None:
        """See `Flavour`."""
        return None

    def can_capture(self, context: Any, stream: int) -> bool:
        """See `Flavour`."""
        return True


class TorchSession(TensorRtSession):
    """A TensorRT session whose engine is torch: staging, state, graphs and events are the real."""

    compute: Callable[[Mapping[str, int], Mapping[str, tuple[int, ...]], int], None]
    deployed_mapped = None

    def _open(self) -> None:
        self.engine_seconds = 0.0
        self._device = Device(gpu.load_driver())
        self.engines = self  # type: ignore[assignment]
        self.plan_bytes = {self.variant.file: 0}
        self.events = None

    def load(self, file: str, height: int, width: int) -> EngineRunner:
        """See `EngineSource`."""
        bundle = self.bundle
        inputs = [bundle.input_name, *(spec.name for spec in bundle.state)]
        outputs = [bundle.output_name, *(spec.next_name for spec in bundle.state)]
        flavour: Any = TorchFlavour(TorchEngine(self.compute, inputs, outputs))
        assert self._device is not None
        return EngineRunner(flavour, self._device, b"")


def torch_compute(bundle: Any) -> Any:
    """A run of `TorchEngine` by torch, on a foreign stream, in memory that is not torch's.

    Raises:
        LeftOutError: torch is missing or sees no GPU.
    """
    if importlib.util.find_spec("torch") is None:
        raise LeftOutError("torch is not installed")
    import torch

    if not torch.cuda.is_available():
        raise LeftOutError(f"torch {torch.__version__} sees no GPU")

    def tensor(address: int, shape: tuple[int, ...], kind: str) -> Any:
        interface = {"shape": shape, "typestr": kind, "data": (address, False), "version": 3}
        return torch.as_tensor(SimpleNamespace(__cuda_array_interface__=interface), device="cuda")

    def compute(addresses: Mapping[str, int], shapes: Mapping[str, Any], stream: int) -> None:
        _, height, width, _ = shapes[bundle.input_name]
        with torch.cuda.stream(torch.cuda.ExternalStream(stream)):
            frame = tensor(addresses[bundle.input_name], (height, 1, width, 1, 3), "|u1")
            shape = (height, 4, width, 4, 3)
            picture = tensor(addresses[bundle.output_name], shape, "|u1")
            picture.copy_(frame.expand(shape))
            for number, spec in enumerate(bundle.state):
                state = tensor(addresses[spec.name], shapes[spec.name], "<f4")
                following = tensor(addresses[spec.next_name], shapes[spec.name], "<f4")
                if number == 0:
                    picture.add_(state.view(-1)[:1].to(torch.uint8))
                following.copy_(state)
                following.add_(1)

    return compute


def numpy_answer(frames: np.ndarray) -> list[np.ndarray]:
    """What `TorchEngine` gives: the nth frame is n levels brighter, modulo 256."""
    return [frame.repeat(4, 0).repeat(4, 1) + np.uint8(n) for n, frame in enumerate(frames)]


@check(4)
def session_over_torch() -> Facts:
    """Staging, overlap, state that swaps, a graph a direction, events around a foreign engine."""
    bundle, frames = open_bundle("nano"), clip()
    session = TorchSession(bundle, bundle.variants["fp32-onnx"])
    session.compute = torch_compute(bundle)
    wanted = numpy_answer(frames)
    with session:
        found = [session.infer(frame) for frame in frames]
        session.reset()
        again = [session.infer(frame) for frame in frames]
        (runner,) = session.runners
        must(runner.captures, "CUDA graphs are off: the capture was refused (see stderr)")
        graphs = len(runner._graphs)
        must(graphs == 2, f"{graphs} graphs were captured, expected one a direction")
        engine_ms = 1000 * (session.engine_seconds or 0.0) / (2 * FRAMES)
        must(0 < engine_ms < 1000, f"the engine took {engine_ms} ms a frame")
        for number, (picture, right) in enumerate(zip(found, wanted, strict=True)):
            must(np.array_equal(picture, right), f"frame {number} is not what the engine computes")
        session.reset()
        late = [session.infer_behind(frame) for frame in frames]
        behind = [*late[1:], session.last()]
    same = all(np.array_equal(a, b) for a, b in zip(behind, wanted, strict=True))
    must(same, "copies beside the engine give other pictures")
    same = all(np.array_equal(a, b) for a, b in zip(found, again, strict=True))
    must(same, "after a reset the same frames give other pictures")
    return {"graphs": graphs, "engine_ms": round(engine_ms, 4)}


# Stage 5: the compilers, where they are


def with_compiler(backend: str) -> Facts:
    """Build for this GPU, run with carried state, against the CPU."""
    try:
        load_flavour(backend)
    except MissingPackageError as error:
        raise LeftOutError(str(error)) from error
    return compare_with_cpu(backend)


@check(5)
def tensorrt_rtx_runs() -> Facts:
    """TensorRT-RTX builds, compiles its kernels here and gives the CPU's pictures."""
    return with_compiler("tensorrt-rtx")


@check(5)
def tensorrt_runs() -> Facts:
    """TensorRT builds on this GPU and gives the CPU's pictures."""
    return with_compiler("tensorrt")


def line(name: str) -> dict[str, Any]:
    """Run one check here; returns its line."""
    began = time.monotonic()
    said: dict[str, Any] = {"check": name, "stage": CHECKS[name].stage}
    try:
        facts = CHECKS[name].run()
        said |= {"result": "ok", "facts": facts}
    except (LeftOutError, MissingPackageError) as error:
        said |= {"result": "left out", "why": str(error)}
    except Exception as error:  # a line each, whatever it was
        said |= {"result": "failed", "why": f"{type(error).__name__}: {error}"}
    return said | {"seconds": round(time.monotonic() - began, 2)}


def line_of_child(name: str, limit_s: float) -> dict[str, Any]:
    """Run one check in a process of its own; a crash or a hang is a line, too."""
    said = {"check": name, "stage": CHECKS[name].stage, "result": "failed", "seconds": limit_s}
    command = [sys.executable, __file__, "--check", name]
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, timeout=limit_s, check=False
        )
    except subprocess.TimeoutExpired:
        return said | {"why": f"it was not done after {limit_s:.0f} s"}
    lines = done.stdout.splitlines()
    try:
        found: dict[str, Any] = json.loads(lines[-1])
    except (IndexError, ValueError):
        return said | {"why": f"it ended with {done.returncode} and no line"}
    return found


def main() -> int:
    """Run the checks; returns the exit status."""
    last = max(each.stage for each in CHECKS.values())
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stage", type=int, default=last, help="the last stage to run")
    parser.add_argument("--check", choices=tuple(CHECKS), help="this one, in this process")
    parser.add_argument("--limit", type=float, default=LIMIT_S, help="seconds for all together")
    options = parser.parse_args()
    if options.check:
        with tempfile.TemporaryDirectory() as folder:
            import os

            os.environ["ADCVSR_CACHE"] = folder  # builds from the beginning, and leaves nothing
            found = line(options.check)
        print(json.dumps(found), flush=True)
        return int(found["result"] == "failed")
    ends, failed = time.monotonic() + options.limit, False
    for name in (name for name, each in CHECKS.items() if each.stage <= options.stage):
        left = ends - time.monotonic()
        if left < 1:
            found = {"check": name, "stage": CHECKS[name].stage, "result": "left out"}
            found |= {"why": f"the {options.limit:.0f} s are over", "seconds": 0}
        else:
            found = line_of_child(name, min(left, CHECK_LIMIT_S))
        failed |= found["result"] == "failed"
        print(json.dumps(found), flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
