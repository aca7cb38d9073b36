"""What `web` is made of: tone, grain, interlacing, an earlier upload, the mixture; same bytes."""

from __future__ import annotations

import dataclasses
import hashlib
import subprocess
import sys

import numpy as np
import pytest
import torch

from adcvsr.errors import ConfigError
from adcvsr.metrics import psnr
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.train.degradation import PRESETS, Degradation, degrade, reduce_clip, tone_truth
from adcvsr.train.degradation.codec import VideoCodec, planes_from_levels
from adcvsr.train.degradation.film import Grain, Tone, add_grain, is_grey
from adcvsr.train.degradation.presets import read_degradation
from adcvsr.train.degradation.sensor import GAMMA, Sensor
from adcvsr.train.degradation.upload import Interlace, Upload, interlace_frames, upload_frames

CLIP = draw_clip(4, 128, 160)
FLAT = np.full((3, 64, 64, 3), 128, np.uint8)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_a_grey_clip_is_grey_in_truth_and_input_until_it_is_compressed() -> None:
    """Coloured noise of a sensor would teach coloured fringes."""
    grey = Degradation(
        tone=Tone(grey_share=1.0, dark_share=0.0), sensor=Sensor(shot_noise=(5e-3, 5e-3))
    )
    truth = tone_truth(CLIP, grey, rng())
    assert is_grey(truth)
    assert not is_grey(CLIP)
    low = degrade(truth, grey, rng())
    assert is_grey(low)
    assert psnr(low, reduce_clip(truth)) < 45
    plain = dataclasses.replace(grey, tone=None)
    assert not is_grey(degrade(truth, plain, rng()))


def test_a_grey_clip_stays_grey_where_another_degradation_makes_its_input(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(PRESETS, "noisy", Degradation(sensor=Sensor(shot_noise=(5e-3, 5e-3))))
    mixed = Degradation(tone=Tone(grey_share=1.0, dark_share=0.0), others={"noisy": 1.0})
    truth = tone_truth(CLIP, mixed, rng())
    assert is_grey(degrade(truth, mixed, rng()))
    assert not is_grey(degrade(truth, PRESETS["noisy"], rng()))


def test_a_dark_clip_keeps_the_share_of_light_drawn() -> None:
    dark = Degradation(tone=Tone(grey_share=0.0, dark_share=1.0, dark_gain=(0.25, 0.25)))
    truth = tone_truth(FLAT, dark, rng())
    light = (truth.mean() / 255) ** GAMMA / (128 / 255) ** GAMMA
    assert light == pytest.approx(0.25, abs=0.01)


def test_grain_is_grey_new_in_every_frame_and_of_the_strength_drawn() -> None:
    frames = planes_from_levels(FLAT)
    grained = add_grain(frames, Grain(sigma=(8.0, 8.0), size_px=(0.6, 0.6)), rng())
    noise = torch.stack(grained) - 128
    assert torch.allclose(noise[:, :1].expand_as(noise), noise, atol=1e-3)
    assert float(noise[0].std()) == pytest.approx(8, rel=0.1)
    assert abs(float((noise[0] * noise[1]).mean())) < 5
    black = [torch.zeros(3, 64, 64)]
    assert float(add_grain(black, Grain(sigma=(8.0, 8.0)), rng())[0].std()) < 1


def test_interlacing_mixes_lines_of_two_moments() -> None:
    frames = planes_from_levels(np.stack([np.full((8, 8, 3), 40 * t, np.uint8) for t in range(3)]))
    woven = interlace_frames(frames, Interlace(kinds={"weave": 1.0}), rng())
    assert sorted(set(woven[2].flatten().tolist())) == [40, 80]
    assert len(set(woven[2][:, 0].flatten().tolist())) == 1
    blended = interlace_frames(frames, Interlace(kinds={"blend": 1.0}), rng())
    assert float(blended[2].mean()) == 60
    ramp = [torch.arange(8.0).view(1, 8, 1).expand(3, 8, 8)]
    (bobbed,) = interlace_frames(ramp, Interlace(kinds={"bob": 1.0}), rng())
    # A ramp lies on the lines between its neighbours, but for an end that has one neighbour.
    assert torch.equal(bobbed[:, 1:-1], ramp[0][:, 1:-1])


def test_an_upload_loses_detail_and_shifts_nothing() -> None:
    frames = planes_from_levels(reduce_clip(CLIP))
    codec = VideoCodec(encoders={"libx264": 1.0}, rate="quality", crf=(12.0, 12.0))
    small = Upload(scale=(0.5, 0.5), codec=codec)
    full = dataclasses.replace(small, scale=(1.0, 1.0))
    errors = [
        float(
            (torch.stack(upload_frames(frames, one, rng(), truth_px=1)) - torch.stack(frames))
            .square()
            .mean()
        )
        for one in (small, full)
    ]
    assert errors[0] > 2 * errors[1] > 0


def test_other_degradations_make_their_share() -> None:
    mixed = Degradation(others={"bicubic": 0.5}, sensor=Sensor(shot_noise=(1e-2, 1e-2)))
    clean = reduce_clip(CLIP)
    same = sum(np.array_equal(degrade(CLIP, mixed, rng(seed)), clean) for seed in range(40))
    assert 10 <= same <= 30
    with pytest.raises(ConfigError, match="no 'kamera', did you mean 'camera'"):
        read_degradation({"others": {"kamera": 0.2}}, "here")
    with pytest.raises(ConfigError, match="others, together=1.2"):
        Degradation(others={"camera": 0.6, "web": 0.6})


def test_web_is_worse_than_camera_and_aligned() -> None:
    clean = reduce_clip(CLIP)
    web = dataclasses.replace(PRESETS["web"], clean_share=0.0, others={}, tone=None)

    def error(degradation: Degradation) -> float:
        lows = [degrade(CLIP, degradation, rng(seed)) for seed in range(6)]
        return float(np.mean([psnr(low, clean) for low in lows]))

    assert error(web) + 2 < error(PRESETS["camera"])


ENCODE = """
import hashlib, numpy as np
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.train.degradation.codec import ENCODERS, recode
noise = np.random.default_rng(0).integers(-9, 10, (6, 50, 71, 3))
clip = (draw_clip(6, 50, 71).astype(int) + noise).clip(0, 255).astype(np.uint8)
for name, encoder in ENCODERS.items():
    found = recode(clip, name, level=24 if encoder.quality == "crf" else 6, gop=3)
    print(name, hashlib.sha256(found.tobytes()).hexdigest())
"""


@pytest.mark.slow
def test_every_codec_gives_the_same_bytes_in_every_process() -> None:
    """Whatever memory is found filled with; a resumed cache and a resumed run rest on it."""
    told = [
        subprocess.run(
            [sys.executable, "-c", ENCODE],
            env={"MALLOC_PERTURB_": fill, "PATH": "", "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for fill in ("1", "170")
    ]
    assert told[0] == told[1]
    assert len(set(told[0].split())) == 2 * len(told[0].splitlines())


def test_a_web_clip_is_a_function_of_its_draws() -> None:
    first, second = (
        [hashlib.sha256(degrade(CLIP, PRESETS["web"], rng(seed)).tobytes()).digest() for seed in s]
        for s in (range(4), reversed(range(4)))
    )
    assert first == second[::-1]
