"""First boot: build, try out, and only then make current; go back when that was a mistake.

What is current for a bundle on a GPU is one small file in the cache. A session takes the engines it
names before any other, and `auto` its precision. An engine that fails its acceptance never gets
there: what was current stays, and the report says why.

    report = deploy_bundle(open_bundle("nano"), precisions=["fp16", "fp32"], fps=30)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ...bundle import Bundle
from ...errors import AdcVsrError
from ...files import replace_file
from ...host.machine import this_host
from ...plan.measured import FOLDER as MEASURED_FOLDER
from ...targets import recognise
from ...variants import VariantName
from ..engine.build_list import CURRENT, order_engines
from ..engine.current import CurrentEngines
from ..engine.engine_cache import EngineCache, now
from ..engine.engines import ensure_engine
from ..engine.order import BuildOptions, EngineOrder, SizeRange
from ..engine.progress import OnProgress
from ..nvidia.gpu import Gpu, current_gpu
from .acceptance import MEASURED_FRAMES, Acceptance, accept

Report = Callable[[str], None]


@dataclass
class Candidate:
    """One precision that was tried."""

    precision: str
    variant: str = ""
    keys: list[str] = field(default_factory=list)
    build_seconds: float = 0.0
    acceptance: Acceptance | None = None
    reasons: list[str] = field(default_factory=list)
    """Why it did not become current; empty for the one that did."""


@dataclass
class DeployReport:
    """What `deploy_bundle` did; `to_json` is what `adcvsr deploy --json` prints."""

    bundle: str
    backend: str
    gpu: str
    size: str
    budget_ms: float | None
    candidates: list[Candidate]
    current: dict[str, Any] | None
    """What is current now."""
    changed: bool
    """Whether that is new."""

    def to_json(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return asdict(self)


def deploy_bundle(
    bundle: Bundle,
    *,
    backend: str = "auto",
    precisions: Sequence[str] = (),
    sizes: SizeRange | None = None,
    fps: float | None = None,
    budget_ms: float | None = None,
    frames: int = MEASURED_FRAMES,
    options: BuildOptions | None = None,
    progress: OnProgress | None = None,
    report: Report = lambda line: None,
) -> DeployReport:
    """Build and accept engines on this GPU; the first precision that passes becomes current.

    Args:
        bundle: An opened bundle.
        backend: `tensorrt`, `tensorrt-rtx` or `auto`.
        precisions: To try, best first; empty for the bundle's default.
        sizes: See `order_engines`.
        fps: Frames a second to keep up with: a budget of 1000/fps ms.
        budget_ms: Most milliseconds at the 99th percentile; wins over `fps`.
        frames: To measure.
        options: See `order_engines`.
        progress: See `build_plan`.
        report: Called with lines on the way.

    Raises:
        BackendUnavailableError, MissingPackageError: There is no GPU or compiler to deploy to.
    """
    gpu, cache = current_gpu(), EngineCache()
    budget = budget_ms if budget_ms is not None else (1000 / fps if fps else None)
    candidates: list[Candidate] = []
    accepted: tuple[Candidate, list[EngineOrder]] | None = None
    for wanted in precisions or (None,):
        candidate = Candidate(wanted or "default")
        candidates.append(candidate)
        try:
            orders = order_engines(
                bundle,
                backend=backend,
                targets=(CURRENT,),
                precision=wanted,
                sizes=sizes,
                options=options,
                report=report,
            )
            _try(candidate, orders, budget, frames, progress, report)
        except AdcVsrError as error:
            candidate.reasons.append(str(error))
            continue
        if not candidate.reasons:
            accepted = (candidate, orders)
            break
    pointer = CurrentEngines(cache, bundle.name, gpu)
    if accepted is not None:
        candidate, orders = accepted
        pointer.advance(_entry(candidate, orders[0], budget))
        _write_measurement(cache, bundle, gpu, candidate, orders[0], report)
    return DeployReport(
        bundle=bundle.name,
        backend=accepted[1][0].backend if accepted else backend,
        gpu=gpu.name,
        size=accepted[1][0].sizes.text if accepted else (sizes.text if sizes else "default"),
        budget_ms=budget,
        candidates=candidates,
        current=pointer.current,
        changed=accepted is not None,
    )


def _try(
    candidate: Candidate,
    orders: list[EngineOrder],
    budget: float | None,
    frames: int,
    progress: OnProgress | None,
    report: Report,
) -> None:
    from ..processing.backends import create_session

    candidate.variant = orders[0].variant_id
    precision = VariantName.parse(candidate.variant).precision
    for order in orders:
        report(f"building {order.describe()}")
        built = ensure_engine(order, progress=progress, report=report)
        candidate.keys.append(built.entry.key)
        candidate.build_seconds = round(candidate.build_seconds + built.seconds, 2)

    def make_session() -> Any:
        order = orders[0]
        return create_session(order.bundle, backend=order.backend, variant=order.variant_id)

    found = accept(
        make_session,
        orders,
        set(candidate.keys),
        precision=precision,
        budget_ms=budget,
        frames=frames,
    )
    candidate.acceptance = found
    candidate.reasons += found.reasons


def _entry(candidate: Candidate, order: EngineOrder, budget: float | None) -> dict[str, Any]:
    assert candidate.acceptance is not None
    return {
        "keys": candidate.keys,
        "variant": candidate.variant,
        "backend": order.backend,
        "builder": order.builder,
        "size": order.sizes.text,
        "p50_ms": round(candidate.acceptance.p50_ms, 3),
        "p99_ms": round(candidate.acceptance.p99_ms, 3),
        "budget_ms": budget,
        "golden": candidate.acceptance.golden,
        "colours": candidate.acceptance.colours,
        "census": candidate.acceptance.census,
        "date": now(),
    }


def _write_measurement(
    cache: EngineCache,
    bundle: Bundle,
    gpu: Gpu,
    candidate: Candidate,
    order: EngineOrder,
    report: Report,
) -> None:
    """Leave the speed where `adcvsr plan` finds it, if the GPU is one of its targets."""
    target = target_of(gpu)
    if target is None:
        report(f"'{gpu.name}' is no target of 'adcvsr targets': plans do not learn from this speed")
        return
    assert candidate.acceptance is not None
    height, width = order.sizes.best
    name = f"{target}-{bundle.name}-{candidate.variant}-{width}x{height}-{order.backend}.json"
    values = {
        "target": target,
        "backend": order.backend,
        "bundle": bundle.name,
        "variant": candidate.variant,
        "width": width,
        "height": height,
        "ms": round(candidate.acceptance.p50_ms, 4),
        "device": gpu.name,
        "versions": {order.backend: order.builder, "cuda": gpu.cuda},
        "date": now(),
    }
    folder = cache.folder / MEASURED_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(values, indent=1) + "\n"
    replace_file(folder / name, lambda part: part.write_text(text, encoding="utf-8"))


def target_of(gpu: Gpu) -> str | None:
    """The target this machine is, as `adcvsr doctor` finds it; None where it is only like one."""
    facts = {"name": gpu.name, "sm": gpu.sm, "integrated": gpu.integrated}
    target, how = recognise(this_host(), [facts])
    return None if "not in the table" in how else target
