"""Ten bits and HDR through a live run: kept where a sink holds them, else reduced and said."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from repeat_session import RepeatSession

from adcvsr.bundle import open_bundle
from adcvsr.errors import ConfigError, UnsupportedVideoError
from adcvsr.pictures.colour import SDR_BT709, Colours
from adcvsr.pictures.hdr import HdrFacts, pq_to_nits
from adcvsr.pictures.pyav import open_input
from adcvsr.runtime import upscaler as upscaler_module
from adcvsr.runtime.deep import open_deep
from adcvsr.runtime.live.live_report import LiveOptions, LiveReport
from adcvsr.runtime.live.live_run import LiveRun
from adcvsr.runtime.live.outputs import Output
from adcvsr.runtime.live.sink import FinishedFrame, open_sink
from adcvsr.runtime.live.sink_page import PageSink
from adcvsr.runtime.sessions.session import Session
from adcvsr.runtime.upscaler import Upscaler
from adcvsr.runtime.video.encoders import EncodeOptions
from video_facts import video_facts

SIDE = 64
SDR, PQ, HLG = 1, 16, 18
RAMP = np.linspace(64, 940, SIDE * SIDE).reshape(SIDE, SIDE).round().astype(np.uint16)


@pytest.fixture(scope="module")
def upscaler() -> Iterator[Upscaler]:
    """`nano`, whose network of more than 8 bits repeats pixels."""
    bundle = open_bundle("nano")

    def repeat(mine: Session, opened: ExitStack, **_: object) -> tuple[Session, str]:
        session = RepeatSession(bundle, bundle.variant("fp32-onnx"))
        session.deep = True
        opened.enter_context(session)
        return session, ""

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upscaler_module, "open_deep", repeat)
        with Upscaler(bundle, threads=1) as ready:
            yield ready


def write(path: Path, transfers: tuple[int, ...] = (SDR,) * 3, *, full: bool = False) -> Path:
    """Gray ramps of ten bits, a frame for each transfer."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = SIDE, SIDE, "yuv420p10le"
        for time, transfer in enumerate(transfers):
            frame = av.VideoFrame(SIDE, SIDE, "yuv420p10le")
            frame.pts = time
            frame.colorspace = frame.color_primaries = 1 if transfer == SDR else 9
            frame.color_range, frame.color_trc = 1 + full, transfer
            for plane, levels in zip(frame.planes, (RAMP, 512, 512), strict=True):
                rows = np.zeros((plane.height, plane.line_size // 2), np.uint16)
                rows[:, : plane.width] = levels
                plane.update(rows.tobytes())
            if not time:
                context = stream.codec_context
                context.colorspace, context.color_primaries = (
                    frame.colorspace,
                    frame.color_primaries,
                )
                context.color_range, context.color_trc = 1 + full, transfer
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def run(
    upscaler: Upscaler, source: Path, *sinks: str, hdr: Any = "keep", **encode: Any
) -> LiveReport:
    options = LiveOptions(policy="every", hdr=hdr)
    made = LiveRun(
        upscaler, f"file:{source}?pace=0", sinks, options, encode=EncodeOptions(**encode)
    )
    return made.run()


def luma(path: Path) -> tuple[str, npt.NDArray[np.uint16]]:
    """Pixel format and luma of the last frame."""
    with open_input(str(path)) as container:
        frame = list(container.decode(video=0))[-1]
    kind = np.uint16 if frame.format.components[0].bits > 8 else np.uint8
    rows = np.frombuffer(frame.planes[0], kind).reshape(frame.height, -1)
    return frame.format.name, rows[:, : frame.width].astype(np.uint16)


def test_ten_bits_are_kept_in_a_file_and_reduced_elsewhere(
    upscaler: Upscaler, tmp_path: Path
) -> None:
    source, output = write(tmp_path / "in.mkv"), tmp_path / "out.mkv"
    report = run(upscaler, source, str(output), "http://127.0.0.1:0", encoder="ffv1")
    name, levels = luma(output)
    assert (report.presented, name) == (3, "yuv420p10le")
    assert (levels == RAMP.repeat(4, 0).repeat(4, 1)).all()
    assert (report.variant, report.pixels) == ("fp32-onnx", "rgb")
    (line,) = (note for note in report.notes if "reduced" in note)
    assert "http:" in line
    assert "10 bits are reduced to 8: it takes 8" in line


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_hdr_stays_hdr_in_a_file_and_is_sdr_for_the_page(
    upscaler: Upscaler, tmp_path: Path, transfer: int
) -> None:
    """Every code value comes back, with its tags; a page that is looked at gets BT.709."""
    source, output = write(tmp_path / "in.mkv", (transfer,) * 3), tmp_path / "out.mkv"
    report = run(upscaler, source, str(output), "http://127.0.0.1:0", encoder="ffv1")
    name, levels = luma(output)
    assert (name, report.presented) == ("yuv420p10le", 3)
    assert (levels == RAMP.repeat(4, 0).repeat(4, 1)).all()
    assert video_facts(output).colour == (9, 1, 9, transfer)
    assert [note for note in report.notes if "http:" in note and "is mapped to SDR" in note]


def test_hdr_is_hevc_of_ten_bits_by_default(upscaler: Upscaler, tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    report = run(upscaler, write(tmp_path / "in.mkv", (PQ,) * 3), str(output), preset="ultrafast")
    assert report.encoder == "libx265"
    assert [note for note in report.notes if note.startswith("libx265 encodes")]
    assert luma(output)[0] == "yuv420p10le"
    assert video_facts(output).colour == (9, 1, 9, PQ)


@pytest.mark.parametrize(
    ("transfer", "name", "how", "said", "colour"),
    [
        (SDR, "out.mkv", {"bits": 8}, "10 bits are reduced to 8: --bits 8", (1, 1, 1, 1)),
        (PQ, "out.mkv", {"hdr": "tonemap"}, "PQ is mapped to SDR", (1, 1, 1, 1)),
        (HLG, "out.avi", {}, "'.avi' has no place to say that pictures are HDR", None),
    ],
)
def test_what_is_not_kept_is_sdr_of_eight_bits_and_said(
    upscaler: Upscaler,
    tmp_path: Path,
    transfer: int,
    name: str,
    how: dict[str, Any],
    said: str,
    colour: tuple[int, ...] | None,
) -> None:
    source, output = write(tmp_path / "in.mkv", (transfer,) * 3), tmp_path / name
    report = run(upscaler, source, str(output), preset="ultrafast", **how)
    assert report.presented == 3
    assert luma(output)[0] == "yuv420p"
    assert sum(said in note for note in report.notes) == 1
    if colour is not None:
        assert video_facts(output).colour == colour


def test_a_stream_to_elsewhere_keeps_them_with_an_encoder_of_ten_bits_alone(
    upscaler: Upscaler, tmp_path: Path
) -> None:
    source, plain = write(tmp_path / "in.mkv"), tmp_path / "a"
    deep = tmp_path / "b"
    plain.mkdir()
    deep.mkdir()
    report = run(upscaler, source, f"hls:{plain}", preset="ultrafast")
    assert [note for note in report.notes if "--encoder libx265 keeps it" in note]
    run(upscaler, source, f"hls:{deep}", encoder="libx265", preset="ultrafast")
    assert luma(next(plain.glob("*.ts")))[0] == "yuv420p"
    assert luma(next(deep.glob("*.ts")))[0] == "yuv420p10le"


def frame_of(transfer: int, dtype: type[Any]) -> FinishedFrame:
    """A finished frame of white."""
    picture = np.full((8, 8, 3), 65_280 if dtype is np.uint16 else 255, dtype)
    hdr = HdrFacts(transfer) if transfer in (PQ, HLG) else None
    colours = Colours(9, False, 9, transfer)
    return FinishedFrame(picture, picture, 0.0, Fraction(25), colours, hdr=hdr)


def test_an_output_stays_what_it_began_with() -> None:
    """HDR becomes SDR where it began so, and SDR the HDR it began with, at its own light."""
    with open_sink("null://", EncodeOptions()) as sink:
        began_sdr = Output(sink, 1, threading.Event(), passed=lambda: None)
        began_sdr._held(frame_of(SDR, np.uint8))
        mapped = began_sdr._held(frame_of(PQ, np.uint16))
        assert (mapped.picture.dtype, mapped.hdr, mapped.colours) == (np.uint8, None, SDR_BT709)
        began_hdr = Output(sink, 1, threading.Event(), passed=lambda: None)
        assert began_hdr._held(frame_of(PQ, np.uint16)).hdr is not None
        for kind, dtype in ((SDR, np.uint8), (SDR, np.uint16)):
            white = began_hdr._held(frame_of(kind, dtype))
            assert white.hdr == HdrFacts(PQ)
            assert pq_to_nits(white.picture / 65_280) == pytest.approx(203, rel=0.01)
        brightest = began_hdr._held(frame_of(HLG, np.uint16))
        assert pq_to_nits(brightest.picture / 65_280) == pytest.approx(1000, rel=0.01)


@pytest.mark.parametrize(
    ("how", "error", "match"),
    [
        ({"hdr": "refuse"}, UnsupportedVideoError, "HDR"),
        ({"bits": 8}, ConfigError, "--bits 8 is not possible: HDR has ten"),
    ],
)
def test_hdr_is_refused_where_it_is_to_be(
    upscaler: Upscaler, tmp_path: Path, how: Any, error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        run(upscaler, write(tmp_path / "in.mkv", (PQ,)), "null://", **how)


def test_ten_bits_that_no_sink_holds_are_refused_before_the_first_frame(
    upscaler: Upscaler, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="--bits 10 is not possible"):
        run(upscaler, write(tmp_path / "in.mkv"), "http://127.0.0.1:0", bits=10)


def test_streams_beside_each_other_share_the_network_of_ten_bits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(upscaler_module, "open_deep", open_deep)
    frames = [np.random.default_rng(n).integers(0, 65_281, (8, 8, 3), np.uint16) for n in range(3)]
    notes: list[str] = []
    with Upscaler("nano", threads=1, variant="fp32") as first:
        assert first.why_not_deep() == first.open_deep(notes.append) == ""
        alone = [first.upscale_deep(frame, PQ) for frame in frames]
        with first.another_stream() as beside:
            assert beside.open_deep(notes.append) == ""
            again = [beside.upscale_deep(frame, PQ) for frame in frames]
            first.reset()
            assert (first.upscale_deep(frames[0], PQ) == alone[0]).all()
    assert all((a == b).all() for a, b in zip(alone, again, strict=True))
    assert alone[0].dtype == np.uint16
    assert (alone[1] != alone[0]).any()


def test_the_page_maps_hdr_only_while_somebody_looks() -> None:
    with open_sink("http://127.0.0.1:0", EncodeOptions()) as sink:
        assert isinstance(sink, PageSink)
        output = Output(sink, 1, threading.Event(), passed=lambda: None)
        frame = frame_of(PQ, np.uint16)
        assert output._held(frame) is frame
        assert sink.encode(frame) == b""
        sink._page.viewers = 1
        shown = bytes(sink.encode(frame))
    jpeg = shown[shown.index(b"\xff\xd8") :]
    with av.open(io.BytesIO(jpeg), format="mjpeg") as container:
        white = next(container.decode(video=0)).to_ndarray(format="gray")
    assert white.min() > 240
