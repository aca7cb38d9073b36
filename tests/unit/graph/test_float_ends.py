"""The same network with float pictures at both ends, and nothing else changed in its graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from adcvsr.bundle import Bundle, open_bundle
from adcvsr.errors import GraphError
from adcvsr.graph.file import read_graph
from adcvsr.graph.float_ends import HALF, with_float_ends
from adcvsr.runtime.sessions.ort_cpu import OrtCpuSession


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return open_bundle("nano")


def stored(bundle: Bundle, name: str) -> bytes:
    variant = bundle.variant(name)
    with bundle.graph(variant, variant.file) as graph:
        assert isinstance(graph, bytes)
        return graph


@pytest.mark.parametrize("name", ["fp32-onnx", "fp16-trt"])
def test_three_bytes_change(bundle: Bundle, name: str) -> None:
    graph = stored(bundle, name)
    changed = with_float_ends(graph, bundle.input_name, bundle.output_name)
    assert len(changed) == len(graph)
    assert sum(a != b for a, b in zip(graph, changed, strict=True)) == 3
    found = read_graph(changed).graph
    ends = {each.name: each.element for each in (*found.input, *found.output)}
    assert ends[bundle.input_name] == ends[bundle.output_name] == 1


def test_a_graph_that_means_the_bytes_is_refused(bundle: Bundle) -> None:
    with pytest.raises(GraphError, match="does not cast pictures of 8 bits at both ends"):
        with_float_ends(stored(bundle, "int8-ort"), bundle.input_name, bundle.output_name)


def session(bundle: Bundle, **how: Any) -> OrtCpuSession:
    return OrtCpuSession(bundle, bundle.variant("fp32-onnx"), threads=1, **how)


@pytest.mark.parametrize("tile", [None, 64])
def test_whole_levels_give_the_picture_of_8_bits(bundle: Bundle, tile: int | None) -> None:
    """Rounded, the deep picture is the other one, frame after frame: state is carried alike."""
    frames = np.random.default_rng(5).integers(0, 256, (3, 70, 90, 3), np.uint8)
    with session(bundle, tile=tile) as plain, session(bundle, tile=tile, deep=True) as deep:
        for frame in frames:
            picture: Any = deep.infer(frame.astype(np.uint16) << 8)
            assert picture.dtype == np.uint16
            assert picture.max() <= 255 << 8
            expected = plain.infer(frame).astype(int)
            rounded = np.floor(picture / 256 + HALF)
            assert (rounded != expected).mean() < 0.004  # ties after the second rounding
            assert np.abs(rounded - expected).max() <= 1


def test_levels_between_come_through(bundle: Bundle) -> None:
    with session(bundle, deep=True) as deep:
        means = []
        for level in (100.0, 100.25, 100.5, 100.75):
            frame: Any = np.full((24, 24, 3), round(level * 256), np.uint16)
            deep.reset()
            means.append(deep.infer(frame)[24:-24, 24:-24].mean() / 256)
        steps = np.diff(means)
        assert steps == pytest.approx([0.25] * 3, abs=0.03)
    with session(bundle, deep=True) as deep, pytest.raises(ValueError, match="uint16 RGB"):
        deep.infer(np.zeros((24, 24, 3), np.uint8))
