r"""Make the README's picture: a part of one frame under a wipe, bicubic left, a network right.

    python benchmarks/readme_picture.py nasa_13013.mp4 --at 6 --crop 160x100+120+40 \
      -o docs/images/wipe.jpg

The clip is test/resources/nasa_13013.mp4 of pytorch/torchcodec (NASA, public domain): 320x180, as
it is, nothing degraded. The network sees the second before the frame, as it would in a file.
"""

from __future__ import annotations

import argparse
from collections import deque
from pathlib import Path

import av

import adcvsr
from adcvsr.arrays import Levels
from adcvsr.metrics import resize_bicubic
from adcvsr.pictures.lettering import LETTER_HEIGHT_PX, text_mask, write_text

TEXT_SCALE, MARGIN_PX, LINE_PX = 2, 8, 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--at", type=float, required=True, help="seconds into the clip")
    parser.add_argument("--crop", required=True, metavar="WxH+X+Y", help="of the input, in pixels")
    parser.add_argument("--model", default="nano-restore")
    parser.add_argument("-o", "--output", type=Path, required=True, help="a .png or .jpg")
    given = parser.parse_args()
    size, left, top = given.crop.split("+")
    width, height = map(int, size.split("x"))

    frames: deque[Levels] = deque(maxlen=25)
    with av.open(str(given.clip)) as container:
        for frame in container.decode(video=0):
            frames.append(frame.to_ndarray(format="rgb24"))
            if frame.time is not None and frame.time >= given.at:
                break
    with adcvsr.Upscaler(given.model) as upscaler:
        for image in frames:
            big = upscaler(image)
    scale = big.shape[0] // frames[-1].shape[0]
    rows = slice(int(top) * scale, (int(top) + height) * scale)
    columns = slice(int(left) * scale, (int(left) + width) * scale)
    bicubic = resize_bicubic(frames[-1], *big.shape[:2])[rows, columns]
    page = wiped(bicubic, big[rows, columns], "bicubic", given.model)

    given.output.parent.mkdir(parents=True, exist_ok=True)
    picture = av.VideoFrame.from_ndarray(page, format="rgb24")
    codec, pixels = ("png", "rgb24") if given.output.suffix == ".png" else ("mjpeg", "yuvj444p")
    with av.open(str(given.output), "w", format="image2", options={"update": "1"}) as container:
        stream = container.add_stream(codec, rate=1)
        stream.height, stream.width, stream.pix_fmt = *page.shape[:2], pixels
        stream.codec_context.options = {"qscale": "3"}
        container.mux(stream.encode(picture.reformat(format=pixels)))
        container.mux(stream.encode())
    print(f"{given.output}: {page.shape[1]}x{page.shape[0]}, {given.output.stat().st_size} bytes")


def wiped(left: Levels, right: Levels, left_name: str, right_name: str) -> Levels:
    """One picture (H, W, 3), its halves from two of that size, parted by a line and named."""
    page = left.copy()
    middle = page.shape[1] // 2
    page[:, middle:] = right[:, middle:]
    page[:, middle - LINE_PX // 2 : middle + LINE_PX // 2] = 255
    name_px = text_mask(right_name).shape[1] * TEXT_SCALE
    for name, at in ((left_name, MARGIN_PX), (right_name, page.shape[1] - name_px - MARGIN_PX)):
        band = page[-LETTER_HEIGHT_PX * TEXT_SCALE - 2 * MARGIN_PX :]
        ends = at - MARGIN_PX, at + text_mask(name).shape[1] * TEXT_SCALE + MARGIN_PX
        band[:, max(0, ends[0]) : ends[1]] //= 4  # white letters are read on any ground
        write_text(band, name, top=MARGIN_PX, left=at, scale=TEXT_SCALE)
    return page


if __name__ == "__main__":
    main()
