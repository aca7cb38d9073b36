"""ONNX Runtime on the CPU: the backend that runs everywhere."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from ..bundle import Bundle
from ..bundle_schema import Variant
from ..config import SCALE
from ..errors import BackendUnavailableError, BundleError, missing_package
from .session import Frame, Session

DYNAMIC_BLOCKS = "4"
"""ONNX Runtime's `session.dynamic_block_base`, see docs/decisions.md."""


class OrtCpuSession(Session):
    """ONNX Runtime's CPU provider with state bound in two sets of buffers that swap.

    Args:
        bundle: The opened bundle.
        variant: Which of its variants to run.
        threads: Threads of the network; 0 uses the processors this process may run on.
    """

    backend = "ort-cpu"

    def __init__(self, bundle: Bundle, variant: Variant, *, threads: int = 0) -> None:
        super().__init__(bundle, variant)
        self.threads = threads or usable_processors()
        self._runtime: Any = None
        self._binding: Any = None
        self._state: tuple[list[Frame], list[Frame]] = ([], [])

    def _open(self) -> None:
        ort = import_onnxruntime()
        options = ort.SessionOptions()
        options.intra_op_num_threads = self.threads
        # Spinning threads would take the processors from decoding and encoding.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Finer pieces of work, so that a thread the encoder delays does not hold up the other.
        options.add_session_config_entry("session.dynamic_block_base", DYNAMIC_BLOCKS)
        options.log_severity_level = 3  # errors; warnings are about graph clean-up
        providers = ["CPUExecutionProvider"]
        with self.bundle.graph(self.variant, self.variant.file) as graph:
            try:
                self._runtime = ort.InferenceSession(graph, options, providers=providers)
            except Exception as error:  # onnxruntime raises its own untyped exceptions
                raise BackendUnavailableError(
                    f"ONNX Runtime {ort.__version__} cannot load variant '{self.variant.id}' of "
                    f"'{self.bundle.name}': {error}"
                ) from error
        self._check_interface()
        self._binding = self._runtime.io_binding()

    def _check_interface(self) -> None:
        """Compare the graph's inputs and outputs with what the manifest promises."""
        bundle = self.bundle
        wanted = {bundle.input_name: 3, **{spec.name: spec.channels for spec in bundle.state}}
        found = {
            tensor.name: tensor.shape[3 if tensor.name == bundle.input_name else 1]
            for tensor in self._runtime.get_inputs()
        }
        outputs = {tensor.name for tensor in self._runtime.get_outputs()}
        named = {bundle.output_name, *(spec.next_name for spec in bundle.state)}
        if wanted != found or named != outputs:
            raise BundleError(
                f"bundle '{bundle.name}': the graph of '{self.variant.id}' has inputs {found} and "
                f"outputs {sorted(outputs)}, the manifest says {wanted} and {sorted(named)}; "
                "export it again"
            )

    def _close(self) -> None:
        self._binding = self._runtime = None
        self._state = ([], [])

    def _resize(self, height: int, width: int) -> None:
        dtype = np.dtype(self.variant.state_dtype)
        shapes = [spec.shape(height, width) for spec in self.bundle.state]
        current, following = ([np.zeros(s, dtype) for s in shapes] for _ in range(2))
        self._state = (current, following)

    def _reset(self) -> None:
        for buffer in self._state[0]:
            buffer.fill(0)

    def _infer(self, frame: Frame) -> Frame:
        height, width = frame.shape[:2]
        out = np.empty((height * SCALE, width * SCALE, 3), np.uint8)
        binding = self._binding
        self._bind(binding.bind_input, self.bundle.input_name, frame[None])
        self._bind(binding.bind_output, self.bundle.output_name, out[None])
        current, following = self._state
        for spec, past, following_past in zip(self.bundle.state, current, following, strict=True):
            self._bind(binding.bind_input, spec.name, past)
            self._bind(binding.bind_output, spec.next_name, following_past)
        self._runtime.run_with_iobinding(binding)
        self._state = (following, current)
        return out

    @staticmethod
    def _bind(bind: Any, name: str, array: Frame) -> None:
        """Bind a numpy buffer in place, without a copy."""
        bind(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)


def usable_processors() -> int:
    """Processors this process may run on; all of them where the system does not tell."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def import_onnxruntime() -> Any:
    """Import onnxruntime.

    Raises:
        MissingPackageError: It is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise missing_package("onnxruntime", "cpu", "the backend 'ort-cpu'") from error
    return onnxruntime
