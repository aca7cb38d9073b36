"""Engines of a bundle: what to build for which device, and building it once.

orders = order_engines(bundle, backend="tensorrt-rtx", targets=["rtx-40"])
for order in orders:
    engine = ensure_engine(order)
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .. import __version__
from ..bundle import Bundle
from ..bundle_schema import Variant
from ..errors import BackendUnavailableError, BundleError, ConfigError, MissingPackageError
from ..targets import Target, sm_text, target, why_not
from .engine_build import build_plan
from .engine_cache import CacheEntry, EngineCache, Report, now
from .engine_order import DEFAULT_SIZE, BuildOptions, EngineOrder, SizeRange, runs_on
from .engine_progress import OnProgress
from .gpu import Gpu, current_gpu
from .trt_flavour import MODULES, Flavour, load_flavour

CURRENT = "current"
"""The target that is the GPU in this machine."""

DEFAULT_PRECISIONS = ("fp16", "fp32")
"""What is built when no precision is named: the first the bundle has and the target runs."""


@dataclass(frozen=True)
class BuiltEngine:
    """An engine in the cache."""

    entry: CacheEntry
    hit: bool
    """It was there already."""
    seconds: float
    """Looking up and building."""


def order_engines(
    bundle: Bundle,
    *,
    backend: str = "auto",
    targets: Sequence[str] = (CURRENT,),
    precision: str | None = None,
    sizes: SizeRange | None = None,
    frames: int | None = None,
    options: BuildOptions | None = None,
    report: Report = lambda line: None,
) -> list[EngineOrder]:
    """Decide what to build: one engine for a stream bundle, two for a clip bundle.

    Everything that can be refused is refused here, before a compiler starts.

    Args:
        bundle: An opened bundle.
        backend: `tensorrt`, `tensorrt-rtx`, or `auto`.
        targets: Names of targets, or `current`; several make one TensorRT-RTX engine for all.
        precision: Such as `fp16`; None takes the best of `DEFAULT_PRECISIONS`.
        sizes: Input sizes; None for `DEFAULT_SIZE`.
        frames: Of a clip graph's window; None as the bundle says.
        options: Further choices.
        report: Called with what was chosen where nothing was asked for.

    Raises:
        ConfigError: No such target or backend, or a size out of order.
        BundleError: The bundle has no such precision.
        BackendUnavailableError: The target cannot run it, with the reason.
        MissingPackageError: The compiler is not installed.
    """
    options = options or BuildOptions()
    named = [target(name) for name in targets if name != CURRENT]
    if named and len(named) < len(targets):
        raise ConfigError("--target current cannot be mixed with named targets")
    gpu = None if named else _gpu_here(backend)
    chosen = backend if backend != "auto" else _choose_backend(named, gpu, report)
    sms = tuple(sorted({_sm(each) for each in named})) if gpu is None else (gpu.sm,)
    _refuse_options(chosen, named, options)
    variant = _choose_variant(bundle, chosen, sms, precision, report)
    options = replace(options, tf32=precision == "tf32")
    flavour = load_flavour(chosen)
    if chosen == "tensorrt" and named:
        gpu = _require_same_device(named, sms)
    if sizes is None:
        sizes = SizeRange.fixed(*DEFAULT_SIZE)
        report(f"size {sizes.text}: none was named (--size, or --min, --opt and --max)")
    order = order_for(
        bundle, variant, variant.file, flavour, gpu, sizes, sms=sms, frames=frames, options=options
    )
    if variant.decoder_file is None:
        return [order]
    return [order, replace(order, graph_file=variant.decoder_file, frames=1)]


def order_for(
    bundle: Bundle,
    variant: Variant,
    graph_file: str,
    flavour: Flavour,
    gpu: Gpu | None,
    sizes: SizeRange,
    *,
    sms: tuple[int, ...] = (),
    frames: int | None = None,
    options: BuildOptions | None = None,
) -> EngineOrder:
    """Order one graph's engine, for a GPU or ahead of time.

    Args:
        bundle: The opened bundle.
        variant: Of it.
        graph_file: The variant's `file` or `decoder_file`.
        flavour: The compiler.
        gpu: Whose engine it is; None for one ahead of time.
        sizes: Rounded up to the network's multiple here.
        sms: Compute capabilities of an engine ahead of time.
        frames: Of a clip graph's window; None as the bundle says.
        options: Further choices.
    """
    return EngineOrder(
        bundle=bundle,
        variant_id=variant.id,
        graph_file=graph_file,
        backend=flavour.backend,
        builder=flavour.version,
        cuda=gpu.cuda if gpu else _cuda_of_package(flavour),
        gpu=gpu.name if gpu else None,
        sms=(gpu.sm,) if gpu else sms,
        sizes=sizes.padded(bundle.size_multiple),
        frames=frames or (bundle.window.frames if bundle.window else 1),
        options=options or BuildOptions(),
    )


def ensure_engine(
    order: EngineOrder,
    *,
    cache: EngineCache | None = None,
    timing_cache: Path | None = None,
    progress: OnProgress | None = None,
    report: Report = lambda line: None,
) -> BuiltEngine:
    """Take an engine from the cache, or build it; two processes build it once.

    Args:
        order: From `order_engines`.
        cache: None for the user's.
        timing_cache: See `build_plan`.
        progress: See `build_plan`.
        report: Called with why an entry is built again, and who is waited for.

    Raises:
        EngineError, BackendUnavailableError, BundleError, OutputNotWritableError: See `build_plan`
            and `EngineCache`.
    """
    cache, start = cache or EngineCache(), time.monotonic()
    if entry := cache.look_up(order, lambda line: None):
        return BuiltEngine(entry, True, time.monotonic() - start)
    with cache.lock(order.key, report):
        # Whoever held the lock may have built it.
        if entry := cache.look_up(order, report):
            return BuiltEngine(entry, True, time.monotonic() - start)
        flavour = load_flavour(order.backend)
        built = time.monotonic()
        with graph_of(order.bundle, order.variant_id, order.graph_file) as graph:
            plan = build_plan(flavour, order, graph, timing_cache=timing_cache, progress=progress)
        facts = {
            "what": order.describe(),
            "bundle": order.bundle.name,
            "variant": order.variant_id,
            "part": order.part,
            "size": order.sizes.text,
            "built": now(),
            "build_seconds": round(time.monotonic() - built, 2),
            "adcvsr": __version__,
        }
        entry = cache.store(order, memoryview(plan), facts, report)
    return BuiltEngine(entry, False, time.monotonic() - start)


def find_engine(
    order: EngineOrder,
    gpu: Gpu,
    height: int,
    width: int,
    cache: EngineCache,
    *,
    only: Collection[str] | None = None,
) -> CacheEntry | None:
    """Find an engine in the cache that runs a size on this GPU.

    The one that `adcvsr deploy` accepted comes first; then one for exactly that size before a
    range, one built here before one ahead of time, and the latest used.

    Args:
        order: What a build would be of; its sizes and device do not matter.
        gpu: Where it is to run.
        height: Padded input height.
        width: Likewise.
        cache: Where to look.
        only: Keys that may be used; None for all.
    """
    source, current = order.source(), cache.current_keys()
    found: list[tuple[tuple[bool, ...], CacheEntry]] = []
    for entry in cache.entries():
        if only is not None and entry.key not in only:
            continue
        identity = entry.identity
        same = all(identity.get(key) == value for key, value in source.items() if key != "builder")
        same = same and _loads(identity, order.builder)
        low, _, high = _input_range(order, identity) or ((0, 0), None, (0, 0))
        fits = all(a <= b <= c for a, b, c in zip(low, (height, width), high, strict=True))
        if same and fits and runs_on(identity, gpu):
            rank = (entry.key not in current, low != high, identity["device"]["aot"])
            found.append((rank, entry))
    return min(found, key=lambda pair: pair[0])[1] if found else None


@contextmanager
def graph_of(bundle: Bundle, variant_id: str, file: str) -> Iterator[bytes | Path]:
    """A graph of a bundle for a compiler, checked against its SHA-256."""
    with bundle.graph(bundle.variant(variant_id), file) as graph:
        yield graph


def _loads(identity: dict[str, Any], version: str) -> bool:
    """Whether a version loads an engine: its own, and older ones built to be loaded by it."""
    if identity["builder"] == version:
        return True
    numbers = [[int(n) for n in re.findall(r"\d+", v)] for v in (identity["builder"], version)]
    return bool(identity["options"]["version_compatible"]) and numbers[0] <= numbers[1]


def _input_range(order: EngineOrder, identity: dict[str, Any]) -> Any:
    """Smallest, best and largest (height, width) of an engine, from its profile."""
    name = next(iter(order.shapes(*order.sizes.best)))
    three = identity["profile"].get(name)
    if three is None:
        return None
    if order.part != "decoder":
        return [tuple(each[1:3]) for each in three]
    assert order.bundle.features is not None
    factor = order.bundle.features.divisor
    return [(each[2] * factor, each[3] * factor) for each in three]


def _gpu_here(backend: str) -> Gpu:
    """The GPU to build for, or how to do without.

    Raises:
        BackendUnavailableError, MissingPackageError: There is none that can be used.
    """
    try:
        return current_gpu()
    except (BackendUnavailableError, MissingPackageError) as error:
        if backend == "tensorrt":
            raise
        raise type(error)(
            f"{error}. Without a GPU name what to build for: --backend tensorrt-rtx --target rtx-40"
        ) from error


def _choose_backend(named: Sequence[Target], gpu: Gpu | None, report: Report) -> str:
    """TensorRT where it is installed and builds for this device, else TensorRT-RTX."""
    reasons: dict[str, str] = {}
    for backend in MODULES:
        sms = [_sm(each) for each in named] if gpu is None else [gpu.sm]
        reason = next((r for sm in sms if (r := why_not(sm, backend, "fp32"))), None)
        if backend == "tensorrt" and named:
            reason = "TensorRT builds on the device itself, not for a named target"
        if reason is None:
            try:
                load_flavour(backend)
            except (MissingPackageError, BackendUnavailableError) as error:
                reason = str(error)
        if reason is None:
            why = "; ".join(f"{name} not: {text}" for name, text in reasons.items())
            report(f"backend {backend}{f' ({why})' if why else ''}")
            return backend
        reasons[backend] = reason
    raise BackendUnavailableError(
        "nothing builds engines here: " + "; ".join(f"{n}: {r}" for n, r in reasons.items())
    )


def _refuse_options(backend: str, named: Sequence[Target], options: BuildOptions) -> None:
    if backend == "tensorrt-rtx" and (options.hardware or options.version_compatible):
        raise BackendUnavailableError(
            "TensorRT-RTX engines are finished on the user's GPU and have no compatibility modes; "
            "name every --target instead"
        )
    if backend == "tensorrt" and len(named) > 1:
        raise BackendUnavailableError(
            "TensorRT builds one engine for the device it runs on; name one --target"
        )


def _choose_variant(
    bundle: Bundle, backend: str, sms: Sequence[int], precision: str | None, report: Report
) -> Variant:
    """The variant of a precision, refused where a target cannot compute in it.

    Raises:
        BundleError: The bundle has no such precision.
        BackendUnavailableError: A target does not run it.
    """
    wanted = [precision] if precision else list(DEFAULT_PRECISIONS)
    refused = []
    for each in wanted:
        stored = "fp32" if each == "tf32" else each  # TF32 is a way to compute, not to store
        names = (f"{stored}-{runtime}" for runtime in ("trt", "onnx"))
        variant_id = next((name for name in names if name in bundle.variants), None)
        if variant_id is None:
            refused.append(f"{each}: not in the bundle")
            continue
        if reason := next((r for sm in sms if (r := why_not(sm, backend, each))), None):
            refused.append(f"{each}: {reason}")
            continue
        if precision is None:
            why = f" ({'; '.join(refused)})" if refused else ""
            report(f"variant {variant_id}{why}")
        return bundle.variant(variant_id)
    has = ", ".join(sorted(bundle.variants))
    if precision and refused[0].endswith("not in the bundle"):
        raise BundleError(f"bundle '{bundle.name}' has no precision '{precision}'; it has: {has}")
    raise BackendUnavailableError(
        f"bundle '{bundle.name}' cannot be built: {'; '.join(refused)} (it has: {has})"
    )


def _sm(each: Target) -> int:
    if each.sm is None:
        raise BackendUnavailableError(f"target '{each.name}' has no NVIDIA GPU to build for")
    return each.sm


def _require_same_device(named: Sequence[Target], sms: Sequence[int]) -> Gpu:
    """TensorRT builds for the GPU it runs on: a named target has to be that one."""
    name = named[0].name
    try:
        gpu = current_gpu()
    except (BackendUnavailableError, MissingPackageError) as error:
        raise BackendUnavailableError(
            f"TensorRT builds on the device itself: run this on the {name} ({error})"
        ) from error
    if gpu.sm not in sms:
        raise BackendUnavailableError(
            f"TensorRT builds on the device itself: target {name} has compute capability "
            f"{sm_text(sms[0])}, this {gpu.name} {sm_text(gpu.sm)}; run it there, or take "
            "--backend tensorrt-rtx where that runs"
        )
    return gpu


def _cuda_of_package(flavour: Flavour) -> str:
    """CUDA the compiler was built for, as its package is named: plans of cu12 and cu13 differ."""
    # By file name: reading the packages' metadata costs a tenth of a small build.
    module = MODULES[flavour.backend]
    site = Path(flavour.trt.__file__).parent.parent if flavour.trt.__file__ else Path()
    found = (re.match(rf"{module}_(cu\d+)-", each.name) for each in site.glob(f"{module}_cu*"))
    return next((match[1] for match in found if match), "unknown")
