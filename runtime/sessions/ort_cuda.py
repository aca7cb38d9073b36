"""ONNX Runtime's CUDA provider: IO binding, state on the device, a CUDA graph a direction.

A session runs in a thread of its own: with CUDA graphs ONNX Runtime allows one thread a session,
and callers warm up, switch models and upscale from several.

Every node has to run on the GPU. For that a size's graph is loaded with its dimensions fixed, so
that ONNX Runtime folds the shape arithmetic it would otherwise place on the CPU.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np

from ...arrays import Frame
from ...bundle import Bundle
from ...bundle.schema import TensorSpec, Variant
from ...errors import BackendUnavailableError, EngineError, MissingPackageError
from ...host.processors import thread_limit
from ..engine.current import CurrentEngines
from ..engine.engine_cache import EngineCache
from ..nvidia.gpu import current_gpu
from ..threads.own_thread import OwnThread
from .clip_session import ClipSession
from .ort_cpu import import_onnxruntime
from .session import Session
from .state_ring import StateRing
from .stream_session import StreamSession

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
OPTIONS = {
    "cudnn_conv_algo_search": "EXHAUSTIVE",
    "cudnn_conv_use_max_workspace": "1",
    "arena_extend_strategy": "kSameAsRequested",
}
"""Of the provider."""

THREAD = "adcvsr-ort-cuda"
"""Name of a session's thread."""

Sizes = dict[str, tuple[int, ...]]


class CudaGraphs:
    """One ONNX graph at one size on the GPU.

    Args:
        bundle: The opened bundle.
        variant: Of it.
        file: The graph.
        sizes: Shape of every input.
        capture: Record a CUDA graph for each `direction` of `run`.
        nhwc: Have convolutions work with a pixel's channels together, where there are kernels.

    Raises:
        BackendUnavailableError: It does not run on the GPU as a whole; the message has the reason.
        MissingPackageError: onnxruntime-gpu is not installed.
    """

    provider: ClassVar[str] = CUDA
    device: ClassVar[str] = "cuda"

    def __init__(
        self,
        bundle: Bundle,
        variant: Variant,
        file: str,
        sizes: Sizes,
        *,
        capture: bool,
        nhwc: bool = False,
    ) -> None:
        self.ort = import_onnxruntime_gpu() if self.provider == CUDA else import_onnxruntime()
        self.captures = capture and self.provider == CUDA
        """Whether the first run of a direction records its CUDA graph."""
        self.nhwc = nhwc
        with bundle.graph(variant, file) as graph:
            self._session = self._load(
                graph, sizes, f"'{file}' of '{bundle.name}'", tf32=variant.precision == "tf32"
            )
        self._bindings: dict[int, Any] = {}

    def empty(self, shape: tuple[int, ...], dtype: str) -> Any:
        """Allocate a tensor on the device, zeroed."""
        value = self.ort.OrtValue.ortvalue_from_numpy(np.zeros(shape, dtype), self.device, 0)
        return value

    def fetch(self, value: Any) -> Any:
        """Copy a tensor to the host, once; the caller's own array."""
        array = value.numpy()
        # Of one that is on the host already it may be the same memory.
        return array if self.device == "cuda" else array.copy()

    def run(self, direction: int, inputs: dict[str, Any], outputs: dict[str, Any]) -> None:
        """Run with tensors on the device, which must be the same for the same `direction`."""
        if direction not in self._bindings:
            binding = self._session.io_binding()
            for name, value in inputs.items():
                binding.bind_ortvalue_input(name, value)
            for name, value in outputs.items():
                binding.bind_ortvalue_output(name, value)
            self._bindings[direction] = binding
        options = self.ort.RunOptions()
        if self.captures:
            options.add_run_config_entry("gpu_graph_id", str(direction + 1))
        self._session.run_with_iobinding(self._bindings[direction], options)

    def _load(self, graph: Any, sizes: Sizes, what: str, *, tf32: bool) -> Any:
        ort = self.ort
        options = ort.SessionOptions()
        options.intra_op_num_threads = thread_limit()
        options.log_severity_level = 4  # errors are raised; a log of them holds names of the graph
        source = graph if isinstance(graph, bytes) else str(graph)
        for name, value in self._dimensions(source, sizes).items():
            options.add_free_dimension_override_by_name(name, value)
        provider: Any = self.provider
        if self.provider == CUDA:
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
            capture = {"enable_cuda_graph": "1"} if self.captures else {}
            # On by default; the precision is the one the variant names.
            arithmetic = {"use_tf32": str(int(tf32))}
            layout = {"prefer_nhwc": "1"} if self.nhwc else {}
            provider = (CUDA, {**OPTIONS, **arithmetic, **layout, **capture})
        try:
            session = ort.InferenceSession(source, options, providers=[provider])
        except Exception as error:  # onnxruntime raises its own untyped exceptions
            raise BackendUnavailableError(
                f"ONNX Runtime {ort.__version__} cannot run {what} wholly on the GPU: "
                f"{str(error).splitlines()[0]}"
            ) from error
        if self.provider not in session.get_providers():
            raise BackendUnavailableError(
                f"ONNX Runtime {ort.__version__} was asked for CUDA and loaded "
                f"{', '.join(session.get_providers())}: its CUDA or cuDNN libraries do not load; "
                "run 'adcvsr doctor'"
            )
        return session

    def _dimensions(self, source: bytes | str, sizes: Sizes) -> dict[str, int]:
        """Values of the graph's named dimensions, read from a load without optimisation."""
        ort = self.ort
        options = ort.SessionOptions()
        options.intra_op_num_threads = thread_limit()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 4  # errors are raised; a log of them holds names of the graph
        inputs = ort.InferenceSession(source, options, providers=[CPU]).get_inputs()
        return {
            dimension: value
            for tensor in inputs
            for dimension, value in zip(tensor.shape, sizes[tensor.name], strict=True)
            if isinstance(dimension, str)
        }


class _InOwnThread(Session):
    """What both sessions are: graphs that one thread of the session's own loads, runs and frees."""

    backend: ClassVar[str] = "ort-cuda"
    graphs: ClassVar[type[CudaGraphs]] = CudaGraphs

    def __init__(self, bundle: Bundle, variant: Variant, *, tile: int | None = None) -> None:
        super().__init__(bundle, variant, tile=tile)
        self._thread: OwnThread | None = None
        self._forget()

    @abstractmethod
    def _forget(self) -> None:
        """Let go of all that is on the GPU."""

    def _open(self) -> None:
        self.engine_seconds = 0.0
        if self.graphs.provider == CUDA:
            import_onnxruntime_gpu()
        self._thread = OwnThread(THREAD)

    def _close(self) -> None:
        if self._thread is not None:
            self._thread.call(self._forget)
            self._thread.close()
            self._thread = None


class OrtCudaSession(_InOwnThread, StreamSession):
    """A stream graph on ONNX Runtime's CUDA provider.

    Args:
        bundle: The opened bundle, of kind `stream`.
        variant: Which of its variants to run.
        tile: See `Session`.
    """

    def __init__(self, bundle: Bundle, variant: Variant, *, tile: int | None = None) -> None:
        super().__init__(bundle, variant, tile=tile)
        self.nhwc: bool | None = None
        """Set before opening: the layout of convolutions; None for the one that `adcvsr deploy`
        measured to be faster here, and else for planes."""

    @property
    def gpu_copies(self) -> tuple[int, int] | None:
        """See `Session`."""
        return 1, 1

    def _forget(self) -> None:
        self._graph: CudaGraphs | None = None
        self._ring: StateRing[list[Any]] = StateRing()
        self._frame: Any = None
        self._picture: Any = None

    def _resize(self, height: int, width: int, slots: int) -> None:
        assert self._thread is not None
        self._thread.call(self._resize_there, height, width, slots)

    def _reset(self) -> None:
        assert self._thread is not None
        self._thread.call(self._reset_there)

    def _fill(self, index: int) -> None:
        assert self._thread is not None
        self._thread.call(self._fill_there, index)

    def _infer(self, frame: Frame, slot: int) -> Frame:
        assert self._thread is not None
        return self._thread.call(self._infer_there, frame, slot)

    def _resize_there(self, height: int, width: int, slots: int) -> None:
        self._forget()
        bundle, dtype = self.bundle, self.variant.state_dtype
        shapes = {spec.name: spec.shape(height, width) for spec in bundle.state}
        sizes: Sizes = {bundle.input_name: (1, height, width, 3), **shapes}
        nhwc = deployed_nhwc(bundle, self.variant) if self.nhwc is None else self.nhwc
        graph = self.graphs(bundle, self.variant, self.variant.file, sizes, capture=True, nhwc=nhwc)
        self._graph = graph
        self._frame = graph.empty((1, height, width, 3), "uint8")
        self._picture = graph.empty((1, height * bundle.scale, width * bundle.scale, 3), "uint8")
        self._ring.fill(slots, lambda: [graph.empty(shape, dtype) for shape in shapes.values()])
        if graph.captures:
            # All directions are recorded here. ONNX Runtime captures globally: what another thread,
            # such as a decoder's, allocates on the GPU meanwhile would break a capture.
            # Two whole frames use every set; half of one would give a set another follower.
            for slot in [*range(slots)] * 2:
                self._step(slot)

    def _reset_there(self) -> None:
        for state in self._ring.current():
            for value in state:
                value.update_inplace(np.zeros(value.shape(), self.variant.state_dtype))

    def _fill_there(self, index: int) -> None:
        for state in self._ring.current():
            state[index].update_inplace(np.ones(state[index].shape(), self.variant.state_dtype))

    def _infer_there(self, frame: Frame, slot: int) -> Frame:
        assert self._graph is not None
        self._frame.update_inplace(frame[None])
        with self._in_engine():
            self._step(slot)
        out: Frame = self._graph.fetch(self._picture)[0]
        return out

    def _step(self, slot: int) -> None:
        """Run with what is on the device."""
        assert self._graph is not None
        current, following = self._ring.places(slot)
        inputs = {self.bundle.input_name: self._frame}
        outputs = {self.bundle.output_name: self._picture}
        for index, spec in enumerate(self.bundle.state):
            inputs[spec.name] = self._ring.sets[current][index]
            outputs[spec.next_name] = self._ring.sets[following][index]
        # Sets rotate by one place, so a set has one follower and names the direction.
        self._graph.run(current, inputs, outputs)
        self._ring.advance(slot)


class OrtCudaClipSession(_InOwnThread, ClipSession):
    """The two graphs of a clip network on ONNX Runtime's CUDA provider.

    Args:
        bundle: The opened bundle, of kind `clip`.
        variant: Which of its variants to run.
        tile: See `Session`.
    """

    def __init__(self, bundle: Bundle, variant: Variant, *, tile: int | None = None) -> None:
        super().__init__(bundle, variant, tile=tile)
        assert bundle.features is not None
        self._spec: TensorSpec = bundle.features

    def _forget(self) -> None:
        self._encoder: CudaGraphs | None = None
        self._decoder: CudaGraphs | None = None
        self._clip: Any = None
        self._features: Any = None
        self._one: Any = None
        self._picture: Any = None
        self._host: Any = None

    def _resize(self, height: int, width: int, frames: int) -> None:
        assert self._thread is not None
        self._thread.call(self._resize_there, height, width, frames)

    def _encode(self, clip: Frame) -> None:
        assert self._thread is not None
        self._thread.call(self._encode_there, clip)

    def _decode(self, index: int) -> Frame:
        assert self._thread is not None
        return self._thread.call(self._decode_there, index)

    def _resize_there(self, height: int, width: int, frames: int) -> None:
        self._forget()
        bundle, variant, spec = self.bundle, self.variant, self._spec
        assert variant.decoder_file is not None
        clip, one = (frames, height, width, 3), spec.shape(height, width)
        self._encoder = self.graphs(
            bundle, variant, variant.file, {bundle.input_name: clip}, capture=True
        )
        self._decoder = self.graphs(
            bundle, variant, variant.decoder_file, {spec.name: one}, capture=True
        )
        self._clip = self._encoder.empty(clip, "uint8")
        self._features = self._encoder.empty(spec.shape(height, width, frames), variant.state_dtype)
        self._one = self._decoder.empty(one, variant.state_dtype)
        sides = (height * bundle.scale, width * bundle.scale)
        self._picture = self._decoder.empty((1, *sides, 3), "uint8")
        if self._encoder.captures:  # as in `OrtCudaSession`: before anything else allocates
            self._encoder.run(0, {bundle.input_name: self._clip}, {spec.name: self._features})
            self._decoder.run(0, {spec.name: self._one}, {bundle.output_name: self._picture})

    def _encode_there(self, clip: Frame) -> None:
        assert self._encoder is not None
        self._clip.update_inplace(clip)
        with self._in_engine():
            self._encoder.run(
                0, {self.bundle.input_name: self._clip}, {self._spec.name: self._features}
            )
        # ONNX Runtime's Python has no copy between parts of device tensors: through the host, once
        # a window.
        self._host = self._features.numpy()

    def _decode_there(self, index: int) -> Frame:
        assert self._decoder is not None
        self._one.update_inplace(np.ascontiguousarray(self._host[index : index + 1]))
        with self._in_engine():
            self._decoder.run(
                0, {self._spec.name: self._one}, {self.bundle.output_name: self._picture}
            )
        out: Frame = self._decoder.fetch(self._picture)[0]
        return out


def deployed_nhwc(bundle: Bundle, variant: Variant) -> bool:
    """The layout `adcvsr deploy --backend ort-cuda` made current; False where it did not run."""
    try:
        pointer = CurrentEngines(EngineCache(), bundle.name, current_gpu(), "ort-cuda")
        current = pointer.current
    except (BackendUnavailableError, MissingPackageError, EngineError):
        return False  # without cuda-python nothing was deployed
    return current is not None and current["variant"] == variant.id and bool(current.get("nhwc"))


def import_onnxruntime_gpu() -> Any:
    """Import onnxruntime with its CUDA provider.

    Raises:
        MissingPackageError: onnxruntime is missing, or is the build for CPUs.
    """
    try:
        ort = import_onnxruntime()
    except MissingPackageError as error:
        raise _no_cuda_build("is not installed") from error
    if CUDA not in ort.get_available_providers():
        raise _no_cuda_build(f"{ort.__version__} here is the build for CPUs")
    if hasattr(ort, "preload_dlls"):  # from ONNX Runtime 1.21 on
        # CUDA and cuDNN from their own packages, which the loader would not find by itself.
        ort.preload_dlls()
    return ort


def _no_cuda_build(reason: str) -> MissingPackageError:
    return MissingPackageError(
        f"the backend 'ort-cuda' needs onnxruntime-gpu, and onnxruntime {reason}: "
        "pip uninstall -y onnxruntime; pip install 'adcvsr[cuda]'"
    )
