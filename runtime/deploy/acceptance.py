"""Whether an engine may run for users: census, golden vectors, colours, latency.

accept(session, order, budget_ms=33.3)
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...arrays import Frame
from ...graph.receptive import spatial_radius
from ...metrics import finite_db, psnr_of
from ...pictures.colour_probes import TILE_PX
from ...pictures.synthetic import draw_clip
from ...variants import TF32_LEAST_PSNR_DB
from ..engine.engines import ensure_engine
from ..engine.order import EngineOrder, SizeRange
from ..proof.colours import (
    colour_limits,
    colour_request,
    compare_colours,
    reference_pictures,
    run_colours,
    session_runner,
)
from ..proof.golden import golden_clip
from ..sessions.session import ClipSession, StreamSession
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
) -> Acceptance:
    """Try engines out on the device.

    Args:
        make_session: Makes a session of the orders' bundle, variant and backend.
        orders: What the engines were built from.
        keys: Theirs in the cache; nothing else is run.
        precision: What products have to be computed in.
        budget_ms: Most milliseconds a frame may take at the 99th percentile; None for any.
        frames: Frames to measure.
    """
    found = Acceptance()
    height, width = orders[0].sizes.best
    with make_session() as session:
        session.engines.only = keys
        clip = draw_clip(8, height, width)
        times = _measure(session, clip, orders[0].frames, frames)
        for order, runner in zip(orders, session.runners, strict=True):
            wanted = graph_precisions(order)
            census = census_of(runner.engine, session.engines.flavour.trt, wanted)
            found.census.append(census.text())
            if (why := census.why_not(precision)) is not None:
                found.reasons.append(why)
            if orders[0].options.dla is not None and not census.dla:
                found.reasons.append(f"nothing runs on the DLA: {census.text()}")
    found.frames = len(times)
    found.p50_ms, found.p99_ms = (float(np.percentile(times, q)) for q in (50, 99))
    if budget_ms is not None and found.p99_ms > budget_ms:
        found.reasons.append(
            f"p99 of {found.p99_ms:.2f} ms a frame is over the budget of {budget_ms:.2f} ms"
        )
    _judge_golden(found, make_session, orders, keys, precision)
    _judge_colours(found, make_session, orders, keys)
    return found


def _judge_colours(
    found: Acceptance, make_session: Callable[[], Any], orders: list[EngineOrder], keys: set[str]
) -> None:
    """Run drawn colours at the engine's own size, against FP32 on the CPU where that is there."""
    order = orders[0]
    if not order.bundle.trained or order.part != "stream":
        found.colours = "not judged: for trained networks that run frame by frame"
        return
    if min(order.sizes.best) < TILE_PX:
        found.colours = f"not judged: a flat colour takes {TILE_PX}x{TILE_PX} pixels"
        return
    request = colour_request(order.bundle, order.sizes.best)
    expected = reference_pictures(order.bundle, request)
    with make_session() as session:
        session.engines.only = keys
        pictures = run_colours(session_runner(session), request)
        variant = session.variant
    colours = compare_colours(pictures, expected, request)
    found.colours = colours.line()
    why = colours.why_beyond(colour_limits(order.bundle, variant, colours.against))
    if why is not None:
        found.reasons.append(f"colours: {why}")


def _measure(session: Any, clip: Frame, window: int, frames: int) -> list[float]:
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
    return [session.infer(frame) for frame in frames]


def _frames(order: EngineOrder, frames: int) -> int:
    return frames if order.part == "clip" else 1


def _psnr(difference: np.ndarray[Any, Any]) -> float:
    mse = float(np.mean(np.square(difference, dtype=np.float64)))
    return finite_db(psnr_of(mse))
