"""Outputs that would destroy an input, and folder runs that go on."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from adcvsr.cli._outputs import OUTPUTS
from adcvsr.cli.commands import COMMANDS, cli, load_command
from video_facts import VideoMaker, video_facts
from warm_program import run_program as adcvsr

READ_OR_NOT_WRITTEN = {
    *("bundle", "calibration", "calibration_path", "card", "checkpoint", "clips", "config"),
    *(
        "convnext",
        "dists",
        "efficientnet",
        "export_inputs",
        "first",
        "folder",
        "half_decoder",
        "images",
        "import_from",
        "job_folder",
        "lpips",
        "onto",
        "model",
    ),
    *("inputs", "low_folder", "more", "net_params", "paths", "recipe_path", "second", "start"),
    *("vae", "validate", "validate_dists"),
}
"""Parameters of paths that are no output file: read, or folders with checks of their own."""


@pytest.mark.parametrize(
    "arguments",
    [
        ("upscale", "in.mp4", "out.mp4", "--trace", "in.mp4", "--overwrite"),
        ("upscale", "in.mp4", "out.mp4", "--trace", "link.mp4", "--overwrite"),
        ("upscale", "in.mp4", "out.mp4", "--compare", "in.mp4", "--overwrite"),
        ("upscale", ".", "out", "--trace", "in.mp4", "--overwrite"),
        ("upscale", "*.mp4", "out", "--trace", "in.mp4", "--overwrite"),
        ("live", "--source", "in.mp4", "--sink", "in.mp4", "--overwrite"),
        ("live", "--source", "file:in.mp4?loop=1", "--sink", "in.mp4", "--overwrite"),
        ("live", "--source", "in.mp4", "--sink", "null://", "--stats-jsonl", "in.mp4"),
        ("bench", "nano", "-o", "x.json", "--trace", "x.json"),
        ("evaluate", "in.png", "--strip", "in.png", "--overwrite"),
        ("profile", "nano", "--clips", "in.html", "-o", "in.html", "--overwrite"),
    ],
)
def test_inputs_survive(
    make_video: VideoMaker, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    source = make_video()
    monkeypatch.chdir(source.parent)
    Path("link.mp4").symlink_to("in.mp4")
    for name in ("in.png", "in.html"):
        Path(name).write_bytes(b"precious")
    before = {p.name: p.read_bytes() for p in Path().iterdir()}
    done = adcvsr(*arguments)
    assert done.returncode == 1
    assert "is the input; choose another name" in done.stderr or "give each a name" in done.stderr
    assert "Traceback" not in done.stderr
    assert {p.name: p.read_bytes() for p in Path().iterdir()} == before


def test_every_path_is_known_as_input_or_output() -> None:
    """A new option that names a file is written into one of the two lists."""

    def leaves(command: click.Command) -> list[click.Command]:
        if isinstance(command, click.Group):
            return [leaf for each in command.commands.values() for leaf in leaves(each)]
        return [command]

    for name in COMMANDS:
        for command in leaves(load_command(name)):
            for parameter in command.params:
                if isinstance(parameter.type, click.Path):
                    assert parameter.name in OUTPUTS | READ_OR_NOT_WRITTEN, (name, parameter.name)


@pytest.mark.parametrize(
    "arguments",
    [
        ("build", "nano", "--layers", "no/layers.json"),
        ("build", "nano", "--timing-cache", "no/timings"),
        ("live", "--source", "test://96x64", "--sink", "null://", "--stats-jsonl", "no/s.jsonl"),
        ("report", "--dry-run", "-o", "no/report.zip"),
        ("plan", "nano", "--target", "cpu", "--source", "96x64@30", "-o", "no/plan.html"),
        ("bench", "nano", "--trace", "no/trace.json"),
        ("evaluate", "in.png", "--strip", "no/strip.png"),
        ("profile", "nano", "--clips", "in.png", "-o", "no/profile.html"),
        ("blend", "nano", "nano-camera", "-o", "no/blend.safetensors"),
        ("adopt", "in.png", "-o", "no/bundle"),
        ("export", "no.safetensors", "-o", "no/bundle"),
        ("calibrate", "in.png", "-o", "no/set"),
    ],
    ids=lambda given: given[0],
)
def test_a_missing_folder_is_told_before_the_work(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """A board builds for minutes and measures for longer: it must not end with nothing."""
    monkeypatch.chdir(tmp_path)
    Path("in.png").write_bytes(b"no picture: it would be refused if it were read")
    done = CliRunner().invoke(cli, list(arguments))
    assert "output folder 'no' does not exist; create it first" in str(done.exception)


def test_a_link_that_leads_nowhere_is_written_through(make_video: VideoMaker) -> None:
    source = make_video()
    link = source.with_name("link.mp4")
    link.symlink_to("made.mp4")
    assert adcvsr("upscale", source, link).returncode == 0
    assert link.is_symlink()
    assert len(video_facts(source.with_name("made.mp4")).times) == 8


def test_a_link_into_no_folder_is_refused_before_the_work(make_video: VideoMaker) -> None:
    source = make_video()
    link = source.with_name("link.mp4")
    link.symlink_to("nowhere/made.mp4")
    done = adcvsr("upscale", source, link)
    assert done.returncode == 1
    assert "does not exist; create it first" in done.stderr


def test_a_second_folder_run_does_what_is_left(make_video: VideoMaker, tmp_path: Path) -> None:
    first, second = make_video("a.mkv"), make_video("b.mp4")
    out = tmp_path / "out"
    assert adcvsr("upscale", first, second, out).returncode == 0
    (out / "b.mp4").unlink()
    before = (out / "a.mkv").stat()
    done = adcvsr("upscale", first, second, out, "--skip-existing", "--json")
    assert done.returncode == 0, done.stderr
    assert "note: 1 of 2 outputs exist and are left as they are" in done.stderr
    told = json.loads(done.stdout)
    assert [Path(each["output"]).name for each in told["files"]] == ["b.mp4"]
    assert [Path(each["output"]).name for each in told["skipped"]] == ["a.mkv"]
    assert (out / "a.mkv").stat() == before
    again = adcvsr("upscale", first, second, out)
    assert again.returncode == 1
    assert "2 of 2 outputs exist: --skip-existing leaves them out" in again.stderr


def test_strict(make_video: VideoMaker, tmp_path: Path) -> None:
    source = make_video("in.mkv", pts=tuple(range(0, 75 * 512, 512)), size=(64, 48))
    assert adcvsr("upscale", source, tmp_path / "whole.mp4", "--strict").returncode == 0
    os.truncate(source, source.stat().st_size * 2 // 3)
    done = adcvsr("upscale", source, tmp_path / "a.mp4", "--json")
    assert done.returncode == 0
    told = json.loads(done.stdout)
    assert told["missing"]["announced_frames"] == 75 > told["missing"]["read_frames"]
    done = adcvsr("upscale", source, tmp_path / "b.mp4", "--strict")
    assert done.returncode == 1
    assert "note: the end of the file is missing: it announces 3.000 s (75 frames)" in done.stderr
    assert "is damaged or ends early (--strict)" in done.stderr
    assert len(video_facts(tmp_path / "b.mp4").times) == told["frames"]
