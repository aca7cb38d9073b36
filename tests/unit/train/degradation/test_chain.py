"""The whole pipeline: aligned, reproducible, drifting; presets and the config's table."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from adcvsr.errors import ConfigError
from adcvsr.metrics import psnr, resize_bicubic
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.train.degradation import Degradation, Round, degrade, reduce_clip
from adcvsr.train.degradation.blur import KERNEL_KINDS, Blur, filter_planes, gaussian_kernel
from adcvsr.train.degradation.codec import ENCODERS, VideoCodec
from adcvsr.train.degradation.jpeg import YCBCR, Jpeg
from adcvsr.train.degradation.noise import Noise
from adcvsr.train.degradation.presets import PRESETS, read_degradation
from adcvsr.train.degradation.resize import FILTERS, Resize, resize_planes
from adcvsr.train.degradation.sensor import Sensor, Sharpen
from adcvsr.train.settings import read_data_settings

CLIP = draw_clip(4, 192, 256)
REDUCED = np.stack([resize_bicubic(image, 48, 64) for image in CLIP])
SMOOTH = np.stack(
    [
        filter_planes(
            torch.from_numpy(image).permute(2, 0, 1).float(), gaussian_kernel(33, 5, 5, 0)
        )
        .byte()
        .permute(1, 2, 0)
        .numpy()
        for image in CLIP
    ]
)
"""Without detail that aliases when reduced, which would pass for a shift."""
SMALL = reduce_clip(SMOOTH)
Levels = npt.NDArray[np.uint8]


def shift_px(
    clip: Levels, reference: Levels, weights: tuple[float, ...] = YCBCR[0]
) -> npt.NDArray[np.float64]:
    """Shift (y, x) of a clip against a reference of its size, by least squares on the gradients.

    `weights` of red, green and blue choose what is compared: luma, or a colour difference.
    """
    total, moment = np.zeros(2), np.zeros((2, 2))
    for image, other in zip(clip, reference, strict=True):
        a, b = ((picture @ np.array(weights))[2:-2, 2:-2] for picture in (image, other))
        gradient = np.stack(np.gradient((a + b) / 2))
        moment += np.einsum("ihw,jhw->ij", gradient, gradient)
        total += np.einsum("ihw,hw->i", gradient, b - a)
    return np.linalg.solve(moment, total)


class TestAlignment:
    """No stage may shift the picture: a shift would teach the network to shift it back."""

    def test_a_shift_would_be_seen(self) -> None:
        """One pixel of the truth, a quarter of the low-resolution clip's."""
        assert shift_px(reduce_clip(np.roll(SMOOTH, -1, axis=2)), SMALL) == pytest.approx(
            [0, -0.25], abs=0.04
        )

    @pytest.mark.parametrize("method", FILTERS)
    @pytest.mark.parametrize("size", [(48, 64), (59, 71), (150, 260), (222, 400)])
    def test_every_filter_between_any_sizes(self, method: str, size: tuple[int, int]) -> None:
        out = []
        for image in SMOOTH[:2]:
            planes = torch.from_numpy(image).permute(2, 0, 1).float()
            back = resize_planes(resize_planes(planes, size, method), (48, 64), "area")
            out.append(back.round().clamp(0, 255).byte().permute(1, 2, 0).numpy())
        assert np.abs(shift_px(np.stack(out), SMALL[:2])).max() < 0.01

    @pytest.mark.parametrize("kind", KERNEL_KINDS)
    def test_every_blur(self, kind: str) -> None:
        blur = Blur(kinds={kind: 1.0}, sizes_px=(7, 21))
        for seed in range(2):
            low = degrade(SMOOTH, Degradation(first=Round(blur=blur)), np.random.default_rng(seed))
            assert np.abs(shift_px(low, SMALL)).max() < 0.01

    @pytest.mark.parametrize("name", sorted(ENCODERS))
    def test_every_codec(self, name: str) -> None:
        codec = VideoCodec(encoders={name: 1.0}, rate="quality", crf=(8, 8), qscale=(2, 2))
        low = degrade(SMOOTH, Degradation(codec=codec), np.random.default_rng(0))
        assert np.abs(shift_px(low, SMALL)).max() < 0.02
        for colour in YCBCR[1:]:
            assert np.abs(shift_px(low, SMALL, colour)).max() < 0.1

    @pytest.mark.parametrize("seed", range(6))
    def test_realbasicvsr_without_its_noise(self, seed: int) -> None:
        """Both rounds with drifting sizes, JPEG, either order of codec and reduction."""
        preset = PRESETS["realbasicvsr"]
        assert preset.first
        assert preset.second
        quiet = dataclasses.replace(
            preset,
            first=dataclasses.replace(preset.first, noise=None, resize=Resize(scale=(0.5, 1.5))),
            second=dataclasses.replace(preset.second, noise=None),
        )
        low = degrade(SMOOTH, quiet, np.random.default_rng(seed))
        assert np.abs(shift_px(low, SMALL)).max() < 0.05

    def test_camera(self) -> None:
        shifts = [
            shift_px(degrade(SMOOTH, PRESETS["camera"], np.random.default_rng(seed)), SMALL)
            for seed in range(6)
        ]
        assert np.abs(shifts).max() < 0.05


class TestPipeline:
    @pytest.mark.parametrize("name", sorted(PRESETS))
    def test_equal_draws_equal_results_other_draws_others(self, name: str) -> None:
        first, again, other = (
            degrade(CLIP, PRESETS[name], np.random.default_rng(seed)) for seed in (5, 5, 6)
        )
        assert first.shape == (4, 48, 64, 3)
        assert first.dtype == np.uint8
        assert np.array_equal(first, again)
        assert np.array_equal(first, other) == (name == "bicubic")

    def test_the_presets_differ_in_severity(self) -> None:
        def fidelity(name: str) -> float:
            return float(
                np.mean(
                    [
                        psnr(degrade(CLIP, PRESETS[name], np.random.default_rng(seed)), REDUCED)
                        for seed in range(5)
                    ]
                )
            )

        assert fidelity("realbasicvsr") + 3 < fidelity("camera") < fidelity("bicubic") - 10

    def test_clean_is_the_common_bicubic(self) -> None:
        """Training's reduction is the one evaluation uses."""
        assert np.abs(reduce_clip(CLIP).astype(int) - REDUCED).max() <= 1

    def test_clean_share(self) -> None:
        half = dataclasses.replace(PRESETS["camera"], clean_share=0.5)
        clean = reduce_clip(CLIP)
        found = [
            np.array_equal(degrade(CLIP, half, np.random.default_rng(seed)), clean)
            for seed in range(24)
        ]
        assert 5 <= sum(found) <= 19

    def test_parameters_drift_over_the_frames_of_a_still_clip(self) -> None:
        """Noise that grows: the walk is seen in the clip, not only in the draw."""
        still = np.repeat(np.full((1, 256, 256, 3), 128, np.uint8), 40, axis=0)
        noise = Noise(kinds={"gaussian": 1.0}, gaussian_sigma=(2.0, 30.0), gaussian_sigma_step=4.0)
        drifting = Degradation(first=Round(noise=noise), reduction={"bilinear": 1.0})
        steady = dataclasses.replace(
            drifting, first=Round(noise=dataclasses.replace(noise, gaussian_sigma_step=0.0))
        )
        spread = {}
        for name, degradation in (("drifting", drifting), ("steady", steady)):
            levels = degrade(still, degradation, np.random.default_rng(1)).std((1, 2, 3))
            spread[name] = levels.std() / levels.mean()
        assert spread["steady"] < 0.03
        assert spread["drifting"] > 5 * spread["steady"]

    def test_codec_before_or_after_the_reduction(self) -> None:
        codec = VideoCodec(encoders={"mjpeg": 1.0}, rate="quality", qscale=(31, 31))
        last, first = (
            degrade(
                CLIP,
                Degradation(codec=codec, codec_last_share=share),
                np.random.default_rng(0),
            )
            for share in (1.0, 0.0)
        )
        assert psnr(last, REDUCED) + 2 < psnr(first, REDUCED)


class TestPublishedValues:
    """RealBasicVSR's config, written out once more as its authors did."""

    def test_rounds(self) -> None:
        preset = PRESETS["realbasicvsr"]
        assert preset.first
        assert preset.second
        for stage, sigma, share in ((preset.first, 3.0, 1.0), (preset.second, 1.5, 0.8)):
            assert stage.blur
            assert stage.jpeg == Jpeg(quality=(30, 95), quality_step=3)
            assert stage.blur.sigma_px == (0.2, sigma)
            assert stage.blur.share == share
            assert list(stage.blur.kinds.values()) == [
                0.405,
                0.225,
                0.108,
                0.027,
                0.108,
                0.027,
                0.1,
            ]
            assert stage.blur.sizes_px == tuple(range(7, 22, 2))
        assert preset.first.resize == Resize(scale=(0.15, 1.5), scale_step=0.015)
        assert preset.second.resize == Resize(
            directions={"up": 0.3, "down": 0.4, "keep": 0.3}, scale=(0.3, 1.2), scale_step=0.03
        )
        assert preset.first.noise == Noise(gaussian_sigma=(1, 30), poisson_scale=(0.05, 3))
        assert preset.second.noise == Noise(gaussian_sigma=(1, 25), poisson_scale=(0.05, 2.5))

    def test_the_end(self) -> None:
        preset = PRESETS["realbasicvsr"]
        assert preset.codec == VideoCodec(bit_rate=(1e4, 1e5))
        assert preset.codec_last_share == 0.5
        assert preset.sinc
        assert preset.sinc.share == 0.8
        assert preset.sinc.kinds == {"sinc": 1.0}
        assert preset.sensor is preset.sharpen is None


class TestTable:
    def test_a_preset_and_what_differs(self) -> None:
        found = read_degradation(
            {
                "preset": "camera",
                "clean_share": 0.25,
                "sharpen": False,
                "codec": {"crf": [20, 22], "encoders": {"libx265": 1}},
                "first": {"blur": {"sigma_px": [1, 2]}},
            },
            "config",
        )
        camera = PRESETS["camera"]
        assert found.clean_share == 0.25
        assert found.sharpen is None
        assert found.sensor == camera.sensor
        assert found.codec
        assert camera.codec
        assert found.codec == dataclasses.replace(
            camera.codec, crf=(20, 22), encoders={"libx265": 1}
        )
        assert found.first
        assert found.first.blur
        assert found.first.blur.sigma_px == (1, 2)
        assert found.first.blur.kinds == camera.first.blur.kinds  # type: ignore[union-attr]

    def test_parts_a_preset_lacks_start_from_their_defaults(self) -> None:
        found = read_degradation({"sensor": {"share": 0.5}, "first": {"jpeg": {}}}, "config")
        assert found == Degradation(sensor=Sensor(share=0.5), first=Round(jpeg=Jpeg()))
        assert read_degradation({}, "config") == Degradation()

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"preset": "camra"}, "config: no degradation preset 'camra', did you mean 'camera'?"),
            ({"clean_shar": 0.1}, "config: unknown key 'clean_shar', did you mean 'clean_share'?"),
            (
                {"preset": "camera", "first": {"blur": {"sigma": [1, 2]}}},
                "config first blur: unknown key 'sigma', did you mean 'sigma_px'?",
            ),
            ({"clean_share": "half"}, "config clean_share='half', expected number"),
            ({"clean_share": 2}, "config: clean_share=2, expected a share"),
            ({"sharpen": True}, "expected a table or false"),
            ({"sensor": {"shot_noise": 3}}, "config sensor shot_noise=3, expected a list of 2"),
            ({"sensor": {"shot_noise": [1, "a"]}}, "expected a list of numbers"),
            ({"codec": {"crf": [30, 20]}}, r"codec.crf=\[30, 20\], expected \[low, high\]"),
            ({"codec": {"rate": "fast"}}, "expected 'bit_rate' or 'quality'"),
            ({"codec": {"encoders": {"libx246": 1}}}, "no 'libx246', did you mean"),
            ({"reduction": {"area": "much"}}, "weight 'much' of 'area', expected 0 or more"),
            ({"first": {"resize": {"scale": [0, 1]}}}, "resize.scale"),
        ],
    )
    def test_mistakes_are_named(self, values: dict[str, Any], message: str) -> None:
        with pytest.raises(ConfigError, match=message.replace("?", r"\?")):
            read_degradation(values, "config")

    def test_from_a_file(self, tmp_path: Path) -> None:
        path = tmp_path / "a.toml"
        path.write_text(
            "seed = 7\n[data]\nframes = 9\nstrides = [1, 2]\n"
            '[degradation]\npreset = "realbasicvsr"\n[degradation.second.blur]\nshare = 0.1\n'
        )
        settings = read_data_settings(path)
        assert settings.seed == 7
        assert settings.data.frames == 9
        assert settings.data.strides == (1, 2)
        assert settings.degradation.second
        assert settings.degradation.second.blur == Blur(share=0.1, sigma_px=(0.2, 1.5))

    def test_bad_single_values(self) -> None:
        with pytest.raises(ConfigError, match="codec_last_share=1.5"):
            Degradation(codec_last_share=1.5)
        with pytest.raises(ConfigError, match="no 'bilinaer', did you mean 'bilinear'"):
            Degradation(reduction={"bilinaer": 1.0})
        with pytest.raises(ConfigError, match=r"sharpen.weight"):
            Sharpen(weight=(1.0, 0.0))
