"""A statement claims what it may, and refuses for the right reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from adcvsr.arrays import Levels
from adcvsr.calibration.statement import statement as statements
from adcvsr.calibration.statement.draws import RUN_FRAMES, draw_runs, read_runs, survey_footage
from adcvsr.calibration.statement.sequential import Claim, SequentialTest, least_share
from adcvsr.calibration.statement.statement import (
    Statement,
    StatementRequest,
    make_statements,
)
from adcvsr.errors import InputNotFoundError
from adcvsr.metrics.contours import climb_percent, contour_climb, contours
from adcvsr.pictures.clips import write_clip
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.runtime.proof.runs import MEANINGS
from adcvsr.runtime.sessions.stream_session import StreamSession

QUICK = Claim(share=0.8, usual=0.01)
"""15 draws where none is beyond the limits, not 332."""


class Changed(StreamSession):
    """Bicubic-like pictures, x4, changed by what a variant is to do wrong."""

    def __init__(self, name: str, change: Any = lambda picture, frame: picture) -> None:
        self.variant: Any = SimpleNamespace(id=name)
        self.bundle: Any = SimpleNamespace(scale=4, size_multiple=1, state=("past",), delay=0)
        self.change, self.count = change, 0

    def reset(self) -> None:
        self.count = 0

    _open = _close = _infer = _reset = _resize = _fill = None  # type: ignore[assignment]

    def infer(self, frame: Levels) -> Levels:
        picture = smooth(frame)
        changed = self.change(picture.astype(np.int16), self.count)
        self.count += 1
        levels: Levels = np.clip(changed, 0, 255).astype(np.uint8)
        return levels


def smooth(frame: Levels) -> Levels:
    """Bilinear x4: slopes as an upscaler makes them."""
    found = frame.astype(np.float32)
    for axis in (0, 1):
        at = np.clip((np.arange(4 * found.shape[axis]) + 0.5) / 4 - 0.5, 0, found.shape[axis] - 1)
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, found.shape[axis] - 1)
        shape = [1, 1, 1]
        shape[axis] = -1
        share = (at - low).reshape(shape).astype(np.float32)
        found = np.take(found, low, axis) * (1 - share) + np.take(found, high, axis) * share
    levels: Levels = (found + 0.5).astype(np.uint8)
    return levels


def noisy(picture: Any, frame: int) -> Any:
    """What an honest 8-bit variant is off by."""
    return picture + np.random.default_rng(frame).integers(-1, 2, picture.shape)


WRONG = {
    "banding": lambda picture, frame: picture // 6 * 6 + 3,
    "colour": lambda picture, frame: picture + np.array([3, 0, -3]),
    "flicker": lambda picture, frame: picture + (2 if frame % 2 else -2),
    "drift": lambda picture, frame: picture + frame // 8,
    "distance": lambda picture, frame: picture + np.random.default_rng(frame).integers(
        -20, 21, picture.shape
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("footage")
    shade = np.linspace(40, 90, 48)[None, None, :, None] + np.arange(16)[:, None, None, None]
    write_clip(folder / "slope.mkv", np.broadcast_to(shade, (16, 36, 48, 3)).astype(np.uint8))
    write_clip(folder / "drawn.mkv", draw_clip(14, 40, 56))
    return [folder / "slope.mkv", folder / "drawn.mkv"]


def state(clips: list[Path], change: Any) -> Statement:
    sessions = [Changed("fp32-onnx"), Changed("int8-ort", change)]
    request = StatementRequest(
        clips=clips, sessions=sessions, claim=QUICK, drift_frames=80, height=24, width=32
    )
    (found,) = make_statements(request, note=print)
    return found


def test_what_deserves_it_is_shown_and_says_how(clips: list[Path]) -> None:
    found = state(clips, noisy)
    assert found.shown
    assert (found.reasons, found.meaning) == ([], None)
    assert found.test.draws == QUICK.fewest == 15
    line = found.line()
    assert line.startswith("int8-ort stays within 0.8 levels")
    assert "in at least 80% of frames on this kind of content, 95% confidence" in line
    assert "no banding, no colour shift, no flicker, no drift" in line
    assert f"{15 * RUN_FRAMES} frames in 15 runs of 2 clips" in line
    told = " ".join(found.details())
    assert "slope.mkv" in told or "drawn.mkv" in told
    assert "In 2 of 2 clips no run is beyond the limits" in told
    assert sum(found.content()["luminance"]["runs"]) == 15
    found.drift, found.why_no_drift = None, "the network carries no state"
    assert found.details()[-1] == "Drift was not measured: the network carries no state."


@pytest.mark.parametrize("reason", WRONG)
def test_a_variant_that_is_wrong_is_refused_for_the_right_reason(
    clips: list[Path], reason: str
) -> None:
    found = state(clips, WRONG[reason])
    assert not found.shown
    assert found.reasons[0] == reason
    said = {"distance": "too far", "colour": "colour shift"}.get(reason, reason)
    assert "is refused after" in found.line()
    assert said in found.line()
    assert found.refusal is not None
    assert found.meaning is not None
    assert MEANINGS[reason] in found.meaning
    assert found.details()[0] == found.meaning
    assert ", 0% of all such clips" not in " ".join(found.details())


def test_the_reference_against_itself_alarms_nobody(clips: list[Path]) -> None:
    """A level here and there, as other threads round: no ratio of tiny errors becomes a fault."""

    def rounded(picture: Any, frame: int) -> Any:
        return picture + (np.random.default_rng(frame).random(picture.shape) < 1e-3)

    assert state(clips, rounded).shown


def test_what_the_clips_tell_of_others(clips: list[Path]) -> None:
    """The sentence has the claim, its confidence and its condition; few clips tell little."""
    found = state(clips, lambda picture, frame: picture)
    said = " ".join(found.details())
    share = least_share(found.clips, found.clips, 0.95)
    assert f"with 95% confidence, {share:.0%} of all such clips or more stay within" in said
    assert f"This figure is low because {found.clips} clips are few." in said
    many = " ".join(replace(found, clips=100, clips_within=100).details())
    assert "97% of all such clips or more" in many
    assert "figure is low" not in many
    none = " ".join(replace(found, clips_within=0).details())
    assert "such clips" not in none


def test_a_test_that_is_given_up_claims_nothing(
    clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements, "MOST_DRAWS", 10)
    found = state(clips, noisy)
    assert (found.shown, found.reasons, found.refusal) == (False, ["frames"], None)
    assert "is neither shown nor refused after 60 frames" in found.line()
    assert "0 of 10 runs are beyond the limits, and 5 more within them were needed" in found.line()


def test_faults_that_decide_nothing_are_no_refusal(
    clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some runs beyond, too few to refuse by and too many to be shown: the test is open."""
    monkeypatch.setattr(statements, "MOST_DRAWS", 3)
    found = state(clips, noisy)
    run = found.runs[0]
    found.runs[0] = replace(run, faults=("colour",))
    found.test.beyond = 1
    assert found.test.outcome is None
    assert (found.shown, found.reasons, found.refusal) == (False, ["frames"], None)
    assert "1 of 3 runs are beyond the limits" in found.line()


def test_confidence_is_what_it_is_called() -> None:
    """A variant with exactly one bad draw in a hundred gets the claim in at most 5 % of tests."""
    random, claim, tests = np.random.default_rng(1), Claim(), 2000
    steps = np.where(
        random.random((tests, 3000)) >= 0.01, claim.step(within=True), claim.step(within=False)
    ).cumsum(axis=1)
    shown, refused = steps >= claim.shown_from, steps <= claim.refused_from
    assert (shown | refused).any(axis=1).all()
    first = (shown | refused).argmax(axis=1)
    claimed = shown[np.arange(tests), first].mean()
    assert 0.005 < claimed < 0.05 + 2 * (0.05 * 0.95 / tests) ** 0.5


def test_draws_decide_as_wald_has_it() -> None:
    test = SequentialTest(Claim())
    assert Claim().fewest == 332
    for _ in range(332):
        assert test.outcome is None
        test.add(True)
    assert test.outcome == "shown"
    bad = SequentialTest(Claim())
    bad.add(False)
    assert bad.outcome is None
    assert bad.still_needed == 586
    bad.add(False)
    assert bad.outcome == "refused"


def test_clopper_and_pearson() -> None:
    """Against the tables: 0.05 ** (1 / n) where all are within, and Beta's quantile."""
    assert least_share(10, 10, 0.95) == pytest.approx(0.05**0.1, abs=1e-6)
    assert least_share(9, 10, 0.95) == pytest.approx(0.60584, abs=1e-5)
    assert least_share(0, 5, 0.95) == 0
    # Draws by the thousand: the normal approximation, and no number that is too large for a float.
    assert least_share(1000, 2000, 0.95) == pytest.approx(0.5 - 1.645 * 0.5 / 2000**0.5, abs=5e-4)


def test_draws_are_even_over_the_footage_and_independent_of_their_number(
    clips: list[Path],
) -> None:
    scenes = survey_footage(clips, note=print)
    assert [scene.starts for scene in scenes] == [11, 9]
    draws = draw_runs(scenes, seed=3, count=4000, height=24, width=32)
    assert draws[:50] == draw_runs(scenes, seed=3, count=50, height=24, width=32)
    counts = Counter((draw.path.name, draw.first) for draw in draws)
    assert len(counts) == 20
    assert max(counts.values()) < 2 * min(counts.values())
    runs = read_runs(draws[:4])
    assert [run.draw for run in runs] == draws[:4]
    assert {run.frames.shape for run in runs} == {(RUN_FRAMES, 24, 32, 3)}


def test_clips_of_no_use_are_named(tmp_path: Path, clips: list[Path]) -> None:
    write_clip(tmp_path / "short.mkv", draw_clip(3, 32, 32))
    notes: list[str] = []
    assert survey_footage([*clips, tmp_path / "short.mkv"], note=notes.append)
    assert len(notes) == 1
    assert "short.mkv' has no scene of 6 frames" in notes[0]
    with pytest.raises(InputNotFoundError, match="no clip has 6 frames of one scene"):
        survey_footage([tmp_path / "short.mkv"], note=notes.append)


def test_clips_longer_than_what_is_looked_at_are_named(clips: list[Path]) -> None:
    notes: list[str] = []
    survey_footage(clips, note=notes.append, most_frames=15)
    assert notes == ["the statement is of the first 15 frames of 'slope.mkv'"]


def test_drift_is_of_draws_of_one_size_and_says_where_there_is_none(clips: list[Path]) -> None:
    """Draws of another size between do not shorten what is played to and fro."""
    scenes = survey_footage(clips, note=print)
    drawn = draw_runs(scenes, seed=0, count=40, height=40, width=56)
    wide = [draw for draw in drawn if draw.width == 56]
    narrow = [draw for draw in drawn if draw.width == 48]
    first, second = Seen("fp32-onnx"), Seen("int8-ort")
    mixed = [wide[0], *narrow[:5], *wide[1:3]]
    found, why = statements.measure_drift([first, second], mixed, 80)
    assert (found["int8-ort"] is not None, why) == (True, "")
    assert {frame.shape for frame in first.frames} == {(40, 56, 3)}
    expected = [frame for run in read_runs(wide[:3]) for frame in run.frames][:13]
    assert all(map(np.array_equal, first.frames[:13], expected))

    found, why = statements.measure_drift([first, second], mixed, 60)
    assert (found, why) == ({"int8-ort": None}, "60 frames were asked for, and it takes 72")
    first.bundle.state = ()
    assert statements.measure_drift([first, second], mixed, 80)[1] == "the network carries no state"


class Seen(Changed):
    """Keeps what it was given."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.frames: list[Levels] = []

    def infer(self, frame: Levels) -> Levels:
        self.frames.append(frame)
        return super().infer(frame)


def ramp(levels: float) -> Levels:
    shade = np.linspace(60, 60 + levels, 160)[None, :, None]
    return np.broadcast_to(shade, (120, 160, 3)).round().astype(np.uint8)


@pytest.mark.parametrize("step", [2, 3, 4, 8])
def test_bands_of_any_height_are_seen(step: int) -> None:
    """CAMBI sees one-level steps alone; these are the others, on a slope and not on edges."""
    smooth_ramp = ramp(24)
    banded = (smooth_ramp // step * step).astype(np.uint8)
    assert (contours(banded, smooth_ramp) or 0) > 60
    assert contours(smooth_ramp, smooth_ramp) == 0
    shifted = (smooth_ramp + 5).astype(np.uint8)
    assert contours(shifted, smooth_ramp) == 0
    noise = np.random.default_rng(0).integers(-2, 3, smooth_ramp.shape)
    assert (contours((smooth_ramp + noise).astype(np.uint8), smooth_ramp) or 0) < 2


def test_edges_and_flat_pictures_are_no_bands() -> None:
    edges = np.zeros((40, 40, 3), np.uint8)
    edges[:, 20:] = 60
    assert contour_climb(edges, edges)[0] == 0
    assert contours(edges, edges) is None
    assert climb_percent(0, 0) is None
    with pytest.raises(ValueError, match="needs 8"):
        contours(edges[:6], edges[:6])
