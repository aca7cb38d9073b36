"""Each stage does what it says: measured again in its result."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from adcvsr.errors import ConfigError
from adcvsr.metrics import psnr, psnr_y
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.train.degradation.codec import (
    ENCODERS,
    VideoCodec,
    check_encoders,
    compress_frames,
    levels_from_planes,
    planes_from_levels,
    recode,
)
from adcvsr.train.degradation.draw import draw_walk
from adcvsr.train.degradation.jpeg import Jpeg, compress_jpeg, jpeg_frames
from adcvsr.train.degradation.noise import Noise, add_noise
from adcvsr.train.degradation.resize import FILTERS, Resize, resize_frames, resize_planes
from adcvsr.train.degradation.sensor import (
    Sensor,
    levels_from_light,
    light_from_levels,
    sense_frames,
    unsharp_mask,
)

CLIP = draw_clip(4, 96, 128)
RAMP = torch.arange(256.0).repeat(3, 200, 1)
"""Every level in a column of its own."""


def flat(level: float, frames: int = 2) -> list[Tensor]:
    return [torch.full((3, 128, 128), level)] * frames


def luma_psnr(clip: np.ndarray) -> float:
    """Against the drawn clip, colour left out: 4:2:0 costs more than the codec."""
    return float(np.mean([psnr_y(a, b) for a, b in zip(clip, CLIP, strict=True)]))


def blockiness(clip: np.ndarray, size: int = 8) -> float:
    """Mean step across the borders of blocks over the mean step elsewhere."""
    steps = np.abs(np.diff(clip.astype(float).mean(-1), axis=2))
    border = np.arange(steps.shape[2]) % size == size - 1
    return float(steps[:, :, border].mean() / steps[:, :, ~border].mean())


class TestWalk:
    def test_it_starts_anywhere_moves_in_steps_and_stays_inside(self) -> None:
        rng = np.random.default_rng(0)
        walks = np.array([draw_walk(rng, (1.0, 2.0), 0.3, 50) for _ in range(100)])
        assert walks.min() >= 1
        assert walks.max() <= 2
        assert np.abs(np.diff(walks)).max() <= 0.3
        assert walks[:, 0].std() == pytest.approx(1 / 12**0.5, rel=0.2)

    def test_no_step_no_change(self) -> None:
        assert len(set(draw_walk(np.random.default_rng(0), (1.0, 2.0), 0.0, 9))) == 1


class TestNoise:
    @pytest.mark.parametrize("sigma", [2.0, 25.0])
    def test_gaussian_level_is_found_again(self, sigma: float) -> None:
        noise = Noise(kinds={"gaussian": 1.0}, gaussian_sigma=(sigma, sigma), grey_share=0)
        for frame in add_noise(flat(128), noise, np.random.default_rng(0)):
            assert float(frame.std()) == pytest.approx(sigma, rel=0.03)

    def test_poisson_variance_grows_with_the_level(self) -> None:
        noise = Noise(kinds={"poisson": 1.0}, poisson_scale=(1.0, 1.0), poisson_scale_step=0)
        noisy = add_noise([RAMP], noise, np.random.default_rng(0))[0]
        for level in (10, 60, 200):
            error = noisy[:, :, level - 3 : level + 4] - RAMP[:, :, level - 3 : level + 4]
            assert float(error.var()) == pytest.approx(level, rel=0.12)
            assert float(error.mean()) == pytest.approx(0, abs=0.6)

    @pytest.mark.parametrize("kind", ["gaussian", "poisson"])
    def test_grey_noise_is_the_same_in_all_colours_and_new_in_every_frame(self, kind: str) -> None:
        frames = [RAMP, RAMP]
        noise = Noise(kinds={kind: 1.0}, grey_share=1.0)
        errors = [a - b for a, b in zip(add_noise(frames, noise, np.random.default_rng(0)), frames)]  # noqa: B905
        for error in errors:
            assert torch.allclose(error[0], error[1], atol=1e-4)
        both = torch.stack([error[0, :, 100:].flatten() for error in errors])
        assert abs(float(torch.corrcoef(both)[0, 1])) < 0.03


class TestJpeg:
    @pytest.mark.parametrize(
        ("quality", "expected"),
        [(10, 21.078), (30, 24.416), (50, 26.019), (75, 28.357), (95, 32.545)],
    )
    def test_loss_is_that_of_libjpeg(self, quality: int, expected: float) -> None:
        """Expected: Pillow 12 with libjpeg-turbo, 4:2:0, on the same drawn picture."""
        image = draw_clip(1, 96, 128)
        result = compress_jpeg(planes_from_levels(image)[0], quality)
        assert psnr(levels_from_planes([result]), image) == pytest.approx(expected, abs=0.03)

    def test_odd_sizes_and_drift(self) -> None:
        frames = [planes_from_levels(CLIP)[0][:, :45, :51]] * 6
        out = jpeg_frames(frames, Jpeg(quality_step=20), np.random.default_rng(0))
        assert {tuple(frame.shape) for frame in out} == {(3, 45, 51)}
        assert not torch.equal(out[0], out[-1])


class TestResize:
    def test_area_averages_what_each_pixel_covers(self) -> None:
        row = torch.tensor([[[0.0, 30.0, 60.0]]])
        assert resize_planes(row, (1, 2), "area")[0, 0].tolist() == pytest.approx([10, 50])
        assert resize_planes(row, (1, 6), "area")[0, 0].tolist() == [0, 0, 30, 30, 60, 60]

    @pytest.mark.parametrize("method", FILTERS)
    def test_flat_stays_flat(self, method: str) -> None:
        for size in ((9, 31), (70, 52)):
            out = resize_planes(torch.full((3, 40, 40), 77.0), size, method)
            assert out == pytest.approx(torch.full((3, *size), 77.0), abs=1e-3)

    def test_sizes_are_even_drift_and_stay_inside(self) -> None:
        resize = Resize(directions={"down": 1.0}, scale=(0.3, 1.2), scale_step=0.1)
        sizes = set()
        for seed in range(20):
            frames = resize_frames([torch.rand(3, 64, 96)] * 4, resize, np.random.default_rng(seed))
            shapes = [tuple(frame.shape[1:]) for frame in frames]
            sizes.update(shapes)
            assert all(h % 2 == w % 2 == 0 and 18 <= h <= 76 for h, w in shapes)
            assert len(set(shapes)) > 1
        assert len(sizes) > 20


class TestCodec:
    @pytest.mark.parametrize("name", sorted(ENCODERS))
    def test_every_encoder_gives_the_clip_back_in_order_and_colour(self, name: str) -> None:
        level = 20 if ENCODERS[name].quality == "crf" else 3
        moving = np.concatenate([draw_clip(1, 70, 90), CLIP[:3, :70, :90][:, ::-1]])
        out = recode(moving, name, level=level)
        assert out.shape == moving.shape
        scores = [[psnr(a, b) for b in moving] for a in out]
        assert [int(np.argmax(row)) for row in scores] == [0, 1, 2, 3]
        assert np.abs(out.mean((1, 2)) - moving.mean((1, 2))).max() < 2

    @pytest.mark.parametrize("name", ["libx264", "mpeg4"])
    def test_fewer_bits_are_worse(self, name: str) -> None:
        scores = [luma_psnr(recode(CLIP, name, bits_per_frame=bits)) for bits in (4e3, 3e4, 2e5)]
        assert scores[0] + 3 < scores[1]
        assert scores[1] <= scores[2]

    def test_blocks_are_there(self) -> None:
        smooth = [frame / 2 + 60 for frame in planes_from_levels(CLIP)]
        clip = levels_from_planes(smooth)
        coarse = recode(clip, "mpeg2video", level=31)
        assert blockiness(coarse) > 1.3 * blockiness(clip)

    def test_lead_in_is_left_out_and_changes_the_start(self) -> None:
        frames = planes_from_levels(CLIP)
        results = {}
        for lead_in in (0, 5):
            codec = VideoCodec(
                encoders={"libx264": 1.0},
                rate="quality",
                crf=(34, 34),
                lead_in_frames=(lead_in, lead_in),
            )
            out = compress_frames(frames, codec, np.random.default_rng(0), truth_px=1)
            results[lead_in] = levels_from_planes(out)
            assert psnr(results[lead_in], CLIP) > 20
        assert not np.array_equal(results[0][0], results[5][0])

    def test_bit_rate_is_in_proportion_to_the_truth(self) -> None:
        """The same range is worse for a clip whose truth is a sixteenth as large."""
        codec = VideoCodec(encoders={"mpeg4": 1.0}, bit_rate=(4e4, 4e4))
        frames = planes_from_levels(CLIP)
        large, small = (
            levels_from_planes(
                compress_frames(frames, codec, np.random.default_rng(0), truth_px=pixels)
            )
            for pixels in (256**2, 64**2)
        )
        assert luma_psnr(small) + 3 < luma_psnr(large)

    def test_tiny_frames_and_frames_of_different_sizes(self) -> None:
        frames = [torch.rand(3, 10 + 2 * i, 12) * 255 for i in range(3)]
        codec = VideoCodec(encoders={"libx265": 1.0}, rate="quality")
        out = compress_frames(frames, codec, np.random.default_rng(0), truth_px=1)
        assert [tuple(frame.shape) for frame in out] == [(3, 10, 12)] * 3

    def test_an_encoder_that_is_not_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        check_encoders(VideoCodec(encoders=dict.fromkeys(ENCODERS, 1.0)))
        monkeypatch.setattr("av.codecs_available", {"mpeg4"})
        with pytest.raises(ConfigError, match="no encoder 'libx264'"):
            check_encoders(VideoCodec())
        check_encoders(VideoCodec(encoders={"libx264": 0.0, "mpeg4": 1.0}))


class TestSensor:
    def test_light_and_levels_are_inverse(self) -> None:
        assert levels_from_light(light_from_levels(RAMP)) == pytest.approx(RAMP, abs=0.05)

    def test_noise_is_as_strong_as_the_model_says(self) -> None:
        """In light, green: variance shot * light + read."""
        shot = 1e-3
        sensor = Sensor(
            shot_noise=(shot, shot),
            grain_sigma_px=(0, 0),
            chroma_sigma_px=(0, 0),
            shot_noise_step=0,
        )
        for level in (80.0, 160.0):
            light = float(light_from_levels(torch.tensor(level)))
            noisy = sense_frames(flat(level), sensor, np.random.default_rng(0))
            variance = [light_from_levels(frame)[1].var() for frame in noisy]
            assert float(variance[0]) == pytest.approx(shot * light, rel=0.08)
            both = torch.stack([frame[1].flatten() for frame in noisy])
            assert abs(float(torch.corrcoef(both)[0, 1])) < 0.03
            red, green, blue = (float(light_from_levels(noisy[0])[c].var()) for c in range(3))
            assert green < blue < red

    def test_grain_couples_neighbours(self) -> None:
        def coupling(grain: float) -> float:
            sensor = Sensor(
                shot_noise=(1e-3, 1e-3), grain_sigma_px=(grain, grain), chroma_sigma_px=(0, 0)
            )
            green = sense_frames(flat(128), sensor, np.random.default_rng(0))[0][1]
            pairs = torch.stack([green[:, :-1].flatten(), green[:, 1:].flatten()])
            return float(torch.corrcoef(pairs)[0, 1])

        assert abs(coupling(0.0)) < 0.03
        assert coupling(0.8) > 0.4

    def test_sharpening_overshoots_beside_an_edge_and_spares_flat_parts(self) -> None:
        edge = torch.full((3, 16, 32), 80.0)
        edge[:, :, 16:] = 160
        sharp = unsharp_mask(edge, 1.0, 0.5)
        assert float(sharp.max()) > 165
        assert float(sharp.min()) < 75
        assert sharp[:, :, :8] == pytest.approx(edge[:, :, :8], abs=0.01)
        assert unsharp_mask(edge + 1, 1.0, 0.5, threshold=200.0) == pytest.approx(edge + 1)
