"""What runs where: one table over variants, backends and GPUs, which every chooser asks."""

from __future__ import annotations

import pytest

from adcvsr.variants import (
    BACKENDS,
    PRECISIONS,
    RUNTIMES,
    UNASKED,
    VariantName,
    exactness,
    faster,
    fitting,
    of_precision,
    unasked,
    why_not,
)

EVERY = [
    *("fp32-onnx", "fp16-onnx", "fp16-trt", "bf16-trt", "int8-trt", "int8-ort", "fp8-trt"),
    "fp4-trt",
]
"""All kinds of variants that bundles have or had."""

SMS = {"none": None, "turing": 75, "orin": 87, "rtx-40": 89, "hopper": 90, "thor": 110}

NARROW = ("bf16-trt", "int8-trt", "fp8-trt", "fp4-trt")

MADE_FOR = {
    "tensorrt": ["fp32-onnx", "fp16-trt", "fp16-onnx", *NARROW],
    "tensorrt-rtx": ["fp32-onnx", "fp16-trt", "fp16-onnx", *NARROW],
    "ort-cuda": ["fp32-onnx", "fp16-onnx", "fp16-trt", *NARROW],
    "ort-cpu": ["fp32-onnx", "fp16-onnx", "int8-ort"],
}

TAKEN = {
    ("tensorrt", "none"): [],
    ("tensorrt", "turing"): ["fp16-trt", "fp32-onnx"],
    ("tensorrt", "orin"): ["fp16-trt", "fp32-onnx"],
    ("tensorrt", "rtx-40"): ["fp16-trt", "fp32-onnx"],
    ("tensorrt", "hopper"): ["fp16-trt", "fp32-onnx"],
    ("tensorrt", "thor"): ["fp16-trt", "fp32-onnx"],
    ("tensorrt-rtx", "none"): [],
    ("tensorrt-rtx", "turing"): ["fp16-trt", "fp32-onnx"],
    ("tensorrt-rtx", "orin"): [],
    ("tensorrt-rtx", "rtx-40"): ["fp16-trt", "fp32-onnx"],
    ("tensorrt-rtx", "hopper"): [],
    ("tensorrt-rtx", "thor"): [],
    ("ort-cuda", "none"): [],
    ("ort-cuda", "turing"): ["fp16-onnx", "fp32-onnx"],
    ("ort-cuda", "orin"): ["fp16-onnx", "fp32-onnx"],
    ("ort-cuda", "rtx-40"): ["fp16-onnx", "fp32-onnx"],
    ("ort-cuda", "hopper"): ["fp16-onnx", "fp32-onnx"],
    ("ort-cuda", "thor"): ["fp16-onnx", "fp32-onnx"],
    **{("ort-cpu", gpu): ["fp32-onnx", "int8-ort"] for gpu in SMS},
}
"""What is taken unasked of a bundle with all of `EVERY`, the first first."""

RUNS = {
    ("tensorrt", "turing"): {"fp32", "fp16", "int8"},
    ("tensorrt", "orin"): {"fp32", "tf32", "fp16", "bf16", "int8"},
    ("tensorrt", "rtx-40"): {"fp32", "tf32", "fp16", "bf16", "int8", "fp8"},
    ("tensorrt", "hopper"): {"fp32", "tf32", "fp16", "bf16", "int8", "fp8"},
    ("tensorrt", "thor"): set(PRECISIONS),
    ("tensorrt-rtx", "turing"): {"fp32", "fp16"},
    ("tensorrt-rtx", "rtx-40"): {"fp32", "tf32", "fp16", "bf16", "fp8"},
    ("ort-cuda", "turing"): {"fp32", "fp16"},
    ("ort-cuda", "orin"): {"fp32", "tf32", "fp16", "bf16"},
    ("ort-cuda", "rtx-40"): {"fp32", "tf32", "fp16", "bf16"},
    ("ort-cuda", "hopper"): {"fp32", "tf32", "fp16", "bf16"},
    ("ort-cuda", "thor"): {"fp32", "tf32", "fp16", "bf16"},
    **{("ort-cpu", gpu): {"fp32", "int8"} for gpu in SMS},
}
"""Precisions a backend computes on a GPU; pairs that are not named run nothing."""


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("gpu", SMS)
def test_precisions_and_what_is_taken_unasked(backend: str, gpu: str) -> None:
    sm = SMS[gpu]
    runs = {each for each in PRECISIONS if why_not(sm, backend, each) is None}
    assert runs == RUNS.get((backend, gpu), set())
    taken = unasked(EVERY, backend, sm)
    if sm is None and backend != "ort-cpu":  # the GPU is not known yet: the order alone
        assert taken == unasked(EVERY, backend, 89)
        return
    assert taken == TAKEN[backend, gpu]


@pytest.mark.parametrize("backend", BACKENDS)
def test_variants_made_for_a_backend(backend: str) -> None:
    assert fitting(EVERY, backend) == MADE_FOR[backend]
    assert fitting(reversed(EVERY), backend) == MADE_FOR[backend]
    assert set(UNASKED) == set(RUNTIMES) == set(BACKENDS)


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
