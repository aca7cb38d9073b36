"""What a newcomer types by mistake is answered with what to type instead."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from adcvsr.cli.commands import cli
from adcvsr.pictures.clips import write_clip, write_png
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.runtime.processing import students


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["in.mp4"], "'adcvsr upscale in.mp4' upscales that file"),
        (["upscale", "inn.mp4"], "no file 'inn.mp4', did you mean 'in.mp4'?"),
        (["upscale", "other.mov"], "; check its name"),
        (["upscale", "clips/in.mp4"], "the folder 'clips' is not there either"),
        (["upscale", "my", "clip.mp4"], "put a name with spaces into quotes"),
        (["upscale", "my", "clip.mp4", "out.mp4"], "as in adcvsr upscale 'my clip.mp4'"),
        (["upscale", "in.mp4", "--size", "64x36"], "--output-size, --height or --scale"),
        (["upscale", "in.mp4", "out"], "output 'out' has no ending; expected one of: .mp4"),
    ],
)
def test_it_is_named(
    given: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_clip(Path("in.mp4"), draw_clip(2, 16, 16))
    write_clip(Path("my clip.mp4"), draw_clip(2, 16, 16))
    done = CliRunner().invoke(cli, given)
    assert done.exit_code
    assert said in f"{done.output}{done.exception}"
    assert "it will be" not in done.output or given[1] == "in.mp4"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "my clip.mp4"]


@pytest.mark.parametrize(
    ("source", "sink", "said"),
    [
        ("/dev/video0", "null://", "for a camera write v4l2:///dev/video0"),
        ("test://?size=64x64", "/dev/video9", "for a camera write v4l2:///dev/video9"),
        ("test://?size=64x64", "127.0.0.1:8080", "write http://127.0.0.1:8080"),
        ("test://?size=64x64", "192.168.1.5:8080/", "write http://192.168.1.5:8080/"),
    ],
)
def test_an_address_without_its_scheme(source: str, sink: str, said: str) -> None:
    done = CliRunner().invoke(cli, ["live", "--source", source, "--sink", sink])
    assert done.exit_code == 1
    assert said in str(done.exception)


def test_numbered_pictures_into_a_file_that_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pattern names no file: nothing is asked of it, and the output is what is told."""
    monkeypatch.chdir(tmp_path)
    write_png(Path("frame_01.png"), draw_clip(1, 16, 16)[0])
    Path("out.mp4").write_bytes(b"kept")
    done = CliRunner().invoke(cli, ["upscale", "frame_%02d.png", "out.mp4"])
    assert "output 'out.mp4' exists; pass --overwrite" in str(done.exception)
    assert Path("out.mp4").read_bytes() == b"kept"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["in.mp4", "none/out.mp4"], "output folder 'none' does not exist"),
        (["in.mp4", "out.xyz"], "ends in '.xyz'"),
        (["in.mp4", "in.mp4"], "is the input"),
    ],
)
def test_an_output_that_cannot_be_is_told_before_anything_is_measured(
    given: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ADCVSR_MODEL")
    monkeypatch.setattr(students, "choose_student", pytest.fail)
    write_clip(Path("in.mp4"), draw_clip(2, 16, 16))
    done = CliRunner().invoke(cli, ["upscale", *given])
    assert said in str(done.exception)


def test_a_picture_has_no_time_to_play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ADCVSR_MODEL")
    write_png(Path("photo.png"), draw_clip(1, 16, 16)[0])
    done = CliRunner().invoke(cli, ["upscale", "photo.png"])
    assert "the model is small-restore, the best-looking within 30 s; it takes" in done.stderr
    assert "s a picture" in done.stderr
    assert "plays" not in done.stderr
    assert "fps" not in done.output
    assert Path("photo_x4.png").is_file()


def test_one_picture_of_a_clip_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_clip(Path("in.mp4"), draw_clip(2, 16, 16))
    done = CliRunner().invoke(cli, ["upscale", "in.mp4", "out.png"])
    assert "is one picture, and" in str(done.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


@pytest.mark.parametrize("given", [["im.mp4"], ["clips/in.mp4", "out.mp4"]])
def test_no_model_is_named_for_a_file_that_is_not_there(
    given: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ADCVSR_MODEL")
    monkeypatch.setattr(students, "choose_student", pytest.fail)  # nor is any measured
    write_clip(Path("in.mp4"), draw_clip(2, 16, 16))
    done = CliRunner().invoke(cli, ["upscale", *given])
    assert "no file" in str(done.exception)
    assert "the model is" not in done.output


def test_the_first_file_that_is_there_decides_on_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is missing does not end a run of several: the others' model is chosen and said."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ADCVSR_MODEL")
    write_clip(Path("in.mp4"), draw_clip(2, 16, 16))
    Path("out").mkdir()
    done = CliRunner().invoke(cli, ["upscale", "im.mp4", "in.mp4", "out"])
    assert done.exit_code == 1
    assert "the model is small-restore" in done.stderr
    assert Path("out/in.mp4").exists()
