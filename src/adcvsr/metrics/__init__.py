"""Measures of pictures and streams in numpy, for machines with and without torch.

Definitions, sources and limits: docs/metrics.md.

    from adcvsr.metrics import haarpsi_y, psnr_y
    psnr_y(output, truth)  # uint8 (H, W, 3) RGB both
"""

from .catalogue import (
    METRICS,
    GivenMeasure,
    Metric,
    UsableMetrics,
    choose_metrics,
    usable_metrics,
)
from .colour_shift import ciede2000, clipped_share, colour_shift
from .fidelity import MOST_DB, finite_db, ms_ssim, ms_ssim_y, psnr, psnr_of, psnr_y, ssim, ssim_y
from .flip import flip
from .no_reference import NO_REFERENCE, usable_without_truth
from .perceptual import gmsd, gmsd_y, haarpsi, haarpsi_y
from .planes import full_range, luma
from .resample import limit_size, resize_bicubic, resize_lanczos
from .ssimulacra2 import ssimulacra2
from .stream import StreamMeter, TruthStream, open_meter
from .temporal import (
    Motion,
    frame_difference_error,
    half_size,
    measure_motion,
    require_opencv,
    warping_error,
)
from .vmaf import VmafProcess, find_vmaf_ffmpeg
from .xpsnr import XpsnrMeter

__all__ = [
    "METRICS",
    "MOST_DB",
    "NO_REFERENCE",
    "GivenMeasure",
    "Metric",
    "Motion",
    "StreamMeter",
    "TruthStream",
    "UsableMetrics",
    "VmafProcess",
    "XpsnrMeter",
    "choose_metrics",
    "ciede2000",
    "clipped_share",
    "colour_shift",
    "find_vmaf_ffmpeg",
    "finite_db",
    "flip",
    "frame_difference_error",
    "full_range",
    "gmsd",
    "gmsd_y",
    "haarpsi",
    "haarpsi_y",
    "half_size",
    "limit_size",
    "luma",
    "measure_motion",
    "ms_ssim",
    "ms_ssim_y",
    "open_meter",
    "psnr",
    "psnr_of",
    "psnr_y",
    "require_opencv",
    "resize_bicubic",
    "resize_lanczos",
    "ssim",
    "ssim_y",
    "ssimulacra2",
    "usable_metrics",
    "usable_without_truth",
    "warping_error",
]
