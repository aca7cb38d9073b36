"""VMAF: finding an ffmpeg that has it, failing clearly, and real scores where there is one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from adcvsr.errors import MissingProgramError
from adcvsr.metrics import VmafProcess, find_vmaf_ffmpeg, luma, resize_bicubic
from adcvsr.metrics.planes import chroma_420
from adcvsr.pictures.synthetic import draw_clip

Plane = npt.NDArray[np.float32]


def fake_ffmpeg(tmp_path: Path, behaviour: str) -> str:
    """A program that lists libvmaf and otherwise behaves as told."""
    program = tmp_path / "ffmpeg"
    program.write_text(
        '#!/bin/sh\n[ "$2" = -filters ] && { echo " .. libvmaf VV->V"; exit 0; }\n' + behaviour
    )
    program.chmod(0o755)
    return str(program)


def test_no_ffmpeg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("ADCVSR_FFMPEG", raising=False)
    with pytest.raises(MissingProgramError, match="no program 'ffmpeg': name one .*ADCVSR_FFMPEG"):
        find_vmaf_ffmpeg()
    with pytest.raises(MissingProgramError, match="no program '/nowhere'"):
        find_vmaf_ffmpeg("/nowhere")


def test_an_ffmpeg_without_libvmaf(tmp_path: Path) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\necho ' .. scale V->V'\n")
    program.chmod(0o755)
    with pytest.raises(MissingProgramError, match="was built without it"):
        find_vmaf_ffmpeg(str(program))


def test_the_variable_names_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = fake_ffmpeg(tmp_path, "exit 0")
    monkeypatch.setenv("ADCVSR_FFMPEG", program)
    assert find_vmaf_ffmpeg() == program
    assert find_vmaf_ffmpeg(program) == program


@pytest.mark.parametrize("behaviour", ["cat > /dev/null", ""])
def test_a_failure_quotes_the_last_words(tmp_path: Path, behaviour: str) -> None:
    program = fake_ffmpeg(tmp_path, behaviour + "\necho 'out of cheese' >&2\nexit 3\n")
    plane = np.full((256, 512), 100, np.float32)

    def run() -> None:
        with VmafProcess(find_vmaf_ffmpeg(program), 256, 512) as vmaf:
            for _ in range(4):
                vmaf.add(plane, plane)
            vmaf.score()

    with pytest.raises(MissingProgramError, match=r"\(exit 3\): out of cheese"):
        run()


def test_no_score_is_made_up(tmp_path: Path) -> None:
    """Exit 0 without a log is a failure too."""
    program = fake_ffmpeg(tmp_path, "cat > /dev/null")
    with (
        VmafProcess(program, 32, 32) as vmaf,
        pytest.raises(MissingProgramError, match="no message"),
    ):
        vmaf.score()


@pytest.mark.parametrize("size", [(30, 64), (64, 33)])
def test_sizes_it_cannot_take(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="VMAF needs even sides of 32 or more"):
        VmafProcess("ffmpeg", *size)


@pytest.fixture(scope="module")
def ffmpeg() -> str:
    """A real one: named, on the PATH, or the one imageio-ffmpeg carries."""
    candidates = [None]
    try:
        import imageio_ffmpeg

        candidates.append(imageio_ffmpeg.get_ffmpeg_exe())
    except ImportError:
        pass
    for candidate in candidates:
        try:
            return find_vmaf_ffmpeg(candidate)
        except MissingProgramError as error:
            reason = str(error)
    pytest.skip(f"{reason} (or pip install imageio-ffmpeg)")


def score(ffmpeg: str, outputs: list[Plane], truths: list[Plane]) -> float:
    with VmafProcess(ffmpeg, *truths[0].shape) as vmaf:
        for output, truth in zip(outputs, truths, strict=True):
            vmaf.add(output, truth)
        return vmaf.score()


def test_the_log_beside_the_program_is_read(tmp_path: Path) -> None:
    log = json.dumps({"pooled_metrics": {"vmaf": {"mean": 81.5}}})
    program = fake_ffmpeg(tmp_path, f"cat > /dev/null\necho '{log}' > vmaf.json\n")
    plane = np.full((256, 512), 100, np.float32)
    assert score(program, [plane], [plane]) == 81.5


def test_measures_of_one_process_and_their_chroma(tmp_path: Path) -> None:
    """One process is asked for all, and gets real chroma where a model looks at it."""
    log = json.dumps({"pooled_metrics": {n: {"mean": 1.0} for n in ("cambi", "vmaf_v1")}})
    program = fake_ffmpeg(tmp_path, f"cat > sent\necho \"$@\" > asked\necho '{log}' > vmaf.json\n")
    grey = np.full((32, 64), 100, np.float32)
    chroma = [np.full((2, 16, 32), value, np.float32) for value in (60, 70)]
    with VmafProcess(program, 32, 64, ("vmaf_v1", "cambi")) as vmaf:
        assert vmaf.sees_chroma
        vmaf.add(grey, grey + 1, (chroma[0], chroma[1]))
        assert vmaf.scores() == {"cambi": 1.0, "vmaf_v1": 1.0}
        folder = vmaf._folder
        sent = np.frombuffer((folder / "sent").read_bytes(), np.uint8)
        asked = (folder / "asked").read_text()
    assert "model=version=vmaf_v1.0.16_3d0h" in asked
    assert ":name=vmaf_v1:feature=name=cambi" in asked
    size = 32 * 64
    parts = [sent[:size], sent[size : 2 * size], *np.split(sent[2 * size :], 4)]
    assert [set(part.tolist()) for part in parts] == [{101}, {100}, {70}, {60}, {70}, {60}]
    with VmafProcess(program, 32, 64) as vmaf:
        assert not vmaf.sees_chroma


def test_a_libvmaf_too_old_for_a_model(tmp_path: Path) -> None:
    program = fake_ffmpeg(tmp_path, "exit 1")
    assert find_vmaf_ffmpeg(program, "vmaf_neg") == program
    with pytest.raises(MissingProgramError, match=r"libvmaf 3.2 .* the model vmaf_v1\.0"):
        find_vmaf_ffmpeg(program, "vmaf_v1")


@pytest.mark.slow
def test_the_models_disagree_as_they_are_meant_to(ffmpeg: str) -> None:
    """Sharpening past the truth pays with the first model, less without its gain."""
    find_vmaf_ffmpeg(ffmpeg, "vmaf_v1")
    truth = draw_clip(3, 240, 256)
    sharper = (truth * 1.3 - 38).clip(0, 255).astype(np.uint8)
    with VmafProcess(ffmpeg, 240, 256, ("vmaf", "vmaf_neg", "vmaf_v1", "cambi")) as vmaf:
        for one, other in zip(sharper, truth, strict=True):
            vmaf.add(luma(one), luma(other), (chroma_420(one), chroma_420(other)))
        scores = vmaf.scores()
    assert scores["vmaf_neg"] < scores["vmaf"] - 1
    assert 0 < scores["vmaf_v1"] <= 100


@pytest.mark.slow
def test_banding_is_seen(ffmpeg: str) -> None:
    slope = np.linspace(60, 75, 640, dtype=np.float32)[None] + np.linspace(0, 10, 360)[:, None]
    slope = slope.astype(np.float32)
    dither = np.random.default_rng(0).uniform(-1, 1, slope.shape).astype(np.float32)
    bands = []
    for output in (slope + 1.5 * dither, slope):  # the second is rounded to levels
        with VmafProcess(ffmpeg, 360, 640, ("cambi",)) as process:
            process.add(output, slope)
            process.add(output, slope)
            bands.append(process.scores()["cambi"])
    assert bands[0] < 1
    assert bands[1] > 10


@pytest.mark.slow
def test_a_still_picture_against_itself_scores_97_43(ffmpeg: str) -> None:
    """Netflix's documented oddity: without motion the model ends at 97.43, not at 100."""
    plane = luma(draw_clip(1, 192, 256)[0])
    assert score(ffmpeg, [plane] * 2, [plane] * 2) == pytest.approx(97.43, abs=0.01)


@pytest.mark.slow
def test_equals_ffmpeg_reading_two_files(ffmpeg: str, tmp_path: Path) -> None:
    """The stacked pipe gives what the usual command on two lossless files gives."""
    clip = draw_clip(4, 192, 256)
    planes = {
        "truth": [luma(image) for image in clip],
        "output": [luma(resize_bicubic(resize_bicubic(i, 48, 64), 192, 256)) for i in clip],
    }
    for name, frames in planes.items():
        with (tmp_path / f"{name}.y4m").open("wb") as file:
            file.write(b"YUV4MPEG2 W256 H192 F25:1 Ip C420\n")
            for frame in frames:
                levels = (frame + 0.5).astype(np.uint8).tobytes()
                file.write(b"FRAME\n" + levels + bytes([128]) * (256 * 192 // 2))
    files = ["-i", "output.y4m", "-i", "truth.y4m"]
    graph = ["-lavfi", "libvmaf=log_fmt=json:log_path=log.json", "-f", "null", "-"]
    subprocess.run([ffmpeg, "-v", "error", *files, *graph], cwd=tmp_path, check=True)
    expected = json.loads((tmp_path / "log.json").read_text())["pooled_metrics"]["vmaf"]["mean"]
    got = score(ffmpeg, planes["output"], planes["truth"])
    assert got == pytest.approx(expected, abs=1e-4)
    assert 20 < got < 80
    swapped = score(ffmpeg, planes["truth"], planes["output"])
    assert swapped > got + 10, "sharper than the reference scores higher"


@pytest.mark.slow
def test_nothing_is_left_behind(
    ffmpeg: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    plane = np.full((64, 64), 100, np.float32)

    def interrupted() -> None:
        with VmafProcess(ffmpeg, 64, 64) as vmaf:
            vmaf.add(plane, plane)
            assert len(os.listdir(tmp_path)) == 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not os.listdir(tmp_path)
    assert shutil.which(ffmpeg)
