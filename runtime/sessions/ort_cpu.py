"""ONNX Runtime on the CPU: the backend that runs everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from ...arrays import AnyFloats, Floats, Frame
from ...bundle import Bundle
from ...bundle.schema import TensorSpec, Variant
from ...errors import BackendUnavailableError, BundleError, GraphError, missing_package
from ...graph.batch_axis import BATCH, with_batch_axis
from ...graph.blocked_prelu import with_blocked_prelus
from ...graph.float_ends import HALF, with_float_ends
from ...graph.yuv_ends import CHROMA, YuvEnds, with_yuv_ends
from ...host.processors import usable_processors
from ...pictures.yuv_picture import AnyPicture, YuvPicture
from .batch_slots import BatchSlots, neighbours
from .clip_session import ClipSession
from .frames import cropped, padded
from .layer_profile import Profile
from .ort_batch import LARGEST_BATCH_PX, OrtBatches, bind
from .ort_precision import packs_channels, products_saturate
from .state_ring import StateRing
from .stream_session import StreamSession

DEEP = 256
"""Uint16 of a level, see `arrays.Frame`."""

CHUNK_ROWS = 32
"""Rows rounded at a time, so that they stay in the processor's cache."""

DYNAMIC_BLOCKS = "4"
"""ONNX Runtime's `session.dynamic_block_base`, see docs/decisions.md."""


class OrtCpuSession(StreamSession):
    """ONNX Runtime's CPU provider with state bound in buffers that swap.

    Args:
        bundle: The opened bundle, of kind `stream`.
        variant: Which of its variants to run.
        tile: See `Session`.
        threads: Threads of the network; 0 uses the processors this process may run on.
        deep: Whether frames and pictures are uint16 (see `arrays.Frame`): the same network with
            float ends.
        yuv: Of which YUV 4:2:0 pictures are, for `infer_yuv`; None for RGB.

    Raises:
        GraphError: When opened, where `deep` or `yuv` and the graph cannot have such ends, or not
            together with batches where the session of RGB has them.
    """

    backend = "ort-cpu"
    takes_yuv = halves_yuv = True

    def __init__(
        self,
        bundle: Bundle,
        variant: Variant,
        *,
        tile: int | None = None,
        threads: int = 0,
        deep: bool = False,
        yuv: YuvEnds | None = None,
    ) -> None:
        super().__init__(bundle, variant, tile=tile)
        self.deep, self.yuv = deep, yuv
        self.threads = threads or usable_processors()
        self._floats: Floats = np.empty(0, np.float32)  # a picture as it leaves float ends
        self._runtime: Any = None
        self._binding: Any = None
        self._ring: StateRing[list[AnyFloats]] = StateRing()
        self._lender: OrtCpuSession | None = None  # whose loaded graph is used
        self._batches: OrtBatches | None = None  # of all that share one graph
        self._wants_batches = False  # of what is to be loaded
        self._slot: tuple[BatchSlots, int] | None = None

    def of_yuv(self, ends: YuvEnds) -> OrtCpuSession:
        """See `StreamSession`."""
        other = OrtCpuSession(
            self.bundle, self.variant, tile=self.tiling.side, threads=self.threads, yuv=ends
        )
        other.variant_reason, other.reasons = self.variant_reason, self.reasons
        other._wants_batches = self._batches is not None and self._lender is None
        return other

    def _beside(self) -> OrtCpuSession:
        other = OrtCpuSession(
            self.bundle,
            self.variant,
            tile=self.tiling.side,
            threads=self.threads,
            deep=self.deep,
            yuv=self.yuv,
        )
        other._lender, other._batches = self, self._batches
        return other

    def prepare_batches(self) -> str:
        """See `StreamSession`; the graph is loaded once more, with its batch axis open."""
        if self._batches is None:
            try:
                self._batches = self._load_batches()
            except (GraphError, BackendUnavailableError) as error:
                return str(error)
        return ""

    def _load_batches(self) -> OrtBatches:
        graph = load_graph(
            self.bundle,
            self.variant,
            self.variant.file,
            self.threads,
            yuv_ends=self.yuv,
            batch_axis=True,
        )
        return OrtBatches(self.bundle, self.variant, graph, self.yuv)

    def batch_family(self, frame: AnyPicture) -> object | None:
        """See `StreamSession`."""
        fits = frame.shape[:2] == self._shape and 2 * _pixels(frame) <= LARGEST_BATCH_PX
        return self._slot[0] if self._slot is not None and fits and self._ahead is None else None

    def run_batch(self, pairs: Sequence[tuple[StreamSession, AnyPicture]]) -> list[int]:
        """See `StreamSession`."""
        assert self._batches is not None
        members = [(session, frame) for session, frame in pairs if isinstance(session, type(self))]
        assert len(members) == len(pairs)
        slots = [session._slot[1] for session, _ in members if session._slot is not None]
        most = max(LARGEST_BATCH_PX // _pixels(members[0][1]), 1)
        runs = [run for run in neighbours(slots, most) if len(run) > 1]
        for run in runs:
            self._run_neighbours([members[index] for index in run])
        return [len(run) for run in runs]

    def _run_neighbours(self, members: Sequence[tuple[OrtCpuSession, AnyPicture]]) -> None:
        """Run sessions whose slots follow each other in one batch."""
        leader = members[0][0]
        assert leader._slot is not None
        assert self._batches is not None
        slots, first = leader._slot
        role = leader._ring.places(0)[0]
        for session, _ in members:
            session._require_role(role)
        multiple = self.bundle.size_multiple
        given = [padded(frame, multiple) for _, frame in members]
        end = first + len(members)
        with leader._in_engine():
            out = self._batches.run(
                given, slots.views(role, first, end), slots.views(1 - role, first, end)
            )
        for (session, frame), picture in zip(members, out, strict=True):
            session._ring.advance(0)
            session._ahead = (frame, cropped(picture, frame, self.scale))

    def _require_role(self, role: int) -> None:
        """Have the state in the array that the batch reads: a stream that missed a turn copies."""
        current, spare = self._ring.places(0)
        if current != role:
            for old, new in zip(self._ring.sets[current], self._ring.sets[spare], strict=True):
                np.copyto(new, old)
            self._ring.advance(0)

    def _leave_slot(self) -> None:
        if self._slot is not None:
            slots, slot = self._slot
            slots.give(slot)
            self._slot, self.batches = None, False

    def _open(self) -> None:
        bundle, variant = self.bundle, self.variant
        if self._lender is not None:
            if self._lender._runtime is None:
                raise RuntimeError("the session whose network is shared is not open")
            self._runtime, self.engine_seconds = self._lender._runtime, 0.0
            self._binding = self._runtime.io_binding()
            return
        self._runtime = load_graph(
            bundle,
            variant,
            variant.file,
            self.threads,
            profile=self.profile_prefix,
            float_ends=self.deep,
            yuv_ends=self.yuv,
        )
        if self._wants_batches and self._batches is None:
            self._batches = self._load_batches()
        self.engine_seconds = 0.0
        pictures = {bundle.input_name: 3}
        outputs = {bundle.output_name}
        if self.yuv is not None:
            pictures = {bundle.input_name: 1, CHROMA.format(bundle.input_name): 2}
            outputs.add(CHROMA.format(bundle.output_name))
        require_interface(
            self,
            self._runtime,
            inputs={**pictures, **{spec.name: spec.channels for spec in bundle.state}},
            outputs={*outputs, *(spec.next_name for spec in bundle.state)},
        )
        self._binding = self._runtime.io_binding()

    def _close(self) -> None:
        if self._lender is None:
            self.profiles = end_profiles([self._runtime], self.profile_prefix)
        self._leave_slot()
        self._binding = self._runtime = self._batches = self._ahead = None
        self._ring = StateRing()
        self._floats = np.empty(0, np.float32)

    def _resize(self, height: int, width: int, slots: int) -> None:
        dtype = np.dtype(self.variant.state_dtype)
        shapes = [spec.shape(height, width) for spec in self.bundle.state]
        self._leave_slot()
        if self._lender is not None and self._batches is not None and slots == 1:
            self._slot = self._batches.take(height, width)
        if self._slot is not None:
            self.batches = True
            mine, slot = self._slot
            views = iter([mine.views(role, slot, slot + 1) for role in range(2)])
            self._ring.fill(1, lambda: next(views))
        else:
            self._ring.fill(slots, lambda: [np.zeros(shape, dtype) for shape in shapes])
        if self.deep:
            self._floats = picture_buffer((height, width), self.bundle.scale, np.float32)

    def _reset(self) -> None:
        for state in self._ring.current():
            for buffer in state:
                buffer.fill(0)

    def _fill(self, index: int) -> None:
        for state in self._ring.current():
            state[index].fill(1)

    def _infer(self, frame: Frame, slot: int) -> Frame:
        given = np.multiply(frame, 1 / DEEP, dtype=np.float32) if self.deep else frame
        out: Any = self._floats if self.deep else picture_buffer(frame.shape, self.bundle.scale)
        binding = self._binding
        bind(binding.bind_input, self.bundle.input_name, given[None])
        bind(binding.bind_output, self.bundle.output_name, out[None])
        self._run_bound(slot)
        return deep_picture(out) if self.deep else cast("Frame", out)

    def _infer_yuv(self, picture: YuvPicture) -> YuvPicture:
        (height, width), bundle, binding = picture.shape, self.bundle, self._binding
        scale = self.scale  # even: graphs of others take no such ends
        out = YuvPicture.empty(scale * height, scale * width, picture.colours)
        luma = out.luma.reshape(1, height, scale, -1)
        chroma = out.chroma.reshape(1, height, scale // 2, -1)
        bind(binding.bind_input, bundle.input_name, picture.luma[None, ..., None])
        bind(binding.bind_input, CHROMA.format(bundle.input_name), picture.chroma[None])
        bind(binding.bind_output, bundle.output_name, luma)
        bind(binding.bind_output, CHROMA.format(bundle.output_name), chroma)
        self._run_bound(0)
        return out

    def _run_bound(self, slot: int) -> None:
        """Run the network on the pictures that are bound, with a slot's state."""
        binding = self._binding
        past, following = (self._ring.sets[place] for place in self._ring.places(slot))
        for index, spec in enumerate(self.bundle.state):
            bind(binding.bind_input, spec.name, past[index])
            bind(binding.bind_output, spec.next_name, following[index])
        with self._in_engine():
            self._runtime.run_with_iobinding(binding)
        self._ring.advance(slot)


class OrtCpuClipSession(ClipSession):
    """ONNX Runtime's CPU provider for the two graphs of a clip network.

    Args:
        bundle: The opened bundle, of kind `clip`.
        variant: Which of its variants to run.
        tile: See `Session`.
        threads: Threads of the network; 0 uses the processors this process may run on.
    """

    backend = "ort-cpu"

    def __init__(
        self, bundle: Bundle, variant: Variant, *, tile: int | None = None, threads: int = 0
    ) -> None:
        super().__init__(bundle, variant, tile=tile)
        assert bundle.features is not None
        self.threads = threads or usable_processors()
        self._spec: TensorSpec = bundle.features
        self._encoder: Any = None
        self._decoder: Any = None
        self._features: AnyFloats = np.empty(0, np.float32)
        self._input_size = (0, 0)

    def _open(self) -> None:
        bundle, variant, spec = self.bundle, self.variant, self._spec
        assert variant.decoder_file is not None
        files = (variant.file, variant.decoder_file)
        self._encoder, self._decoder = (
            load_graph(bundle, variant, file, self.threads, profile=self.profile_prefix)
            for file in files
        )
        self.engine_seconds = 0.0
        require_interface(self, self._encoder, inputs={bundle.input_name: 3}, outputs={spec.name})
        require_interface(
            self, self._decoder, inputs={spec.name: spec.channels}, outputs={bundle.output_name}
        )

    def _close(self) -> None:
        self.profiles = end_profiles([self._encoder, self._decoder], self.profile_prefix)
        self._encoder = self._decoder = None
        self._features = np.empty(0, np.float32)

    def _resize(self, height: int, width: int, frames: int) -> None:
        dtype = np.dtype(self.variant.state_dtype)
        self._features = np.empty(self._spec.shape(height, width, frames), dtype)
        self._input_size = (height, width)

    def _encode(self, clip: Frame) -> None:
        binding = self._encoder.io_binding()
        bind(binding.bind_input, self.bundle.input_name, clip)
        bind(binding.bind_output, self._spec.name, self._features)
        with self._in_engine():
            self._encoder.run_with_iobinding(binding)

    def _decode(self, index: int) -> Frame:
        out: Frame = picture_buffer(self._input_size, self.bundle.scale)
        binding = self._decoder.io_binding()
        bind(binding.bind_input, self._spec.name, self._features[index : index + 1])
        bind(binding.bind_output, self.bundle.output_name, out[None])
        with self._in_engine():
            self._decoder.run_with_iobinding(binding)
        return out


def _pixels(picture: AnyPicture) -> int:
    return int(picture.shape[0] * picture.shape[1])


def deep_picture(levels: Floats) -> Frame:
    """Round what leaves float ends to uint16, a few rows at a time.

    Args:
        levels: (H, W, 3), levels + `HALF`; overwritten.

    Returns:
        (H, W, 3) uint16, see `arrays.Frame`.
    """
    picture = np.empty(levels.shape, np.uint16)
    for top in range(0, len(levels), CHUNK_ROWS):
        chunk = levels[top : top + CHUNK_ROWS]
        chunk *= DEEP
        chunk -= DEEP * HALF - 0.5  # casts truncate
        np.clip(chunk, 0, 255 * DEEP, out=chunk)
        np.copyto(picture[top : top + CHUNK_ROWS], chunk, casting="unsafe")
    return cast("Frame", picture)


def load_graph(
    bundle: Bundle,
    variant: Variant,
    file: str,
    threads: int,
    *,
    profile: Path | None = None,
    float_ends: bool = False,
    yuv_ends: YuvEnds | None = None,
    batch_axis: bool = False,
) -> Any:
    """Load one graph of a variant for the CPU.

    Args:
        bundle: The opened bundle.
        variant: One of its variants.
        file: The graph's.
        threads: Of the network.
        profile: Prefix of a file in which ONNX Runtime notes every layer's times.
        float_ends: Whether its pictures are to be float levels.
        yuv_ends: Of which YUV 4:2:0 its pictures are to be; None leaves them RGB.
        batch_axis: Whether it is to take several streams' frames at once.

    Raises:
        GraphError: It cannot have such ends, or no batch axis.
        MissingPackageError: onnxruntime is not installed.
        BackendUnavailableError: It cannot load the graph.
        BundleError: The file is missing or altered; see `Bundle.graph`.
    """
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    # Spinning threads would take the processors from decoding and encoding.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Finer pieces of work, so that a thread the encoder delays does not hold up the other.
    options.add_session_config_entry("session.dynamic_block_base", DYNAMIC_BLOCKS)
    # Once more after layouts have changed: else what a state leaves by is quantized twice.
    options.add_session_config_entry("session.graph_optimizations_loop_level", "2")
    if profile is not None:
        options.enable_profiling, options.profile_file_prefix = True, str(profile)
    options.add_session_config_entry("session.load_model_format", "ONNX")
    if products_saturate():
        options.add_session_config_entry("session.x64quantprecision", "1")
    options.log_severity_level = 4  # errors are raised; a log of them holds names of the graph
    with bundle.graph(variant, file) as stored:
        graph = stored
        if float_ends or yuv_ends is not None or batch_axis:
            if isinstance(stored, Path):
                raise GraphError("the graph's weights lie beside it")
            names = (bundle.input_name, bundle.output_name)
            changed = with_batch_axis(stored) if batch_axis else stored
            if yuv_ends is not None:
                batch = BATCH if batch_axis else 1
                changed = with_yuv_ends(
                    changed, *names, yuv_ends, scale=bundle.scale, bytes_inside=True, batch=batch
                )
            elif float_ends:
                changed = with_float_ends(changed, *names)
            graph = changed
        if isinstance(graph, bytes) and packs_channels():
            graph = with_blocked_prelus(graph)
        try:
            return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises its own untyped exceptions
            raise BackendUnavailableError(
                f"ONNX Runtime {ort.__version__} cannot load variant '{variant.id}' of "
                f"'{bundle.name}': {error}"
            ) from error


def end_profiles(graphs: Sequence[Any], prefix: Path | None) -> list[Profile]:
    """Finish the profiles of loaded graphs; none without a prefix."""
    if prefix is None:
        return []
    return [
        Profile(began_ns=graph.get_profiling_start_time_ns(), path=Path(graph.end_profiling()))
        for graph in graphs
        if graph is not None
    ]


def require_interface(
    session: OrtCpuSession | OrtCpuClipSession,
    graph: Any,
    *,
    inputs: dict[str, int],
    outputs: set[str],
) -> None:
    """Compare a graph's inputs (with their channels) and outputs with the manifest's promises.

    Raises:
        BundleError: They differ.
    """
    # Pictures are NHWC, floats NCHW.
    found = {
        tensor.name: tensor.shape[3 if tensor.name.startswith(session.bundle.input_name) else 1]
        for tensor in graph.get_inputs()
    }
    named = {tensor.name for tensor in graph.get_outputs()}
    if inputs != found or outputs != named:
        raise BundleError(
            f"bundle '{session.bundle.name}': the graph of '{session.variant.id}' has inputs "
            f"{found} and outputs {sorted(named)}, the manifest says {inputs} and "
            f"{sorted(outputs)}; export it again"
        )


def picture_buffer(size: Sequence[int], scale: int, kind: npt.DTypeLike = np.uint8) -> Any:
    """An uninitialised picture for a frame of (H, W, ...)."""
    return np.empty((size[0] * scale, size[1] * scale, 3), kind)


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
