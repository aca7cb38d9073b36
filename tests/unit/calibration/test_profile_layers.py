"""Lining up graphs, and telling a scale that was meant from one that is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adcvsr.metrics import MOST_DB

pytest.importorskip("onnx", reason="layers are found in onnx graphs")

from adcvsr.arrays import Floats
from adcvsr.bundle import open_bundle
from adcvsr.calibration.profile.channel_factors import Factors, find_factors, scaled
from adcvsr.calibration.profile.judgement import Judgement, Limits, judge, verdict
from adcvsr.calibration.profile.layer_damage import signal_to_noise_db
from adcvsr.calibration.profile.layer_time import (
    ELSEWHERE,
    Placement,
    layer_times,
    measure_layer_times,
)
from adcvsr.calibration.profile.matched_graphs import layers_of, plain_name, quantized_activations
from adcvsr.pictures.synthetic import draw_clip
from fake_trt import LAYER_MS
from gpu_backends import fake_gpu
from variant_bundle import NANO, load

NAMES = ("a", "b", "c", "d")
CHANNELS = 6


class Chain:
    """Four layers, each doubling its input; the variant scales channels between them."""

    def __init__(self, rng: np.random.Generator, *, wrong: dict[str, float], spread: float) -> None:
        self.wrong = wrong
        first = rng.standard_normal((2, CHANNELS, 8, 8)).astype(np.float32)
        self.exact = {name: first * 2.0**i for i, name in enumerate(NAMES)}
        self.meant: Factors = {}
        for name in NAMES:
            factor = np.exp(rng.uniform(0, spread, CHANNELS)).astype(np.float32)
            self.meant[name] = factor / factor.min()

    def run(self, factors: Factors | None) -> dict[str, Floats]:
        """The variant's tensors: on its own, or each on exact inputs scaled by factors."""
        made: dict[str, Floats] = {}
        for i, name in enumerate(NAMES):
            into = self.exact["a"] / 2
            if i:
                before = NAMES[i - 1]
                given = made[before]
                if factors is not None:
                    given = scaled(self.exact[before], factors.get(before))
                into = given / self.meant[before][:, None, None]
            made[name] = 2 * into * self.meant[name][:, None, None] * self.wrong.get(name, 1.0)
            made[name] = made[name].astype(np.float32)
        return made


def damage(chain: Chain) -> dict[str, float]:
    factors, isolated = find_factors(chain.exact, chain.run(None), chain.run)
    found = {}
    for name in NAMES:
        value = signal_to_noise_db(isolated[name], scaled(chain.exact[name], factors.get(name)))
        assert value is not None
        found[name] = value
    return found


def test_scales_that_are_meant_are_no_damage(rng: np.random.Generator) -> None:
    assert min(damage(Chain(rng, wrong={}, spread=2.0)).values()) > 60


# Of channels scaled on purpose a turned sign may be meant, so that pair is not here.
@pytest.mark.parametrize(
    ("factor", "spread"), [(0.5, 0.0), (2.0, 0.0), (-1.0, 0.0), (0.5, 2.0), (2.0, 2.0)]
)
def test_a_wrong_scale_is_put_down_to_its_layer(
    rng: np.random.Generator, spread: float, factor: float
) -> None:
    found = damage(Chain(rng, wrong={"b": factor}, spread=spread))
    assert found["b"] < 7
    assert min(value for name, value in found.items() if name != "b") > 40


def test_mixed_channels_are_no_damage(rng: np.random.Generator) -> None:
    value = rng.standard_normal((2, 3, 4, 5)).astype(np.float32)
    matrix = rng.standard_normal((3, 3)).astype(np.float32)
    mixed = np.einsum("ij,njhw->nihw", matrix, value)
    assert np.allclose(scaled(value, matrix), mixed, atol=1e-5)


def test_signal_to_noise() -> None:
    wanted = np.ones((1, 2, 4, 4), np.float32)
    assert signal_to_noise_db(wanted, wanted) == MOST_DB
    assert signal_to_noise_db(wanted * 1.1, wanted) == pytest.approx(20, abs=0.01)
    assert signal_to_noise_db(wanted[:, :1], wanted) is None
    assert signal_to_noise_db(wanted * 127.5 + 127.5, wanted) == MOST_DB  # a picture as levels
    assert signal_to_noise_db(wanted * np.float32(np.inf), wanted) == -MOST_DB


def test_layers_of_nano() -> None:
    layers = layers_of(load(NANO))
    assert len(layers) == 12
    assert layers[1].name == "unet.down_blocks.0.resnets.0.conv1/Conv"
    assert layers[1].tensors == ["conv2d_1", "relu"]
    assert layers[-1].tensors[:2] == ["conv2d_11", "clamp"]
    assert quantized_activations(load(NANO)) == []


def test_names_without_what_quantizers_add() -> None:
    assert plain_name("relu_DequantizeLinear_Output") == "relu"
    assert plain_name("relu_QuantizeLinear_Input") == "relu"
    assert plain_name("relu") == "relu"


def test_an_engines_nodes_belong_to_layers() -> None:
    """Names as ONNX Runtime 1.32 writes them."""
    place = Placement(load(NANO))
    block = "unet.down_blocks.0.resnets.0."
    assert place("relu_nchwc_kernel_time") == f"{block}conv1/Conv"
    assert place("conv2d_2_nchwc_kernel_time") == f"{block}conv2/Conv"
    assert place(f"{block}conv1/Conv_token_7_kernel_time") == f"{block}conv1/Conv"
    assert place("conv2d_1_DequantizeLinear_kernel_time") == f"{block}conv1/Conv"
    assert place("relu_QuantizeLinear_kernel_time") == f"{block}conv1/Conv"
    converted = "InsertedPrecisionFreeCast_conv2d_2_nchwc_kernel_time"
    assert place(converted) == f"{block}conv2/Conv"
    assert place("ReorderInput_kernel_time") == ELSEWHERE
    times = layer_times(
        [
            {"relu_nchwc_kernel_time": ms, "ReorderInput_kernel_time": 1.0}
            for ms in (2.0, 2.0, 50.0)
        ],
        load(NANO),
    )
    assert times[f"{block}conv1/Conv"] == 2.0
    assert times[ELSEWHERE] == 1.0
    assert times["decoder.conv_out/Conv"] == 0.0


def test_layers_that_are_computed_as_one_share_its_time() -> None:
    """Names as TensorRT's inspector gives them."""
    block = "unet.down_blocks.0.resnets.0."
    fused = {"myl_1": [f"{block}conv1/Conv", "node_relu", f"{block}conv2/Conv"]}
    times = layer_times([{"myl_1": 3.0, "Reformat 0": 0.5}], load(NANO), fused)
    assert times[f"{block}conv1/Conv"] == times[f"{block}conv2/Conv"] == 1.5
    assert times[ELSEWHERE] == 0.5


def test_times_of_layers_from_tensorrts_profiler(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake_gpu(monkeypatch, tmp_path / "cache")
    times = measure_layer_times(
        open_bundle(NANO), "fp32-onnx", draw_clip(5, 16, 16), backend="tensorrt"
    )
    assert times is not None
    # A reformat and what comes before the first convolution, then a convolution a layer.
    assert times.pop(ELSEWHERE) == pytest.approx(LAYER_MS * (1 + 2))
    assert list(times) == [layer.name for layer in layers_of(load(NANO))]
    assert list(times.values()) == pytest.approx([LAYER_MS * (n + 3) for n in range(12)])


def judged(name: str, ratio: float, high: float, faults: list[str] | None = None) -> Judgement:
    return Judgement(name, not faults, faults or [], ratio, high, "layer" if faults else None)


def test_verdicts() -> None:
    def ship(*judgements: Judgement) -> tuple[str, str]:
        found = verdict("fp32-onnx", list(judgements), Limits(), "cpu")
        return found["ship"], " ".join(found["lines"])

    assert ship(judged("int8", 0.6, 0.62))[0] == "int8"
    assert ship(judged("fp16", 0.8, 0.82), judged("int8", 0.6, 0.62))[0] == "int8"
    chosen, text = ship(judged("fp16", 0.8, 0.82), judged("int8", 0.6, 0.62, ["25 dB"]))
    assert chosen == "fp16"
    assert "No to int8: 25 dB; look at layer first." in text
    chosen, text = ship(judged("int8", 0.9, 1.05))
    assert chosen == "fp32-onnx"
    assert "not certainly less (up to 105%" in text
    _, text = ship(judged("fp16", 1.38, 1.39))
    assert "fp16 takes 138% of the CPU time." in text  # not "looks right": nobody looked
    assert text.endswith("No limit of fp16 was measured.")
    assert ship(judged("int8", 0.98, 0.99))[0] == "fp32-onnx"
    assert "nothing to choose from" in ship()[1]


def test_judging_a_row() -> None:
    good = {
        "variant": "int8",
        "psnr_db": 42.0,
        "worst_frame_db": 39.0,
        "truth_loss_db": 0.05,
        "flicker_levels": 0.1,
        "drifts": False,
        "drift_growth": 0.0,
        "time_ratio": 0.7,
        "time_ratio_high": 0.8,
    }
    assert judge(good, Limits(), "x").good
    for changed, says in (
        ({"psnr_db": 37.9}, "37.9 dB to the reference"),
        ({"worst_frame_db": 20.0}, "one frame at 20.0 dB"),
        ({"truth_loss_db": 0.5}, "0.50 dB further from the truth"),
        ({"flicker_levels": 0.9}, "flicker of 0.90 levels"),
        ({"drifts": True, "drift_growth": 0.4}, "grows by 40%"),
    ):
        found = judge({**good, **changed}, Limits(), "x")
        assert not found.good
        assert says in found.faults[0]
        assert found.first_fault == "x"
