"""`adcvsr train show-data`: the picture holds the very samples a run trains on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from adcvsr.cli.commands import cli
from adcvsr.pictures.clips import read_image, write_clip, write_png
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.train.data import ClipPairs
from adcvsr.train.data.contact_sheet import draw_sheet
from adcvsr.train.settings import read_data_settings

RECIPE = """
seed = 4
[data]
frames = 2
patch_px = 8
segments_per_clip = 2
crops_per_clip = 2
[degradation]
preset = "camera"
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    write_clip(tmp_path / "video.mp4", draw_clip(6, 64, 96))
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return path


def run(recipe: Path, *arguments: str | Path) -> Result:
    folder = recipe.parent
    base = ["train", "show-data", "--config", recipe, "--clips", folder]
    if "-o" not in arguments:
        base += ["-o", folder / "sheet.png"]
    return CliRunner().invoke(cli, [str(value) for value in [*base, *arguments]])


def test_the_sheet_shows_input_beside_truth(recipe: Path) -> None:
    result = run(recipe, "--samples", "2", "--epoch", "1")
    assert result.exit_code == 0, result.output
    assert "row 2: sample 3, video.mp4, 2 frames of 96x64" in result.stdout
    settings = read_data_settings(recipe)
    pairs = ClipPairs(
        [recipe.parent], [], settings.data, settings.degradation, seed=4, report=print
    )
    sheet = read_image(recipe.parent / "sheet.png")
    for row, index in enumerate((0, 3)):
        pair = pairs.pair(1, index)
        assert f"{pair.key}" in result.stdout
        cells = [sheet[40 * row : 40 * row + 32, 40 * c : 40 * c + 32] for c in range(4)]
        for cell, frame in ((cells[0], pair.low[0]), (cells[2], pair.low[1])):
            assert np.array_equal(cell[::4, ::4], frame.permute(1, 2, 0).numpy())
            assert np.array_equal(cell[3::4, 2::4], cell[::4, ::4])
        for cell, frame in ((cells[1], pair.high[0]), (cells[3], pair.high[1])):
            assert np.array_equal(cell, frame.permute(1, 2, 0).numpy())


def test_every_row_shows_another_clip(recipe: Path) -> None:
    """Many crops a clip: equal steps through the epoch would fall on one lane, and one clip."""
    recipe.write_text(
        RECIPE.replace("crops_per_clip = 2", "crops_per_clip = 256\nclips_at_once = 8").replace(
            "segments_per_clip = 2", "segments_per_clip = 8"
        )
    )
    settings = read_data_settings(recipe)
    pairs = ClipPairs(
        [recipe.parent], [], settings.data, settings.degradation, seed=4, report=print
    )
    _, lines = draw_sheet(pairs, samples=4, epoch=0)
    indices = [int(line.split("sample ")[1].split(",")[0]) for line in lines]
    assert len({pairs.clip_of(0, index) for index in indices}) == 4
    assert len({pairs.clip_of(0, index) for index in range(0, len(pairs), len(pairs) // 4)}) < 4


def test_an_earlier_sheet_survives_a_failure(recipe: Path) -> None:
    sheet = recipe.parent / "sheet.png"
    write_png(sheet, np.zeros((8, 8, 3), np.uint8))
    before = sheet.read_bytes()
    recipe.write_text(RECIPE.replace("camera", "kamera"))
    result = run(recipe)
    assert result.exit_code == 1
    assert isinstance(result.exception, Exception)
    assert "no degradation preset 'kamera', did you mean 'camera'?" in str(result.exception)
    assert sheet.read_bytes() == before


def test_a_place_that_cannot_be_written(recipe: Path) -> None:
    (recipe.parent / "file").write_text("")
    result = run(recipe, "-o", recipe.parent / "file" / "sheet.png")
    assert result.exit_code == 1
    assert "cannot write" in str(result.exception)
