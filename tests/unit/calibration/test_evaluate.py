"""Evaluating methods on files: right figures, carried state, and what cannot be measured."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from adcvsr.bundle import Bundle
from adcvsr.calibration.evaluate.evaluate import BORDER_PX, TRUTH, evaluate
from adcvsr.calibration.evaluate.methods import Method, baselines, frame_by_frame, open_methods
from adcvsr.calibration.evaluate.report import Report, Request
from adcvsr.calibration.evaluate.scores import ClipScores, Evaluation
from adcvsr.calibration.evaluate.truth import TruthOptions, read_pairs, reduce_bicubic
from adcvsr.cli._scores import print_report
from adcvsr.errors import BundleError
from adcvsr.metrics import METRICS, psnr_y, resize_bicubic, usable_metrics
from adcvsr.pictures.clips import write_png
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.runtime.upscaler import Upscaler
from video_facts import VideoMaker

Levels = npt.NDArray[np.uint8]


@pytest.fixture
def clip(make_video: VideoMaker) -> Path:
    return make_video(size=(96, 64))


def test_figures_are_those_computed_by_hand(clip: Path, tiny_bundle: Path) -> None:
    with open_methods([tiny_bundle]) as methods:
        result = evaluate([*baselines(), *methods], [clip], usable_metrics("psnr"))
        (bundle,) = methods
        pairs = list(read_pairs(clip, TruthOptions()))
        expected = {
            "bicubic": [psnr_y(resize_bicubic(low, 64, 96), t, BORDER_PX) for t, low in pairs],
            "tiny": [
                psnr_y(picture, truth, BORDER_PX)
                for picture, (truth, _) in zip(
                    bundle.upscale(low for _, low in pairs), pairs, strict=True
                )
            ],
        }
    (scores,) = result.clips
    assert (scores.frames, scores.size) == (8, (96, 64))
    for name, values in expected.items():
        assert scores.value(name, "psnr") == pytest.approx(np.mean(values))
    assert list(scores.figures) == ["bicubic", "lanczos", "tiny"]


def test_reset_every_frame_is_the_same_network_without_its_past(
    clip: Path, tiny_bundle: Path
) -> None:
    with open_methods([tiny_bundle], reset_every_frame=True) as methods:
        carried, forgetful = methods
        assert (carried.name, forgetful.name) == ("tiny", "tiny (reset)")
        lows = [low for _, low in read_pairs(clip, TruthOptions(frames=3))]
        kept, forgotten = (list(m.upscale(iter(lows))) for m in methods)
        assert (kept[0] == forgotten[0]).all()
        assert (kept[2] != forgotten[2]).any()
        (alone,) = carried.upscale(iter(lows[2:]))
        assert (alone == forgotten[2]).all()


def test_a_network_that_reads_ahead_is_measured_on_its_own_frames(
    clip: Path, clip_bundle: Path, tiny_bundle: Path
) -> None:
    """In lockstep with methods that do not; pictures are those of `upscale_clip`."""
    pairs = list(read_pairs(clip, TruthOptions()))
    with Upscaler(clip_bundle) as upscaler:
        pictures = list(upscaler.upscale_clip(low for _, low in pairs))
    expected = [psnr_y(p, truth, BORDER_PX) for p, (truth, _) in zip(pictures, pairs, strict=True)]
    with open_methods([clip_bundle, tiny_bundle]) as methods:
        result = evaluate([*baselines(), *methods], [clip, clip], usable_metrics("psnr"))
    with open_methods([tiny_bundle]) as methods:
        alone = evaluate(methods, [clip], usable_metrics("psnr"))
    for scores in result.clips:
        assert scores.value("clip", "psnr") == pytest.approx(np.mean(expected))
        assert scores.value("tiny", "psnr") == alone.clips[0].value("tiny", "psnr")


def test_every_file_starts_without_a_past(clip: Path, tiny_bundle: Path) -> None:
    with open_methods([tiny_bundle]) as methods:
        result = evaluate(methods, [clip, clip], usable_metrics("psnr,ssim"))
    first, second = result.clips
    assert first.figures == second.figures


def test_a_scene_cut_separates_like_a_new_file(
    tmp_path: Path, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither state nor measures of time cross it, and the report says where it was."""
    first = draw_clip(2, 64, 96)
    scenes = {"first": first, "second": [255 - image[::-1] for image in first]}
    scenes["both"] = [*scenes["first"], *scenes["second"]]
    for name, images in scenes.items():
        (tmp_path / name).mkdir()
        for index, image in enumerate(images):
            write_png(tmp_path / name / f"{index}.png", np.ascontiguousarray(image))
    names = ["psnr", "frame_diff"]
    with open_methods([tiny_bundle]) as methods:
        files = [tmp_path / name for name in scenes]
        result = evaluate(methods, files, usable_metrics(",".join(names)))
        alone = [list(methods[0].upscale(iter(low))) for low in _lows(files[1:])]
    *parts, both = result.clips
    assert [clip.cuts for clip in result.clips] == [0, 0, 1]
    for name in names:
        halves = [clip.value("tiny", name) for clip in parts]
        assert None not in halves
        assert both.value("tiny", name) == pytest.approx(np.mean(halves))
    assert (alone[1][2] == alone[0][0]).all()
    (entry,) = [clip for clip in result.to_json()["clips"] if clip["name"] == "both"]
    assert entry["scene_cuts"] == 1
    print_report(Report(Request(files=[], models=[], metrics=usable_metrics("psnr")), [], result))
    assert "both: 1 scene cut, where causal networks start again" in capsys.readouterr().out


def _lows(files: list[Path]) -> list[list[Levels]]:
    return [[low for _, low in read_pairs(file, TruthOptions())] for file in files]


def test_a_cut_between_all_frames_leaves_no_measure_of_time(tmp_path: Path) -> None:
    image = draw_clip(1, 64, 96)[0]
    for index, picture in enumerate((image, 255 - image[::-1])):
        write_png(tmp_path / f"{index}.png", np.ascontiguousarray(picture))
    (scores,) = evaluate(baselines(), [tmp_path], usable_metrics("frame_diff")).clips
    assert scores.value("bicubic", "frame_diff") is None
    assert scores.reasons["frame_diff"] == "a scene cut between all frames"


def test_a_bundle_without_state_is_not_measured_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    parse = Bundle._parse

    def without_state(bundle: Bundle, manifest: Any) -> None:
        parse(bundle, manifest)
        bundle.state = ()

    monkeypatch.setattr(Bundle, "_parse", without_state)
    monkeypatch.setattr("adcvsr.calibration.evaluate.methods.create_session", _NoSession)
    with open_methods(["nano"], reset_every_frame=True, note=said.append) as methods:
        assert [method.name for method in methods] == ["nano"]
    assert said == ["nano carries no state: nothing to reset"]


class _NoSession:
    """What `open_methods` asks of a session, without a network."""

    backend = "none"

    def __init__(self, bundle: Bundle, *, backend: str, variant: str | None) -> None:
        self.bundle, self.variant = bundle, bundle.variant(variant or "fp32-onnx")
        self.infer, self.reset = (lambda low: low), (lambda: None)

    def __enter__(self) -> _NoSession:
        return self

    def __exit__(self, *error: object) -> None:
        pass


def test_bundles_of_one_name_are_told_apart(tiny_bundle: Path) -> None:
    with open_methods([tiny_bundle, tiny_bundle], variants=["fp32-onnx"]) as methods:
        assert [method.name for method in methods] == ["tiny", "tiny 2"]
    facts = methods[0].facts
    assert facts["variant"] == "fp32-onnx"
    assert facts["backend"] == "ort-cpu"
    assert len(facts["sha256"]) == 64


def test_variants_that_one_bundle_lacks_are_measured_on_the_others(tiny_bundle: Path) -> None:
    """One run for bundles of unlike variants; what none of them has is an error."""
    lines: list[str] = []
    models = [tiny_bundle, "nano"]
    with open_methods(models, variants=["int8", "fp32"], note=lines.append) as methods:
        found = [(method.name, method.facts["variant"]) for method in methods]
    assert found == [
        ("tiny fp32", "fp32-onnx"),
        ("nano int8", "int8-ort"),
        ("nano fp32", "fp32-onnx"),
    ]
    assert lines == ["tiny has no variant int8: measured in fp32"]
    for variants, models in (
        (["fp32", "int3"], ["nano", tiny_bundle]),
        (["int8"], [tiny_bundle, "nano"]),
    ):
        with (
            pytest.raises(BundleError, match=f"has no variant '{variants[-1]}'"),
            open_methods(models, variants=variants),
        ):
            pass


def test_what_cannot_be_measured_has_a_reason(
    clip: Path, make_video: VideoMaker, tmp_path: Path
) -> None:
    write_png(tmp_path / "image.png", draw_clip(1, 176, 176)[0])
    files = [clip, tmp_path / "image.png", make_video("one.mp4", size=(96, 64), pts=(0,))]
    metrics = usable_metrics("psnr,ms_ssim,frame_diff,warp")
    result = evaluate(baselines(), files, metrics)
    many, image, single = result.clips
    assert many.reasons == {"ms_ssim": "88x56 pixels without the border, needs 161 a side"}
    assert image.reasons["frame_diff"] == image.reasons["warp"] == "an image has no motion"
    assert image.value("bicubic", "ms_ssim") is not None
    assert single.reasons["warp"] == "one frame, no motion to measure"
    for scores in (image, single):
        assert scores.value("bicubic", "warp") is None
        assert scores.value("bicubic", "psnr") is not None
    assert many.value(TRUTH, "warp") is not None
    report = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert report["clips"][1]["scores"]["bicubic"]["warp"] is None
    assert report["mean"]["bicubic"]["warp"] == many.value("bicubic", "warp")
    assert report["mean"]["truth"]["psnr"] is None
    assert report["against_bicubic"]["lanczos"]["psnr"]["files"] == 3
    assert report["against_bicubic"]["lanczos"]["warp"]["files"] == 1


def test_draws_give_gains_their_error(clip: Path, tmp_path: Path) -> None:
    """Each file is degraded anew with every seed; the error is that of other draws."""

    def noisy(frames: Iterator[Levels], rng: np.random.Generator) -> Iterator[Levels]:
        for low in reduce_bicubic(frames, rng):
            yield (low + rng.normal(0, 9, low.shape)).clip(0, 255).astype(np.uint8)

    write_png(tmp_path / "image.png", draw_clip(1, 96, 96)[0])
    files, metrics = [clip, tmp_path / "image.png"], usable_metrics("psnr")
    options = TruthOptions(degrade=noisy, seed=4)
    alone = [
        evaluate(baselines(), files, metrics, options=replace(options, seed=seed))
        for seed in (4, 5, 6)
    ]
    steps: list[tuple[int, int]] = []
    result = evaluate(
        baselines(),
        files,
        metrics,
        options=replace(options, draws=3),
        progress=lambda *step: steps.append(step),
    )
    assert [scores.name for scores in result.clips[3:]] == [
        f"image.png, seed {seed}" for seed in (4, 5, 6)
    ]
    for index, scores in enumerate(result.clips):
        assert scores.figures == alone[index % 3].clips[index // 3].figures
    assert steps[-1] == (3 * 9, 3 * 9)
    (psnr,) = metrics.metrics
    compared = [each.compare("lanczos", "bicubic", psnr) for each in alone]
    gains = [found.gain for found in compared if found is not None]
    found = result.compare("lanczos", "bicubic", psnr)
    assert found is not None
    assert found.gain == pytest.approx(np.mean(gains))
    assert found.error == pytest.approx(np.std(gains, ddof=1) / math.sqrt(3))
    assert found.error > 0
    assert found.files == 6
    assert compared[0] is not None
    assert compared[0].error is None
    assert result.to_json()["clips"][2]["seed"] == 6


def test_flicker_is_seen_by_the_temporal_measures_alone(clip: Path) -> None:
    """The same pictures, every other a little brighter or all of them."""

    class Brighter:
        count = 0

        def __init__(self, every: int) -> None:
            self.every = every

        def __call__(self, low: Levels) -> Levels:
            big = resize_bicubic(low, low.shape[0] * 4, low.shape[1] * 4)
            self.count += 1
            offset = 6 if self.count % 2 else -6
            return (big.astype(int) + (offset if self.every else 6)).clip(0, 255).astype(np.uint8)

    methods = [
        Method("steady", frame_by_frame(Brighter(0))),
        Method("flickering", frame_by_frame(Brighter(1))),
    ]
    result = evaluate(methods, [clip], usable_metrics("psnr,frame_diff,warp"))
    (scores,) = result.clips

    def value(method: str, metric: str) -> float:
        return scores.value(method, metric) or math.nan

    assert value("flickering", "psnr") == pytest.approx(value("steady", "psnr"), abs=0.6)
    assert value("flickering", "frame_diff") > value("steady", "frame_diff") + 5
    assert value("flickering", "warp") > value("steady", "warp") + 5


def test_progress_counts_every_frame(clip: Path, tmp_path: Path) -> None:
    write_png(tmp_path / "image.png", draw_clip(1, 32, 32)[0])
    seen: list[tuple[int, int]] = []
    evaluate(
        baselines(),
        [clip, tmp_path / "image.png"],
        usable_metrics("psnr"),
        options=TruthOptions(frames=4),
        progress=lambda done, expected: seen.append((done, expected)),
    )
    assert seen == [(i, 5) for i in range(1, 6)]


def test_a_perfect_method_is_null_in_json_with_the_reason(clip: Path) -> None:
    frames = iter([truth for truth, _ in read_pairs(clip, TruthOptions())])
    perfect = Method("perfect", frame_by_frame(lambda low: next(frames)))
    result = evaluate([perfect, *baselines()], [clip], usable_metrics("psnr,gmsd"))
    assert result.clips[0].value("perfect", "psnr") == math.inf
    report = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert report["clips"][0]["scores"]["perfect"] == {"psnr": None, "gmsd": 0.0}
    assert report["clips"][0]["reasons"] == {"psnr": "infinite: equal to the truth"}
    assert report["mean"]["perfect"]["psnr"] is None


def test_comparison_counts_files_where_it_is_better() -> None:
    """By hand: gains +1, -0.5 and none; lower is better for warp."""

    def clip(ours: float | None, theirs: float | None) -> ClipScores:
        figures = {
            "bicubic": {"psnr": theirs, "warp": theirs},
            "ours": {"psnr": ours, "warp": ours},
        }
        return ClipScores(Path("x"), 1, (8, 8), figures, {})

    metrics = [METRICS["psnr"], METRICS["warp"]]
    clips = [clip(31.0, 30.0), clip(29.5, 30.0), clip(None, None), clip(math.inf, 30.0)]
    result = Evaluation(["bicubic", "ours"], metrics, clips)
    psnr = result.compare("ours", "bicubic", METRICS["psnr"])
    warp = result.compare("ours", "bicubic", METRICS["warp"])
    assert psnr is not None
    assert (psnr.gain, psnr.better, psnr.files) == (0.25, 1, 2)
    assert warp is not None
    assert (warp.gain, warp.better, warp.files) == (-0.25, 1, 2)
    assert result.mean("bicubic", METRICS["psnr"]) == 30
    assert Evaluation(["bicubic", "ours"], metrics).compare("ours", "bicubic", metrics[0]) is None


def test_deterministic(clip: Path, tiny_bundle: Path) -> None:
    runs = []
    for _ in range(2):
        with open_methods([tiny_bundle], reset_every_frame=True) as methods:
            metrics = usable_metrics("default,warp,psnr_rgb")
            result = evaluate([*baselines(), *methods], [clip], metrics)
        runs.append(result.to_json())
    assert runs[0] == runs[1]


def test_real_pictures(data: Path) -> None:
    """A photograph and a camera clip: nano beats bicubic in what follows the eye."""
    files = [
        data / "images/kodak_val/kodim01.webp",
        data / "clips/val/udacity_highway_960x540.mp4",
    ]
    with open_methods(["nano"]) as methods:
        result = evaluate(
            [*baselines(), *methods],
            files,
            usable_metrics("psnr,haarpsi,gmsd"),
            options=TruthOptions(frames=2),
        )
    for name in ("psnr", "haarpsi", "gmsd"):
        comparison = result.compare("nano", "bicubic", METRICS[name])
        assert comparison is not None
        assert comparison.better == comparison.files == 2, name
