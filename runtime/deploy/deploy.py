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
from ...errors import AdcVsrError, ConfigError
from ...files import replace_file
from ...host.machine import this_host
from ...plan.measured import FOLDER as MEASURED_FOLDER
from ...targets import recognise
from ...variants import VariantName, unasked
from ..engine.build_list import CURRENT, order_engines
from ..engine.current import CurrentEngines
from ..engine.engine_cache import EngineCache, now
from ..engine.engines import ensure_engine
from ..engine.order import DEFAULT_SIZE, BuildOptions, EngineOrder, SizeRange
from ..engine.progress import OnProgress
from ..nvidia.gpu import Gpu, current_gpu
from .acceptance import MEASURED_FRAMES, Acceptance, accept
from .layouts import BACKEND, LAYOUTS, faster_layout, try_layouts

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
    nhwc: bool = False
    """Of `ort-cuda`: whether convolutions keep a pixel's channels together."""


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
    staging: str = "auto",
    progress: OnProgress | None = None,
    report: Report = lambda line: None,
) -> DeployReport:
    """Build and accept engines on this GPU; the first precision that passes becomes current.

    Args:
        bundle: An opened bundle.
        backend: `tensorrt`, `tensorrt-rtx`, `auto` for what of both is there, or `ort-cuda`, which
            builds nothing: its two layouts are tried, see `layouts`.
        precisions: To try, best first; empty for the bundle's default.
        sizes: See `order_engines`.
        fps: Frames a second to keep up with: a budget of 1000/fps ms.
        budget_ms: Most milliseconds at the 99th percentile; wins over `fps`.
        frames: To measure.
        options: See `order_engines`.
        staging: How frames and pictures reach a GPU that shares the host's memory: `mapped`,
            `copied`, or `auto` for what is faster.
        progress: See `build_plan`.
        report: Called with lines on the way.

    Raises:
        BackendUnavailableError, MissingPackageError: There is no GPU or compiler to deploy to.
        ConfigError: Mapped memory is asked for on a card, or staging of a backend that has none.
    """
    gpu, cache = current_gpu(), EngineCache()
    ways = _staging_ways(staging, gpu, bundle, backend)
    budget = budget_ms if budget_ms is not None else (1000 / fps if fps else None)
    if backend == BACKEND:
        size = (sizes or SizeRange.fixed(*DEFAULT_SIZE)).best
        return _deploy_layouts(bundle, gpu, cache, precisions, size, budget, frames, report)
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
            _try(candidate, orders, budget, frames, ways, progress, report)
        except AdcVsrError as error:
            candidate.reasons.append(str(error))
            continue
        if not candidate.reasons:
            accepted = (candidate, orders)
            break
    pointer = CurrentEngines(cache, bundle.name, gpu)
    if accepted is not None:
        candidate, orders = accepted
        order = orders[0]
        builder, sizes = order.builder, order.sizes
        pointer.advance(_entry(candidate, order.backend, builder, sizes.text, budget))
        measured = (cache, bundle, gpu, candidate, order.backend, builder, sizes.best)
        _write_measurement(*measured, report)
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


def _staging_ways(staging: str, gpu: Gpu, bundle: Bundle, backend: str) -> tuple[bool | None, ...]:
    """Ways to the GPU to be timed, see `accept`.

    Raises:
        ConfigError: There is no such way here.
    """
    shared = gpu.integrated and bundle.kind == "stream" and backend != BACKEND
    if staging == "auto":
        return (True, False) if shared else (None,)
    if not shared:
        raise ConfigError(
            f"--staging {staging}: {gpu.name} and '{bundle.name}' with {backend} have one way; it "
            "is for networks that run frame by frame in engines on boards whose CPU and GPU share "
            "memory"
        )
    return (staging == "mapped",)


def _try(
    candidate: Candidate,
    orders: list[EngineOrder],
    budget: float | None,
    frames: int,
    ways: Sequence[bool | None],
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
        ways=ways,
    )
    candidate.acceptance = found
    candidate.reasons += found.reasons


def _deploy_layouts(
    bundle: Bundle,
    gpu: Gpu,
    cache: EngineCache,
    precisions: Sequence[str],
    size: tuple[int, int],
    budget: float | None,
    frames: int,
    report: Report,
) -> DeployReport:
    """Try ONNX Runtime's layouts in the first precision that passes; keep the faster one."""
    from ..processing.backends import choose_backend

    pointer = CurrentEngines(cache, bundle.name, gpu, BACKEND)
    text = SizeRange.fixed(*size).text
    candidates: list[Candidate] = []
    kept: Candidate | None = None
    names = precisions or unasked(bundle.variants, BACKEND, gpu.sm)[:1]
    for wanted in names:
        try:
            choice = choose_backend(bundle, backend=BACKEND, variant=wanted)
            variant = choice.candidates[0]
            report(f"trying {bundle.name} {variant.id} {text} by {BACKEND} in both layouts")
            found = try_layouts(bundle, variant, size, budget_ms=budget, frames=frames)
        except AdcVsrError as error:
            candidates.append(Candidate(wanted, reasons=[str(error)]))
            continue
        tried = {
            nhwc: Candidate(
                variant.precision, variant.id, acceptance=each, reasons=[*each.reasons], nhwc=nhwc
            )
            for nhwc, each in found.items()
        }
        candidates += tried.values()
        best = faster_layout(found)
        if best is not None:
            kept = tried[best]
            other = tried[not best]
            if not other.reasons:
                other.reasons.append(
                    f"slower: p50 {found[not best].p50_ms:.2f} ms, {LAYOUTS[best]} has "
                    f"{found[best].p50_ms:.2f} ms"
                )
            break
    if kept is not None:
        version = ort_version()
        pointer.advance({**_entry(kept, BACKEND, version, text, budget), "nhwc": kept.nhwc})
        _write_measurement(cache, bundle, gpu, kept, BACKEND, version, size, report)
    return DeployReport(
        bundle=bundle.name,
        backend=BACKEND,
        gpu=gpu.name,
        size=text,
        budget_ms=budget,
        candidates=candidates,
        current=pointer.current,
        changed=kept is not None,
    )


def ort_version() -> str:
    """Version of the ONNX Runtime that sessions load."""
    from ..sessions.ort_cpu import import_onnxruntime

    return str(import_onnxruntime().__version__)


def _entry(
    candidate: Candidate, backend: str, builder: str, size: str, budget: float | None
) -> dict[str, Any]:
    assert candidate.acceptance is not None
    return {
        "keys": candidate.keys,
        "variant": candidate.variant,
        "backend": backend,
        "builder": builder,
        "size": size,
        "p50_ms": round(candidate.acceptance.p50_ms, 3),
        "p99_ms": round(candidate.acceptance.p99_ms, 3),
        "budget_ms": budget,
        **({} if candidate.acceptance.mapped is None else {"mapped": candidate.acceptance.mapped}),
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
    backend: str,
    builder: str,
    size: tuple[int, int],
    report: Report,
) -> None:
    """Leave the speed where `adcvsr plan` finds it, if the GPU is one of its targets."""
    target = target_of(gpu)
    if target is None:
        report(f"'{gpu.name}' is no target of 'adcvsr targets': plans do not learn from this speed")
        return
    assert candidate.acceptance is not None
    height, width = size
    name = f"{target}-{bundle.name}-{candidate.variant}-{width}x{height}-{backend}.json"
    values = {
        "target": target,
        "backend": backend,
        "bundle": bundle.name,
        "variant": candidate.variant,
        "width": width,
        "height": height,
        "ms": round(candidate.acceptance.p50_ms, 4),
        "device": gpu.name,
        "versions": {backend: builder, "cuda": gpu.cuda},
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
