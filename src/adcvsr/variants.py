"""What runs where: precisions, backends, and which variant a backend takes, named or unasked.

A variant's id is `<precision>-<runtime>`, such as `int8-ort`: the arithmetic of its products, and
the kind of runtime its graph is made for. Every choice of a variant or backend asks this module.

    why_not(86, "tensorrt", "fp8")  # "fp8 needs compute capability 8.9; this is 8.6"
    unasked(bundle.variants, "ort-cuda", 89)  # ["fp16-onnx", "fp32-onnx"]
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

PRECISIONS = ("fp32", "tf32", "fp16", "bf16", "int8", "fp8", "fp4")
"""Arithmetic of products, the most exact first."""

BACKENDS = ("tensorrt", "tensorrt-rtx", "ort-cuda", "ort-cpu")
"""Everything that runs a variant; `auto` takes the first that is present."""

ENGINE_BACKENDS = ("tensorrt", "tensorrt-rtx")
"""Backends that run an engine built for the device."""

REFERENCE = "fp32-onnx"
"""The variant every bundle has, against which the others are held."""

QUANTIZED = ("int8", "fp8")
"""Precisions that `adcvsr quantize` makes, of eight bits."""

RUNTIMES: Mapping[str, tuple[str, ...]] = {
    "tensorrt": ("trt", "onnx"),
    "tensorrt-rtx": ("trt", "onnx"),
    "ort-cuda": ("onnx", "trt"),
    "ort-cpu": ("ort", "onnx"),
}
"""Runtimes whose graphs a backend is meant to run, its own kind first. `onnx` graphs are plain and
run everywhere; `trt` ones hold the narrow types TensorRT wants, which ONNX Runtime's CUDA provider
reads too; `ort` ones quantize as ONNX Runtime's CPU kernels do, which no compiler takes."""

UNASKED: Mapping[str, tuple[str, ...]] = {
    "tensorrt": ("fp16", "fp32"),
    "tensorrt-rtx": ("fp16", "fp32"),
    "ort-cuda": ("fp16", "fp32"),
    "ort-cpu": ("fp32", "int8"),
}
"""Precisions a backend runs when none is named. A GPU takes the first that is there, as narrower
ones are `adcvsr deploy`'s to accept; a CPU takes the first, unless a later one is `LEAST_GAIN`
times as fast on it."""

LEAST_GAIN = 1.1
"""How much faster than the more exact variant a narrower one must be to be taken unasked: less is
within the noise of a measurement."""

STORED_AS = {"tf32": "fp32"}
"""Arithmetic that is a way to compute and not to store, by what its graph holds: products of FP32
whose factors are rounded to TF32's ten bits of mantissa."""

TF32_LEAST_PSNR_DB = 45.0
"""What TF32 has to reach against the golden pictures: FP16's limit, as both have ten bits."""

TENSORRT_RTX_SM = (75, 80, 86, 89, 120, 121)
"""GPUs TensorRT-RTX builds for: no Hopper, no Jetson."""

TENSORRT_MIN_SM, BF16_MIN_SM, FP8_MIN_SM, FP4_MIN_SM = 75, 80, 89, 100
"""First compute capability with it; 87 (Orin) is Ampere and has neither FP8 nor FP4."""

_LEAST_SM = {"tf32": BF16_MIN_SM, "bf16": BF16_MIN_SM, "fp8": FP8_MIN_SM, "fp4": FP4_MIN_SM}

_CPU_REASON = "ONNX Runtime computes fp32 and int8 on a CPU"
_ORT_CUDA_REASON = (
    "ONNX Runtime's CUDA provider has no such arithmetic: it would convert to wider types; "
    "take fp16, or a TensorRT backend"
)


@dataclass(frozen=True)
class VariantName:
    """The two halves of a variant's id."""

    precision: str
    """One of `PRECISIONS`, of any variant this version makes."""

    runtime: str
    """`onnx`, `trt` or `ort`, of any variant this version makes."""

    @classmethod
    def parse(cls, variant_id: str) -> VariantName:
        """Take an id apart; a half that is missing is empty."""
        precision, _, runtime = variant_id.partition("-")
        return cls(precision, runtime)

    @property
    def id(self) -> str:
        """As `parse` reads it."""
        return f"{self.precision}-{self.runtime}"

    @property
    def stored(self) -> VariantName:
        """The variant whose graph this one computes: `tf32-onnx` is `fp32-onnx` in a bundle."""
        return VariantName(STORED_AS.get(self.precision, self.precision), self.runtime)

    @property
    def of_floats(self) -> str:
        """Precision of products whose factors are stored as FP32: `tf32` in a variant of it."""
        return self.precision if self.stored.precision == "fp32" else "fp32"

    @property
    def own_backends(self) -> tuple[str, ...]:
        """Backends its runtime is the first of; all where it is every backend's, as `onnx` is."""
        own = tuple(name for name, kinds in RUNTIMES.items() if kinds[0] == self.runtime)
        return BACKENDS if self.runtime == "onnx" else own


def exactness(variant_id: str) -> tuple[int, str]:
    """Sort key of ids: the most exact first, then by name; unknown precisions come last."""
    precision = VariantName.parse(variant_id).precision
    known = precision in PRECISIONS
    return (PRECISIONS.index(precision) if known else len(PRECISIONS), variant_id)


def why_not(sm: int | None, backend: str, precision: str) -> str | None:
    """Say why a backend cannot run a precision on a GPU, or None when it can.

    Args:
        sm: Compute capability times ten; None for a machine without an NVIDIA GPU.
        backend: One of `BACKENDS`.
        precision: One of `PRECISIONS`.
    """
    if backend == "ort-cpu":
        return None if precision in {"fp32", "int8"} else _CPU_REASON
    if sm is None:
        return "needs an NVIDIA GPU"
    if backend == "ort-cuda":
        if precision not in {"fp32", "tf32", "fp16", "bf16"}:
            return _ORT_CUDA_REASON
        return _why_not_sm(sm, precision, 0)
    if backend == "tensorrt-rtx" and (reason := _why_not_rtx(sm, precision)):
        return reason
    return _why_not_sm(sm, precision, TENSORRT_MIN_SM)


def _why_not_rtx(sm: int, precision: str) -> str | None:
    if sm not in TENSORRT_RTX_SM:
        known = ", ".join(sm_text(each) for each in TENSORRT_RTX_SM)
        return f"TensorRT-RTX runs on compute capability {known}; this is {sm_text(sm)}"
    if precision == "int8":
        return "TensorRT-RTX has INT8 for weights only; take fp16"
    return None


def _why_not_sm(sm: int, precision: str, otherwise: int) -> str | None:
    least = _LEAST_SM.get(precision, otherwise)
    if sm < least:
        return f"{precision} needs compute capability {sm_text(least)}; this is {sm_text(sm)}"
    return None


def sm_text(sm: int) -> str:
    """Write a compute capability as NVIDIA does: 87 as `8.7`."""
    return f"{sm // 10}.{sm % 10}"


def fitting(variant_ids: Iterable[str], backend: str) -> list[str]:
    """Variants made for a backend, the most exact first; of one precision its own runtime first.

    Args:
        variant_ids: A bundle's.
        backend: One of `BACKENDS`; any other fits none.
    """
    kinds = RUNTIMES.get(backend, ())
    names = [VariantName.parse(each) for each in variant_ids]
    kept = [name for name in names if name.runtime in kinds]
    kept.sort(key=lambda name: (exactness(name.id)[0], kinds.index(name.runtime)))
    return [name.id for name in kept]


def of_precision(variant_ids: Collection[str], backend: str, precision: str) -> str | None:
    """The variant of a precision that is made for a backend; None where a bundle has none.

    Args:
        variant_ids: A bundle's.
        backend: One of `BACKENDS`.
        precision: One of `PRECISIONS`; `tf32` gives the `fp32` variant's graph computed so.
    """
    stored = STORED_AS.get(precision, precision)
    for each in fitting(variant_ids, backend):
        name = VariantName.parse(each)
        if name.precision == stored:
            return VariantName(precision, name.runtime).id
    return None


def unasked(variant_ids: Collection[str], backend: str, sm: int | None) -> list[str]:
    """Variants a backend takes when none is named, in order; see `UNASKED`.

    Args:
        variant_ids: A bundle's.
        backend: One of `BACKENDS`.
        sm: Compute capability times ten; None where there is no GPU, or it is not known yet.

    Returns:
        Ids, one a precision at most. Those the GPU cannot compute are left out where `sm` is given.
    """
    found = []
    for precision in UNASKED[backend]:
        if sm is not None and why_not(sm, backend, precision):
            continue
        if name := of_precision(variant_ids, backend, precision):
            found.append(name)
    return found


def contenders(
    variant_ids: Collection[str], backend: str, sm: int | None, *, kind: str
) -> list[str]:
    """What of `unasked` may be run: on a CPU all, of which `faster` takes one, else the first.

    Args:
        variant_ids: A bundle's.
        backend: One of `BACKENDS`.
        sm: See `unasked`.
        kind: The bundle's, `stream` or `clip`; a clip network is too slow to be measured first.
    """
    found = unasked(variant_ids, backend, sm)
    return found if backend == "ort-cpu" and kind == "stream" else found[:1]


def faster(milliseconds: Mapping[str, float]) -> str:
    """Which of the variants that may be taken unasked a CPU takes, by a frame's time in each.

    Args:
        milliseconds: Of a frame, by variant id, the most exact first; measured or predicted alike.

    Returns:
        The first, unless the fastest is `LEAST_GAIN` times as fast.
    """
    exact = next(iter(milliseconds))
    fastest = min(milliseconds, key=lambda name: milliseconds[name])
    gain = milliseconds[exact] / max(milliseconds[fastest], 1e-6)
    return fastest if gain >= LEAST_GAIN else exact
