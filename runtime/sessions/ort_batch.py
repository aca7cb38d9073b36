"""Frames of several streams in one run of ONNX Runtime: a graph whose batch axis is open.

What a stream's session does with it is in `ort_cpu`, what slots are in `batch_slots`.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from ...arrays import AnyFloats, Frame, Levels
from ...bundle import Bundle
from ...bundle.schema import Variant
from ...errors import GraphError
from ...graph.yuv_ends import CHROMA, YuvEnds
from ...pictures.yuv_picture import AnyPicture, YuvPicture
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
        yuv: Of which YUV 4:2:0 its pictures are; None for RGB.

    Raises:
        GraphError: The graph cannot take several frames, or gives other bits with them.
    """

    def __init__(
        self, bundle: Bundle, variant: Variant, runtime: Any, yuv: YuvEnds | None = None
    ) -> None:
        self.bundle, self.yuv, self._dtype = bundle, yuv, np.dtype(variant.state_dtype)
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
        self,
        pictures: Sequence[AnyPicture],
        past: Sequence[AnyFloats],
        following: Sequence[AnyFloats],
    ) -> list[AnyPicture]:
        """Run the next pictures of N streams, of one padded size, with the state of each.

        Args:
            pictures: (H, W, 3) uint8 RGB, or YUV 4:2:0 where the graph takes it.
            past: State, (N, C, h, w) each.
            following: State afterwards, of the same shapes; written.

        Returns:
            The upscaled pictures, each (sH, sW, 3) of the scale s, or YUV.
        """
        if self.yuv is None:
            (out,) = self._run([np.stack(cast("Sequence[Frame]", pictures))], past, following)
            return list(out)
        planes = cast("Sequence[YuvPicture]", pictures)
        given = [
            np.stack([each.luma for each in planes])[..., None],
            np.stack([each.chroma for each in planes]),
        ]
        luma, chroma = self._run(given, past, following)
        scale = self.yuv.side_of(self.bundle.scale)
        height, width = (scale * side for side in planes[0].shape)
        return [
            YuvPicture(
                luma[index].reshape(height, width),
                chroma[index].reshape(height // 2, width // 2, 2),
                each.colours,
            )
            for index, each in enumerate(planes)
        ]

    def _run(
        self,
        given: Sequence[Levels],
        past: Sequence[AnyFloats],
        following: Sequence[AnyFloats],
    ) -> list[Levels]:
        """The graph's own inputs and outputs, all with the batch in front."""
        bundle, scale = self.bundle, self.bundle.scale
        count, height, width, _ = given[0].shape
        if self.yuv is None:
            names: tuple[str, ...] = ("{}",)
            shapes: tuple[tuple[int, ...], ...] = ((height * scale, width * scale, 3),)
        else:
            names, scale = ("{}", CHROMA), self.yuv.side_of(scale)
            shapes = ((height, scale, scale * width), (height, scale // 2, scale * width))
        out = [np.empty((count, *shape), np.uint8) for shape in shapes]
        binding = self._binding
        for name, array, made in zip(names, given, out, strict=True):
            bind(binding.bind_input, name.format(bundle.input_name), array)
            bind(binding.bind_output, name.format(bundle.output_name), made)
        for spec, old, new in zip(bundle.state, past, following, strict=True):
            bind(binding.bind_input, spec.name, old)
            bind(binding.bind_output, spec.next_name, new)
        self._runtime.run_with_iobinding(binding)
        return out

    def _try_out(self) -> None:
        """Hold a small batch against its frames one by one: rules tell what may, this what does."""
        random = np.random.default_rng(0)
        side = 8 * self.bundle.size_multiple
        half = side // 2
        sides = [(side, side, 3)] if self.yuv is None else [(side, side, 1), (half, half, 2)]
        given = [random.integers(0, 256, (3, *each), np.uint8) for each in sides]
        past = [
            random.standard_normal(spec.shape(side, side, 3)).astype(self._dtype)
            for spec in self.bundle.state
        ]
        following = [np.empty_like(each) for each in past]
        alone = [np.empty_like(each) for each in past]
        try:
            together = self._run(given, past, following)
            one_by_one = [
                self._run(
                    [each[index : index + 1] for each in given],
                    [each[index : index + 1] for each in past],
                    [each[index : index + 1] for each in alone],
                )
                for index in range(3)
            ]
        except Exception as error:  # onnxruntime raises its own untyped exceptions
            raise GraphError(f"a batch of the graph does not run: {error}") from error
        apart = [np.concatenate(each) for each in zip(*one_by_one, strict=True)]
        pairs = [*zip(together, apart, strict=True), *zip(following, alone, strict=True)]
        if not all(np.array_equal(a, b) for a, b in pairs):
            raise GraphError("a batch of the graph gives other bits than its frames one by one")


def bind(bind_tensor: Any, name: str, array: npt.NDArray[Any]) -> None:
    """Bind a numpy buffer in place, without a copy."""
    bind_tensor(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
