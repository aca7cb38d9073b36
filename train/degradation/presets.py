"""Named degradations, and reading them from a training config.

[degradation]
preset = "camera"           # bicubic, camera, web or realbasicvsr
clean_share = 0.3           # any value overridden
sharpen = false             # a stage left out
[degradation.codec]
crf = [20, 30]
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ...config import nearest
from ...config_tables import fill_table
from ...errors import ConfigError
from .blur import Blur
from .codec import VideoCodec, check_encoders
from .draw import check_weights
from .film import Grain, Tone
from .jpeg import Jpeg
from .noise import Noise
from .resize import Resize
from .sensor import Sensor, Sharpen
from .stages import Degradation, Round
from .upload import Interlace, Upload

WEB_ENCODERS = {
    "libx264": 0.45,
    "libx265": 0.1,
    "libvpx": 0.1,
    "mpeg2video": 0.1,
    "mpeg4": 0.15,
    "mjpeg": 0.1,
}
"""What video on the web was made with, H.264 before all."""

PRESETS: dict[str, Degradation] = {
    "bicubic": Degradation(),
    "camera": Degradation(
        first=Round(
            blur=Blur(
                kinds={"iso": 0.4, "aniso": 0.2, "disc": 0.25, "motion": 0.15},
                sizes_px=(15,),
                sigma_px=(0.4, 2.4),
                radius_px=(0.5, 3.0),
                length_px=(1.0, 8.0),
            )
        ),
        reduction={"antialiased": 0.45, "area": 0.45, "bilinear": 0.1},
        sensor=Sensor(shot_noise=(1e-5, 1.5e-3)),
        sharpen=Sharpen(weight=(0.0, 0.5)),
        codec=VideoCodec(
            encoders={"libx264": 0.6, "libx265": 0.2, "mjpeg": 0.2},
            rate="quality",
            crf=(16.0, 30.0),
            qscale=(2.0, 6.0),
            lead_in_frames=(0, 6),
            gop_frames=(12, 60),
        ),
    ),
    # Video as people have it: copies of copies at a low rate, film, webcams, weak light.
    "web": Degradation(
        clean_share=0.1,
        others={"camera": 0.2},
        tone=Tone(),
        first=Round(
            blur=Blur(
                share=0.8,
                kinds={"iso": 0.5, "aniso": 0.2, "disc": 0.2, "motion": 0.1},
                sizes_px=(21,),
                sigma_px=(0.4, 3.2),
                radius_px=(0.5, 4.0),
                length_px=(1.0, 10.0),
            )
        ),
        reduction={"antialiased": 0.3, "area": 0.3, "bilinear": 0.2, "bicubic": 0.2},
        sensor=Sensor(share=0.5, shot_noise=(3e-5, 8e-3), grain_sigma_px=(0.0, 1.0)),
        grain=Grain(share=0.2),
        interlace=Interlace(share=0.08),
        upload=Upload(
            share=0.4,
            scale=(0.5, 1.0),
            codec=VideoCodec(
                encoders=dict(WEB_ENCODERS),
                rate="quality",
                crf=(20.0, 34.0),
                qscale=(3.0, 12.0),
                lead_in_frames=(0, 6),
                gop_frames=(12, 250),
            ),
        ),
        sharpen=Sharpen(share=0.4, sigma_px=(0.5, 1.5), weight=(0.2, 1.2)),
        codec=VideoCodec(
            share=0.95,
            encoders=dict(WEB_ENCODERS),
            rate="quality",
            crf=(22.0, 38.0),
            qscale=(3.0, 18.0),
            lead_in_frames=(0, 8),
            gop_frames=(12, 250),
        ),
    ),
    # RealBasicVSR's published config, which also trains on sharpened truth (DataOptions.sharpen).
    "realbasicvsr": Degradation(
        first=Round(blur=Blur(), resize=Resize(), noise=Noise(), jpeg=Jpeg()),
        second=Round(
            blur=Blur(share=0.8, sigma_px=(0.2, 1.5)),
            resize=Resize(
                directions={"up": 0.3, "down": 0.4, "keep": 0.3}, scale=(0.3, 1.2), scale_step=0.03
            ),
            noise=Noise(gaussian_sigma=(1.0, 25.0), poisson_scale=(0.05, 2.5)),
            jpeg=Jpeg(),
        ),
        reduction={"bilinear": 1.0, "area": 1.0, "bicubic": 1.0},
        sinc=Blur(share=0.8, kinds={"sinc": 1.0}, omega=(math.pi / 3, math.pi)),
        codec=VideoCodec(),
        codec_last_share=0.5,
    ),
}
"""The degradations by name: the clean reduction, a board's camera, what people have from the web,
and RealBasicVSR's."""


def read_degradation(values: Mapping[str, Any], where: str) -> Degradation:
    """Build a degradation from a config's table: a preset (default `bicubic`) and what differs.

    Args:
        values: The table.
        where: How to name it in errors.

    Raises:
        ConfigError: An unknown preset or key (the nearest valid one is named), or a bad value.
    """
    rest = dict(values)
    name = rest.pop("preset", "bicubic")
    if name not in PRESETS:
        raise ConfigError(
            f"{where}: no degradation preset '{name}'{nearest(str(name), dict(PRESETS))}"
        )
    degradation = fill_table(PRESETS[name], rest, where)
    if degradation.others:
        check_weights(f"{where} others", degradation.others, tuple(PRESETS))
    return degradation


def check_can_encode(degradation: Degradation) -> None:
    """Check that this build of PyAV has every encoder a degradation may draw.

    Raises:
        ConfigError: One is missing.
    """
    parts = [degradation, *(PRESETS[name] for name, share in degradation.others.items() if share)]
    for part in parts:
        for codec in (part.codec, part.upload.codec if part.upload else None):
            if codec:
                check_encoders(codec)
