"""What to build for which device, refused here where it cannot run, before a compiler starts.

orders = order_engines(bundle, backend="tensorrt-rtx", targets=["rtx-40"])
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...bundle import Bundle
from ...bundle.schema import Variant
from ...errors import BackendUnavailableError, BundleError, ConfigError, MissingPackageError
from ...targets import Target, target
from ...variants import UNASKED, of_precision, sm_text, why_not
from ..nvidia.flavour import load_flavour
from ..nvidia.gpu import Gpu, current_gpu
from ..nvidia.modules import MODULES
from .engine_cache import Report
from .engines import order_for
from .order import DEFAULT_SIZE, BuildOptions, EngineOrder, SizeRange

CURRENT = "current"
"""The target that is the GPU in this machine."""

DLA_PRECISIONS = ("fp16", "int8")
"""What DLA computes in."""


def order_engines(
    bundle: Bundle,
    *,
    backend: str = "auto",
    targets: Sequence[str] = (CURRENT,),
    precision: str | None = None,
    sizes: SizeRange | None = None,
    frames: int | None = None,
    streams: int = 1,
    options: BuildOptions | None = None,
    report: Report = lambda line: None,
) -> list[EngineOrder]:
    """Decide what to build: one engine for a stream bundle, two for a clip bundle.

    Everything that can be refused is refused here, before a compiler starts.

    Args:
        bundle: An opened bundle.
        backend: `tensorrt`, `tensorrt-rtx`, or `auto`.
        targets: Names of targets, or `current`; several make one TensorRT-RTX engine for all.
        precision: Such as `fp16`; None takes what the backend runs unasked; `tf32`
            computes the `fp32` graph in TF32.
        sizes: Input sizes; None for `DEFAULT_SIZE`.
        frames: Of a clip graph's window; None as the bundle says.
        streams: Whose frames run at once, of a stream bundle.
        options: Further choices.
        report: Called with what was chosen where nothing was asked for.

    Raises:
        ConfigError: No such target or backend, or a size out of order.
        BundleError: The bundle has no such precision.
        BackendUnavailableError: The target cannot run it, with the reason.
        MissingPackageError: The compiler is not installed.
    """
    options = options or BuildOptions()
    if streams > 1 and (bundle.kind == "clip" or options.dla is not None):
        raise ConfigError(
            f"--streams {streams}: a network that is not causal, or a DLA, runs one stream at once"
        )
    named = [target(name) for name in targets if name != CURRENT]
    if named and len(named) < len(targets):
        raise ConfigError("--target current cannot be mixed with named targets")
    gpu = None if named else _gpu_here(backend)
    chosen = backend if backend != "auto" else _choose_backend(named, gpu, report)
    sms = tuple(sorted({_sm(each) for each in named})) if gpu is None else (gpu.sm,)
    _refuse_options(chosen, named, options)
    variant = _choose_variant(bundle, chosen, sms, precision, report)
    flavour = load_flavour(chosen)
    if options.dla is not None:
        flavour.require_dla()
        _refuse_dla(variant, sizes)
    if chosen == "tensorrt" and named:
        gpu = _require_same_device(named, sms)
    if sizes is None:
        sizes = SizeRange.fixed(*DEFAULT_SIZE)
        report(f"size {sizes.text}: none was named (--size, or --min, --opt and --max)")
    order = order_for(
        bundle,
        variant,
        variant.file,
        flavour,
        gpu,
        sizes,
        sms=sms,
        frames=frames,
        streams=streams,
        options=options,
    )
    if variant.decoder_file is None:
        return [order]
    return [order, replace(order, graph_file=variant.decoder_file, frames=1)]


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
    """TensorRT where it is installed and builds for this device, else TensorRT-RTX.

    Raises:
        BackendUnavailableError: Neither can.
    """
    reasons: dict[str, str] = {}
    for backend in MODULES:
        sms = [_sm(each) for each in named] if gpu is None else [gpu.sm]
        reason = next((r for sm in sms if (r := why_not(sm, backend, "fp32"))), None)
        if backend == "tensorrt" and named:
            reason = reason or _why_not_named(named)
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


def _refuse_dla(variant: Variant, sizes: SizeRange | None) -> None:
    """DLA computes FP16 and INT8 in static shapes.

    Raises:
        BackendUnavailableError: Something else was asked for.
    """
    if variant.precision not in DLA_PRECISIONS:
        raise BackendUnavailableError(
            f"DLA computes {' and '.join(DLA_PRECISIONS)}, '{variant.id}' is neither; give "
            "--precision, or leave out --dla"
        )
    if sizes is not None and not sizes.is_fixed:
        raise BackendUnavailableError(f"DLA takes one size, not {sizes.text}; give --size")


def _choose_variant(
    bundle: Bundle, backend: str, sms: Sequence[int], precision: str | None, report: Report
) -> Variant:
    """The variant of a precision, refused where a target cannot compute in it.

    Raises:
        BundleError: The bundle has no such precision.
        BackendUnavailableError: A target does not run it.
    """
    wanted = [precision] if precision else list(UNASKED[backend])
    refused = []
    for each in wanted:
        variant_id = of_precision(bundle.variants, backend, each)
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


def _why_not_named(named: Sequence[Target]) -> str | None:
    """Why TensorRT does not build for named targets; it does on the device that has no other."""
    sms = [_sm(each) for each in named]
    if all(why_not(sm, "tensorrt-rtx", "fp32") is None for sm in sms):
        return "TensorRT builds on the device itself, not for a named target"
    try:
        _require_same_device(named, sms)
    except BackendUnavailableError as error:
        return str(error)
    return None


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
