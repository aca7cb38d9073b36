"""One engine, loaded: its shapes, the addresses of its tensors, and its CUDA graphs.

runner = EngineRunner(flavour, device, plan)
runner.set_shapes({"frame": (1, 360, 640, 3)})
runner.run({"frame": a, "upscaled": b})
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ...errors import BackendUnavailableError, EngineError
from ..engine.advice import build_complaint
from ..engine.order import Shape
from ..nvidia.device import ALIGNMENT, Device
from ..nvidia.flavour import Flavour, error_log
from ..nvidia.kernels import KernelCache
from .trt_profile import Event, LayerProfiler

LOGGER = logging.getLogger("adcvsr")


class EngineRunner:
    """An engine with one execution context on a device's stream.

    The first run of each shape is queued plainly, as TensorRT finishes its preparations then; later
    ones are captured once for each set of addresses and replayed.

    Args:
        flavour: The module.
        device: Where.
        plan: The engine, its hash checked.
        version_compatible: It brings its own runtime code.
        dla: The DLA core it was built for; None for the GPU.
        folder: Where TensorRT-RTX's compiled kernels are kept; None for nowhere.
        events: Where to note the layers' times; runs are then waited for, and not captured.

    Raises:
        EngineError: It does not load here.
    """

    def __init__(
        self,
        flavour: Flavour,
        device: Device,
        plan: bytes,
        *,
        version_compatible: bool = False,
        dla: int | None = None,
        folder: Path | None = None,
        events: list[Event] | None = None,
    ) -> None:
        self.device, self._flavour = device, flavour
        self._log = error_log(flavour.trt)
        self._runtime = flavour.runtime(version_compatible=version_compatible, dla=dla)
        self.engine = self._runtime.deserialize_cuda_engine(plan)
        if self.engine is None:
            raise self._error(f"the engine does not load in {flavour.backend} {flavour.version}")
        self._kernels: KernelCache | None = None
        self._context = self._create_context(folder)
        mode = flavour.trt.TensorIOMode
        names = [self.engine.get_tensor_name(i) for i in range(self.engine.num_io_tensors)]
        self.inputs = [n for n in names if self.engine.get_tensor_mode(n) == mode.INPUT]
        self.outputs = [n for n in names if n not in self.inputs]
        self._graphs: dict[tuple[int, ...], Any] = {}
        self._warm = False
        self._spans: dict[int, tuple[Any, Any]] = {}  # begin and end of a lane's latest run
        self._untaken: set[int] = set()  # lanes whose run's time was not taken yet
        self.captures = events is None
        """Whether runs are captured; False for profiles, and once driver or engine refused."""
        self._profiler: LayerProfiler | None = None
        if events is not None:
            self._profiler = LayerProfiler(flavour.trt, self.engine, self._context, events)

    def _create_context(self, folder: Path | None) -> Any:
        config = self._flavour.runtime_config(self.engine)
        if config is None:
            context = self.engine.create_execution_context()
        else:
            if folder is not None:
                self._kernels = KernelCache(config, folder)
            context = self.engine.create_execution_context(config)
        if context is None:
            raise self._error("no memory to run the engine")
        return context

    def set_shapes(self, shapes: Mapping[str, Shape]) -> None:
        """Choose the shape of every input; drops the CUDA graphs of the former ones.

        Raises:
            EngineError: The engine was not built for it.
        """
        self.drop_graphs()
        self._log.take()
        for name in self.inputs:
            if not self._context.set_input_shape(name, shapes[name]):
                raise self._error(f"the engine does not take '{name}' of shape {shapes[name]}")
        if missing := self._context.infer_shapes():
            raise EngineError(f"the engine cannot infer shapes from {list(missing)}")

    def run(
        self,
        addresses: Mapping[str, int],
        *,
        before: Callable[[], None] | None = None,
        after: Callable[[], None] | None = None,
        lane: int = 0,
    ) -> None:
        """Queue one run.

        Args:
            addresses: Of every input and output on the device; each set is captured once.
            before: Queues what comes first, such as an upload; captured along.
            after: Queues what comes last.
            lane: Runs that may be under way at once are of different lanes, each timed for itself;
                one lane's have the same `before` and `after`.

        Raises:
            EngineError: The engine refused.
        """
        self._untaken.add(lane)
        key = (lane, *(addresses[name] for name in (*self.inputs, *self.outputs)))
        if key in self._graphs:
            self.device.launch(self._graphs[key])
            return
        if lane not in self._spans:  # not within a capture
            self._spans[lane] = (self.device.event(), self.device.event())

        def work() -> None:
            if before:
                before()
            self._enqueue(addresses, lane)
            if after:
                after()

        if self._warm and self.captures and self._capture(key, work):
            self.device.launch(self._graphs[key])
            return
        if self._profiler is None:
            work()
        else:
            began = self._profiler.begin()
            work()
            self.device.synchronize()
            self._profiler.end(began)
        self._warm = True

    def take_seconds(self, lane: int = 0) -> float:
        """Time a lane's latest run took on the device, which was waited for; each run's once."""
        if lane not in self._untaken:
            return 0.0
        self._untaken.remove(lane)
        return self.device.seconds(*self._spans[lane])

    def drop_graphs(self) -> None:
        """Forget captured graphs: shapes or addresses change."""
        for executable in self._graphs.values():
            self.device.drop(executable)
        self._graphs.clear()
        self._warm = False

    def close(self) -> None:
        """Free the engine, nothing of which may be queued any more; buffers are the session's."""
        self.drop_graphs()
        for event in (event for span in self._spans.values() for event in span):
            self.device.drop_event(event)
        self._spans.clear()
        if self._kernels is not None:
            self._kernels.save()
        # In this order: each needs the one before it in life.
        self._context = self._profiler = self._kernels = None
        self.engine = self._runtime = None

    def _enqueue(self, addresses: Mapping[str, int], lane: int) -> None:
        for name in (*self.inputs, *self.outputs):
            address = addresses[name]
            assert address % ALIGNMENT == 0, (name, address)
            if not self._context.set_tensor_address(name, address):
                raise EngineError(f"the engine does not take an address for '{name}'")
        began, ended = self._spans[lane]
        self.device.record(began)
        if not self._context.execute_async_v3(self.device.stream_handle):
            raise self._error("the engine failed")
        self.device.record(ended)

    def _error(self, what: str) -> EngineError:
        return EngineError(f"{what}: {build_complaint(self._log.take())}")

    def _capture(self, key: tuple[int, ...], work: Callable[[], None]) -> bool:
        """Capture a run; where that is not possible, say so once and go on without."""
        try:
            if not self._flavour.can_capture(self._context, self.device.stream_handle):
                raise EngineError("this engine allocates memory while it runs")
            self._graphs[key] = self.device.capture(work)
        except (BackendUnavailableError, EngineError) as error:
            self.captures = False
            LOGGER.warning("CUDA graphs are off, each run is queued by itself: %s", error)
            return False
        if self._kernels is not None and len(self._graphs) == 1:
            self._kernels.save()  # now, as a stream may run until it is killed
        return True
