"""Colours come back as they went in, in every shipped variant; what spoils them is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from av.video.reformatter import VideoReformatter

from adcvsr.arrays import Levels
from adcvsr.bundle import Bundle, open_bundle
from adcvsr.graph.yuv_ends import YuvEnds
from adcvsr.pictures.colour import Colours, frame_from_rgb
from adcvsr.pictures.colour_probes import (
    FRAMES,
    NAMED,
    SHARP,
    TILE_PX,
    calibration_clips,
    flat_colours,
    flat_mosaic,
    lattice,
    probe_clips,
)
from adcvsr.pictures.yuv import yuv_from_frame
from adcvsr.runtime.processing.backends import create_session
from adcvsr.runtime.proof.colours import (
    ColourLimits,
    ColourRequest,
    ColoursFound,
    colour_limits,
    colour_request,
    compare_colours,
    reference_pictures,
    run_colours,
    session_runner,
)
from adcvsr.runtime.sessions.ort_cpu import OrtCpuSession
from adcvsr.runtime.sessions.stream_session import StreamSession

SHIPPED = (
    "nano",
    "nano-camera",
    "nano-restore",
    "small",
    pytest.param("nano-restore-half", marks=pytest.mark.slow),
    pytest.param("small-restore", marks=pytest.mark.slow),
)
"""Bundles whose INT8 was made with drawn colours."""
NAMES = np.array(list(NAMED.values()), np.uint8)
SMALL = ColourRequest(64, 80, NAMES, clips=False)


def look(bundle: Bundle, variant: str, request: ColourRequest) -> ColoursFound:
    with create_session(bundle, backend="ort-cpu", variant=variant) as session:
        found = run_colours(session_runner(session), request)
    return compare_colours(found, reference_pictures(bundle, request), request)


def test_the_lattice_has_every_colour_once_and_neighbours_are_alike() -> None:
    colours = lattice(9).astype(int)
    assert len(np.unique(colours, axis=0)) == 729
    assert {0, 32, 128, 255} <= set(colours.ravel())
    steps = np.abs(np.diff(colours, axis=0))
    assert (steps.sum(1) <= 32).all()
    assert len(flat_colours()) == 729 + len(NAMED)


def test_a_mosaic_gives_its_colours_back() -> None:
    colours = flat_colours()
    mosaic = flat_mosaic(colours, 70, 100)  # no multiples of a tile
    assert mosaic.frames.shape[1:] == (70, 100, 3)
    upscaled = mosaic.frames.repeat(4, 1).repeat(4, 2)
    centres = mosaic.centres(upscaled, 4)
    assert centres.shape == (len(colours), 16, 16, 3)
    assert (centres == colours[:, None, None]).all()
    with pytest.raises(ValueError, match="a tile has 16"):
        flat_mosaic(colours, TILE_PX - 1, 64)


@pytest.mark.parametrize("size", [(32, 48), (64, 128), (33, 47)])
def test_probes_are_drawn_at_any_size_and_the_same_every_time(size: tuple[int, int]) -> None:
    clips = calibration_clips(*size)
    again = calibration_clips(*size)
    for clip, same in zip(clips, again, strict=True):
        assert clip.frames.shape[1:] == (*size, 3)
        assert clip.frames.dtype == np.uint8
        assert (clip.frames == same.frames).all()
    assert set(SHARP) < {clip.name for clip in clips}
    shown = np.concatenate([clip.frames.reshape(-1, 3) for clip in clips])
    for name in ("black", "white", "red", "green", "blue", "cyan", "magenta", "yellow"):
        assert (shown == NAMED[name]).all(1).any(), name


def test_clips_move() -> None:
    for clip in probe_clips(64, 96):
        assert len(clip.frames) == FRAMES
        assert (clip.frames[0] != clip.frames[1]).any(), clip.name


@pytest.mark.parametrize("variant", ["fp32-onnx", "int8-ort"])
@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_bundles_keep_saturated_colours(name: str, variant: str) -> None:
    bundle = open_bundle(name)
    with create_session(bundle, backend="ort-cpu", variant=variant) as session:
        pictures = run_colours(session_runner(session), SMALL)
    against_input = compare_colours(pictures, None, SMALL)
    # FP32 itself is up to 6 levels off the input in a few colours; INT8 has its limit from FP32.
    assert against_input.flat_most <= (6 if variant == "fp32-onnx" else 9), against_input.line()


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_int8_is_within_the_limits_of_fp32(name: str) -> None:
    found = look(open_bundle(name), "int8-ort", SMALL)
    assert found.why_beyond(ColourLimits()) is None
    assert found.against == "fp32-onnx"


def planes_runner(bundle: Bundle, variant: str) -> Callable[[Levels], Levels]:
    """Runs clips as YUV 4:2:0 from end to end, converted by swscale before and after."""
    colours, scaler = Colours(6, full_range=False), VideoReformatter()
    plain = OrtCpuSession(bundle, bundle.variant(variant), threads=1)

    def run(clip: Levels) -> Levels:
        with plain.of_yuv(YuvEnds(6, full_range=False)) as session:
            frames = [frame_from_rgb(frame, colours, "yuv420p", scaler) for frame in clip]
            taken = [yuv_from_frame(frame, colours, scaler) for frame in frames]
            return np.stack([session.infer_yuv(each).rgb(scaler) for each in taken])

    return run


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_int8_keeps_colours_of_yuv(name: str) -> None:
    """Its last convolution is rounded again there: within the same limits of FP32's."""
    bundle = open_bundle(name)
    made = {
        variant: run_colours(planes_runner(bundle, variant), SMALL)
        for variant in ("fp32-onnx", "int8-ort")
    }
    found = compare_colours(made["int8-ort"], made["fp32-onnx"], SMALL)
    assert found.why_beyond(ColourLimits()) is None, found.line()


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED)
def test_every_colour_of_every_variant(name: str) -> None:
    bundle = open_bundle(name)
    request = colour_request(bundle)
    expected = reference_pictures(bundle, request)
    for variant in ("fp32-onnx", "fp16-trt", "int8-ort"):
        with create_session(bundle, backend="ort-cpu", variant=variant) as session:
            found = compare_colours(
                run_colours(session_runner(session), request), expected, request
            )
        assert found.why_beyond(ColourLimits()) is None, f"{variant}: {found.line()}"


@pytest.mark.parametrize("name", SHIPPED)
def test_the_manifest_has_the_worst_colour_of_every_variant(name: str) -> None:
    limits = ColourLimits()
    for variant, entry in open_bundle(name).manifest["variants"].items():
        parity = entry["parity"]
        if not parity.get("judged", True):  # FP8, which no CPU computes
            continue
        colours = parity["colours"]
        assert colours["colours"] == len(flat_colours())
        assert len(colours["worst_colour"]) == 3
        assert colours["limits"] == limits.colours_json()
        assert colours["reference"]["flat_most"] <= 6
        if variant == "fp32-onnx":
            assert colours["against"] == "input"
            continue
        assert colours["against"] == "fp32-onnx"
        assert colours["flat_most"] <= limits.flat_most
        assert colours["flat_mean"] <= limits.flat_mean


def test_limits_against_the_input_have_what_fp32_is_off_by_on_top() -> None:
    small = open_bundle("small")
    own = small.manifest["variants"]["fp32-onnx"]["parity"]["colours"]["reference"]
    usual = ColourLimits()
    for name in ("fp32-onnx", "fp16-trt", "int8-ort", "fp8-trt"):  # FP8 has no figures of its own
        variant = small.variant(name)
        limits = colour_limits(small, variant, "input")
        assert limits.flat_mean == usual.flat_mean + own["flat_mean"], name
        assert limits.flat_most == usual.flat_most + own["flat_most"], name
        assert colour_limits(small, variant, "fp32-onnx") == usual, name


def test_what_is_wrong_is_said_with_its_figures() -> None:
    request = ColourRequest(16, 64, np.array([(0, 255, 0), (9, 9, 9)], np.uint8), clips=False)

    def grey_green(clip: np.ndarray) -> np.ndarray:
        pictures = clip.repeat(4, 1).repeat(4, 2)
        green = (pictures == (0, 255, 0)).all(-1)
        pictures[green] = (27, 149, 9)
        return pictures

    found = compare_colours(run_colours(grey_green, request), None, request)
    assert found.worst_colour == (0, 255, 0)
    assert found.came_out == (27, 149, 9)
    assert found.flat_most == 106
    why = found.why_beyond(ColourLimits())
    assert why is not None
    assert "(0, 255, 0) comes out as (27, 149, 9)" in why
    assert "106 levels" in why


def test_one_pixel_of_one_colour_is_enough() -> None:
    request = ColourRequest(16, 64, NAMES[:4], clips=False)

    def speck(clip: np.ndarray) -> np.ndarray:
        pictures = clip.repeat(4, 1).repeat(4, 2)
        pictures[:, 32, 160, 1] ^= 8
        return pictures

    found = compare_colours(run_colours(speck, request), None, request)
    assert found.flat_mean < 0.1
    assert found.why_beyond(ColourLimits()) is not None
    assert found.why_beyond(ColourLimits(flat_most=8)) is None


def test_a_mean_error_is_beyond_where_every_pixel_is_within() -> None:
    request = ColourRequest(16, 64, NAMES[2:6], clips=False)

    def tint(clip: np.ndarray) -> np.ndarray:
        pictures = clip.repeat(4, 1).repeat(4, 2)
        return np.where(pictures > 128, pictures - 4, pictures).astype(np.uint8)

    found = compare_colours(run_colours(tint, request), None, request)
    assert found.flat_most == 4
    assert "in the mean" in (found.why_beyond(ColourLimits()) or "")


def test_border_of_the_picture(tmp_path: Path) -> None:
    """Zero padding darkens white borders; docs/decisions.md has the figures it is held to."""
    with create_session(open_bundle("nano"), backend="ort-cpu", variant="fp32-onnx") as session:
        assert isinstance(session, StreamSession)
        for level in (0, 255):
            session.reset()
            frame = np.full((48, 48, 3), level, np.uint8)
            error = np.abs(session.infer(frame).astype(int) - level)
            assert error.max() <= 13
            assert error[8:-8, 8:-8].max() <= 1
