"""Networks that take and give their state themselves: pairs, sizes, the start, the pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from few_colours import three_colours
from recurrent_networks import carrying

from adcvsr.errors import AdoptError
from adcvsr.export.adopt.adopt import AdoptOptions, adopt
from adcvsr.export.adopt.facts import whole_clip
from adcvsr.export.adopt.original import Asked, read_original
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.runtime.upscaler import Upscaler

pytestmark = pytest.mark.usefixtures(three_colours.__name__)

NAMED: dict[str, Any] = {"licence": "CC0-1.0", "range": "0-1", "colour": "RGB"}


def saved(tmp_path: Path, model: onnx.ModelProto) -> Path:
    onnx.save_model(model, tmp_path / "n.onnx")
    return tmp_path / "n.onnx"


@pytest.mark.parametrize(
    ("how", "said", "states"),
    [
        ({}, (), [(4, 1)]),
        ({"taken": "past.hidden.0", "given": "present.hidden.0", "stride": 2}, (), [(8, 2)]),
        ({"taken": "memory", "given": "kept"}, (), [(4, 1)]),
        ({"picture_before": True}, (("h_in", "y"),), [(12, 1)]),
        ({"frame_before": True}, (("x_before", "x"),), [(4, 1), (3, 1)]),
    ],
    ids=["by-name", "half-size", "by-shape", "picture-before", "frame-before"],
)
def test_state_is_carried_as_the_network_carries_it(
    tmp_path: Path, how: dict[str, Any], said: tuple[tuple[str, str], ...], states: Any
) -> None:
    source = saved(tmp_path, carrying(**how))
    lines: list[str] = []
    bundle = adopt(source, tmp_path / "b", AdoptOptions(state=said, **NAMED), report=lines.append)
    assert sorted((s.channels, s.divisor) for s in bundle.state) == sorted(states)
    assert any("carries its state" in line for line in lines)
    assert any("starts from zero" in line for line in lines)
    facts = bundle.variant("fp32-onnx").facts["parity"]
    assert facts["level_error"] <= 1
    assert facts["frames"] >= 32
    clip = draw_clip(5, 34, 46)
    original = read_original(source, Asked(states=dict(said)))
    exact = whole_clip(original, clip, "0-1", "RGB")
    alone = [whole_clip(original, clip[at : at + 1], "0-1", "RGB")[0] for at in range(1, 5)]
    with Upscaler(bundle, backend="ort-cpu") as upscaler:
        found = [upscaler(frame) for frame in clip]
        upscaler.reset()
        assert np.array_equal(upscaler(clip[0]), found[0])
    for picture, levels in zip(found, exact, strict=True):
        assert np.abs(picture - levels.clip(0, 255)).max() <= 0.51
    # The past counts: without it a frame's picture is another.
    assert max(np.abs(a - b).max() for a, b in zip(exact[1:], alone, strict=True)) > 0.6


def test_a_start_that_is_not_zero_is_refused(tmp_path: Path) -> None:
    source = saved(tmp_path, carrying(starts_with_one=True))
    with pytest.raises(
        AdoptError, match="levels from the input.*state began with zeros, as a bundle"
    ):
        adopt(source, tmp_path / "b", AdoptOptions(**NAMED), report=print)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("how", "said", "says"),
    [
        ({"frame_before": True}, (), r"say it with --state INPUT=OUTPUT"),
        ({}, (("h_in", "nothing"),), r"--state h_in=nothing names no input and output"),
        ({"frame_before": True}, (("x_before", "y"),), r"no size of its states fits"),
    ],
    ids=["names-do-not-tell", "no-such-name", "no-size"],
)
def test_states_that_cannot_be_paired_are_named(
    tmp_path: Path, how: dict[str, Any], said: Any, says: str
) -> None:
    source = saved(tmp_path, carrying(**how))
    with pytest.raises(AdoptError, match=says) as error:
        adopt(source, tmp_path / "b", AdoptOptions(state=said, **NAMED), report=print)
    assert "\n" not in str(error.value)


def test_state_is_for_onnx_files(tmp_path: Path) -> None:
    (tmp_path / "n.param").write_text("7767517\n")
    with pytest.raises(AdoptError, match="--state is for ONNX files"):
        read_original(tmp_path / "n.param", Asked(states={"a": "b"}))
