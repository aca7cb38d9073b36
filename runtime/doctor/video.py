"""Video codecs: what PyAV's FFmpeg can do on the GPU, tried for real, and GStreamer on a Jetson.

An encoder counts when it encoded a picture, a decoder when it decoded one on the GPU.
"""

from __future__ import annotations

import ctypes
import io
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from ...host.machine import Host
from ...targets import TARGETS
from .children import Outcome
from .findings import Finding
from .fixes import JETSON_DOCS, NUMPY_1
from .gpu import DRIVER_LIBRARIES, Emit

ENCODERS = ("h264_nvenc", "hevc_nvenc", "av1_nvenc")
"""NVENC encoders of FFmpeg; the first, which every NVENC has, is tried."""

GSTREAMER_PLUGINS = {
    "nvvideo4linux2": "hardware video decoding and, where the board has an encoder, encoding",
    "nvarguscamerasrc": "CSI cameras through the image processor",
    "nvvidconv": "conversion in the board's own memory",
}
"""Plugins of Jetson Linux and what they are for."""

SIZE = (256, 144)  # smaller pictures are refused by some NVENC generations


def probe_video(emit: Emit) -> None:
    """Print PyAV's codecs and try the GPU's; runs as a child."""
    import av

    emit(version=av.__version__, ffmpeg=_ffmpeg(av))
    emit(**_attempt("clip", _round_trip))
    emit(encoders=[name for name in ENCODERS if name in av.codecs_available])
    from av.codec.hwaccel import hwdevices_available

    emit(hwaccels=hwdevices_available())
    if not _has_driver():
        return
    emit(**_attempt("nvenc", lambda: _encode(av, ENCODERS[0])))
    emit(**_attempt("nvdec", lambda: _decode(av)))


def _round_trip() -> None:
    """Encode and decode a small clip on the CPU, on the ways that every command takes."""
    import numpy as np

    from ...pictures.clips import read_clip, write_clip
    from ...pictures.pyav import side_data_names

    clip = io.BytesIO()
    write_clip(clip, [np.full((64, 64, 3), 40 * number, np.uint8) for number in range(4)])
    clip.seek(0)
    levels = [float(frame.mean()) for frame in read_clip(clip)]
    if len(levels) != 4 or any(abs(level - 40 * n) > 4 for n, level in enumerate(levels)):
        raise RuntimeError(f"four grey pictures came back as levels {levels}")
    import av

    side_data_names(av.VideoFrame(64, 64, "yuv420p"))


def _attempt(key: str, action: Callable[[], object]) -> dict[str, Any]:
    """True under the key when the action works, or the reason."""
    try:
        action()
    except Exception as error:  # FFmpeg's errors have many types; each is an answer
        return {key: False, f"{key}_reason": f"{type(error).__name__}: {error}".splitlines()[0]}
    return {key: True}


def _ffmpeg(av: Any) -> str:
    return str(getattr(av, "ffmpeg_version_info", ""))


def _has_driver() -> bool:
    for name in DRIVER_LIBRARIES:
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return True
    return False


def _encode(av: Any, encoder: str) -> bytes:
    """Encode eight grey pictures to mp4 in memory."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream(encoder, rate=25)
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        for index in range(8):
            frame = av.VideoFrame(*SIZE, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes([128]) * plane.buffer_size)
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def _decode(av: Any) -> None:
    """Decode a clip of our own on the GPU, without permission to use the CPU instead."""
    from av.codec.hwaccel import HWAccel

    clip = io.BytesIO(_encode(av, "libx264"))
    accelerator = HWAccel(device_type="cuda", allow_software_fallback=False)
    with av.open(clip, hwaccel=accelerator) as container:
        frames = sum(1 for _ in container.decode(video=0))
    if not frames:
        raise RuntimeError("no picture came back")


def video_findings(
    host: Host, outcome: Outcome | None, target: str | None, has_gpu: bool
) -> list[Finding]:
    """Lines about PyAV, NVENC, NVDEC and GStreamer."""
    found = [_pyav(outcome)]
    if outcome is not None and outcome.get("version"):
        found += _gpu_codecs(outcome, target, has_gpu)
    if host.is_jetson:
        found += _jetson_codecs(host, target)
    return found


def _pyav(outcome: Outcome | None) -> Finding:
    fix = "pip install --force-reinstall 'av>=17.1'"
    if outcome is None:
        return Finding("video", "PyAV", "missing", "not installed", "pip install 'av>=17.1'")
    if version := outcome.get("version"):
        data = {key: outcome.get(key) for key in ("version", "ffmpeg", "encoders", "hwaccels")}
        value = f"{version}, FFmpeg {data['ffmpeg']}"
        if listed := [*(data["encoders"] or ()), *(data["hwaccels"] or ())]:
            value += f"; built with {', '.join(listed)}"
        data["clip"] = works = outcome.get("clip")
        if works:
            return Finding("video", "PyAV", "ok", f"{value}; encoded, opened, decoded", data=data)
        if works is None:
            return Finding("video", "PyAV", "unknown", f"{value}; not tried in time", data=data)
        value += f"; a small clip does not come back: {outcome.get('clip_reason')}"
        return Finding("video", "PyAV", "missing", value, fix, data)
    if outcome.late:
        return Finding("video", "PyAV", "unknown", "was still loading when the time was over")
    fix = NUMPY_1 if outcome.wants_numpy_1 else fix
    return Finding("video", "PyAV", "missing", f"does not load: {outcome.reason}", fix)


def _gpu_codecs(outcome: Outcome, target: str | None, has_gpu: bool) -> list[Finding]:
    found = []
    encodes = TARGETS[target].encodes if target else None
    no_engine = encodes is not None and not encodes.value
    for key, name in (("nvenc", "NVENC in PyAV"), ("nvdec", "NVDEC in PyAV")):
        answer, reason = outcome.get(key), outcome.get(f"{key}_reason")
        data = {"runs": answer}
        if answer:
            found.append(Finding("video", name, "ok", "tried and works", data=data))
        elif answer is None:
            late = outcome.late and has_gpu
            value = "not finished in time" if late else "no GPU to try it on"
            found.append(Finding("video", name, "unknown" if late else "info", value, data=data))
        elif key == "nvenc" and no_engine:
            value = "this GPU has no video encoder; FFmpeg encodes on the CPU"
            found.append(Finding("video", name, "info", value, data=data))
        else:
            value = f"does not work, the CPU does it: {reason}"
            found.append(Finding("video", name, "warning", value, data=data))
    return found


def _jetson_codecs(host: Host, target: str | None) -> list[Finding]:
    """The board's codec engines are reached through GStreamer's plugins."""
    folder = "/usr/lib/aarch64-linux-gnu/gstreamer-1.0"
    here = [name for name in GSTREAMER_PLUGINS if host.path(f"{folder}/libgst{name}.so").exists()]
    gone = [name for name in GSTREAMER_PLUGINS if name not in here]
    fix = f"sudo apt-get install nvidia-l4t-gstreamer ({JETSON_DOCS})" if gone else ""
    found = [
        Finding(
            "video",
            "GStreamer plugins",
            "warning" if gone else "ok",
            "; ".join(f"no {name} ({GSTREAMER_PLUGINS[name]})" for name in gone) or ", ".join(here),
            fix,
            {"plugins": here},
        )
    ]
    encodes = TARGETS[target].encodes if target else None
    if encodes is not None and not encodes.value:
        value = "this board has none; encode on the CPU (x264 veryfast) and plan its time in"
        found.append(Finding("video", "hardware encoder", "warning", value))
    elif encodes is not None:
        value = f"{', '.join(encodes.value)} by GStreamer; PyAV from the package index has none"
        found.append(Finding("video", "hardware encoder", "info", value))
    return found
