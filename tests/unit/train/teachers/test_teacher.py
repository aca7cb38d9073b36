"""The teachers' contract: shapes, range, no gradient, memory only within, names that tell apart."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from adcvsr.config import PRESETS, AdcVsrConfig
from adcvsr.errors import CheckpointError, ConfigError
from adcvsr.model import AdcVsr, save_checkpoint
from adcvsr.train.teachers import GroundTruth, TeacherSettings, open_teacher
from tiny_configs import CLIP_ADD

CAUSAL = dataclasses.replace(PRESETS["nano"], down_blocks=(1,))


def save_student(path: Path, config: AdcVsrConfig, seed: int = 0) -> str:
    torch.manual_seed(seed)
    network = AdcVsr(config)
    network.start_as_interpolation()
    save_checkpoint(path, network, provenance={"recipe": "random"})
    return str(path)


@pytest.mark.parametrize("config", [CAUSAL, CLIP_ADD], ids=["causal", "not causal"])
def test_a_student_teaches_what_its_network_gives(tmp_path: Path, config: AdcVsrConfig) -> None:
    """Sizes that are no multiple of the network's are padded by the last pixels and cut again."""
    weights = save_student(tmp_path / "s.safetensors", config)
    low = torch.rand(2, 3, 3, 7, 9)
    with open_teacher(TeacherSettings(kind="student", weights=weights)) as teacher:
        out = teacher.teach(low)
        alone = teacher.teach(low[1:])
    assert out.shape == (2, 3, 3, 28, 36)
    assert out.dtype == torch.float32
    assert not out.requires_grad
    assert 0 <= out.min() < out.max() <= 1
    assert torch.allclose(out[1:], alone, atol=1e-5)
    from adcvsr.model import load_checkpoint

    multiple = config.size_multiple
    rows, columns = (torch.arange(-(-n // multiple) * multiple).clamp(max=n - 1) for n in (7, 9))
    with torch.no_grad():
        raw, _ = load_checkpoint(weights)[0](low[..., rows, :][..., columns] * 2 - 1)
    assert torch.allclose(out, (raw[..., :28, :36].clamp(-1, 1) + 1) / 2, atol=1e-6)


def test_bfloat16_is_near_float32_and_named(tmp_path: Path) -> None:
    weights = save_student(tmp_path / "s.safetensors", CAUSAL)
    low = torch.rand(1, 2, 3, 8, 8)
    exact = TeacherSettings(kind="student", weights=weights)
    with (
        open_teacher(exact) as one,
        open_teacher(dataclasses.replace(exact, dtype="bfloat16")) as two,
    ):
        difference = (one.teach(low) - two.teach(low)).abs().max()
    assert 0 < difference < 0.03
    assert one.identity.removesuffix("float32") == two.identity.removesuffix("bfloat16")


def test_identity_follows_the_weights(tmp_path: Path) -> None:
    names = {
        open_teacher(
            TeacherSettings(kind="student", weights=save_student(tmp_path / name, CAUSAL, seed))
        ).identity
        for name, seed in (("a.safetensors", 0), ("b.safetensors", 0), ("c.safetensors", 1))
    }
    assert len(names) == 2
    assert all(name.startswith("student:name=nano,weights=") for name in names)


def test_the_truth_teaches_itself() -> None:
    high = torch.rand(1, 2, 3, 16, 16)
    with open_teacher(TeacherSettings(kind="truth")) as teacher:
        assert torch.equal(teacher.teach(torch.rand(1, 2, 3, 4, 4), high), high)
        with pytest.raises(ConfigError, match="needs the high-resolution clips"):
            teacher.teach(torch.rand(1, 2, 3, 4, 4))


def test_use_outside_a_with_block() -> None:
    teacher = GroundTruth()
    with pytest.raises(RuntimeError, match="use it in a 'with' block"):
        teacher.teach(torch.rand(1, 2, 3, 4, 4), torch.rand(1, 2, 3, 16, 16))


@pytest.mark.parametrize(
    "low", [torch.rand(2, 3, 4, 4), torch.rand(1, 2, 4, 4, 3), torch.zeros(1, 2, 3, 4, 4).byte()]
)
def test_clips_of_another_kind_are_refused(low: torch.Tensor) -> None:
    with GroundTruth() as teacher, pytest.raises(ConfigError, match="expected .N, T, 3, h, w"):
        teacher.teach(low)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "dov"}, "teacher kind 'dov', expected one of: dove, student"),
        ({"kind": "student"}, "'student' needs weights"),
        ({"kind": "truth", "weights": "a"}, "'truth' has no weights"),
        ({"kind": "student", "weights": "a", "dtype": "fp8"}, "dtype 'fp8'"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TeacherSettings(**settings)  # type: ignore[arg-type]


def test_no_such_device() -> None:
    with pytest.raises(ConfigError, match="no device 'gpu'; expected cpu"):
        GroundTruth("gpu")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="no device 'cuda': this torch .* sees no CUDA"):
            GroundTruth("cuda")


def test_out_of_memory_says_what_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    def teach(*arguments: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB.")

    monkeypatch.setattr(GroundTruth, "_teach", teach)
    with GroundTruth() as teacher, pytest.raises(MemoryError, match="smaller or shorter clips"):
        teacher.teach(torch.rand(1, 2, 3, 4, 4))


def test_no_such_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        open_teacher(TeacherSettings(kind="student", weights=str(tmp_path / "none")))
