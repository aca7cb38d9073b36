"""Polygraphy's comparator over two back ends, as a judge that shares no code with ours."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from adcvsr.bundle import PACKAGED, open_bundle
from adcvsr.pictures.synthetic import draw_clip

pytestmark = [
    pytest.mark.slow,
    # Polygraphy's relative error of what is zero; absolute ones are held here.
    pytest.mark.filterwarnings("ignore:.*encountered in divide:RuntimeWarning"),
]


def reference_runner(graph: bytes) -> Any:
    """ONNX's reference implementation: every operator in numpy, nothing fused."""
    from onnx.reference import ReferenceEvaluator
    from polygraphy.backend.base import BaseRunner
    from polygraphy.common import TensorMetadata

    class ReferenceRunner(BaseRunner):  # type: ignore[misc]
        def activate_impl(self) -> None:
            self.evaluator = ReferenceEvaluator(onnx.load_model_from_string(graph))

        def get_input_metadata_impl(self) -> Any:
            metadata = TensorMetadata()
            for value in onnx.load_model_from_string(graph).graph.input:
                kind = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
                rank = len(value.type.tensor_type.shape.dim)
                metadata.add(value.name, dtype=kind, shape=[None] * rank)
            return metadata

        def infer_impl(self, feed_dict: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            began = time.perf_counter()
            found = self.evaluator.run(None, feed_dict)
            self.inference_time = time.perf_counter() - began
            return dict(zip(self.evaluator.output_names, found, strict=True))

        def deactivate_impl(self) -> None:
            del self.evaluator

    return ReferenceRunner("onnx-reference")


def plain_runner(graph: bytes) -> Any:
    """ONNX Runtime with every optimisation off."""
    from onnxruntime import GraphOptimizationLevel
    from polygraphy.backend.onnxrt import OnnxrtRunner, SessionFromOnnx

    off = GraphOptimizationLevel.ORT_DISABLE_ALL
    return OnnxrtRunner(SessionFromOnnx(graph, graph_optimization_level=off), name="ort-plain")


@pytest.mark.parametrize("other", [plain_runner, reference_runner])
def test_polygraphy_finds_the_back_ends_equal(other: Callable[[bytes], Any]) -> None:
    pytest.importorskip("polygraphy", reason="needs Polygraphy")
    graph = (PACKAGED / "nano/fp32-onnx.onnx").read_bytes()
    assert compare(graph, other(graph))


def test_polygraphy_finds_other_weights(tmp_path: Path) -> None:
    pytest.importorskip("polygraphy", reason="needs Polygraphy")
    graph = (PACKAGED / "nano/fp32-onnx.onnx").read_bytes()
    model = onnx.load_model_from_string(graph)
    tensor = next(t for t in model.graph.initializer if "resnets.1.conv1.weight" in t.name)
    weight = onnx.numpy_helper.to_array(tensor) * np.float32(1.1)
    tensor.CopyFrom(onnx.numpy_helper.from_array(weight, tensor.name))
    assert not compare(graph, plain_runner(model.SerializeToString()))


def compare(graph: bytes, other: Any) -> bool:
    """ONNX Runtime as users run it against another runner: pictures by a level, state by floats."""
    from polygraphy.backend.onnxrt import OnnxrtRunner, SessionFromOnnx
    from polygraphy.comparator import Comparator, SimpleCompareFunc

    bundle = open_bundle("nano")

    def feeds() -> Iterator[dict[str, np.ndarray]]:
        """Cold, then with a state that is not zero."""
        rng = np.random.default_rng(0)
        for index, frame in enumerate(draw_clip(2, 24, 32)):
            state = {
                spec.name: (rng.normal(size=spec.shape(24, 32)) * index).astype(np.float32)
                for spec in bundle.state
            }
            yield {bundle.input_name: frame[None], **state}

    first = OnnxrtRunner(SessionFromOnnx(graph), name="ort")
    results = Comparator.run([first, other], data_loader=feeds())
    limits = {bundle.output_name: 1.0} | {spec.next_name: 1e-4 for spec in bundle.state}
    judged = Comparator.compare_accuracy(
        results, compare_func=SimpleCompareFunc(atol=limits, rtol=dict.fromkeys(limits, 0.0))
    )
    return bool(judged)
