"""Options of `adcvsr export` that contradict each other are refused before any work."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from adcvsr.bundle import schema as bundle_schema
from adcvsr.cli import export
from adcvsr.errors import AdcVsrError
from adcvsr.export import bundle_writer
from adcvsr.train.initial_weights import CHECKPOINT_FOLDER


def test_colour_matches_are_those_of_the_schema() -> None:
    assert export.COLOUR_MATCHES == bundle_schema.COLOUR_MATCHES


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "either CHECKPOINT or --untrained"),
        (["c.safetensors", "--untrained", "nano"], "either CHECKPOINT or --untrained"),
        (["c.safetensors", "--causal"], "--causal goes with --untrained"),
        (["--untrained", "nano", "--clips", "a.mp4"], "--clips goes with --fp16"),
        (
            ["--untrained", "nano", "--colour-match", "frame", "--colour-half-life", "3"],
            "--colour-half-life goes with --colour-match ema",
        ),
        (["--untrained", "nano", "--fp16"], "--clips"),
        (["--untrained", "nano", "--window", "5"], "is causal and streams"),
        (["--untrained", "paper", "--window", "5", "--overlap", "5"], "cannot overlap by 5"),
        (["--untrained", "nao"], "did you mean 'nano'"),
    ],
)
def test_refused(arguments: list[str], message: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(export.command, [*arguments, "-o", str(tmp_path / "out")])
    assert done.exit_code != 0
    assert message in done.output + str(done.exception)
    assert list(tmp_path.iterdir()) == []


def test_a_name_is_a_checkpoint_of_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Path] = []

    def taken(checkpoint: Path, *_: object, **__: object) -> None:
        given.append(checkpoint)
        raise AdcVsrError("enough")

    monkeypatch.setattr(bundle_writer, "export_bundle", taken)
    CliRunner().invoke(export.command, ["small", "-o", str(tmp_path / "out")])
    assert given == [CHECKPOINT_FOLDER / "small.safetensors"]
    done = CliRunner().invoke(export.command, ["smal", "-o", str(tmp_path / "out")])
    assert "no checkpoint 'smal'" in str(done.exception)
    assert len(given) == 1
