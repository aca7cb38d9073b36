"""Choosing measures by name, and what happens to those this machine cannot do."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from adcvsr.errors import ConfigError, MissingPackageError, MissingProgramError
from adcvsr.metrics import METRICS, choose_metrics, usable_metrics


def names(text: str) -> list[str]:
    return [metric.name for metric in choose_metrics(text)]


def test_groups_and_names() -> None:
    assert names("all") == list(METRICS)
    assert names("default") == ["psnr", "ssim", "haarpsi", "gmsd", "frame_diff"]
    assert names("gmsd, PSNR,gmsd") == ["psnr", "gmsd"]
    assert names("ms-ssim") == ["ms_ssim"]
    assert names("default,psnr_rgb") == ["psnr", "psnr_rgb", *names("default")[1:]]


def test_warp_comes_with_a_measure_of_detail() -> None:
    assert names("warp") == ["haarpsi", "warp"]


@pytest.mark.parametrize(
    ("text", "said"),
    [("psn", "did you mean 'psnr'"), ("al", "did you mean 'all'"), ("", "there are: all, cambi")],
)
def test_unknown_names(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        choose_metrics(text)


def test_what_is_missing_is_left_out_of_all_and_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("ADCVSR_FFMPEG", raising=False)
    usable = usable_metrics("all")
    without = {"vmaf", "vmaf_neg", "vmaf_v1", "cambi", "warp", "jitter", "tof"}
    assert [m.name for m in usable.metrics] == [n for n in names("all") if n not in without]
    assert usable.left_out.keys() == without
    assert "adcvsr[evaluate]" in usable.left_out["warp"]
    assert "libvmaf" in usable.left_out["vmaf"]
    assert usable.ffmpeg is None
    with pytest.raises(MissingPackageError):
        usable_metrics("all,warp")
    with pytest.raises(MissingProgramError):
        usable_metrics("psnr,vmaf")


def test_gain_is_positive_where_better() -> None:
    assert METRICS["psnr"].gain(30, 28) == 2
    assert METRICS["warp"].gain(1.0, 1.5) == 0.5
