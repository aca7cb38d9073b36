"""Whether an engine may run for users: census, golden vectors, colours, latency.

accept(session, order, budget_ms=33.3)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...arrays import Frame
from ...bundle import Bundle
from ...graph.receptive import spatial_radius
from ...metrics import finite_db, psnr_of
from ...pictures.colour_probes import TILE_PX
from ...pictures.synthetic import draw_clip
from ...variants import TF32_LEAST_PSNR_DB
from ..engine.engines import ensure_engine
from ..engine.order import EngineOrder, SizeRange
from ..processing.processor import StreamProcessor
from ..proof.colours import (
    colour_limits,
    colour_request,
    compare_colours,
    reference_pictures,
    run_colours,
    session_runner,
)
from ..proof.golden import golden_clip
from ..sessions.clip_session import ClipSession
from ..sessions.stream_session import StreamSession
from .census import census_of, graph_precisions

WARM_UP_FRAMES, MEASURED_FRAMES = 20, 300

MIN_PSNR_DB = {
    "tf32": TF32_LEAST_PSNR_DB,
    "fp16": 45.0,
    "bf16": 35.0,
    "int8": 28.0,
    "fp8": 28.0,
    "fp4": 24.0,
}
"""Against the golden pictures, which are FP32's, where the variant does not say what it was
exported with (`least_golden_psnr_db`, `least_psnr_db`). An engine has to be the network at all
here: overflow, a wrong layout or a lost state end far below."""

Report = Callable[[str], None]


@dataclass
class Acceptance:
    """What was found; `reasons` is empty when the engines passed."""

    census: list[str] = field(default_factory=list)
    golden: str = ""
    colours: str = ""
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    frames: int = 0
    mapped: bool | None = None
    """Whether frames and pictures lie in memory that CPU and GPU share; None where not timed."""
    staging: str = ""
    """How both ways compare, for people."""
    reasons: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether the engines may become current."""
        return not self.reasons


def accept(
    make_session: Callable[[], Any],
    orders: list[EngineOrder],
    keys: set[str],
    *,
    precision: str,
    budget_ms: float | None,
    frames: int = MEASURED_FRAMES,
    ways: Sequence[bool | None] = (None,),
) -> Acceptance:
    """Try engines out on the device.

    Args:
        make_session: Makes a session of the orders' bundle, variant and backend.
        orders: What the engines were built from.
        keys: Theirs in the cache; nothing else is run.
        precision: What products have to be computed in.
        budget_ms: Most milliseconds a frame may take at the 99th percentile; None for any.
        frames: Frames to measure.
        ways: How frames and pictures may reach the GPU, see `TensorRtSession.mapped`: all are
            timed, and the fastest by its median is what everything else is judged in.
    """
    found = Acceptance()
    height, width = orders[0].sizes.best

    def make() -> Any:
        session = make_session()
        if found.mapped is not None:
            session.mapped = found.mapped
        return session

    @contextmanager
    def opened() -> Iterator[Any]:
        with make() as session:
            session.engines.only = keys
            yield session

    clip = draw_clip(8, height, width)
    timed: dict[bool | None, list[float]] = {}
    for found.mapped in ways:
        with opened() as session:
            timed[found.mapped] = measure(session, clip, orders[0].frames, frames)
            if len(timed) == 1:  # the engines are the same each time
                _take_census(found, session, orders, precision)
    medians = {way: float(np.median(times)) for way, times in timed.items()}
    found.mapped = min(ways, key=lambda way: medians[way])
    found.staging = staging_line(found.mapped, medians)
    judge_latency(found, timed[found.mapped], budget_ms)
    _judge_golden(found, make, orders, keys, precision)
    judge_colours(found, opened, orders[0].bundle, orders[0].sizes.best)
    return found


def _take_census(
    found: Acceptance, session: Any, orders: list[EngineOrder], precision: str
) -> None:
    """Ask the engines of a session what they compute in."""
    for order, runner in zip(orders, session.runners, strict=True):
        wanted = graph_precisions(order)
        census = census_of(runner.engine, session.engines.flavour.trt, wanted)
        found.census.append(census.text())
        if (why := census.why_not(precision)) is not None:
            found.reasons.append(why)
        if orders[0].options.dla is not None and not census.dla:
            found.reasons.append(f"nothing runs on the DLA: {census.text()}")


def staging_line(kept: bool | None, medians: Mapping[bool | None, float]) -> str:
    """What was timed of ways to the GPU, and what was kept; empty where there was one way."""
    if kept is None or len(medians) < 2:
        return ""
    names = {True: "mapped", False: "copied"}
    told = ", ".join(f"{names[bool(way)]} {ms:.2f} ms" for way, ms in medians.items())
    return f"{names[kept]} memory is kept: {told} (p50)"


def judge_latency(found: Acceptance, times: list[float], budget_ms: float | None) -> None:
    """Note the percentiles of frames' milliseconds, and a reason where p99 is over the budget."""
    found.frames = len(times)
    found.p50_ms, found.p99_ms = (float(np.percentile(times, q)) for q in (50, 99))
    if budget_ms is not None and found.p99_ms > budget_ms:
        found.reasons.append(
            f"p99 of {found.p99_ms:.2f} ms a frame is over the budget of {budget_ms:.2f} ms"
        )


def judge_colours(
    found: Acceptance, opened: Callable[[], Any], bundle: Bundle, size: tuple[int, int]
) -> None:
    """Run drawn colours at a size, against FP32 on the CPU where that is there.

    Args:
        found: Gets the line, and a reason where they are beyond.
        opened: A context in which a session of what is tried is open.
        bundle: Of the network.
        size: Height and width.
    """
    if not bundle.trained or bundle.kind != "stream":
        found.colours = "not judged: for trained networks that run frame by frame"
        return
    if min(size) < TILE_PX:
        found.colours = f"not judged: a flat colour takes {TILE_PX}x{TILE_PX} pixels"
        return
    request = colour_request(bundle, size)
    expected = reference_pictures(bundle, request)
    with opened() as session:
        pictures = run_colours(session_runner(session), request)
        variant = session.variant
    colours = compare_colours(pictures, expected, request)
    found.colours = colours.line()
    why = colours.why_beyond(colour_limits(bundle, variant, colours.against))
    if why is not None:
        found.reasons.append(f"colours: {why}")


def measure(session: Any, clip: Frame, window: int, frames: int) -> list[float]:
    """Milliseconds of each frame as a caller sees them, copies included."""
    times = []
    if isinstance(session, ClipSession):
        fresh = window - (session.bundle.window.overlap if session.bundle.window else 0)
        shown = [clip[index % len(clip)] for index in range(window)]
        for run in range(2 + max(3, frames // max(fresh, 1))):
            start = time.perf_counter()
            for _ in session.upscale_window(shown, 0, fresh):
                pass
            if run >= 2:  # the first runs prepare and capture
                times.append((time.perf_counter() - start) * 1000 / fresh)
        return times
    for index in range(WARM_UP_FRAMES + frames):
        start = time.perf_counter()
        session.infer(clip[index % len(clip)])
        if index >= WARM_UP_FRAMES:
            times.append((time.perf_counter() - start) * 1000)
    return times


def _judge_golden(
    found: Acceptance,
    make_session: Callable[[], Any],
    orders: list[EngineOrder],
    keys: set[str],
    precision: str,
) -> None:
    """Run the bundle's golden vectors: on these engines where they take them, else on twins."""
    bundle = orders[0].bundle
    frames, expected = golden_clip(bundle)
    size = (frames.shape[1], frames.shape[2])
    canvas, kept = _canvas(orders[0], size)
    how = "on the engine itself"
    if canvas is None:
        twins = [
            replace(order, sizes=SizeRange.fixed(*size), frames=_frames(order, len(frames)))
            for order in orders
        ]
        keys = {ensure_engine(order).entry.key for order in twins}
        canvas, kept, how = size, size, f"on a twin for {size[1]}x{size[0]}"
    with make_session() as session:
        session.engines.only = keys
        pictures = _run(session, [_fit(frame, canvas) for frame in frames])
    scale = orders[0].bundle.scale
    rows, columns = kept[0] * scale, kept[1] * scale
    got = np.stack([picture[:rows, :columns] for picture in pictures]).astype(np.int16)
    difference = np.abs(got - expected[:, :rows, :columns].astype(np.int16))
    error, psnr = int(difference.max()), _psnr(difference)
    found.golden = f"level error {error}, {psnr:.1f} dB over {kept[1]}x{kept[0]} {how}"
    parity = orders[0].bundle.variant(orders[0].variant_id).facts.get("parity", {})
    least = parity.get("least_psnr_db", MIN_PSNR_DB.get(precision))
    least = parity.get("least_golden_psnr_db", least)
    allowed = int(bundle.manifest["golden"]["max_level_error"])
    if least is None and error > allowed:
        found.reasons.append(f"golden vectors: level error {error}, at most {allowed} is allowed")
    if least is not None and psnr < least:
        found.reasons.append(
            f"golden vectors: {psnr:.1f} dB, {precision} has to reach {least:g} dB"
        )


def _canvas(
    order: EngineOrder, size: tuple[int, int]
) -> tuple[tuple[int, int] | None, tuple[int, int]]:
    """Size to run golden frames at, and how much of them is then as without the surroundings.

    An engine of another size gets the frame in its upper left corner; what lies further from the
    seams than the network sees is the same. None where nothing is.
    """
    sizes, multiple = order.sizes, order.bundle.size_multiple
    padded = (-(-size[0] // multiple) * multiple, -(-size[1] // multiple) * multiple)
    if order.part == "stream" and sizes.covers(*padded):
        return size, size
    radius = spatial_radius(order.bundle.config)
    if order.part != "stream" or radius is None:
        return None, size
    canvas = sizes.best
    kept = tuple(
        side if side == there else min(side, there) - radius
        for side, there in zip(size, canvas, strict=True)
    )
    return (canvas, (kept[0], kept[1])) if min(kept) >= 8 else (None, size)


def _fit(frame: Frame, canvas: tuple[int, int]) -> Frame:
    """Cut or extend a frame at right and bottom, by its edge."""
    cut = frame[: canvas[0], : canvas[1]]
    margins = [(0, canvas[axis] - cut.shape[axis]) for axis in (0, 1)]
    return np.ascontiguousarray(np.pad(cut, (*margins, (0, 0)), mode="edge"))


def _run(session: Any, frames: list[Frame]) -> list[Frame]:
    if isinstance(session, ClipSession):
        return list(session.upscale_window(frames, 0, len(frames)))
    assert isinstance(session, StreamSession)
    return list(StreamProcessor(session).clip(frames))


def _frames(order: EngineOrder, frames: int) -> int:
    return frames if order.part == "clip" else 1


def _psnr(difference: np.ndarray[Any, Any]) -> float:
    mse = float(np.mean(np.square(difference, dtype=np.float64)))
    return finite_db(psnr_of(mse))
