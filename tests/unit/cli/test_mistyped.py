"""What a newcomer types by mistake is answered with what to type instead."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from adcvsr.cli.commands import cli
from adcvsr.pictures.clips import write_clip
from adcvsr.pictures.synthetic import draw_clip


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["in.mp4"], "'adcvsr upscale in.mp4' upscales that file"),
        (["upscale", "inn.mp4"], "no file 'inn.mp4', did you mean 'in.mp4'?"),
        (["upscale", "other.mov"], "no file 'other.mov': No such file"),
        (["upscale", "in.mp4", "--size", "64x36"], "--output-size, --height or --scale"),
        (["upscale", "in.mp4", "out"], "output 'out' has no ending; expected one of: .mp4"),
    ],
)
def test_it_is_named(
    given: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_clip(Path("in.mp4"), draw_clip(2, 16, 16))
    done = CliRunner().invoke(cli, given)
    assert done.exit_code
    assert said in f"{done.output}{done.exception}"
    assert "it will be" not in done.output or given[1] == "in.mp4"
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]
