"""Our own networks traced over clips, streamified, are the stream graphs that are shipped."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from adcvsr.bundle import open_bundle
from adcvsr.config import AdcVsrConfig
from adcvsr.export.adopt.streamify import prove, streamify
from adcvsr.export.adopt.unrolled import TRIAL_SIDES
from adcvsr.export.graphs.onnx_file import trace
from adcvsr.export.graphs.replay import open_session, run_stream
from adcvsr.export.graphs.traced import LEVELS
from adcvsr.model import AdcVsr
from adcvsr.model.temporal import StateFlow
from adcvsr.pictures.synthetic import draw_clip

FRAMES = 6


class OverClip(nn.Module):
    """(T, 3, H, W) in [-1, 1] to (T, 48, H/u, W/u), packed."""

    def __init__(self, network: AdcVsr) -> None:
        super().__init__()
        self.network = network

    def forward(self, clip: Tensor) -> Tensor:
        packed: Tensor = self.network.forward_packed(clip, StateFlow(clip.shape[0]))
        return packed


def network_of(shipped: onnx.ModelProto, config: AdcVsrConfig) -> AdcVsr:
    """The network with the weights that the stream graph has; its last convolution gives levels."""
    weights = {
        tensor.name.removeprefix("network."): torch.from_numpy(numpy_helper.to_array(tensor).copy())
        for tensor in shipped.graph.initializer
        if tensor.name.startswith("network.")
    }
    weights["decoder.conv_out.weight"] /= LEVELS
    weights["decoder.conv_out.bias"] = (weights["decoder.conv_out.bias"] - LEVELS - 0.5) / LEVELS
    network = AdcVsr(config).eval()
    network.load_state_dict(weights)
    return network


@pytest.mark.slow  # tracing takes torch's exporter ten seconds and more
@pytest.mark.parametrize("name", ["nano", "small"])
def test_a_clip_export_streamified_is_the_shipped_stream(name: str) -> None:
    bundle = open_bundle(name)
    assert isinstance(bundle.config, AdcVsrConfig)
    data = bundle.read(bundle.variant("fp32-onnx").file)
    network = network_of(onnx.load_model_from_string(data), bundle.config)
    sides = [bundle.size_multiple * torch.export.Dim(side, min=2, max=999) for side in ("r", "c")]
    height, width = (2 * side for side in TRIAL_SIDES[0])
    model = onnx_ir.to_proto(
        trace(
            OverClip(network),
            (torch.zeros(5, 3, height, width),),
            ({0: torch.export.Dim("frames", min=2, max=99), 2: sides[0], 3: sides[1]},),
            inputs=["clip"],
            outputs=["packed"],
        )
    )
    stream = streamify(model, frames_axis=0)
    assert prove(model, stream, 0) < 1e-4
    assert sorted(shape[1] for shape in stream.shapes.values()) == sorted(
        spec.channels for spec in bundle.state
    )
    clip = draw_clip(FRAMES, height, width)
    shipped = run_stream(open_session(data), clip, bundle.state).picture
    session = open_session(stream.model.SerializeToString())
    rows, columns = height // TRIAL_SIDES[0][0], width // TRIAL_SIDES[0][1]
    state = {
        name: np.zeros((*shape[:2], shape[2] * rows, shape[3] * columns), np.float32)
        for name, shape in stream.shapes.items()
    }
    names = ["picture", *(following for _, following in stream.states)]
    for frame, picture in zip(clip, shipped, strict=True):
        values = (frame.astype(np.float32) / LEVELS - 1).transpose(2, 0, 1)[None]
        packed, *following = session.run(names, {"frame": values, **state})
        state = {key: each for (key, _), each in zip(stream.states, following, strict=True)}
        factor = network.decoder.pack_factor
        _, _, h, w = packed.shape
        blocks = packed[0].reshape(factor, factor, 3, h, w).transpose(3, 0, 4, 1, 2)
        levels = blocks.reshape(h * factor, w * factor, 3) * LEVELS + LEVELS
        assert np.abs(levels.clip(0, 255) - picture).max() <= 0.51
