"""A quantized graph and what became of its channels' units; how the bundle says so."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from .channel_groups import Units


@dataclass(frozen=True)
class Quantized:
    """A quantized graph."""

    model: onnx.ModelProto
    """With the interface of the FP32 one; states may be in other units. Of a clip network, the
    graph up to the features."""

    units: Units
    """Tensors whose channels are in other units than the FP32 graph's, by its names."""

    decoder: onnx.ModelProto | None = None
    """Of a clip network: the graph from one frame's features to its picture."""

    @property
    def models(self) -> list[onnx.ModelProto]:
        """All graphs. Weights that outgrow an ONNX file lie in the folder the quantizer got."""
        return [self.model, *([self.decoder] if self.decoder is not None else [])]


def units_json(units: Units) -> bytes:
    """Units as a file of a bundle: `[{"tensors": [names], "factors": [C] or "matrix": [C][C]}]`.

    `adcvsr profile` reads it, to compare layers with the FP32 graph's.
    """
    groups: dict[bytes, dict[str, Any]] = {}
    for name, values in units.items():
        kind = "factors" if values.ndim == 1 else "matrix"
        entry = {"tensors": [], kind: values.astype(np.float32).tolist()}
        groups.setdefault(values.tobytes(), entry)["tensors"].append(name)
    lines = ",\n".join(json.dumps(entry) for entry in groups.values())
    return f"[\n{lines}\n]\n".encode()
