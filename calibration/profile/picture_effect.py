"""What one layer's rounding does to the picture, when all other layers are exact.

A layer may lose most of its own output and nothing of the picture, as one that adds little does. So
the error that each layer makes on exact inputs is added to its output in the reference's graph, and
what comes out is compared with what the reference shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from ...arrays import Floats
from ...bundle import Bundle
from ...graph.cost import count_bundle_cost
from ...metrics import finite_db
from ...metrics.fidelity import psnr
from ..sets.parallel import open_graph
from .channel_factors import Factors, Values, in_network_units, scaled, unscaled
from .matched_graphs import Layer, add_outputs

ERROR = "error::"
"""Prefix of the inputs that are added to tensors."""

MULTIPLY_ADDS = 2e12
"""Of all runs together, about a minute on two cores; layers beyond are not looked at."""


def layer_errors(exact: Values, isolated: Values, factors: Factors) -> dict[str, Floats]:
    """Errors of tensors made from exact inputs, in the reference's units.

    Args:
        exact: Tensors of the reference, (N, C, H, W) by name.
        isolated: The variant's, of exact inputs; those of another shape are left out.
        factors: By which it scales or mixes channels.
    """
    found = {}
    for name, output in isolated.items():
        wanted = scaled(exact[name], factors.get(name))
        if output.shape == wanted.shape:
            error = in_network_units(output, wanted) - wanted
            found[name] = unscaled(error, factors.get(name))
    return found


def affordable_layers(
    bundle: Bundle, reference: str, layers: Sequence[str], frames: Sequence[int]
) -> list[str]:
    """Return the first layers, one or more where there are any, that `MULTIPLY_ADDS` allow.

    Args:
        bundle: Of kind `stream`.
        reference: The exact variant's id.
        layers: Names, the most interesting first.
        frames: Shape of the frames that each layer is run on, (N, H, W, 3).
    """
    count, height, width = frames[:3]
    cost = count_bundle_cost(bundle, reference, height=height, width=width)
    run = count * sum(node.multiply_adds for node in cost.nodes)
    return list(layers[: max(1, int(MULTIPLY_ADDS / max(run, 1)))])


class PictureEffect:
    """Runs the reference's graph with errors added to its tensors.

    Args:
        bundle: Of kind `stream`.
        model: The reference's graph.
        exact: Its inputs, states and outputs on consecutive frames.
        errors: By tensor, see `layer_errors`.
    """

    def __init__(
        self, bundle: Bundle, model: onnx.ModelProto, exact: Values, errors: Mapping[str, Floats]
    ) -> None:
        self._input, self._picture = bundle.input_name, _levels(model, bundle.output_name)
        self._frames = exact[bundle.input_name]
        self._states = {state.name: state.next_name for state in bundle.state}
        self._first = {name: exact[name][:1] for name in self._states}
        self._errors = {n: e.astype(exact[n].dtype) for n, e in errors.items()}
        self._none = {ERROR + n: np.zeros((1,) * 4, e.dtype) for n, e in self._errors.items()}
        probe = add_outputs(_with_errors(model, self._errors), [self._picture])
        self._graph = open_graph(probe.SerializeToString(), threads=0)
        self._exact = self._run(())

    def psnr_db(self, layer: Layer) -> float | None:
        """PSNR over RGB of the pictures with this layer's errors alone, its state carried.

        Before they are rounded to integers. None where the variant holds none of its tensors.
        """
        touched = [name for name in layer.tensors if name in self._errors]
        if not touched:
            return None
        return finite_db(psnr(self._run(touched), self._exact))

    def _run(self, touched: Sequence[str]) -> npt.NDArray[Any]:
        """Pictures of all frames, with the errors of these tensors."""
        state, pictures = self._first, []
        for index in range(len(self._frames)):
            feed = {self._input: self._frames[index : index + 1], **state, **self._none}
            feed |= {ERROR + name: self._errors[name][index : index + 1] for name in touched}
            picture, *following = self._graph.run([self._picture, *self._states.values()], feed)
            pictures.append(picture)
            state = dict(zip(self._states, following, strict=True))
        return np.concatenate(pictures)


def _levels(model: onnx.ModelProto, output: str) -> str:
    """The picture before it becomes integers, which would hide what is smaller than a level."""
    maker = next(node for node in model.graph.node if output in node.output)
    return str(maker.input[0]) if maker.op_type == "Cast" else output


def _with_errors(model: onnx.ModelProto, errors: Mapping[str, Floats]) -> onnx.ModelProto:
    """A copy with an input for each tensor that is added to what its maker made."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    nodes = []
    for node in model.graph.node:
        made = onnx.NodeProto()
        made.CopyFrom(node)
        nodes.append(made)
        for index, name in enumerate(node.output):
            if name in errors:
                made.output[index] = plain = f"{name}:exact"
                nodes.append(onnx.helper.make_node("Add", [plain, ERROR + name], [name]))
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    for name, error in errors.items():
        kind = onnx.helper.np_dtype_to_tensor_dtype(error.dtype)
        copy.graph.input.append(onnx.helper.make_tensor_value_info(ERROR + name, kind, [None] * 4))
    return copy
