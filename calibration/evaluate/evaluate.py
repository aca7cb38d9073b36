"""How good bundles are on images and clips with known truth, beside bicubic and Lanczos.

Protocol: the truth is cut to a multiple of 8 and reduced x1/4 by a degradation; every method brings
it back; a border of 4 pixels is left out of every measure (docs/metrics.md). Images start from zero
state; clips run in order with carried state or in windows, colours matched as the bundle says. At a
scene cut the state starts anew, as in `adcvsr upscale`, and so do measures of time. Frames are
streamed: memory does not grow with a clip.

    with open_methods(["nano"]) as bundles:
        evaluation = evaluate([*baselines(), *bundles], find_truth([folder]), usable_metrics("all"))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from itertools import tee
from pathlib import Path

import av

from ...arrays import Levels
from ...metrics import StreamMeter, TruthStream, UsableMetrics, open_meter
from ...metrics.stream import Moment
from ...pictures.scene_cuts import small_luma
from ...runtime.processing.cut_reset import SceneWatch
from .methods import Method
from .scores import ClipScores, Evaluation
from .sequences import is_image
from .strip import Strip
from .truth import TruthOptions, count_frames, read_pairs

BORDER_PX = TruthOptions().border_px
"""Left out on each side where nothing else is asked for."""

TRUTH = "truth"
"""Row of the truth itself, where a measure means something for it."""

OF_THE_TRUTH = ("warp", "jitter")
"""Those measures, of which it is the floor."""


def left_out_px(options: TruthOptions) -> int:
    """Left out on each side: nothing of a real clip, whose codec's blocks begin at its edge."""
    return 0 if options.no_reference else options.border_px


def evaluate(
    methods: Sequence[Method],
    files: Sequence[Path],
    metrics: UsableMetrics,
    *,
    options: TruthOptions | None = None,
    strip: Strip | None = None,
    progress: Callable[[int, int], None] | None = None,
    done: Callable[[ClipScores], None] | None = None,
    failed: Callable[[Path, Exception], None] | None = None,
) -> Evaluation:
    """Measure every method on every file.

    Args:
        methods: Bundles and baselines, opened.
        files: Images and videos, as `find_truth` lists them.
        metrics: What to measure.
        options: How truth is read and reduced.
        strip: Shown every frame, to find the worst crops.
        progress: Called with frames done and expected.
        done: Called with the figures of each file as they are known.
        failed: Called with a file that cannot be measured and the reason; the others still are.

    Returns:
        One `ClipScores` a file that was measured, in order; with several draws one each.

    Raises:
        UnreadableVideoError: Without `failed`: a file cannot be read as image or video, or is too
            small.
    """
    options = options or TruthOptions()
    expected = options.draws * sum(count_frames(file, options.frames) for file in files)
    counted = 0

    def step() -> None:
        nonlocal counted
        counted += 1
        if progress is not None:
            progress(counted, expected)

    result = Evaluation([method.name for method in methods], metrics.metrics)
    for file in files:
        clips: list[ClipScores] = []
        try:
            for each in _draws(options):
                clips.append(_ClipRun(file, methods, metrics, strip).measure(each, step))
                if done is not None:
                    done(clips[-1])
        except Exception as error:  # whatever one file does says nothing about the others
            if failed is None:
                raise
            if strip is not None:
                strip.forget(file)
            failed(file, error)
        else:
            result.clips += clips
    return result


def _draws(options: TruthOptions) -> list[TruthOptions]:
    """The options of each draw of the degradation."""
    return [replace(options, seed=options.seed + draw) for draw in range(options.draws)]


class _ClipRun:
    """One file on its way through all methods, frame by frame."""

    def __init__(
        self,
        file: Path,
        methods: Sequence[Method],
        metrics: UsableMetrics,
        strip: Strip | None,
    ) -> None:
        self.file, self.methods, self.metrics, self.strip = file, methods, metrics, strip
        self.meters: dict[str, StreamMeter] = {}
        self.reasons: dict[str, str] = {}
        self.size = (0, 0)
        self.cuts = 0

    def measure(self, options: TruthOptions, step: Callable[[], None]) -> ClipScores:
        """Run the file and return its figures.

        Holds the frames that one method has read ahead of the others.
        """
        border = left_out_px(options)
        seed = options.seed if options.draws > 1 else None
        truth, scene, frames = TruthStream(border, options.scale), SceneWatch(), 0
        count = count_frames(self.file, options.frames)
        pairs, *copies = tee(read_pairs(self.file, options), len(self.methods) + 1)
        upscaled = [
            method.upscale(low for _, low in copy)
            for method, copy in zip(self.methods, copies, strict=True)
        ]
        with ExitStack() as stack, ThreadPoolExecutor(len(self.methods)) as pool:
            for (image, low), *pictures in zip(pairs, *upscaled, strict=True):
                # Where the networks start anew, as they see it too.
                if scene.is_cut(small_luma(av.VideoFrame.from_ndarray(low, format="rgb24"))):
                    truth.cut()
                    self.cuts += 1
                moment = truth.step(image)
                if not frames:
                    self._start(image, stack, border)
                outputs = {m.name: p for m, p in zip(self.methods, pictures, strict=True)}
                self._add(image, outputs, moment, pool, counts=options.is_measured(frames, count))
                if self.strip is not None:
                    draw = "" if seed is None else f"seed {seed}, "
                    self.strip.show(self.file, f"{draw}frame {frames}", low, outputs, image)
                frames += 1
                step()
            return self._scores(frames, seed)

    def _start(self, image: Levels, stack: ExitStack, border_px: int) -> None:
        """Make the meters, now that the size is known, and note what cannot be measured."""
        self.size = (image.shape[1], image.shape[0])
        height, width = (side - 2 * border_px for side in image.shape[:2])
        for metric in self.metrics.metrics:
            if metric.temporal and is_image(self.file):
                self.reasons[metric.name] = "an image has no motion"
            elif min(height, width) < metric.least_px:
                self.reasons[metric.name] = (
                    f"{width}x{height} pixels without the border, needs {metric.least_px} a side"
                )
        possible = {m.name: m for m in self.metrics.metrics if m.name not in self.reasons}
        for method in self.methods:
            measured = list(possible.values())
            meter = open_meter(
                measured, self.metrics.ffmpeg, height, width, stack, self.metrics.given
            )
            self.meters[method.name] = meter
        if own := [possible[name] for name in OF_THE_TRUTH if name in possible]:
            self.meters[TRUTH] = StreamMeter(own)

    def _add(
        self,
        image: Levels,
        outputs: dict[str, Levels],
        moment: Moment,
        pool: ThreadPoolExecutor,
        *,
        counts: bool,
    ) -> None:
        """Measure all methods at once; what they share is computed first, once.

        A frame that does not count is but the one before the next.
        """
        if not counts:
            for name, output in outputs.items():
                self.meters[name].skip(output, moment)
            return
        if TRUTH in self.meters:
            self.meters[TRUTH].add(image, moment)
        _ = moment.truth.full_luma
        jobs = [
            pool.submit(self.meters[name].add, output, moment) for name, output in outputs.items()
        ]
        for job in jobs:
            job.result()

    def _scores(self, frames: int, seed: int | None) -> ClipScores:
        figures = {name: meter.means() for name, meter in self.meters.items()}
        for metric in self.metrics.metrics:
            if metric.temporal and all(f.get(metric.name) is None for f in figures.values()):
                self.reasons.setdefault(metric.name, self._why_no_motion(frames))
        return ClipScores(self.file, frames, self.size, figures, self.reasons, self.cuts, seed)

    def _why_no_motion(self, frames: int) -> str:
        if frames == 1:
            return "one frame, no motion to measure"
        if self.cuts == frames - 1:
            return "a scene cut between all frames"
        return "no pixel is visible in two frames"
