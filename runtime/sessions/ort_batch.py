"""Frames of several streams in one run of ONNX Runtime: a graph whose batch axis is open.

What a stream's session does with it is in `ort_cpu`, what slots are in `batch_slots`.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ...arrays import AnyFloats, Frame
from ...bundle import Bundle
from ...bundle.schema import Variant
from ...errors import GraphError
from .batch_slots import BatchSlots

LARGEST_BATCH_PX = 1 << 16
"""Input pixels of all frames of a batch: beyond, what lies between layers outgrows the caches, and
a batch costs more than its frames one by one (docs/decisions.md)."""


class OrtBatches:
    """One graph with its batch axis open, and the slots of the streams that run in it.

    Args:
        bundle: The opened bundle, of kind `stream`.
        variant: Which of its variants to run.
        runtime: The graph, loaded with its batch axis open.

    Raises:
        GraphError: The graph cannot take several frames, or gives other bits with them.
    """

    def __init__(self, bundle: Bundle, variant: Variant, runtime: Any) -> None:
        self.bundle, self._dtype = bundle, np.dtype(variant.state_dtype)
        self._runtime, self._binding = runtime, runtime.io_binding()
        self._slots: dict[tuple[int, int], BatchSlots] = {}
        self._lock = threading.Lock()  # streams are closed by the main thread
        self._try_out()

    def take(self, height: int, width: int) -> tuple[BatchSlots, int] | None:
        """A slot for a stream of a padded size; None where none is left, or two are too large."""
        if 2 * height * width > LARGEST_BATCH_PX:
            return None
        with self._lock:
            for size in [size for size, slots in self._slots.items() if not len(slots)]:
                del self._slots[size]  # its memory goes
            if (slots := self._slots.get((height, width))) is None:
                shapes = [spec.shape(height, width) for spec in self.bundle.state]
                slots = self._slots[height, width] = BatchSlots(shapes, self._dtype)
            slot = slots.take()
        return None if slot is None else (slots, slot)

    def run(
        self, frames: Frame, past: Sequence[AnyFloats], following: Sequence[AnyFloats]
    ) -> npt.NDArray[np.uint8]:
        """Run frames (N, H, W, 3) with the state of each; returns (N, 4H, 4W, 3)."""
        count, height, width, _ = frames.shape
        scale = self.bundle.scale
        out = np.empty((count, height * scale, width * scale, 3), np.uint8)
        binding = self._binding
        bind(binding.bind_input, self.bundle.input_name, frames)
        bind(binding.bind_output, self.bundle.output_name, out)
        for spec, old, new in zip(self.bundle.state, past, following, strict=True):
            bind(binding.bind_input, spec.name, old)
            bind(binding.bind_output, spec.next_name, new)
        self._runtime.run_with_iobinding(binding)
        return out

    def _try_out(self) -> None:
        """Hold a small batch against its frames one by one: rules tell what may, this what does."""
        random = np.random.default_rng(0)
        side = 8 * self.bundle.size_multiple
        frames = random.integers(0, 256, (3, side, side, 3), np.uint8)
        past = [
            random.standard_normal(spec.shape(side, side, 3)).astype(self._dtype)
            for spec in self.bundle.state
        ]
        following = [np.empty_like(each) for each in past]
        alone = [np.empty_like(each) for each in past]
        try:
            together = self.run(frames, past, following)
            one_by_one = [
                self.run(
                    frames[index : index + 1],
                    [each[index : index + 1] for each in past],
                    [each[index : index + 1] for each in alone],
                )
                for index in range(len(frames))
            ]
        except Exception as error:  # onnxruntime raises its own untyped exceptions
            raise GraphError(f"a batch of the graph does not run: {error}") from error
        same = [np.array_equal(a, b) for a, b in zip(following, alone, strict=True)]
        if not np.array_equal(together, np.concatenate(one_by_one)) or not all(same):
            raise GraphError("a batch of the graph gives other bits than its frames one by one")


def bind(bind_tensor: Any, name: str, array: npt.NDArray[Any]) -> None:
    """Bind a numpy buffer in place, without a copy."""
    bind_tensor(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
