"""ONNX Runtime's CUDA provider on this GPU: its two layouts of convolutions, the faster one kept.

Nothing is built; a session loads the graph. `prefer_nhwc` keeps a pixel's channels together, which
suits tensor cores, and costs a turn wherever a kernel exists for planes alone: only a measurement
tells which is faster. Both have to give the bundle's golden pictures and colours.

    try_layouts(bundle, variant, (360, 640), budget_ms=33.3, frames=300)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ...bundle import Bundle
from ...bundle.schema import Variant
from ...errors import AdcVsrError, BackendUnavailableError
from ...pictures.synthetic import draw_clip
from ..processing.backends import create_session
from ..proof.golden import golden_clip, golden_limit, replay_golden
from .acceptance import Acceptance, judge_colours, judge_latency, measure

BACKEND = "ort-cuda"

LAYOUTS = {False: "planes", True: "nhwc"}
"""By `prefer_nhwc`, as they are told."""


def try_layouts(
    bundle: Bundle,
    variant: Variant,
    size: tuple[int, int],
    *,
    budget_ms: float | None,
    frames: int,
) -> dict[bool, Acceptance]:
    """Try both layouts out.

    Args:
        bundle: Of kind `stream`.
        variant: Of it.
        size: Height and width to measure at.
        budget_ms: Most milliseconds a frame may take at the 99th percentile; None for any.
        frames: To measure.

    Returns:
        What was found, by `prefer_nhwc`.

    Raises:
        BackendUnavailableError: The backend cannot run here, or the network sees whole clips.
    """
    if bundle.kind != "stream":
        raise BackendUnavailableError(
            f"'{bundle.name}' sees whole clips; layouts are tried of networks that run frame by "
            "frame. Deploy it with --backend tensorrt"
        )
    return {nhwc: _try(bundle, variant, size, nhwc, budget_ms, frames) for nhwc in LAYOUTS}


def faster_layout(found: dict[bool, Acceptance]) -> bool | None:
    """The layout whose median is smaller, planes where both are equal; None where neither passed.

    Args:
        found: From `try_layouts`.
    """
    passed = [nhwc for nhwc, each in found.items() if each.passed]
    return min(passed, key=lambda nhwc: found[nhwc].p50_ms) if passed else None


def _try(
    bundle: Bundle,
    variant: Variant,
    size: tuple[int, int],
    nhwc: bool,
    budget_ms: float | None,
    frames: int,
) -> Acceptance:
    @contextmanager
    def opened() -> Iterator[Any]:
        session: Any = create_session(bundle, backend=BACKEND, variant=variant.id)
        session.nhwc = nhwc
        with session:
            yield session

    # Nodes that the GPU does not take are an error of the session, so there is nothing to count.
    found = Acceptance(census=[f"every node on the GPU, convolutions in {LAYOUTS[nhwc]}"])
    try:
        with opened() as session:
            times = measure(session, draw_clip(8, *size), 1, frames)
            levels, psnr_db = replay_golden(session, *golden_clip(bundle))
        judge_latency(found, times, budget_ms)
        found.golden = f"level error {levels}, {psnr_db:.1f} dB"
        limit = golden_limit(bundle, variant, BACKEND)
        if (why := limit.why_beyond(levels=levels, psnr_db=psnr_db)) is not None:
            found.reasons.append(f"golden vectors: {why}")
        judge_colours(found, opened, bundle, size)
    except AdcVsrError as error:
        found.reasons.append(str(error))
    return found
