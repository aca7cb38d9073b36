"""HDR through `upscale`: its light, its tags, and what cannot hold it."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from repeat_session import RepeatSession

from adcvsr.bundle import open_bundle
from adcvsr.errors import ConfigError, UnsupportedVideoError
from adcvsr.pictures.hdr import pq_to_nits
from adcvsr.pictures.pyav import open_input, side_data
from adcvsr.runtime import file_run
from adcvsr.runtime.sessions.session import Session
from adcvsr.runtime.upscale_report import UpscaleReport
from adcvsr.runtime.upscaler import Upscaler
from adcvsr.runtime.video.encoders import EncodeOptions
from adcvsr.runtime.video.read_options import ReadOptions
from video_facts import video_facts

Planes = list[npt.NDArray[np.uint16]]
SIDE = 64
LIGHT = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
PQ, HLG = 16, 18


@pytest.fixture
def upscale(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Upscale with a network that repeats pixels: (source, ending, options) -> (report, file)."""
    bundle = open_bundle("nano")

    def repeat(mine: Session, opened: ExitStack, **_: object) -> tuple[Session, str]:
        session = RepeatSession(bundle, bundle.variant("fp32-onnx"))
        session.deep = True
        opened.enter_context(session)
        return session, ""

    monkeypatch.setattr(file_run, "open_deep", repeat)

    def run(source: Path, name: str = "out.mkv", **how: Any) -> tuple[UpscaleReport, Path]:
        hdr = how.pop("hdr", "keep")
        options = EncodeOptions(**{"preset": "ultrafast", "crf": 1} | how)
        with Upscaler(bundle, threads=1) as ready:
            report = ready.upscale_file(
                source, tmp_path / name, options=options, read=ReadOptions(hdr=hdr)
            )
        return report, tmp_path / name

    return run


def write(
    path: Path, planes: Planes, transfer: int = PQ, encoder: str = "ffv1", params: str = ""
) -> Path:
    """Three frames of ten bits, BT.2020: libx265 sets no decoding times below three."""
    height, width = planes[0].shape
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(encoder, rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p10le"
        context = stream.codec_context
        context.colorspace, context.color_range = 9, 1
        context.color_primaries, context.color_trc = 9, transfer
        if params:
            stream.options = {"x265-params": params, "preset": "ultrafast"}
        for time in range(3):
            frame = av.VideoFrame(width, height, "yuv420p10le")
            frame.colorspace, frame.color_range, frame.pts = 9, 1, time
            frame.color_primaries, frame.color_trc = 9, transfer
            for plane, levels in zip(frame.planes, planes, strict=True):
                row = np.zeros((plane.height, plane.line_size // 2), np.uint16)
                row[:, : levels.shape[1]] = levels
                plane.update(row.tobytes())
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def read(path: Path) -> Planes:
    """Planes of the last frame."""
    with open_input(str(path)) as container:
        frame = list(container.decode(video=0))[-1]
    assert frame.format.name == "yuv420p10le"
    return [
        np.frombuffer(plane, np.uint16).reshape(plane.height, -1)[:, : plane.width].copy()
        for plane in frame.planes
    ]


def gray(levels: npt.NDArray[Any]) -> Planes:
    """A picture of luma alone."""
    chroma = np.full((SIDE // 2, SIDE // 2), 512, np.uint16)
    return [np.broadcast_to(levels, (SIDE, SIDE)).astype(np.uint16), chroma, chroma]


def rgb(planes: Planes) -> npt.NDArray[np.float64]:
    """PQ's code values of red, green and blue, by the definition, chroma repeated."""
    y = (planes[0].astype(float) - 64) / 876
    u, v = ((p.astype(float).repeat(2, 0).repeat(2, 1) - 512) / 896 for p in planes[1:])
    r, b = y + 1.4746 * v, y + 1.8814 * u
    return np.stack([r, (y - 0.2627 * r - 0.0593 * b) / 0.6780, b], -1)


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_gradients_and_highlights_come_back_exactly(
    upscale: Any, tmp_path: Path, transfer: int
) -> None:
    """Every code value of limited range, black to the brightest, with a network that repeats."""
    ramp = np.linspace(64, 940, SIDE * SIDE).reshape(SIDE, SIDE).round()
    source = write(tmp_path / "in.mkv", gray(ramp), transfer)
    report, output = upscale(source, encoder="ffv1", preset=None, crf=None)
    luma, *chroma = read(output)
    assert (luma == ramp.repeat(4, 0).repeat(4, 1)).all()
    assert all((plane == 512).all() for plane in chroma)
    assert report.hdr == {PQ: "PQ", HLG: "HLG"}[transfer]
    assert video_facts(output).colour == (9, 1, 9, transfer)


def test_flat_colours_keep_their_light_within_a_percent(upscale: Any, tmp_path: Path) -> None:
    """Patches of 16 pixels, from 0.1 to 4,000 nits, whose colours RGB holds."""
    rng = np.random.default_rng(0)
    patches = np.full((3, 4, 4), 512.0)
    patches[0] = rng.uniform(120, 860, (4, 4)).round()
    patches[1:] += rng.uniform(-40, 40, (2, 4, 4)).round()
    planes = [patches[0].repeat(16, 0).repeat(16, 1)]
    planes += [plane.repeat(8, 0).repeat(8, 1) for plane in patches[1:]]
    source = write(tmp_path / "in.mkv", [plane.astype(np.uint16) for plane in planes])
    _, output = upscale(source, encoder="ffv1", preset=None, crf=None)
    centres = (slice(30, None, 64), slice(30, None, 64))
    after = rgb(read(output))[centres]
    before = rgb([plane.astype(np.uint16) for plane in planes])[8::16, 8::16]
    assert 0 < before.min() < 0.15
    assert before.max() > 0.8
    weights = (0.2627, 0.6780, 0.0593)
    light = [pq_to_nits(codes) @ weights for codes in (before, after)]
    assert np.abs(light[1] / light[0] - 1).max() <= 0.01


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_rgb_of_hdr_stays_hdr(upscale: Any, tmp_path: Path, transfer: int) -> None:
    """Screens are recorded so: RGB of 8 bits, which says nothing but its transfer."""
    source = tmp_path / "in.mkv"
    shown = np.array([180, 90, 120], np.uint8)
    with av.open(str(source), "w") as container:
        stream: Any = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = SIDE, SIDE, "bgr0"
        stream.codec_context.color_trc = transfer
        for time in range(2):
            picture = np.broadcast_to(shown, (SIDE, SIDE, 3)).copy()
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="bgr0")
            frame.color_trc, frame.pts = transfer, time
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    report, output = upscale(source, encoder="ffv1", preset=None, crf=None)
    assert report.hdr == {PQ: "PQ", HLG: "HLG"}[transfer]
    assert video_facts(output).colour == (9, 1, 9, transfer)
    assert np.abs(rgb(read(output)) * 255 - shown).max() < 0.5
    with pytest.raises(UnsupportedVideoError, match="is HDR"):
        upscale(source, "no.mkv", hdr="refuse")


@pytest.mark.parametrize("name", ["out.mp4", "out.mov", "out.mkv", "out.webm"])
def test_mastering_display_and_light_are_carried(upscale: Any, tmp_path: Path, name: str) -> None:
    params = f"log-level=error:hdr10=1:master-display={LIGHT}:max-cll=1100,180"
    levels = gray(np.linspace(100, 800, SIDE))
    source = write(tmp_path / "in.mp4", levels, encoder="libx265", params=params)
    how: dict[str, Any] = {"preset": "12", "crf": 30} if name == "out.webm" else {}
    report, output = upscale(source, name, **how)
    assert report.encoder == {"out.webm": "libsvtav1"}.get(name, "libx265")
    assert any("encodes: HDR in" in note for note in report.notes)
    assert video_facts(output).colour == (9, 1, 9, PQ)
    data = output.read_bytes()
    boxes = {".mkv": (b"\x55\xd0", b"\x55\xbc"), ".webm": (b"\x55\xd0", b"\x55\xbc")}
    assert all(
        box in data[-8192:] + data[:8192] for box in boxes.get(output.suffix, (b"mdcv", b"clli"))
    )
    with open_input(str(source)) as before, open_input(str(output)) as after:
        found = [side_data(next(each.decode(video=0))) for each in (before, after)]
    assert found[0]["CONTENT_LIGHT_LEVEL"] == found[1]["CONTENT_LIGHT_LEVEL"]
    mastering = [np.frombuffer(each["MASTERING_DISPLAY_METADATA"], np.int32) for each in found]
    ratios = [each[:20:2] / each[1:20:2] for each in mastering]
    assert ratios[1] == pytest.approx(ratios[0], abs=2e-5, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("out.avi", {}, "'.avi' has no place to say that pictures are HDR: mp4, .*--hdr tonemap"),
        ("out.png", {"preset": None, "crf": None}, "'.png' has no place"),
        ("out.mp4", {"bits": 8}, "--bits 8 is not possible: HDR has ten"),
        ("out.webm", {"encoder": "libvpx-vp9", "preset": None}, "takes 8 bits, HDR has ten"),
    ],
)
def test_what_cannot_hold_it_is_refused(
    upscale: Any, tmp_path: Path, name: str, options: dict[str, Any], says: str
) -> None:
    source = write(tmp_path / "in.mkv", gray(np.linspace(64, 940, SIDE)))
    with pytest.raises(ConfigError, match=says):
        upscale(source, name, **options)
    assert [each.name for each in tmp_path.iterdir()] == ["in.mkv"]


def test_a_network_of_eight_bits_is_refused(
    upscale: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path / "in.mkv", gray(np.linspace(64, 940, SIDE)))

    def shallow(mine: Session, *_: object, **__: object) -> tuple[Session, str]:
        return mine, "ort-cuda runs this stream network with 8 bits"

    monkeypatch.setattr(file_run, "open_deep", shallow)
    with pytest.raises(ConfigError, match="more than 8 bits, and ort-cuda runs .*--hdr tonemap"):
        upscale(source)


def test_refuse_and_compare(upscale: Any, tmp_path: Path) -> None:
    source = write(tmp_path / "in.mkv", gray(np.linspace(64, 940, SIDE)))
    with pytest.raises(UnsupportedVideoError, match="is HDR .PQ.*--hdr tonemap"):
        upscale(source, hdr="refuse")
    with (
        Upscaler("nano", threads=1) as ready,
        pytest.raises(ConfigError, match="would show HDR in 8 bits"),
    ):
        ready.upscale_file(source, tmp_path / "out.mkv", compare=tmp_path / "beside.mkv")


def test_tone_mapped_is_sdr_of_eight_bits(upscale: Any, tmp_path: Path) -> None:
    source = write(tmp_path / "in.mkv", gray(np.linspace(64, 940, SIDE)))
    report, output = upscale(source, "out.mp4", hdr="tonemap")
    facts = video_facts(output)
    assert (facts.colour, facts.pixels, report.hdr) == ((1, 1, 1, 1), "yuv420p", "tonemap")
    assert any("PQ is mapped to SDR" in note for note in report.notes)


def test_int8_gives_way_to_fp32(tmp_path: Path) -> None:
    """With its line: steps of a level would be bands."""
    source = write(tmp_path / "in.mkv", gray(np.linspace(64, 940, SIDE)))
    with Upscaler("nano", variant=None, threads=1) as ready:
        ready.session.variant = ready.bundle.variant("int8-ort")
        report = ready.upscale_file(
            source, tmp_path / "out.mkv", options=EncodeOptions(preset="ultrafast")
        )
    assert report.variant == "fp32-onnx"
    assert any("runs, not int8-ort: it alone takes more than 8" in line for line in report.notes)


def spliced(path: Path, *transfers: int) -> Path:
    """A raw stream of HEVC, three frames of each transfer: white of SDR, 203 nits of HDR."""
    levels = {1: 940, PQ: 64 + 876 * 0.5807, HLG: 64 + 876 * 0.75}
    parts = []
    for at, transfer in enumerate(transfers):
        part = path.with_name(f"{at}.hevc")
        write(part, gray(np.array(levels[transfer])), transfer, "libx265", "log-level=error:crf=1")
        parts.append(part.read_bytes())
    path.write_bytes(b"".join(parts))
    return path


@pytest.mark.parametrize(("transfers", "nits"), [((PQ, 1), 203), ((PQ, HLG), 203), ((PQ, PQ), 203)])
def test_a_stream_that_changes_goes_on_as_the_hdr_it_began_with(
    upscale: Any, tmp_path: Path, transfers: tuple[int, ...], nits: float
) -> None:
    """White of SDR is that of HDR, and of HLG what its display of 1,000 nits shows."""
    source = spliced(tmp_path / "in.hevc", *transfers)
    report, output = upscale(source, encoder="ffv1", preset=None, crf=None)
    assert video_facts(output).colour[3] == PQ
    light = pq_to_nits(rgb(read(output))).mean()
    assert light == pytest.approx(nits, rel=0.02)
    said = [note for note in report.notes if "it is mapped to PQ, as the stream began" in note]
    assert len(said) == (transfers[0] != transfers[1])
    if said:
        assert "at frame 3" in said[0]


def test_hdr_within_sdr_becomes_sdr_or_is_refused(upscale: Any, tmp_path: Path) -> None:
    source = spliced(tmp_path / "in.hevc", 1, PQ)
    report, output = upscale(source, encoder="ffv1", preset=None, crf=None)
    assert video_facts(output).colour[3] == 1
    assert [note for note in report.notes if note.startswith("the picture becomes PQ at frame 3")]
    assert read(output)[0].mean() == pytest.approx(64 + 876 * 0.88, abs=40)
    with pytest.raises(UnsupportedVideoError, match=r"becomes HDR \(PQ\) at frame 3"):
        upscale(source, "o.mkv", hdr="refuse", encoder="ffv1", preset=None, crf=None)


def test_bits_that_come_later_are_said(tmp_path: Path) -> None:
    """A stream of 8 bits that has ten from a frame on: the output has 8."""
    source = spliced(tmp_path / "in.hevc", 1, 1)
    shallow = tmp_path / "8.hevc"
    with av.open(str(shallow), "w") as container:
        stream: Any = container.add_stream("libx265", rate=25)
        stream.width, stream.height, stream.pix_fmt = SIDE, SIDE, "yuv420p"
        stream.options = {"x265-params": "log-level=error", "preset": "ultrafast"}
        for time in range(3):
            frame = av.VideoFrame(SIDE, SIDE, "yuv420p")
            frame.pts = time
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    source.write_bytes(shallow.read_bytes() + source.read_bytes())
    with Upscaler("nano", threads=1) as ready:
        report = ready.upscale_file(
            source, tmp_path / "o.mkv", options=EncodeOptions(preset="ultrafast")
        )
    assert [note for note in report.notes if note.startswith("10 bits come at frame 3")]


def test_hdr_of_two_pixels_is_refused_with_the_encoder_that_takes_it(
    upscale: Any, tmp_path: Path
) -> None:
    small = np.full((2, 2), 500, np.uint16)
    source = write(tmp_path / "in.mkv", [small, small[:1, :1], small[:1, :1]])
    with pytest.raises(ConfigError, match="refuses 8x8 .*--encoder libx264 does"):
        upscale(source)
    _, output = upscale(source, encoder="libx264")
    assert video_facts(output).size == (8, 8)
