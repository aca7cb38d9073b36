"""Engines of a bundle: ordered, built once, and found again.

for order in order_engines(bundle, backend="tensorrt-rtx", targets=["rtx-40"]):
    engine = ensure_engine(order)
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...bundle import Bundle
from ...bundle.schema import Variant
from ...errors import EngineError
from ...graph.file import read_graph
from ...graph.yuv_ends import YuvEnds
from ...version import __version__
from ..nvidia.flavour import Flavour, error_log, load_flavour
from ..nvidia.gpu import Gpu
from ..nvidia.modules import MODULES
from .build import build_plan
from .engine_cache import CacheEntry, EngineCache, Report, now
from .layers import Layer, products_of, read_inspector, read_log, summarise, to_json
from .order import BuildOptions, EngineOrder, SizeRange, runs_on
from .progress import OnProgress
from .timings import KernelTimings


@dataclass(frozen=True)
class BuiltEngine:
    """An engine in the cache."""

    entry: CacheEntry
    hit: bool
    """It was there already."""
    seconds: float
    """Looking up and building."""


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
    yuv: YuvEnds | None = None,
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
        yuv: Of which YUV 4:2:0 pictures are; None for RGB.
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
        yuv=yuv,
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
        timing_cache: Kernel timings to read and to extend (TensorRT); None for the ones that the
            cache keeps of this device and TensorRT.
        progress: See `build_plan`; also called about once a second, with 0, while another process
            builds this engine.
        report: Called with why an entry is built again, and who is waited for.

    Raises:
        EngineError, BackendUnavailableError, BundleError, OutputNotWritableError: See `build_plan`
            and `EngineCache`.
    """
    cache, start = cache or EngineCache(), time.monotonic()
    timings = KernelTimings.of(order, cache.folder, named=timing_cache)
    if entry := cache.look_up(order, lambda line: None):
        return BuiltEngine(entry, True, time.monotonic() - start)

    def waiting() -> None:
        if progress is not None:
            progress(0.0, "waiting for another process")

    with cache.lock(order.key, report, waiting):
        # Whoever held the lock may have built it.
        if entry := cache.look_up(order, report):
            return BuiltEngine(entry, True, time.monotonic() - start)
        flavour = load_flavour(order.backend)
        built = time.monotonic()
        variant = order.bundle.variant(order.variant_id)
        printed: list[str] = []
        with order.bundle.graph(variant, order.graph_file) as graph:
            plan = build_plan(
                flavour,
                order,
                order.ended(graph),
                timings=timings,
                progress=progress,
                report=report,
                on_layers=printed.append,
            )
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
        layers = read_log(printed[0]) if printed else []
        if layers:
            facts["layers"] = summarise(layers, graph_products(order)).to_json()
        entry = cache.store(order, memoryview(plan), facts, report, to_json(layers))
    return BuiltEngine(entry, False, time.monotonic() - start)


def graph_products(order: EngineOrder) -> dict[str, bool]:
    """Convolutions and matrix products of the graph that is built, see `products_of`.

    Raises:
        BundleError, GraphError: The graph is damaged.
    """
    graph = order.ended(order.bundle.read(order.graph_file))
    assert isinstance(graph, bytes)
    return products_of(read_graph(graph))


def list_layers(order: EngineOrder, entry: CacheEntry) -> dict[str, Any]:
    """What an engine's layers are: as the compiler printed them, or as its inspector says here.

    Args:
        order: What the engine was built from.
        entry: It, in the cache.

    Returns:
        JSON-ready: `key`, `what`, `compiler`, `summary` (see `LayerSummary`) and `layers`.

    Raises:
        EngineError: The engine does not say; the message has what to do.
    """
    facts = entry.facts
    found = {"key": entry.key, "what": facts["what"], "compiler": order.builder}
    listed = entry.layers()
    if listed is not None and "layers" in facts:
        return {**found, "summary": facts["layers"], "layers": [e.value for e in listed.items()]}
    if entry.identity["device"]["aot"]:
        raise EngineError(
            f"engine {entry.key} has no list of layers: it was built before lists were kept, or "
            f"this compiler prints none; build it again: adcvsr cache clear {entry.key}"
        )
    layers = _inspect(order, entry)
    summary = summarise(layers, graph_products(order)).to_json()
    return {**found, "summary": summary, "layers": to_json(layers)}


def _inspect(order: EngineOrder, entry: CacheEntry) -> list[Layer]:
    """Load an engine on the GPU at hand and ask its inspector."""
    flavour, options = load_flavour(order.backend), order.options
    runtime = flavour.runtime(version_compatible=options.version_compatible, dla=options.dla)
    engine = runtime.deserialize_cuda_engine(entry.read_plan())
    if engine is None:
        raise EngineError(
            f"engine {entry.key} does not load here, so its layers are not known: "
            f"{'; '.join(error_log(flavour.trt).take()) or 'no reason is given'}"
        )
    inspector = engine.create_engine_inspector()
    form = flavour.trt.LayerInformationFormat.JSON
    return read_inspector(inspector.get_engine_information(form))


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
    range, one built here before one ahead of time, and the latest used. One for a DLA is taken only
    where it was accepted or is named, and one in TF32 only for a variant that says so, even then.

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
        unasked = only is None and entry.key not in current
        if unasked and identity["options"].get("dla") is not None:
            continue
        same = all(identity.get(key) == value for key, value in source.items() if key != "builder")
        same = same and identity["options"]["tf32"] == order.tf32
        same = same and _loads(identity, order.builder)
        low, _, high = _input_range(order, identity) or ((0, 0), None, (0, 0))
        fits = all(a <= b <= c for a, b, c in zip(low, (height, width), high, strict=True))
        if same and fits and runs_on(identity, gpu):
            rank = (entry.key not in current, low != high, identity["device"]["aot"])
            found.append((rank, entry))
    return min(found, key=lambda pair: pair[0])[1] if found else None


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


def _cuda_of_package(flavour: Flavour) -> str:
    """CUDA the compiler was built for, as its package is named: plans of cu12 and cu13 differ."""
    # By file name: reading the packages' metadata costs a tenth of a small build.
    module = MODULES[flavour.backend]
    site = Path(flavour.trt.__file__).parent.parent if flavour.trt.__file__ else Path()
    found = (re.match(rf"{module}_(cu\d+)-", each.name) for each in site.glob(f"{module}_cu*"))
    return next((match[1] for match in found if match), "unknown")
