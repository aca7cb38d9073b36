"""Teachers that run as programs of their own: their inputs out, their results in.

SeedVR2 and DLoRAL need environments that exclude ours (flash-attn and apex; mmcv and an old
diffusers), so files go between: lossless clips named by their keys, and results found by those
names. docs/teacher-seedvr2.md and docs/teacher-dloral.md have the commands.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np

from ...config import SCALE
from ...errors import OutputNotWritableError, TeacherCacheError
from ...files import write_beside
from ...metrics.fidelity import psnr_of
from .fill_cache import PairSource, Progress, check_pairs, check_space, clips_of, read_ahead
from .results import ResultError, find_results, read_result
from .sample import Clip
from .store import NAMED_ERRORS, CacheFolder, Entry, Kept

ForeignKind = Literal["seedvr2", "dloral", "other"]

SEEDVR2_MULTIPLE = 16
"""SeedVR2 cuts its input, already at the output's size, to this around the centre."""

DLORAL_MULTIPLE = 8
"""DLoRAL squeezes its input, already at the output's size, to this."""

LEAST_FRAMES = 2
"""DLoRAL writes nothing of one frame, SeedVR2 writes one as a picture under a video's name."""

RATE = Fraction(25)
"""Of the clips handed out; nothing depends on it."""


def export_inputs(
    store: CacheFolder,
    pairs: PairSource,
    folder: Path,
    kind: ForeignKind,
    *,
    samples: int,
    report: Callable[[str], None],
    progress: Progress,
) -> list[Path]:
    """Write low clips for a foreign program, and keep the pairs waiting in the cache.

    Each is FOLDER/WIDTHxHEIGHT/KEY.mp4, lossless RGB H.264: both programs take a folder of videos
    and read it with FFmpeg, and SeedVR2 is told one output size for a whole folder.

    Args:
        store: The cache.
        pairs: Where the clips come from.
        folder: Where to write; nothing else may lie in its subfolders, as programs take all.
        kind: Whose program.
        samples: Samples wanted in all.
        report: Called with lines to show.
        progress: Called after every clip.

    Returns:
        The subfolders that hold clips.

    Raises:
        TeacherCacheError: A clip that the program cannot take, or pairs that changed.
        OutputNotWritableError: The disk is full or not writable; what was written is intact.
    """
    todo = [i for i in range(samples) if i not in store.entries and not _is_out(store, i, folder)]
    if todo:
        check_pairs(store, pairs)
        check_space(store, pairs, todo, left=len(todo), report=report)
    for done, (index, pair) in enumerate(read_ahead(pairs, todo), start=1):
        low, high = clips_of(pair)
        _check_input(low, kind)
        if index not in store.awaiting:
            store.add_awaiting(index, low, high)
        _write_input(_input_path(folder, pair.key, low.shape), low)
        progress(done, len(todo))
    return sorted({path.parent for path in folder.glob("*x*/*.mp4")})


def import_results(
    store: CacheFolder,
    folder: Path,
    kind: ForeignKind,
    *,
    report: Callable[[str], None],
    progress: Progress,
) -> int:
    """Take the results of a foreign program into the cache, matched by the names of the inputs.

    A result is KEY.mp4 (or another video) or a folder KEY of numbered pictures, anywhere below the
    folder. Those that fit are taken even if others do not, and a second call goes on.

    Args:
        store: A cache that `export_inputs` prepared.
        folder: Where the program wrote.
        kind: Whose program; decides what may be missing. `seedvr2` cuts the sides to multiples of
            16, `dloral` never writes the first frame: the sample then loses that part in all three
            clips. `other` must give every frame at x4.
        report: Called with lines to show.
        progress: Called after every clip.

    Returns:
        Results taken.

    Raises:
        TeacherCacheError: Results of a wrong size or number of frames, two of one name, or none
            at all; the first are named, and all others were taken.
    """
    results = find_results(folder)
    todo = [e for index, e in store.awaiting.items() if index not in store.entries]
    taken: list[_Taken] = []
    wrong: list[str] = []
    for done, entry in enumerate(todo, start=1):
        path = results.get(entry.key)
        try:
            if path is not None:
                taken.append(_take(store, entry, path, kind))
        except ResultError as error:
            wrong.append(f"'{path}': {error}")
        progress(done, len(todo))
    _report_taken(taken, todo, report)
    if wrong:
        raise TeacherCacheError(
            f"{len(wrong)} results do not fit, {len(taken)} were taken: "
            f"{'; '.join(wrong[:NAMED_ERRORS])}"
        )
    if todo and not taken:
        raise TeacherCacheError(
            f"'{folder}' holds no result for any of the {len(todo)} waiting clips; expected "
            f"'{todo[0].key}.mp4' or a folder '{todo[0].key}' of numbered pictures"
        )
    return len(taken)


def kept_part(kind: ForeignKind, frames: int, height: int, width: int) -> Kept:
    """Tell which part of a low clip a program's result covers in whole pixels.

    Args:
        kind: Whose program.
        frames: T of the low clip.
        height: h of the low clip.
        width: w of the low clip.

    Returns:
        (t0, t1, y0, y1, x0, x1) of the low clip.
    """
    if kind == "dloral":
        return (1, frames, 0, height, 0, width)
    if kind == "seedvr2":
        return (0, frames, *_covered(height), *_covered(width))
    return (0, frames, 0, height, 0, width)


@dataclass(frozen=True)
class _Taken:
    """A result that was stored."""

    key: str
    lossy: bool
    """It came as subsampled video."""
    likeness_db: float
    """PSNR to its input after reducing it x1/4."""


def _take(store: CacheFolder, entry: Entry, path: Path, kind: ForeignKind) -> _Taken:
    """Store one result with its part of low and high.

    Raises:
        ResultError: It does not fit.
    """
    frames, height, width = _extent(entry)
    t0, t1, y0, y1, x0, x1 = kept = kept_part(kind, frames, height, width)
    expected = (t1 - t0, *(_result_side(kind, extent) for extent in (height, width)))
    result, lossy = read_result(path, expected=expected, first=t0)
    low, high = store.read(entry)
    top, left = _cut_before(kind, height), _cut_before(kind, width)
    s = SCALE
    clips = [
        low[t0:t1, :, y0:y1, x0:x1],
        high[t0:t1, :, s * y0 : s * y1, s * x0 : s * x1],
        result[:, :, s * y0 - top : s * y1 - top, s * x0 - left : s * x1 - left],
    ]
    clips = [np.ascontiguousarray(clip) for clip in clips]
    store.add(entry.index, clips, source=entry.key, kept=kept)
    (store.folder / entry.file).unlink()
    return _Taken(entry.key, lossy, _likeness_db(clips[0], clips[2]))


def _report_taken(
    taken: Sequence[_Taken], todo: Sequence[Entry], report: Callable[[str], None]
) -> None:
    if taken:
        least = min(taken, key=lambda one: one.likeness_db)
        report(
            f"{len(taken)} results taken; reduced x1/4 they match their inputs by "
            f"{least.likeness_db:.1f} dB or more ({least.key} least): a low figure is a result of "
            "another clip, other colours or shifted frames"
        )
    lossy = sum(one.lossy for one in taken)
    if lossy:
        report(f"{lossy} of them came as lossy video with subsampled colour, not as RGB")
    names = [entry.key for entry in todo]
    missing = len(todo) - len(taken)
    if missing:
        have = {one.key for one in taken}
        first = next(name for name in names if name not in have)
        report(f"{missing} clips still wait for a result, the first is {first}")


def _extent(entry: Entry) -> tuple[int, int, int]:
    """T, h and w of a waiting sample, which is always whole."""
    return entry.kept[1], entry.kept[3], entry.kept[5]


def _result_side(kind: ForeignKind, extent: int) -> int:
    """Pixels of a side of the result of a low side."""
    large = SCALE * extent
    return large // SEEDVR2_MULTIPLE * SEEDVR2_MULTIPLE if kind == "seedvr2" else large


def _cut_before(kind: ForeignKind, extent: int) -> int:
    """Pixels of the x4 side that lie before the result's first."""
    return (SCALE * extent - _result_side(kind, extent)) // 2


def _covered(extent: int) -> tuple[int, int]:
    """First and last low pixel that SeedVR2's centred cut covers in full."""
    first = _cut_before("seedvr2", extent)
    return -(-first // SCALE), (first + _result_side("seedvr2", extent)) // SCALE


def _check_input(low: Clip, kind: ForeignKind) -> None:
    frames, _, height, width = low.shape
    if frames < LEAST_FRAMES:
        raise TeacherCacheError(
            f"a clip of {frames} frame: '{kind}' needs {LEAST_FRAMES} or more; set the recipe's "
            "frames"
        )
    if kind == "dloral" and (SCALE * height % DLORAL_MULTIPLE or SCALE * width % DLORAL_MULTIPLE):
        raise TeacherCacheError(
            f"a clip of {width}x{height} pixels: DLoRAL squeezes x4 sizes to multiples of "
            f"{DLORAL_MULTIPLE}, which would shift its frames; use even sides"
        )


def _input_path(folder: Path, key: str, shape: Sequence[int]) -> Path:
    return folder / f"{shape[-1]}x{shape[-2]}" / f"{key}.mp4"


def _is_out(store: CacheFolder, index: int, folder: Path) -> bool:
    entry = store.awaiting.get(index)
    return entry is not None and _input_path(folder, entry.key, _extent(entry)).is_file()


def _write_input(path: Path, low: Clip) -> None:
    """Write a clip as lossless RGB H.264; whole or not at all."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264rgb", rate=RATE)
        stream.height, stream.width = low.shape[2:]
        stream.pix_fmt = "rgb24"
        stream.options = {"qp": "0", "preset": "veryfast", "bf": "0"}
        for index, image in enumerate(low.transpose(0, 2, 3, 1)):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        outside = path.parent.parent / path.name  # programs take all that lies in the subfolder
        write_beside(outside, lambda part: part.write_bytes(buffer.getvalue()))
        os.replace(outside, path)
    except OSError as error:
        raise OutputNotWritableError(f"cannot write '{path}': {error.strerror}") from error


def _likeness_db(low: Clip, result: Clip) -> float:
    """PSNR of a result's x1/4 mean to its input."""
    t, c, height, width = low.shape
    mean = result.reshape(t, c, height, SCALE, width, SCALE).mean((3, 5), dtype=np.float32)
    error = float(np.square(mean - low).mean())
    return psnr_of(error)
