"""Will a source run live on a target, codecs included: time, memory, and what would fit instead.

plan = plan_bundle(open_bundle("nano"), target("orin-nano"), Source(640, 360, 30.0))
plan.feasible, plan.frame_ms
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from ..bundle import Bundle
from ..config import SCALE
from ..errors import BackendUnavailableError, BundleError, ConfigError
from ..graph.cost import GraphCost, count_bundle_cost
from ..pictures.output_size import OutputSize
from ..targets import Target
from ..variants import VariantName, contenders, faster, why_not
from .compiled import CompiledGraph, compiled_graph
from .fitted import fit_for
from .interval import Interval, codec_spread, judge, network_spread
from .measured import Measurement, correction
from .roofline import Prediction, Shares, predict
from .video_cost import VideoCost, copy_ms, video_cost, video_notes

MEMORY_SHARE = {"jetson": 0.6, "geforce": 0.85, "datacenter": 0.9}
"""Share of a device's memory a network may take: a Jetson's is the system's too."""

OVERHEAD_BYTES = 400 << 20
"""CUDA context, kernels and runtime beside the network; an assumption."""

SIZES = (1 / 8, 1 / 6, 1 / 5, 1 / 4, 1 / 3, 2 / 5, 1 / 2, 3 / 5, 2 / 3, 3 / 4, 4 / 5, 9 / 10)
"""Shares of the source's size that are tried when it does not fit."""


@dataclass(frozen=True)
class Source:
    """What comes in."""

    width: int
    height: int
    fps: float

    @classmethod
    def parse(cls, text: str) -> Source:
        """Read `1280x720@30`.

        Raises:
            ConfigError: It is no source.
        """
        match = re.fullmatch(r"(\d{1,5})x(\d{1,5})@(\d{1,4}(?:\.\d+)?)", text.strip().lower())
        if not match or 0 in (int(match[1]), int(match[2]), float(match[3])):
            raise ConfigError(
                f"'{text}' is no source; expected WIDTHxHEIGHT@FPS, such as 1280x720@30"
            )
        return cls(int(match[1]), int(match[2]), float(match[3]))

    @property
    def text(self) -> str:
        """As `parse` reads it."""
        return f"{self.width}x{self.height}@{self.fps:g}"


@dataclass(frozen=True)
class Plan:
    """A prediction for one bundle, target and source."""

    bundle: str
    variant: str
    target: str
    backend: str
    source: Source
    frame_ms: float
    """Of one frame in the network; of a window's run divided by its new frames."""
    prediction: Prediction
    corrected_by: str
    """Measurements behind the correction; empty without."""
    correction: float
    cost: GraphCost
    output: tuple[int, int]
    """Width and height that are written, pixels."""
    video: VideoCost
    """Decoding and encoding."""
    shares_processor: bool
    """Whether network and codecs run on the same cores, one after the other's cost."""
    memory_bytes: int
    """Weights, activations, both sets of state, frames in and out, and the runtime; on a Jetson
    also pictures on their way to the encoder."""
    memory_limit_bytes: int | None
    """What the target has for it; None where that is not known."""
    largest: Source | None = None
    """Largest size that runs at the source's rate; None when the source itself does, or none."""
    notes: list[str] = field(default_factory=list)
    copy_ms: float = 0.0
    """Of a frame to the GPU and back, where nothing runs beside it, as live."""
    interval: Interval | None = None
    """How sure it is; None where the memory does not suffice."""

    @property
    def fits_memory(self) -> bool:
        """Whether the target has the memory."""
        return self.memory_limit_bytes is None or self.memory_bytes <= self.memory_limit_bytes

    @property
    def pipeline_ms(self) -> float:
        """Of a frame through the whole pipeline, whose parts work at the same time.

        Where codecs are on unknown processors it is the network's alone.
        """
        video = self.video.ms or 0.0
        return self.device_ms + video if self.shares_processor else max(self.device_ms, video)

    @property
    def device_ms(self) -> float:
        """Of a frame in the network, copies included."""
        return self.frame_ms + self.copy_ms

    @property
    def limit(self) -> str:
        """What limits: `memory`, `network`, `decode` or `encode`."""
        if not self.fits_memory:
            return "memory"
        return "network" if self.device_ms >= (self.video.ms or 0.0) else self.video.limit

    @property
    def feasible(self) -> bool:
        """Whether every frame is decoded, upscaled and encoded before the next one comes."""
        return self.fits_memory and self.pipeline_ms <= 1000 / self.source.fps

    @property
    def verdict(self) -> str:
        """`feasible`, `uncertain` or `infeasible`; `feasible` says what is most probable."""
        return "infeasible" if self.interval is None else self.interval.verdict

    @property
    def largest_fps(self) -> float:
        """Frames a second at the source's size; 0 when the memory does not suffice."""
        return 1000 / self.pipeline_ms if self.fits_memory else 0.0


def choose_variants(
    bundle: Bundle, target: Target, variant: str | None, backend: str | None
) -> tuple[list[str], str]:
    """Choose backend and variants for a target, as the runtime does there.

    Args:
        bundle: An opened bundle.
        target: Where.
        variant: A variant's id or precision; None for what the backend takes unasked.
        backend: None for the first that runs it.

    Returns:
        The variants' ids, of which the faster one runs, and the backend.

    Raises:
        BackendUnavailableError: Nothing the bundle has runs there.
        BundleError: No such variant.
    """
    if backend == "ort-cpu" and target.kind != "cpu":
        raise BackendUnavailableError(
            f"no figures are known for the CPU of {target.name}; plan for its GPU, or for the "
            "target 'cpu'"
        )
    if variant is not None:
        bundle.variants_named(variant)  # a misspelt one is an error, not a reason
    # ort-cpu runs everywhere, but a target's figures are those of its GPU.
    backends = [b for b in target.backends if target.kind == "cpu" or b != "ort-cpu"]
    refused = []
    for each in [backend] if backend else backends:
        try:
            return _on_backend(bundle, target, variant, each), each
        except (BackendUnavailableError, BundleError) as error:
            refused.append(f"{each}: {error}")
    raise BackendUnavailableError(
        f"nothing of bundle '{bundle.name}' runs on {target.name}: {'; '.join(refused)}"
    )


def _on_backend(bundle: Bundle, target: Target, variant: str | None, backend: str) -> list[str]:
    """The variants that may run.

    Raises:
        BackendUnavailableError, BundleError: None can.
    """
    if variant is not None:
        found = bundle.find_variant(variant, backend)
        reason = why_not(target.sm, backend, VariantName.parse(found).precision)
        if reason is not None:
            raise BackendUnavailableError(f"{found}: {reason}")
        return [found]
    names = contenders(bundle.variants, backend, target.sm, kind=bundle.kind)
    if not names:
        has = ", ".join(sorted(bundle.variants))
        raise BundleError(f"nothing is run unasked; name one of {has}")
    return names


def plan_bundle(
    bundle: Bundle,
    target: Target,
    source: Source,
    *,
    variant: str | None = None,
    backend: str | None = None,
    measurements: Sequence[Measurement] = (),
    encode: bool = True,
    size: OutputSize | None = None,
    compiled: Sequence[CompiledGraph] = (),
    board_codecs: bool = False,
) -> Plan:
    """Predict whether a pipeline (decode, network, encode) keeps up with a source on a target.

    Args:
        bundle: An opened bundle.
        target: Where.
        source: What comes in.
        variant: None for what the runtime takes there unasked; on a CPU it measures, and the
            prediction stands in for that.
        backend: None for the first that runs it.
        measurements: Speeds of the network that correct the prediction.
        encode: Whether the result is encoded, and not shown or used by something else.
        size: Of the output; None for what the network makes.
        compiled: Layer lists of engines built here or for the target; where one is of the graph,
            it decides what the network moves.
        board_codecs: Plan with the board's decoder and encoder, as GStreamer reaches them.

    Raises:
        ConfigError: The source does not have the size's shape.
        BackendUnavailableError: The target does not run it.
        GraphError, BundleError, MissingPackageError: See `count_bundle_cost`.
    """
    names, chosen = choose_variants(bundle, target, variant, backend)
    frames, fresh = _window(bundle)

    def listed(name: str, height: int, width: int) -> CompiledGraph | None:
        onnx = bundle.manifest["files"][bundle.variant(name).file]["sha256"]
        return (
            compiled_graph(
                compiled, onnx=onnx, backend=chosen, sm=target.sm, width=width, height=height
            )
            if frames == 1
            else None
        )

    @cache
    def run(name: str, height: int, width: int) -> tuple[GraphCost, Prediction]:
        cost = count_bundle_cost(bundle, name, height=height, width=width, frames=frames)
        floats, layers = VariantName.parse(name).of_floats, listed(name, height, width)
        return cost, predict(cost.nodes, target, chosen, floats, layers)

    def uncorrected_ms(name: str, height: int, width: int) -> float:
        return run(name, height, width)[1].seconds / fresh * 1000

    def corrected(name: str) -> tuple[float, str]:
        def expected(each: Measurement) -> float | None:
            if (each.bundle, each.variant) != (bundle.name, name):
                return None
            return uncorrected_ms(name, each.height, each.width)

        place = {"target": target.name, "backend": chosen}
        return correction(measurements, expected, **place, bundle=bundle.name, variant=name)

    corrections = {name: corrected(name) for name in names}
    expected_ms = {
        name: uncorrected_ms(name, source.height, source.width) * factor
        for name, (factor, _) in corrections.items()
    }
    variant_id = faster(expected_ms)
    factor, by = corrections[variant_id]

    def at(width: int, height: int, largest: Source | None = None) -> Plan:
        cost, prediction = run(variant_id, height, width)
        wanted = replace(size or OutputSize(), made=bundle.scale)
        if wanted.size is not None and (width, height) != (source.width, source.height):
            wanted = replace(wanted, fit=True)  # rounded, a smaller one may be of another shape
        sized = wanted.of(width, height)
        output = (sized.width, sized.height)
        video = video_cost(
            target,
            width,
            height,
            encode=encode,
            output=output,
            scale=bundle.scale,
            board=board_codecs,
        )
        return Plan(
            bundle=bundle.name,
            variant=variant_id,
            target=target.name,
            backend=chosen,
            source=Source(width, height, source.fps),
            frame_ms=prediction.seconds / fresh * 1000 * factor,
            prediction=prediction,
            corrected_by=by,
            correction=factor,
            cost=cost,
            output=output,
            video=video,
            shares_processor=target.kind == "cpu",
            memory_bytes=memory_bytes(cost, width, height, frames, chosen, bundle.scale)
            + video.memory_bytes,
            memory_limit_bytes=memory_limit(target),
            largest=largest,
            copy_ms=copy_ms(target, width, height, bundle.scale),
            notes=[
                *_choice_notes(variant_id, expected_ms),
                *_notes(prediction, by),
                *_layer_notes(prediction, listed(variant_id, height, width), chosen, by),
                *sized.notes,
                *video_notes(target, output, encode=encode, board=board_codecs),
            ],
        )

    def seconds(shares: Shares) -> float:
        nodes = run(variant_id, source.height, source.width)[0].nodes
        floats = VariantName.parse(variant_id).of_floats
        layers = listed(variant_id, source.height, source.width)
        return predict(nodes, target, chosen, floats, layers, shares=shares).seconds

    def judged(plan: Plan) -> Plan:
        known = _measured(measurements, bundle.name, variant_id, target.name, chosen) if by else ""
        used = plan.prediction.precisions
        fit = fit_for(target, chosen)
        spread = network_spread(fit, target, chosen, used, seconds, measured=known)
        return replace(plan, interval=_interval(plan, spread, codec_spread(target)))

    plan = at(source.width, source.height)
    if plan.feasible:
        return judged(plan)
    best = _largest(source, lambda w, h: at(w, h).feasible)
    return judged(at(source.width, source.height, best))


def _interval(plan: Plan, network: float, codecs: float) -> Interval | None:
    """How sure a plan is of its pipeline's time."""
    if not plan.fits_memory:
        return None
    video = plan.video.ms or 0.0
    budget = 1000 / plan.source.fps
    together = plan.shares_processor
    return judge(
        plan.device_ms, network, video, codecs if video else 0.0, budget, together=together
    )


def _measured(
    measurements: Sequence[Measurement], bundle: str, variant: str, target: str, backend: str
) -> str:
    """What a correction stands on: `graph`, or `device` where another network was measured."""
    here = {
        (m.bundle, m.variant) for m in measurements if (m.target, m.backend) == (target, backend)
    }
    return "graph" if (bundle, variant) in here else "device"


def _largest(source: Source, feasible: Callable[[int, int], bool]) -> Source | None:
    """Largest even size of the source's shape that is feasible, by halving the table of sizes."""
    low, high, best = 0, len(SIZES) - 1, None
    while low <= high:
        middle = (low + high) // 2
        width, height = (
            max(2, round(side * SIZES[middle] / 2) * 2) for side in (source.width, source.height)
        )
        if feasible(width, height):
            best, low = Source(width, height, source.fps), middle + 1
        else:
            high = middle - 1
    return best


def _window(bundle: Bundle) -> tuple[int, int]:
    """Frames of a run, and how many of them are new."""
    if bundle.window is None:
        return 1, 1
    return bundle.window.frames, bundle.window.frames - bundle.window.overlap


def memory_bytes(
    cost: GraphCost, width: int, height: int, frames: int, backend: str, scale: int = SCALE
) -> int:
    """Memory a session takes: weights, activations, two sets of state, frames, the runtime."""
    pictures = width * height * 3 * (frames + scale * scale)
    # The peak counts one set of state; a session holds a second one.
    return (
        cost.weight_bytes
        + (cost.peak_activation_bytes if backend == "ort-cpu" else cost.fused_peak_activation_bytes)
        + cost.state_bytes
        + 2 * pictures
        + OVERHEAD_BYTES
    )


def memory_limit(target: Target) -> int | None:
    """What a target has for one; None where its memory is not known."""
    if target.memory_gb is None:
        return None
    return int(target.memory_gb.value * 1e9 * MEMORY_SHARE[target.kind])


def _choice_notes(variant_id: str, expected_ms: Mapping[str, float]) -> list[str]:
    """What was chosen between, as a session would by measuring."""
    if len(expected_ms) < 2:
        return []
    times = ", ".join(f"{name} {ms:.1f} ms" for name, ms in expected_ms.items())
    return [f"variant {variant_id}, by prediction: {times}; a session measures both and chooses"]


def _layer_notes(
    prediction: Prediction, layers: CompiledGraph | None, backend: str, corrected_by: str
) -> list[str]:
    """Where the network's bytes are from, and what of 8 bits nobody has seen."""
    if layers is not None:
        return [
            f"{layers.bytes / 1e6:,.0f} MB in {layers.kernels} kernels a frame, by the layer list "
            f"of engine {layers.key[:12]} ({layers.width}x{layers.height})"
        ]
    if "fp8" in prediction.precisions and not corrected_by:
        decides = "adcvsr deploy, on the device"
        if backend == "tensorrt-rtx":
            decides = "adcvsr build --precision fp8, whose layer list a plan then takes"
        return [
            "fp8 is counted without a gain over fp16, as TensorRT-RTX compiles its convolutions; "
            f"what this compiler makes of the graph decides: {decides}"
        ]
    return []


def _notes(prediction: Prediction, corrected_by: str) -> list[str]:
    return [] if corrected_by else [f"shares of the peaks: {prediction.shares.source}"]
