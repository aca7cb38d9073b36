"""Bits, colour, alpha, gray and HDR by the command: what comes out, and the line for the rest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from adcvsr.cli.upscale import command
from video_facts import VideoMaker, video_facts

PQ, HLG = (9, 1, 9, 16), (9, 1, 9, 18)


def run(source: Path, output: Path, *options: str) -> Result:
    given = [str(source), str(output), "--json", "--threads", "1", "--model", "nano", *options]
    return CliRunner().invoke(command, given)


@pytest.mark.parametrize(
    ("kind", "name", "options", "pixels", "says"),
    [
        ("yuv422p", "o.mp4", (), "yuv422p", "kept: 4:2:2"),
        ("yuv444p", "o.mp4", (), "yuv444p", "kept: 4:4:4"),
        ("yuv444p", "o.mp4", ("--chroma", "420"), "yuv420p", "4:4:4 is reduced to 4:2:0"),
        ("gray", "o.mp4", (), "yuv420p", ""),
        ("yuva420p", "o.mkv", ("--encoder", "ffv1"), "yuva420p", ""),
        ("yuva420p", "o.mp4", (), "yuv420p", "the alpha channel is left out"),
        ("yuv420p10le", "o.webm", (), "yuv420p", "10 bits are reduced to 8"),
        ("yuv411p", "o.mp4", (), "yuv420p", ""),
        ("rgb24", "o.mp4", (), "yuv420p", ""),
    ],
)
def test_planes(
    make_video: VideoMaker,
    tmp_path: Path,
    kind: str,
    name: str,
    options: tuple[str, ...],
    pixels: str,
    says: str,
) -> None:
    more: dict[str, Any] = {"encoder": "ffv1"}
    if kind == "rgb24":
        more = {"encoder": "libx264rgb", "colour": (0, 2, 1, 1)}
    source = make_video("in.mkv", pixel_format=kind, pts=(0, 512), **more)
    result = run(source, tmp_path / name, *options)
    assert result.exit_code == 0, result.output
    report = report_of(result)
    assert (report["pixel_format"], video_facts(tmp_path / name).pixels) == (pixels, pixels)
    assert says in "\n".join(report["notes"])


@pytest.mark.parametrize("colour", [PQ, HLG])
@pytest.mark.parametrize("how", [(), ("--resume",)])
def test_hdr_is_kept_in_one_run_and_in_segments(
    make_video: VideoMaker, tmp_path: Path, colour: Any, how: tuple[str, ...]
) -> None:
    source = make_video(pixel_format="yuv420p10le", colour=colour, pts=(0, 512))
    result = run(source, tmp_path / "o.mp4", "--preset", "ultrafast", *how)
    assert result.exit_code == 0, result.output
    report = report_of(result)
    assert report["hdr"] == {PQ: "PQ", HLG: "HLG"}[colour]
    assert (report["encoder"], report["variant"]) == ("libx265", "fp32-onnx")
    facts = video_facts(tmp_path / "o.mp4")
    assert (facts.colour, facts.pixels) == (colour, "yuv420p10le")


def test_hdr_becomes_sdr_or_is_refused(make_video: VideoMaker, tmp_path: Path) -> None:
    source = make_video(pixel_format="yuv420p10le", colour=PQ, pts=(0, 512))
    result = run(source, tmp_path / "o.avi", "--hdr", "tonemap")
    assert report_of(result)["hdr"] == "tonemap"
    assert video_facts(tmp_path / "o.avi").pixels == "yuv420p"
    for options, says in (
        (("--hdr", "refuse"), "is HDR (PQ, as in HDR10), which is refused here"),
        (("--variant", "int8-ort"), "variant int8-ort takes 8"),
        (("--pixels", "yuv"), "there are more than 8 bits"),
    ):
        refused = run(source, tmp_path / "none.mp4", *options)
        assert refused.exit_code == 1
        assert says in str(refused.exception)
        assert not (tmp_path / "none.mp4").exists()


def report_of(result: Result) -> dict[str, Any]:
    """The object on standard output, behind notes on stderr."""
    lines = [line for line in result.output.splitlines() if line.startswith("{")]
    found: dict[str, Any] = json.loads(lines[-1])
    return found
