"""One graph to one engine, with a compiler that can be watched and stopped.

The compiler runs in a thread of its own, so that Ctrl-C reaches the caller at once; it is then told
to stop and ends at its next step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ...errors import EngineError
from ..nvidia.flavour import Flavour, error_log
from ..threads.worker import Worker
from .advice import build_complaint, parser_complaint
from .engine_cache import Report
from .order import BuildOptions, EngineOrder, Shape
from .progress import BuildProgress, OnProgress
from .settled import settle_network
from .timings import KernelTimings

_POLL_SECONDS = 0.1
"""How long a signal may wait until the main thread sees it."""

STOPPING = "interrupted: the compiler stops at its next step, which can take half a minute"

_PATIENCE_SECONDS = 1.0
"""How long a compiler that was told to stop may take without a word."""


def build_plan(
    flavour: Flavour,
    order: EngineOrder,
    graph: bytes | Path,
    *,
    timings: KernelTimings | None = None,
    progress: OnProgress | None = None,
    report: Report = lambda line: None,
    on_layers: Callable[[str], None] | None = None,
) -> Any:
    """Compile one graph.

    Args:
        flavour: The compiler.
        order: What for.
        graph: The ONNX file's bytes, or its path where weights lie beside it.
        timings: Of kernels, to read and to extend; None for none.
        progress: Called after each step of the compiler, in its thread.
        report: Called with what of the graph a DLA leaves to the GPU, in the same thread; and on
            Ctrl-C where the compiler takes its time.
        on_layers: Called with the compiler's own list of layers, see `read_log`; TensorRT-RTX
            alone prints one.

    Returns:
        The plan as the compiler's own buffer (`memoryview` of it is free).

    Raises:
        EngineError: The graph does not compile; the message names the node and what to do.
        BackendUnavailableError: The compiler cannot do what was asked.
        KeyboardInterrupt: Ctrl-C; the compiler has stopped by then.
    """
    state = BuildProgress(progress)
    listed: list[str] = []
    plan = _interruptible(
        lambda: _compile(flavour, order, graph, timings, state, report, listed.append),
        state.cancel,
        report,
    )
    if on_layers is not None and listed[0]:
        on_layers(listed[0])
    return plan


def _compile(
    flavour: Flavour,
    order: EngineOrder,
    graph: bytes | Path,
    timings: KernelTimings | None,
    progress: BuildProgress,
    report: Report,
    on_layers: Callable[[str], None],
) -> Any:
    trt, log = flavour.trt, error_log(flavour.trt)
    log.take_layers()  # of an earlier build
    builder = flavour.builder()
    network = flavour.create_network(builder)
    parser = trt.OnnxParser(network, log.logger)
    parsed = parser.parse(graph) if isinstance(graph, bytes) else parser.parse_from_file(str(graph))
    if not parsed:
        raise EngineError(f"{order.describe()}: {parser_complaint(parser)}")
    _require_inputs(network, order)
    settle_network(flavour, network, order)
    config = builder.create_builder_config()
    flavour.name_targets(config, order.sms if order.gpu is None else ())
    _configure(flavour, config, order.options, tf32=order.tf32)
    if order.options.dla is not None:
        flavour.use_dla(builder, config, order.options.dla, fallback=order.options.dla_fallback)
        _require_dla_layers(network, config, order, report)
    if config.add_optimization_profile(_profile(builder, order.profile())) < 0:
        raise EngineError(f"{order.describe()}: {build_complaint(log.take())}")
    monitor = progress.monitor(trt)  # must outlive the build
    config.progress_monitor = monitor
    if timings is not None:
        timings.load(config, report)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineError(f"{order.describe()}: {build_complaint(log.take())}")
    on_layers(log.take_layers())
    if timings is not None:
        timings.save(report)
    return plan


def _require_inputs(network: Any, order: EngineOrder) -> None:
    """The graph's inputs must be those the manifest promises, by name and rank.

    Raises:
        EngineError: They are not.
    """
    wanted = {name: len(shape) for name, shape in order.shapes(*order.sizes.best).items()}
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    found = {tensor.name: len(tensor.shape) for tensor in inputs}
    if wanted != found:
        raise EngineError(
            f"{order.describe()}: the graph has inputs {sorted(found)}, the manifest says "
            f"{sorted(wanted)}; export the bundle again"
        )


def _require_dla_layers(network: Any, config: Any, order: EngineOrder, report: Report) -> None:
    """Say which layers the DLA cannot run, before the compiler starts.

    Raises:
        EngineError: Some, and the GPU may not run them; or all.
    """
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    left = [layer for layer in layers if not config.can_run_on_DLA(layer)]
    if not left:
        return
    named = ", ".join(f"'{layer.name}'" for layer in left[:3])
    named += f" and {len(left) - 3} more" if len(left) > 3 else ""
    said = f"{order.describe()}: {len(left)} of {len(layers)} layers cannot run there: {named}"
    if len(left) == len(layers):
        raise EngineError(f"{said}; leave out --dla")
    if not order.options.dla_fallback:
        raise EngineError(f"{said}; --dla-fallback leaves them to the GPU")
    report(f"{said}; the GPU runs them")


def _configure(flavour: Flavour, config: Any, options: BuildOptions, *, tf32: bool) -> None:
    trt = flavour.trt
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_bytes)
    # Layers with their names and types: the census of `adcvsr deploy` and profiles read them.
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if not tf32:
        config.clear_flag(trt.BuilderFlag.TF32)  # set by default
    if options.level is not None:
        config.builder_optimization_level = options.level
    flavour.set_compatibility(config, hardware=options.hardware, version=options.version_compatible)


def _profile(builder: Any, shapes: Mapping[str, tuple[Shape, Shape, Shape]]) -> Any:
    profile = builder.create_optimization_profile()
    for name, (low, best, high) in shapes.items():
        profile.set_shape(name, low, best, high)
    return profile


def _interruptible(work: Callable[[], Any], cancel: Callable[[], None], report: Report) -> Any:
    """Run work in a thread and wait for it where signals arrive."""
    result: list[Any] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            result.append(work())
        except BaseException as error:
            failure.append(error)

    worker = Worker(run, name="engine-build", daemon=True)
    worker.start()
    try:
        while not worker.wait(_POLL_SECONDS):
            pass
    except KeyboardInterrupt:
        cancel()
        if not worker.wait(_PATIENCE_SECONDS):
            report(STOPPING)
            worker.wait()
        raise
    if failure:
        raise failure[0]
    return result[0]
