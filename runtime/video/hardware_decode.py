"""Decoding on the GPU (NVDEC through FFmpeg's CUDA acceleration), and the truth about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import av
from av.codec.hwaccel import HWAccel, hwdevices_available

from ...errors import BackendUnavailableError

Decoder = Literal["auto", "cpu", "cuda"]


def accelerator(decoder: Decoder) -> HWAccel | None:
    """What `av.open` is given; None decodes on the CPU.

    Raises:
        BackendUnavailableError: CUDA was asked for and this PyAV or machine has none.
    """
    if decoder == "cpu":
        return None
    if "cuda" not in hwdevices_available():
        if decoder == "auto":
            return None
        raise BackendUnavailableError(
            "decoder 'cuda': this PyAV is built without CUDA; use --decoder cpu"
        )
    wanted = HWAccel(device_type="cuda", allow_software_fallback=decoder == "auto")
    try:
        wanted.create(av.Codec("h264", "r"))  # opens the device, as decoding would
    except (av.FFmpegError, OSError, RuntimeError, NotImplementedError) as error:
        if decoder == "auto":
            return None
        raise BackendUnavailableError(
            f"decoder 'cuda': no GPU can be opened ({error}); 'adcvsr doctor' says why, "
            "--decoder cpu does without"
        ) from error
    return wanted


def decoder_facts(stream: av.VideoStream, decoder: Decoder, note: Callable[[str], None]) -> str:
    """Where a stream is really decoded, once its first frame is there: `cuda` or `cpu`.

    Raises:
        BackendUnavailableError: CUDA was asked for and the codec fell back to the CPU.
    """
    context = stream.codec_context
    if bool(getattr(context, "is_hwaccel", False)):
        note(f"decoded on the GPU ({context.name}, cuda)")
        return "cuda"
    if decoder == "cuda":
        raise BackendUnavailableError(
            f"decoder 'cuda': the GPU does not decode this {context.name} video; use --decoder cpu"
        )
    return "cpu"
