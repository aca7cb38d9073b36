"""What runs where: one table over variants, backends and GPUs, which every chooser asks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from adcvsr.bundle import Bundle, open_bundle
from adcvsr.errors import BackendUnavailableError, MissingPackageError
from adcvsr.plan.planning import choose_variants
from adcvsr.runtime.engine import build_list as choice
from adcvsr.runtime.nvidia import flavour as trt_flavour
from adcvsr.runtime.nvidia import gpu
from adcvsr.runtime.processing.backends import choose_backend
from adcvsr.runtime.processing.variant_pick import pick_variants
from adcvsr.runtime.sessions import ort_cuda
from adcvsr.targets import TARGETS
from adcvsr.variants import (
    BACKENDS,
    ENGINE_BACKENDS,
    REFERENCE,
    RUNTIMES,
    UNASKED,
    VariantName,
    contenders,
    exactness,
    faster,
    fitting,
    of_precision,
    unasked,
    why_not,
)

EVERY = (
    *("fp32-onnx", "tf32-onnx", "fp16-onnx", "fp16-trt", "bf16-trt", "int8-trt", "int8-ort"),
    *("fp8-trt", "fp4-trt"),
)
"""All kinds of variants that bundles have or had; TF32 is FP32's graph."""

TABLE = """
      backend       fp32o tf32o fp16o fp16t bf16t int8t int8r fp8t fp4t
none  ort-cpu           1     -     -     .     .     o     2    .    .
  75  tensorrt          2     -     m     1     -     m     o    -    -
  75  tensorrt-rtx      2     -     m     1     -     -     .    -    -
  75  ort-cuda          2     -     1     m     -     -     .    -    -
  86  tensorrt          2     m     m     1     m     m     o    -    -
  86  tensorrt-rtx      2     m     m     1     m     -     .    -    -
  86  ort-cuda          2     m     1     m     m     -     .    -    -
  87  tensorrt          2     m     m     1     m     m     o    -    -
  87  ort-cuda          2     m     1     m     m     -     .    -    -
  89  tensorrt          2     m     m     1     m     m     o    m    -
  89  tensorrt-rtx      2     m     m     1     m     -     .    m    -
  89  ort-cuda          2     m     1     m     m     -     .    -    -
  90  tensorrt          2     m     m     1     m     m     o    m    -
  90  ort-cuda          2     m     1     m     m     -     .    -    -
 110  tensorrt          2     m     m     1     m     m     o    m    m
 110  ort-cuda          2     m     1     m     m     -     .    -    -
 120  tensorrt          2     m     m     1     m     m     o    m    m
 120  tensorrt-rtx      2     m     m     1     m     -     .    m    m
 120  ort-cuda          2     m     1     m     m     -     .    -    -
"""
"""Of a bundle with all of `EVERY`, by compute capability: a number is the place among what is taken
unasked, `m` made for the backend and computed there, `-` made for it and not computed, `o` made for
another and computed all the same, `.` neither. Pairs that are not listed run nothing; `ort-cpu` is
everywhere as without a GPU."""

CELLS: dict[tuple[int | None, str], dict[str, str]] = {
    (None if sm == "none" else int(sm), backend): dict(zip(EVERY, marks, strict=True))
    for sm, backend, *marks in (line.split() for line in TABLE.splitlines()[2:])
}
SMS = sorted({each.sm for each in TARGETS.values() if each.sm})


def cells(sm: int | None, backend: str) -> dict[str, str] | None:
    """The table's line; None where nothing runs."""
    return CELLS.get((None if backend == "ort-cpu" else sm, backend))


def taken(sm: int | None, backend: str) -> list[str]:
    """What is taken unasked there, the first first."""
    line = cells(sm, backend) or {}
    return sorted((each for each, mark in line.items() if mark.isdigit()), key=lambda e: line[e])


@pytest.fixture
def everything() -> Bundle:
    """A bundle with all of `EVERY`."""
    bundle = open_bundle("nano")
    one = bundle.variants[REFERENCE]
    stored = [each for each in EVERY if VariantName.parse(each).stored.id == each]
    bundle.variants = {name: replace(one, id=name) for name in stored}
    return bundle


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("sm", [None, *SMS])
def test_table(sm: int | None, backend: str, everything: Bundle) -> None:
    line = cells(sm, backend)
    computed = {name: why_not(sm, backend, VariantName.parse(name).precision) for name in EVERY}
    if line is None:
        assert all(computed.values())
        return
    assert {name for name in EVERY if computed[name] is None} == {
        name for name in EVERY if line[name] not in "-."
    }
    made = fitting(everything.variants, backend)
    assert set(made) == {name for name in everything.variants if line[name] not in "o."}
    assert made == fitting(reversed(list(everything.variants)), backend)
    assert made == sorted(made, key=lambda name: exactness(name)[0])
    assert unasked(everything.variants, backend, sm) == taken(sm, backend)
    assert contenders(everything.variants, backend, sm, kind="clip") == taken(sm, backend)[:1]
    assert set(UNASKED) == set(RUNTIMES) == set(BACKENDS)


@pytest.mark.parametrize("name", TARGETS)
def test_choosers_follow_the_table(
    name: str, everything: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planning, sessions, engines and comparisons on every target, asked by name and unasked."""
    there = TARGETS[name]
    sms = [] if there.sm is None else [there.sm]
    pretend_gpu(monkeypatch, there.sm)
    backends = [each for each in BACKENDS if cells(there.sm, each)]
    assert list(there.backends) == backends
    for backend in backends:
        line, first = cells(there.sm, backend) or {}, taken(there.sm, backend)
        assert set(pick_variants(everything, backend)) == {
            each for each in everything.variants if line[each] not in "o."
        }
        chosen = choose_backend(everything, backend=backend).candidates
        assert [each.id for each in chosen] == (first if backend == "ort-cpu" else first[:1])
        if backend in ENGINE_BACKENDS:
            ordered = choice._choose_variant(everything, backend, sms, None, lambda line: None)
            assert ordered.id == first[0]
        if backend == "ort-cpu" and there.kind != "cpu":
            continue  # a target's figures are its GPU's
        planned = choose_variants(everything, there, None, backend)
        assert planned == ([each.id for each in chosen], backend)
        for each, mark in line.items():
            if mark in "-.":
                with pytest.raises(BackendUnavailableError, match=f"{each}: "):
                    choose_variants(everything, there, each, backend)
                if backend != "ort-cpu":
                    with pytest.raises(BackendUnavailableError):
                        choose_backend(everything, backend=backend, variant=each)
            else:
                assert choose_variants(everything, there, each, backend) == ([each], backend)
                assert choose_backend(everything, backend=backend, variant=each).candidates[
                    0
                ] == everything.variant(each)
    unasked_backend = choose_backend(everything)
    assert choose_variants(everything, there, None, None) == (
        [each.id for each in unasked_backend.candidates],
        unasked_backend.backend,
    )


def test_tf32_is_refused_where_nothing_tells_what_the_gpu_has(
    everything: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime would compute FP32 on a Turing card without a word; other types it refuses."""
    pretend_gpu(monkeypatch, 75)

    def unknown() -> gpu.Gpu:
        raise MissingPackageError("cuda-python is not installed")

    monkeypatch.setattr(gpu, "current_gpu", unknown)
    assert choose_backend(everything, backend="ort-cuda", variant="fp16").backend == "ort-cuda"
    with pytest.raises(MissingPackageError, match="cuda-python"):
        choose_backend(everything, backend="ort-cuda", variant="tf32")


def pretend_gpu(monkeypatch: pytest.MonkeyPatch, sm: int | None) -> None:
    """A machine with every backend's package, and this GPU."""

    def current() -> gpu.Gpu:
        if sm is None:
            raise BackendUnavailableError("no GPU")
        return gpu.Gpu("GPU", sm, integrated=False, cuda="13.0")

    monkeypatch.setattr(gpu, "current_gpu", current)
    monkeypatch.setattr(gpu, "looks_like_gpu", lambda: sm is not None)
    monkeypatch.setattr(trt_flavour, "load_flavour", lambda backend: None)
    monkeypatch.setattr(ort_cuda, "import_onnxruntime_gpu", lambda: None)


@pytest.mark.parametrize(
    ("backend", "precision", "found"),
    [
        ("tensorrt", "fp16", "fp16-trt"),
        ("ort-cuda", "fp16", "fp16-onnx"),
        ("tensorrt", "tf32", "tf32-onnx"),
        ("tensorrt", "int8", "int8-trt"),
        ("ort-cpu", "int8", "int8-ort"),
        ("ort-cpu", "fp8", None),
        ("tensorrt", "int1", None),
    ],
)
def test_by_precision(backend: str, precision: str, found: str | None) -> None:
    assert of_precision(EVERY, backend, precision) == found


def test_a_bundle_with_little_takes_what_it_has() -> None:
    assert unasked(["fp16-trt", "fp32-onnx"], "ort-cuda", 89) == ["fp16-trt", "fp32-onnx"]
    assert unasked(["int8-trt"], "tensorrt", 89) == []
    assert unasked(["fp32-onnx"], "ort-cpu", None) == ["fp32-onnx"]


def test_names() -> None:
    assert VariantName.parse("tf32-onnx").stored.id == "fp32-onnx"
    assert VariantName.parse("int8-ort").stored.id == "int8-ort"
    assert VariantName.parse("int8-ort").own_backends == ("ort-cpu",)
    assert VariantName.parse("fp16-trt").own_backends == ("tensorrt", "tensorrt-rtx")
    assert VariantName.parse("fp32-onnx").own_backends == BACKENDS
    assert sorted(["int8-ort", "odd", "fp32-onnx", "fp16-trt"], key=exactness) == [
        *("fp32-onnx", "fp16-trt", "int8-ort", "odd")
    ]


def test_a_narrower_variant_has_to_pay() -> None:
    assert faster({"fp32-onnx": 10.0, "int8-ort": 9.0}) == "int8-ort"
    assert faster({"fp32-onnx": 10.0, "int8-ort": 9.2}) == "fp32-onnx"
    assert faster({"fp32-onnx": 10.0}) == "fp32-onnx"
